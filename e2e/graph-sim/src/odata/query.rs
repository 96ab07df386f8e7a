//! Query options, strictly.

use percent_encoding::percent_decode_str;

use crate::{errors::GraphError, metadata::Names};

/// Parameters whose names ignore case: the documentation of event: delta (event-delta.md) sends them as `startdatetime` too.
const ANY_CASE: [&str; 2] = ["startDateTime", "endDateTime"];

/// Options in the order sent, names and values decoded.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(raw: &str) -> Result<Self, GraphError> {
        let mut options: Vec<(String, String)> = Vec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            let known = ANY_CASE.iter().find(|known| known.eq_ignore_ascii_case(&name));
            let name = known.map_or(name, |known| (*known).to_owned());
            if options.iter().any(|(other, _)| *other == name) {
                return Err(GraphError::bad_request(format!(
                    "Query option '{name}' was specified more than once, but it must be specified at most once."
                )));
            }
            options.push((name, value));
        }
        Ok(Self(options))
    }

    /// Refuses every option that is not among these.
    pub(crate) fn only(&self, allowed: &[&str]) -> Result<(), GraphError> {
        self.only_or(allowed, &[])
    }

    /// The same, where Graph takes further options that are not simulated.
    pub(crate) fn only_or(&self, allowed: &[&str], graphs: &[&str]) -> Result<(), GraphError> {
        match self.0.iter().find(|(name, _)| !allowed.contains(&name.as_str())) {
            Some((name, _)) if graphs.contains(&name.as_str()) || name == "$format" => {
                Err(GraphError::not_simulated(&format!("the query option {name} here")))
            }
            Some((name, _)) => Err(GraphError::option_not_allowed(name)),
            None => Ok(()),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// All options but those, in their order.
    pub(crate) fn without<'a>(&'a self, names: &'a [&str]) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0
            .iter()
            .filter(move |(other, _)| !names.contains(&other.as_str()))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// `true` or `false`; absent is false.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, GraphError> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(GraphError::bad_request(format!(
                "Invalid value '{other}' for {name} query option found. Valid values are 'true' and 'false'."
            ))),
        }
    }
}

fn decode(text: &str) -> Result<String, GraphError> {
    let bad = || {
        GraphError::bad_request("The query specified in the URI is not valid: it is not properly encoded.")
    };
    if text
        .split('%')
        .skip(1)
        .any(|rest| !rest.get(..2).is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit())))
    {
        return Err(bad());
    }
    percent_decode_str(&text.replace('+', " ")).decode_utf8().map(String::from).map_err(|_| bad())
}

/// The properties that `$select` names; `None` without one.
pub(crate) fn select(
    query: &Query,
    type_name: &str,
    known: &[&'static str],
    graphs: &[Names],
) -> Result<Option<Vec<&'static str>>, GraphError> {
    query.get("$select").map(|list| selected(list, type_name, known, graphs)).transpose()
}

/// The properties that a `$select` names. Names are those of `known`; `graphs` are those that Graph has
/// beside them.
pub(super) fn selected(
    list: &str,
    type_name: &str,
    known: &[&'static str],
    graphs: &[Names],
) -> Result<Vec<&'static str>, GraphError> {
    let mut selected = Vec::new();
    for name in list.split(',').map(str::trim) {
        if name.is_empty() {
            return Err(GraphError::bad_request("Parsing OData Select and Expand failed: $select is empty."));
        }
        let Some(property) = known.iter().find(|known| **known == name) else {
            // A path leads into a property; directory extensions are named after their app.
            let first = name.split('/').next().unwrap_or_default();
            let path = first != name && known.contains(&first);
            if name == "*"
                || path
                || graphs.iter().any(|names| names.has(first))
                || name.starts_with("extension_")
            {
                return Err(GraphError::not_simulated(&format!("$select of '{name}'")));
            }
            return Err(GraphError::bad_request(format!(
                "Parsing OData Select and Expand failed: Could not find a property named '{name}' on type 'microsoft.graph.{type_name}'."
            )));
        };
        if !selected.contains(property) {
            selected.push(*property);
        }
    }
    Ok(selected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_decoded_and_unknown_ones_refused() {
        let query = Query::parse("%24select=id%2csubject&$filter=a+eq%20%27b%26c%27").unwrap();
        assert_eq!(query.get("$select"), Some("id,subject"));
        assert_eq!(query.get("$filter"), Some("a eq 'b&c'"));
        assert!(query.only(&["$select", "$filter"]).is_ok());
        assert!(query.only(&["$select"]).unwrap_err().message.contains("'$filter'"));
        for bad in ["$top=1&$top=2", "$top=1&%24top=2", "$filter=%zz", "$filter=%f", "x=%ff"] {
            assert!(Query::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn select_takes_known_names_in_their_case() {
        let known = ["id", "iCalUId"];
        let parse =
            |text: &str| select(&Query::parse(text).unwrap(), "event", &known, &[Names::new("calendar")]);
        assert_eq!(parse("").unwrap(), None);
        assert_eq!(parse("$select=iCalUId, id,id").unwrap(), Some(vec!["iCalUId", "id"]));
        let status = |text: &str| parse(text).unwrap_err().status.as_u16();
        for bad in
            ["$select=", "$select=id,,", "$select=ID", "$select=uid", "$select=uid/x", "$select=Calendar"]
        {
            assert_eq!(status(bad), 400, "{bad}");
        }
        for graphs in ["$select=*", "$select=id/x", "$select=id,calendar", "$select=extension_x_y"] {
            assert_eq!(status(graphs), 501, "{graphs}");
        }
    }
}
