//! Graph's paths: which of them exist here.

use http::Method;
use uuid::Uuid;

use crate::errors::GraphError;

/// Segment that names a subset of the directory's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cast {
    None,
    User,
    Group,
}

/// A resource of Graph v1.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Users,
    User(String),
    /// The default calendar, by `events` or by `calendar/events`.
    Events {
        user: String,
        calendar: bool,
    },
    Event {
        user: String,
        id: String,
        calendar: bool,
    },
    CalendarView {
        user: String,
        calendar: bool,
    },
    CalendarViewDelta {
        user: String,
        calendar: bool,
    },
    Group(String),
    Members {
        group: String,
        transitive: bool,
        cast: Cast,
    },
    MembersRef {
        group: String,
    },
    MemberRef {
        group: String,
        member: String,
    },
    Subscriptions,
    Subscription(String),
    Reauthorize(String),
}

impl Route {
    /// Segments after the version.
    pub(crate) fn parse(segments: &[String]) -> Result<Self, GraphError> {
        let all: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (first, rest) = all.split_first().ok_or_else(|| GraphError::unknown_segment(""))?;
        match first.to_ascii_lowercase().as_str() {
            "users" => users(rest),
            "groups" => groups(rest),
            "subscriptions" => subscriptions(rest),
            "me" => {
                Err(GraphError::bad_request("/me request is only valid with delegated authentication flow."))
            }
            "$batch" => Err(GraphError::bad_request("A batch request must not contain another batch.")),
            "$metadata" | "directoryobjects" => Err(GraphError::not_simulated(first)),
            _ => Err(GraphError::unknown_segment(first)),
        }
    }

    /// URL template, as counted.
    pub(crate) fn template(&self) -> &'static str {
        match self {
            Self::Users => "/users",
            Self::User(_) => "/users/{id}",
            Self::Events { calendar: false, .. } => "/users/{id}/events",
            Self::Events { calendar: true, .. } => "/users/{id}/calendar/events",
            Self::Event { calendar: false, .. } => "/users/{id}/events/{id}",
            Self::Event { calendar: true, .. } => "/users/{id}/calendar/events/{id}",
            Self::CalendarView { calendar: false, .. } => "/users/{id}/calendarView",
            Self::CalendarView { calendar: true, .. } => "/users/{id}/calendar/calendarView",
            Self::CalendarViewDelta { calendar: false, .. } => "/users/{id}/calendarView/delta",
            Self::CalendarViewDelta { calendar: true, .. } => "/users/{id}/calendar/calendarView/delta",
            Self::Group(_) => "/groups/{id}",
            Self::Members { transitive, cast, .. } => match (transitive, cast) {
                (false, Cast::None) => "/groups/{id}/members",
                (false, Cast::User) => "/groups/{id}/members/microsoft.graph.user",
                (false, Cast::Group) => "/groups/{id}/members/microsoft.graph.group",
                (true, Cast::None) => "/groups/{id}/transitiveMembers",
                (true, Cast::User) => "/groups/{id}/transitiveMembers/microsoft.graph.user",
                (true, Cast::Group) => "/groups/{id}/transitiveMembers/microsoft.graph.group",
            },
            Self::MembersRef { .. } => "/groups/{id}/members/$ref",
            Self::MemberRef { .. } => "/groups/{id}/members/{id}/$ref",
            Self::Subscriptions => "/subscriptions",
            Self::Subscription(_) => "/subscriptions/{id}",
            Self::Reauthorize(_) => "/subscriptions/{id}/reauthorize",
        }
    }

    /// Methods that the resource takes.
    pub(crate) fn allow(&self) -> &'static str {
        match self {
            Self::Users
            | Self::User(_)
            | Self::CalendarView { .. }
            | Self::CalendarViewDelta { .. }
            | Self::Group(_)
            | Self::Members { .. } => "GET",
            Self::Events { .. } | Self::Subscriptions => "GET, POST",
            Self::Event { .. } | Self::Subscription(_) => "GET, PATCH, DELETE",
            Self::MembersRef { .. } | Self::Reauthorize(_) => "POST",
            Self::MemberRef { .. } => "DELETE",
        }
    }

    /// Whether a read of this could have been narrowed by `$select`.
    pub(crate) fn selectable(&self, method: &Method) -> bool {
        method == Method::GET
            && !matches!(self, Self::Subscriptions | Self::Subscription(_) | Self::CalendarViewDelta { .. })
    }

    /// Whether this is in somebody's calendar.
    pub(crate) fn is_event(&self) -> bool {
        matches!(
            self,
            Self::Events { .. }
                | Self::Event { .. }
                | Self::CalendarView { .. }
                | Self::CalendarViewDelta { .. }
        )
    }

    /// Whether a read of this cannot be narrowed and holds whole events (graph-facts §7).
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self, Self::CalendarViewDelta { .. })
    }
}

