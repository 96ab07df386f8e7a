//! From segments to a resource. What Graph has and the simulator lacks is told from what Graph does not have.

use super::{Cast, Route};
use crate::{
    errors::GraphError,
    metadata::{
        CALENDAR_MEMBERS, EVENT_CALLS, EVENT_LINKS, EVENT_PROPERTIES, EVENTS_CALLS, GROUP_CALLS, GROUP_LINKS,
        GROUP_PROPERTIES, MEMBER_TYPES, Names, OBJECTS_CALLS, ROOTS, USER_CALLS, USER_LINKS, USER_PROPERTIES,
        beyond, is_known,
    },
    odata::guid,
};

const USER: &[Names] = &[USER_PROPERTIES, USER_LINKS, USER_CALLS];
const GROUP: &[Names] = &[GROUP_PROPERTIES, GROUP_LINKS, GROUP_CALLS];
const EVENT: &[Names] = &[EVENT_PROPERTIES, EVENT_LINKS, EVENT_CALLS];

impl Route {
    /// Segments after the version.
    pub(crate) fn parse(segments: &[String]) -> Result<Self, GraphError> {
        let all: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (first, rest) =
            all.split_first().ok_or_else(|| GraphError::not_simulated("the service document"))?;
        match first.to_ascii_lowercase().as_str() {
            "users" => users(rest),
            "groups" => groups(rest),
            "subscriptions" => subscriptions(rest),
            "me" => {
                Err(GraphError::bad_request("/me request is only valid with delegated authentication flow."))
            }
            "$batch" => Err(GraphError::bad_request("A batch request must not contain another batch.")),
            lower if lower.starts_with("users(") || lower.starts_with("groups(") => {
                Err(GraphError::not_simulated("keys by the name of a property"))
            }
            _ => Err(beyond(first, &[ROOTS])),
        }
    }
}

fn is(segment: &str, name: &str) -> bool {
    segment.eq_ignore_ascii_case(name)
}

fn users(rest: &[&str]) -> Result<Route, GraphError> {
    let Some((user, rest)) = rest.split_first() else { return Ok(Route::Users) };
    if is_known(user, &[OBJECTS_CALLS]) {
        return Err(GraphError::not_simulated(&format!("/users/{user}")));
    }
    let user = (*user).to_owned();
    let (calendar, rest) = match rest.split_first() {
        Some((first, rest)) if is(first, "calendar") => (true, rest),
        _ => (false, rest),
    };
    match rest {
        [] if calendar => Err(GraphError::not_simulated("the calendar itself")),
        [] => Ok(Route::User(user)),
        [events] if is(events, "events") => Ok(Route::Events { user, calendar }),
        [events, id, ..] if is(events, "events") && is_known(id, &[EVENTS_CALLS]) => {
            Err(GraphError::not_simulated(&format!("events/{id}")))
        }
        [events, id] if is(events, "events") => Ok(Route::Event { user, id: (*id).to_owned(), calendar }),
        [events, id, instances] if is(events, "events") && is(instances, "instances") => {
            Ok(Route::Instances { user, id: (*id).to_owned(), calendar })
        }
        [events, _, next, ..] if is(events, "events") => Err(beyond(next, EVENT)),
        [view] if is(view, "calendarView") => Ok(Route::CalendarView { user, calendar }),
        [view, delta] if is(view, "calendarView") && is_delta(delta) => {
            Ok(Route::CalendarViewDelta { user, calendar })
        }
        [view, ..] if is(view, "calendarView") => {
            Err(GraphError::not_simulated("a single event of calendarView"))
        }
        [next, ..] if calendar => Err(beyond(next, &[CALENDAR_MEMBERS])),
        [next, ..] => Err(beyond(next, USER)),
    }
}

/// The function, with or without its namespace and brackets.
fn is_delta(segment: &str) -> bool {
    let name = segment.strip_suffix("()").unwrap_or(segment);
    is(name, "delta") || is(name, "microsoft.graph.delta")
}

fn groups(rest: &[&str]) -> Result<Route, GraphError> {
    let Some((group, rest)) = rest.split_first() else {
        return Err(GraphError::not_simulated("the list of groups"));
    };
    if is_known(group, &[OBJECTS_CALLS]) {
        return Err(GraphError::not_simulated(&format!("/groups/{group}")));
    }
    let group = (*group).to_owned();
    match rest {
        [] => Ok(Route::Group(group)),
        [members] if is(members, "members") => {
            Ok(Route::Members { group, transitive: false, cast: Cast::None })
        }
        [members] if is(members, "transitiveMembers") => {
            Ok(Route::Members { group, transitive: true, cast: Cast::None })
        }
        [members, last] if is(members, "members") && is(last, "$ref") => Ok(Route::MembersRef { group }),
        [members, member, last] if is(members, "members") && is(last, "$ref") => {
            Ok(Route::MemberRef { group, member: (*member).to_owned() })
        }
        [members, cast] if is(members, "members") || is(members, "transitiveMembers") => {
            let transitive = is(members, "transitiveMembers");
            Ok(Route::Members { group, transitive, cast: cast_of(cast)? })
        }
        [members, _, next, ..] if is(members, "members") || is(members, "transitiveMembers") => {
            Err(beyond(next, &[USER, GROUP, &[OBJECTS_CALLS]].concat()))
        }
        [next, ..] => Err(beyond(next, GROUP)),
    }
}

/// Microsoft's libraries write `graph.user`, the documentation `microsoft.graph.user`.
fn cast_of(segment: &str) -> Result<Cast, GraphError> {
    let lower = segment.to_ascii_lowercase();
    let Some(name) = lower.strip_prefix("microsoft.graph.").or_else(|| lower.strip_prefix("graph.")) else {
        return Err(match guid(segment) {
            Some(_) => GraphError::not_simulated("a single member"),
            None => beyond(segment, &[OBJECTS_CALLS]),
        });
    };
    match name {
        "user" => Ok(Cast::User),
        "group" => Ok(Cast::Group),
        _ if is_known(name, &[MEMBER_TYPES, OBJECTS_CALLS]) => Err(GraphError::not_simulated(segment)),
        // graph-facts §10: unsupported cast type.
        _ => Err(GraphError::unsupported_query(
            "The specified type cast is not supported for this collection.",
        )),
    }
}

fn subscriptions(rest: &[&str]) -> Result<Route, GraphError> {
    match rest {
        [] => Ok(Route::Subscriptions),
        [id] => Ok(Route::Subscription((*id).to_owned())),
        [id, last] if is(last, "reauthorize") || is(last, "microsoft.graph.reauthorize") => {
            Ok(Route::Reauthorize((*id).to_owned()))
        }
        [_, next, ..] => Err(GraphError::unknown_segment(next)),
    }
}
