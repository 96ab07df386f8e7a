//! The requests that Roomkeeper may send, from a list written by hand.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::pattern::Pattern;

/// The list of the repository.
const LIST: &str = include_str!("../allowed-requests.yaml");

/// The allow list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It is no YAML, or not of the form that its head describes.
    #[error("the allow list cannot be read: {0}")]
    Yaml(#[from] serde_yaml::Error),
    /// A pattern has a placeholder that there is not.
    #[error(
        "entry '{what}' of the allow list: '{pattern}' is no pattern: known placeholders are listed at the head of the file"
    )]
    Pattern {
        /// The entry.
        what: String,
        /// The text that is no pattern.
        pattern: String,
    },
    /// It allows nothing.
    #[error("the allow list has no entry")]
    Empty,
}

/// Why a request is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No entry has that method and path.
    #[error("no entry of the allow list has this method and path")]
    Path,
    /// Entries have the path, and none of them takes the query.
    #[error("no entry of the allow list takes this query; entries with this path: {0}")]
    Query(String),
    /// An option of the query is not decodable, or is there twice.
    #[error("option '{0}' of the query is malformed or there twice")]
    Option(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    what: String,
    method: String,
    path: String,
    #[serde(default)]
    query: BTreeMap<String, String>,
    #[serde(default)]
    paging: BTreeMap<String, String>,
}

struct Rule {
    what: String,
    method: String,
    segments: Vec<Pattern>,
    query: BTreeMap<String, Pattern>,
    paging: BTreeMap<String, Pattern>,
}

/// The list.
pub struct AllowList(Vec<Rule>);

impl AllowList {
    /// The list of the repository, as it was when this was built.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_the_repository() -> Result<Self, ListError> {
        Self::read(LIST)
    }

    /// A list in the same form.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(text: &str) -> Result<Self, ListError> {
        let entries: Vec<Entry> = serde_yaml::from_str(text)?;
        let rules = entries.into_iter().map(Rule::new).collect::<Result<Vec<_>, _>>()?;
        if rules.is_empty() { Err(ListError::Empty) } else { Ok(Self(rules)) }
    }

    /// What each entry is about, in their order.
    pub fn entries(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|rule| rule.what.as_str())
    }

    /// The entry that allows a request; `target` is path and query as sent.
    ///
    /// # Errors
    /// When none does.
    pub fn allows(&self, method: &str, target: &str) -> Result<&str, Refused> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = options(query)?;
        let at_path: Vec<&Rule> = self.0.iter().filter(|rule| rule.is_at(method, path)).collect();
        if at_path.is_empty() {
            return Err(Refused::Path);
        }
        let found = at_path.iter().find(|rule| rule.takes(&query));
        found.map(|rule| rule.what.as_str()).ok_or_else(|| {
            Refused::Query(at_path.iter().map(|rule| rule.what.as_str()).collect::<Vec<_>>().join("; "))
        })
    }
}

impl Rule {
    fn new(entry: Entry) -> Result<Self, ListError> {
        let what = entry.what;
        let pattern = |text: &str| {
            Pattern::parse(text)
                .ok_or_else(|| ListError::Pattern { what: what.clone(), pattern: text.to_owned() })
        };
        let options = |options: BTreeMap<String, String>| -> Result<BTreeMap<String, Pattern>, ListError> {
            options.into_iter().map(|(name, value)| Ok((name, pattern(&value)?))).collect()
        };
        let segments = entry.path.split('/').map(&pattern).collect::<Result<_, _>>()?;
        let (query, paging) = (options(entry.query)?, options(entry.paging)?);
        Ok(Self { method: entry.method, segments, query, paging, what })
    }

    fn is_at(&self, method: &str, path: &str) -> bool {
        let segments: Vec<&str> = path.split('/').collect();
        self.method == method
            && self.segments.len() == segments.len()
            && self.segments.iter().zip(segments).all(|(pattern, segment)| {
                percent_decode_str(segment).decode_utf8().is_ok_and(|segment| pattern.fits(&segment))
            })
    }

    fn takes(&self, query: &BTreeMap<String, String>) -> bool {
        let known = |name: &str| self.query.get(name).or_else(|| self.paging.get(name));
        self.query.keys().all(|name| query.contains_key(name))
            && query.iter().all(|(name, value)| known(name).is_some_and(|pattern| pattern.fits(value)))
    }
}