fn is(segment: &str, name: &str) -> bool {
    segment.eq_ignore_ascii_case(name)
}

fn users(rest: &[&str]) -> Result<Route, GraphError> {
    let Some((user, rest)) = rest.split_first() else { return Ok(Route::Users) };
    let user = (*user).to_owned();
    let (calendar, rest) = match rest.split_first() {
        Some((first, rest)) if is(first, "calendar") => (true, rest),
        _ => (false, rest),
    };
    match rest {
        [] if calendar => Err(GraphError::not_simulated("the calendar itself")),
        [] => Ok(Route::User(user)),
        [events] if is(events, "events") => Ok(Route::Events { user, calendar }),
        [events, id] if is(events, "events") => Ok(Route::Event { user, id: (*id).to_owned(), calendar }),
        [events, _, last, ..] if is(events, "events") => Err(beyond_event(last)),
        [view] if is(view, "calendarView") => Ok(Route::CalendarView { user, calendar }),
        [view, delta] if is(view, "calendarView") && is_delta(delta) => {
            Ok(Route::CalendarViewDelta { user, calendar })
        }
        [view, ..] if is(view, "calendarView") => {
            Err(GraphError::not_simulated("a single event of calendarView"))
        }
        [first, ..] if !calendar && is(first, "calendars") => {
            Err(GraphError::not_simulated("secondary calendars"))
        }
        [first, ..] => Err(GraphError::unknown_segment(first)),
    }
}

/// The function, with or without its namespace and brackets.
fn is_delta(segment: &str) -> bool {
    let name = segment.strip_suffix("()").unwrap_or(segment);
    is(name, "delta") || is(name, "microsoft.graph.delta")
}

fn beyond_event(segment: &str) -> GraphError {
    let known = [
        "instances",
        "attachments",
        "extensions",
        "calendar",
        "exceptionOccurrences",
        "$value",
        "singleValueExtendedProperties",
        "multiValueExtendedProperties",
        "accept",
        "decline",
        "tentativelyAccept",
        "cancel",
        "forward",
        "snoozeReminder",
        "dismissReminder",
    ];
    match known.iter().find(|name| is(segment, name)) {
        Some(name) => GraphError::not_simulated(name),
        None => GraphError::unknown_segment(segment),
    }
}

fn groups(rest: &[&str]) -> Result<Route, GraphError> {
    let Some((group, rest)) = rest.split_first() else {
        return Err(GraphError::not_simulated("the list of groups"));
    };
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
            let cast = cast_of(cast)?;
            Ok(Route::Members { group, transitive, cast })
        }
        [members, _, last, ..] if is(members, "members") || is(members, "transitiveMembers") => {
            Err(GraphError::unknown_segment(last))
        }
        [first, ..] => Err(GraphError::unknown_segment(first)),
    }
}

/// Microsoft's libraries write `graph.user`, the documentation `microsoft.graph.user`.
fn cast_of(segment: &str) -> Result<Cast, GraphError> {
    let lower = segment.to_ascii_lowercase();
    let Some(name) = lower.strip_prefix("microsoft.graph.").or_else(|| lower.strip_prefix("graph.")) else {
        return Err(match Uuid::try_parse(segment) {
            Ok(_) => GraphError::not_simulated("a single member"),
            Err(_) if segment.starts_with('$') => GraphError::not_simulated(segment),
            Err(_) => GraphError::unknown_segment(segment),
        });
    };
    match name {
        "user" => Ok(Cast::User),
        "group" => Ok(Cast::Group),
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
        [_, last, ..] => Err(GraphError::unknown_segment(last)),
    }
}
