//! Counting what was asked for: bodies and attachments above all.

use http::Method;

use super::{Query, has_whole_exceptions};
use crate::{
    journal::{Journal, Ticket},
    route::Route,
};

/// Fields that must never be asked for.
const FORBIDDEN: [&str; 4] = ["body", "bodyPreview", "uniqueBody", "attachments"];

/// Counts paths that lead to attachments or to the message text.
pub(crate) fn count_path(journal: &Journal, ticket: Ticket, segments: &[String]) {
    if segments.iter().any(|segment| segment.eq_ignore_ascii_case("attachments")) {
        journal.forbidden(ticket, "attachments");
    }
    if segments.last().is_some_and(|segment| segment.eq_ignore_ascii_case("$value")) {
        journal.forbidden(ticket, "body");
    }
}

/// Counts the fields that `$select`, `$expand`, `$filter` and `$orderby` name, and reads without `$select`.
pub(crate) fn count_query(journal: &Journal, ticket: Ticket, route: &Route, method: &Method, query: &Query) {
    for option in ["$select", "$expand", "$filter", "$orderby"] {
        let names = names(query.get(option).unwrap_or_default());
        let asked = |field: &str| names.iter().any(|name| name.eq_ignore_ascii_case(field));
        for field in FORBIDDEN {
            if asked(field) || (option == "$select" && field == "body" && asked("*")) {
                journal.forbidden(ticket, field);
            }
        }
        if asked("hasAttachments") {
            journal.has_attachments();
        }
    }
    if route.is_whole() && method == Method::GET {
        journal.forbidden(ticket, "body");
    }
    // Exceptions that come along with a series are events too.
    let along = route.is_event() && query.get("$expand").is_some_and(has_whole_exceptions);
    if route.selectable(method) && (query.get("$select").is_none() || along) {
        journal.without_select(ticket, route.template());
        if route.is_event() {
            journal.forbidden(ticket, "body");
        }
    }
}

/// The names in an expression, without its quoted texts.
fn names(expression: &str) -> Vec<&str> {
    expression
        .split('\'')
        .step_by(2)
        .flat_map(|part| part.split(|c: char| !(c.is_ascii_alphanumeric() || c == '*')))
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Arrival;

    fn counted(route: &Route, text: &str) -> u64 {
        let journal = Journal::default();
        let arrival = Arrival {
            time: jiff::Timestamp::UNIX_EPOCH,
            method: &Method::GET,
            path: "/",
            client_request_id: None,
            user_agent: None,
        };
        let ticket = journal.arrived(&arrival);
        count_query(&journal, ticket, route, &Method::GET, &Query::parse(text).unwrap());
        journal.counters()["forbiddenFields"].as_u64().unwrap()
    }

    #[test]
    fn bodies_and_attachments_are_counted_wherever_they_are_named() {
        let event = Route::Event { user: "u".to_owned(), id: "e".to_owned(), calendar: true };
        for (text, expected) in [
            ("$select=id,subject", 0),
            ("$select=id,Body", 1),
            ("$select=*", 1),
            ("$select=id,body,bodyPreview,uniqueBody", 3),
            ("$select=id&$expand=attachments", 1),
            ("$select=id&$expand=attachments($select=name)", 1),
            ("$select=id&$filter=body/content eq 'x'", 1),
            ("$select=id&$expand=singleValueExtendedProperties($filter=id eq 'String {x} Name body')", 0),
            ("$select=id&$expand=exceptionOccurrences", 1),
            ("$select=id&$expand=exceptionOccurrences($select=id)", 0),
            ("$select=id&$expand=exceptionOccurrences($select=id,body)", 1),
            ("$select=hasAttachments", 0),
            ("", 1),
        ] {
            assert_eq!(counted(&event, text), expected, "{text}");
        }
        assert_eq!(counted(&Route::User("u".to_owned()), ""), 0);
    }
}