/// The options of a query, decoded.
fn options(query: &str) -> Result<BTreeMap<String, String>, Refused> {
    let mut options = BTreeMap::new();
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let malformed = || Refused::Option(option.split('=').next().unwrap_or_default().to_owned());
        let (name, value) = option.split_once('=').ok_or_else(malformed)?;
        let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8().map(String::from);
        let (name, value) = (decode(name).map_err(|_| malformed())?, decode(value).map_err(|_| malformed())?);
        if options.insert(name, value).is_some() {
            return Err(malformed());
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "/v1.0/users/2189c720-90d5-44ff-818b-fe585706ee90";
    const EXPAND: &str = "$expand=singleValueExtendedProperties($filter=id%20eq%20%27String%20%7B00020329-0000-0000-C000-000000000046%7D%20Name%20cecp-0c64d6b6-cc36-4b6a-8f9c-0e3a4b6c2d1f%27)";
    const HEAD: &str = "$select=id,iCalUId,changeKey,lastModifiedDateTime,isOrganizer,type,isCancelled";

    fn allows(method: &str, target: &str) -> Result<String, Refused> {
        AllowList::of_the_repository().unwrap().allows(method, target).map(str::to_owned)
    }

    #[test]
    fn the_reads_of_an_event_are_allowed_as_they_are() {
        let event = format!("{USER}/calendar/events/AAMk%2BAD%2Fx-_%3D");
        assert_eq!(allows("GET", &format!("{event}?{HEAD}&{EXPAND}")).unwrap(), "first read of an event");
        let full = format!(
            "{event}?{HEAD},subject,start,end,organizer,attendees,sensitivity,seriesMasterId,recurrence,isAllDay&{EXPAND}"
        );
        assert!(allows("GET", &full).unwrap().starts_with("second read"));
        assert!(allows("GET", &format!("{USER}?$select=id,userPrincipalName")).is_ok());
        assert!(allows("GET", "/v1.0/users/user1@contoso.example?$select=id,userPrincipalName").is_ok());
    }

    #[test]
    fn anything_else_is_refused() {
        let event = format!("{USER}/calendar/events/AAMk");
        let query = |target: String| {
            let refused = allows("GET", &target).unwrap_err();
            assert!(matches!(refused, Refused::Query(_)), "{target}: {refused}");
        };
        query(event.clone());
        query(format!("{event}?{EXPAND}"));
        query(format!("{event}?{HEAD},body&{EXPAND}"));
        query(format!("{event}?{HEAD}&$expand=attachments"));
        query(format!("{event}?{HEAD}&{EXPAND}&$top=1"));
        query(format!("{event}?$select=*&{EXPAND}"));
        query(format!("{USER}?$select=id,userPrincipalName,mail"));
        query(USER.to_owned());
        for target in [
            format!("{event}/attachments"),
            format!("{event}/$value"),
            format!(
                "{USER}/calendarView/delta?startDateTime=2026-11-01T00:00:00Z&endDateTime=2026-12-01T00:00:00Z"
            ),
            format!("{USER}/events/AAMk?{HEAD}&{EXPAND}"),
            format!("{USER}/messages?$select=id"),
            "/beta/subscriptions".to_owned(),
            "/v1.0/$batch".to_owned(),
            String::new(),
        ] {
            assert_eq!(allows("GET", &target).unwrap_err(), Refused::Path, "{target}");
        }
        assert_eq!(allows("DELETE", &event).unwrap_err(), Refused::Path);
        assert_eq!(
            allows("GET", &format!("{USER}?$select=id&$select=mail")).unwrap_err(),
            Refused::Option("$select".to_owned())
        );
    }

    #[test]
    fn an_option_in_disguise_is_refused() {
        let event = format!("{USER}/calendar/events/AAMk");
        for query in [
            format!("{HEAD}%2Cbody&{EXPAND}"),
            format!("%24select=body&{EXPAND}"),
            format!("{HEAD}&{EXPAND}&x"),
        ] {
            assert!(allows("GET", &format!("{event}?{query}")).is_err(), "{query}");
        }
    }

    #[test]
    fn a_list_that_allows_nothing_or_has_unknown_placeholders_is_refused() {
        assert!(matches!(AllowList::read("[]"), Err(ListError::Empty)));
        let unknown = "[{what: x, method: GET, path: /<anything>}]";
        assert!(matches!(AllowList::read(unknown), Err(ListError::Pattern { .. })));
        assert!(matches!(
            AllowList::read("[{what: x, method: GET, path: /, select: y}]"),
            Err(ListError::Yaml(_))
        ));
    }
}
