//! Graph's paths: which of them exist here.

mod parse;

use http::Method;

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
    /// The occurrences of a series.
    Instances {
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
    /// URL template, as counted.
    pub(crate) fn template(&self) -> &'static str {
        match self {
            Self::Users => "/users",
            Self::User(_) => "/users/{id}",
            Self::Events { calendar: false, .. } => "/users/{id}/events",
            Self::Events { calendar: true, .. } => "/users/{id}/calendar/events",
            Self::Event { calendar: false, .. } => "/users/{id}/events/{id}",
            Self::Event { calendar: true, .. } => "/users/{id}/calendar/events/{id}",
            Self::Instances { calendar: false, .. } => "/users/{id}/events/{id}/instances",
            Self::Instances { calendar: true, .. } => "/users/{id}/calendar/events/{id}/instances",
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
            | Self::Instances { .. }
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

    /// Whether Graph has that method here, and the simulator does not.
    pub(crate) fn lacks(&self, method: &Method) -> bool {
        match self {
            Self::Users => method == Method::POST,
            Self::User(_) | Self::Group(_) => method == Method::PATCH || method == Method::DELETE,
            Self::MembersRef { .. } => method == Method::GET || method == Method::PUT,
            _ => false,
        }
    }

    /// Whether a read of this could have been narrowed by `$select`.
    pub(crate) fn selectable(&self, method: &Method) -> bool {
        method == Method::GET
            && !matches!(
                self,
                Self::Subscriptions
                    | Self::Subscription(_)
                    | Self::CalendarViewDelta { .. }
                    | Self::MembersRef { .. }
            )
    }

    /// Whether this is in somebody's calendar.
    pub(crate) fn is_event(&self) -> bool {
        matches!(
            self,
            Self::Events { .. }
                | Self::Event { .. }
                | Self::Instances { .. }
                | Self::CalendarView { .. }
                | Self::CalendarViewDelta { .. }
        )
    }

    /// Whether a read of this cannot be narrowed and holds whole events (graph-facts §7).
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self, Self::CalendarViewDelta { .. })
    }
}
