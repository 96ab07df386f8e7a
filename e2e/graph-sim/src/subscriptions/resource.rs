//! What a subscription is on (graph-facts §1.2).

use std::sync::Arc;

use http::StatusCode;

use crate::{app::lock, errors::GraphError, graph::Call, world::User};

/// What Graph can be subscribed to beside one user's default calendar: first segments of resources.
const COLLECTIONS: &[&str] = &[
    "chats",
    "communications",
    "copilot",
    "drives",
    "identity",
    "print",
    "security",
    "sites",
    "solutions",
    "teams",
    "teamwork",
];
/// The same below a user.
const OF_A_USER: &[&str] = &[
    "calendar",
    "calendars",
    "chats",
    "contactfolders",
    "contacts",
    "drive",
    "mailfolders",
    "messages",
    "onlinemeetings",
    "presence",
    "teamwork",
    "todo",
];
/// The same below a group.
const OF_A_GROUP: &[&str] = &["conversations", "drive", "members", "owners", "threads"];

/// What the resource is, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
enum Resource<'a> {
    /// The default calendar of the user with that id or principal name.
    Events(&'a str),
    /// Graph refuses it although it looks like events.
    GroupEvents,
    /// Graph has it, or may have it; not simulated.
    Elsewhere,
    Unknown,
}

fn parse(path: &str) -> Resource<'_> {
    let segments: Vec<&str> = path.split('/').collect();
    // `name('key')` is `name/key`.
    let name_of = |segment: &str| segment.split_once('(').map_or(segment, |(name, _)| name).to_owned();
    let is = |segment: &str, name: &str| segment.eq_ignore_ascii_case(name);
    let among = |segment: &str, names: &[&str]| names.iter().any(|name| is(&name_of(segment), name));
    match segments.as_slice() {
        all if all.contains(&"") => Resource::Unknown,
        [users, key, events] if is(users, "users") && is(events, "events") => Resource::Events(key),
        [groups, _, events] if is(groups, "groups") && is(events, "events") => Resource::GroupEvents,
        [keyed, ..] if keyed.contains('(') && among(keyed, &["users", "groups"]) => Resource::Elsewhere,
        // The directory: all of them, or one.
        [all] | [all, _] if among(all, &["users", "groups"]) => Resource::Elsewhere,
        [users, _, below, ..] if is(users, "users") && among(below, OF_A_USER) => Resource::Elsewhere,
        [groups, _, below, ..] if is(groups, "groups") && among(below, OF_A_GROUP) => Resource::Elsewhere,
        [first, ..] if among(first, COLLECTIONS) => Resource::Elsewhere,
        _ => Resource::Unknown,
    }
}

/// Whose default calendar the resource names (graph-facts §1.2, §1.6).
pub(super) fn user_of(call: &Call<'_>, resource: &str) -> Result<Arc<User>, GraphError> {
    let bad = |reason: &str| GraphError::extension(StatusCode::BAD_REQUEST, "Create", "BadRequest", reason);
    if resource.contains('?') {
        return Err(GraphError::not_simulated("query options in a subscription's resource"));
    }
    let key = match parse(resource.strip_prefix('/').unwrap_or(resource)) {
        Resource::Events(key) => key,
        Resource::GroupEvents => {
            return Err(bad(
                "The specified object was not found in the store., The process failed to get the correct properties.",
            ));
        }
        Resource::Elsewhere => {
            return Err(GraphError::not_simulated(&format!("subscriptions to '{resource}'")));
        }
        Resource::Unknown => {
            return Err(bad(&format!("The value '{resource}' of parameter 'Resource' is not supported.")));
        }
    };
    let not_found =
        |reason: String| GraphError::extension(StatusCode::NOT_FOUND, "Create", "NotFound", &reason);
    let user = lock(&call.app.directory).user_named(call.caller.tenant, key);
    let user = user.ok_or_else(|| not_found(format!("The requested user '{key}' is invalid.")))?;
    let (app, caller) = (call.app, &call.caller);
    if !app.policies.allow(caller.tenant, caller.client_id, user.id, app.clock.now()) {
        return Err(GraphError::extension(StatusCode::FORBIDDEN, "Create", "Forbidden", "Forbidden"));
    }
    if user.mailbox { Ok(user) } else { Err(not_found("Not Found".to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_graph_has_and_what_it_refuses_are_told_apart() {
        assert_eq!(parse("Users/a@x/Events"), Resource::Events("a@x"));
        assert_eq!(parse("groups/1/events"), Resource::GroupEvents);
        for elsewhere in [
            "users/1/calendars/2/events",
            "users/1/calendar/events",
            "users/1/messages",
            "users/1/mailFolders('inbox')/messages",
            "users/1/contacts",
            "groups/1/members",
            "groups",
            "users",
            "users/1",
            "chats/getAllMessages",
            "users('1')/events",
            "communications/presences/1",
        ] {
            assert_eq!(parse(elsewhere), Resource::Elsewhere, "{elsewhere}");
        }
        for unknown in ["", "users/1/events/AAMk", "users//events", "users/1/colours", "nothing", "me/events"]
        {
            assert_eq!(parse(unknown), Resource::Unknown, "{unknown}");
        }
    }
}
