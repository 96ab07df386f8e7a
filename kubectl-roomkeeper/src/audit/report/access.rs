//! The lines that tell of a person, in words.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use roomkeeper_graph::{
    Purpose,
    audit::chain::{File, FileKind, Line, decode, split},
};
use serde::Serialize;
use serde_json::{Map, Value};
use url::Url;

use super::{Answer, Person};
use crate::audit::words;

/// One line about the person.
#[derive(Debug, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Access {
    pub(super) time: Timestamp,
    /// Which component: its pod's name with an id of its volume.
    pub(super) writer: String,
    pub(super) scope: String,
    /// Number of the line in the writer's log of the scope.
    pub(super) line: u64,
    /// Kind of the entry, such as `call` or `consentGranted`.
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// Purpose as it stands in the log; absent where nothing was called.
    pub(super) purpose: Option<String>,
    /// What for, in words.
    pub(super) what: String,
    /// Fields that were asked for.
    pub(super) fields: Vec<String>,
    pub(super) caused_by: String,
    pub(super) method: Option<String>,
    pub(super) url: Option<String>,
    /// By this id Microsoft's own logs know the call.
    pub(super) client_request_id: Option<String>,
    /// HTTP status of the answer, where the log has it.
    pub(super) status: Option<u64>,
    /// By this id Graph knows its answer.
    pub(super) request_id: Option<String>,
}

/// Finds the lines about a person, in the order of their times.
pub(super) fn find(files: &[File], person: &Person, since: Option<Timestamp>) -> Answer {
    let (mut lines, mut not_read) = (Vec::new(), Vec::new());
    for file in files.iter().filter(|file| file.kind() == FileKind::Part) {
        let (whole, rest) = split(&file.bytes);
        for (place, bytes) in (1..).zip(whole) {
            match decode(bytes) {
                Ok(line) => lines.push(line),
                Err(_) => not_read.push(format!("{}:{place}", file.name)),
            }
        }
        if !rest.is_empty() {
            not_read.push(format!("{}: its end", file.name));
        }
    }
    lines.sort_by(|a, b| order(a).cmp(&order(b)));
    lines.dedup();
    let subscriptions = subscriptions(&lines, person);
    let outcomes = outcomes(&lines);
    let accesses = lines
        .iter()
        .filter(|line| since.is_none_or(|since| line.time >= since))
        .filter(|line| is_about(line, person, &subscriptions))
        .map(|line| Access::new(line, &outcomes))
        .collect();
    Answer { user_ids: person.ids.iter().cloned().collect(), since, accesses, not_read }
}

fn order(line: &Line) -> (Timestamp, &str, &str, u64) {
    (line.time, &line.scope, &line.writer, line.number)
}

fn text<'a>(entry: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    entry.get(name).and_then(Value::as_str)
}

fn url(entry: &Map<String, Value>) -> Option<Url> {
    Url::parse(text(entry, "url")?).ok()
}

/// Whether the entry itself names the person.
fn names(entry: &Map<String, Value>, person: &Person) -> bool {
    text(entry, "userId").is_some_and(|id| person.has(id)) || url(entry).is_some_and(|url| person.is_in(&url))
}

/// The person's CalendarSubscriptions with their scopes. A call about a Graph subscription names in its URL no user; what caused
/// it does.
fn subscriptions<'a>(lines: &'a [Line], person: &Person) -> BTreeSet<(&'a str, &'a str)> {
    lines
        .iter()
        .filter(|line| names(&line.entry, person))
        .filter_map(|line| Some((line.scope.as_str(), text(&line.entry, "causedBy")?)))
        .filter(|(_, cause)| cause.starts_with("CalendarSubscription/"))
        .collect()
}

fn is_about(line: &Line, person: &Person, subscriptions: &BTreeSet<(&str, &str)>) -> bool {
    // Outcomes are told with their calls.
    let is_outcome = text(&line.entry, "type") == Some("outcome");
    let caused = text(&line.entry, "causedBy")
        .is_some_and(|cause| subscriptions.contains(&(line.scope.as_str(), cause)))
        // What else the same object caused names its user where it is about one.
        && url(&line.entry).is_none_or(|url| url.path().contains("/subscriptions"));
    !is_outcome && (names(&line.entry, person) || caused)
}

/// The outcome of each call, by scope, writer, client-request-id and attempt.
type Outcomes<'a> = BTreeMap<(&'a str, &'a str, &'a str, u64), &'a Map<String, Value>>;

fn outcomes(lines: &[Line]) -> Outcomes<'_> {
    let outcomes = lines.iter().filter(|line| text(&line.entry, "type") == Some("outcome"));
    outcomes.filter_map(|line| Some((call(line)?, &line.entry))).collect()
}

fn call(line: &Line) -> Option<(&str, &str, &str, u64)> {
    let attempt = line.entry.get("attempt").and_then(Value::as_u64).unwrap_or(1);
    Some((&line.scope, &line.writer, text(&line.entry, "clientRequestId")?, attempt))
}

impl Access {
    fn new(line: &Line, outcomes: &Outcomes<'_>) -> Self {
        let entry = &line.entry;
        let owned = |name: &str| text(entry, name).map(str::to_owned);
        let kind = owned("type").unwrap_or_default();
        let purpose = entry.get("purpose").cloned();
        let what = match (kind.as_str(), purpose.and_then(|one| serde_json::from_value::<Purpose>(one).ok()))
        {
            (_, Some(purpose)) => words::purpose(purpose).to_owned(),
            ("notification", _) => "Graph told of a change to an event".to_owned(),
            ("consentGranted", _) => "the user consented".to_owned(),
            ("consentWithdrawn", _) => "the consent was withdrawn".to_owned(),
            ("note", _) => owned("text").unwrap_or_default(),
            // A later version's kinds and purposes, by their own names.
            (other, _) => owned("purpose").unwrap_or_else(|| other.to_owned()),
        };
        let outcome = call(line).and_then(|call| outcomes.get(&call));
        let consent = owned("consent").map(|name| format!("ConsentRecord/{name}"));
        Self {
            time: line.time,
            writer: line.writer.clone(),
            scope: line.scope.clone(),
            line: line.number,
            purpose: owned("purpose"),
            what,
            fields: url(entry).map(|url| fields(&url)).unwrap_or_default(),
            caused_by: owned("causedBy").or(consent).unwrap_or_default(),
            method: owned("method"),
            url: owned("url"),
            client_request_id: owned("clientRequestId"),
            status: outcome.and_then(|outcome| outcome.get("status")?.as_u64()),
            request_id: outcome.and_then(|outcome| text(outcome, "requestId")).map(str::to_owned),
            kind,
        }
    }
}

/// What `$select` and `$expand` of a URL ask for.
fn fields(url: &Url) -> Vec<String> {
    let mut fields = Vec::new();
    for (name, value) in url.query_pairs() {
        match name.as_ref() {
            "$select" => fields.extend(value.split(',').map(str::to_owned)),
            "$expand" => fields.push(expanded(&value)),
            _ => {}
        }
    }
    fields
}

/// An expanded property by the name it has, as `singleValueExtendedProperties(cecp-…)`.
fn expanded(value: &str) -> String {
    let property =
        value.split_once(" Name ").and_then(|(_, rest)| rest.split_once('\'')).map(|(name, _)| name);
    match (value.split_once('('), property) {
        (Some((member, _)), Some(property)) => format!("{member}({property})"),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "2189c720-90d5-44ff-818b-fe585706ee90";

    fn line(number: u64, entry: &str) -> String {
        let zeros = "0".repeat(64);
        format!(
            r#"{{"number":{number},"time":"2026-11-23T10:00:0{number}Z","writer":"w","scope":"a/b","previous":"{zeros}","entry":{entry}}}"#
        )
    }

    fn told(lines: &[String]) -> Answer {
        let bytes = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>().into_bytes();
        let person = Person::new([USER.to_owned()], []);
        find(&[File { name: "1.jsonl".to_owned(), bytes }], &person, None)
    }

    #[test]
    fn a_call_is_told_with_its_outcome() {
        let call = |attempt: u64| {
            format!(
                r#"{{"type":"call","purpose":"eventFullRead","url":"https://graph.example/v1.0/users/{USER}/calendar/events/x?$select=id","causedBy":"x","clientRequestId":"c","attempt":{attempt}}}"#
            )
        };
        let outcome = |attempt: u64, status: u64| {
            format!(
                r#"{{"type":"outcome","clientRequestId":"c","attempt":{attempt},"status":{status},"requestId":"r"}}"#
            )
        };
        let lines =
            [line(1, &call(1)), line(2, &outcome(1, 401)), line(3, &call(2)), line(4, &outcome(2, 200))];
        let answer = told(&lines);
        let statuses: Vec<_> = answer.accesses.iter().map(|one| (one.line, one.status)).collect();
        assert_eq!(statuses, [(1, Some(401)), (3, Some(200))]);
        assert_eq!(answer.accesses[0].request_id.as_deref(), Some("r"));
    }

    #[test]
    fn what_a_later_version_enters_is_told_by_its_own_name() {
        let entry = format!(r#"{{"type":"eventMoved","userId":"{}"}}"#, USER.to_uppercase());
        assert_eq!(told(&[line(1, &entry)]).accesses[0].what, "eventMoved");
        let entry = format!(
            r#"{{"type":"call","purpose":"moveEvent","url":"https://graph.example/v1.0/users/{USER}"}}"#
        );
        assert_eq!(told(&[line(1, &entry)]).accesses[0].what, "moveEvent");
    }

    #[test]
    fn a_line_that_stands_twice_is_told_once() {
        let entry = format!(r#"{{"type":"consentGranted","userId":"{USER}"}}"#);
        let answer = told(&[line(1, &entry), line(1, &entry)]);
        assert_eq!((answer.accesses.len(), answer.not_read.len()), (1, 0));
    }
}
