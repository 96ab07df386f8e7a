//! The `resource` of a change notification: which event of whom.
//!
//! Graph writes it in several styles: `Users/{id}/Events/{id}`, `users('{id}')/events('{id}')` and
//! `users/{id}@{tenant}/events/{id}`. Names are compared without regard to letter case, ids with.

use roomkeeper_graph::{EventId, UserId};
use uuid::Uuid;

/// One event in one calendar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) user: UserId,
    /// Only the third style has it.
    pub(super) tenant: Option<Uuid>,
    pub(super) event: EventId,
}

pub(super) fn parse(path: &str) -> Option<Resource> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let (user, rest) = element(path, "users")?;
    let rest = rest.strip_prefix('/')?;
    let rest = strip_name(rest, "calendar").and_then(|rest| rest.strip_prefix('/')).unwrap_or(rest);
    let (event, rest) = element(rest, "events")?;
    if !rest.is_empty() {
        return None;
    }
    let (user, tenant) = match user.split_once('@') {
        Some((user, tenant)) => (user, Some(guid(tenant)?)),
        None => (user, None),
    };
    Some(Resource { user: UserId::parse(user).ok()?, tenant, event: EventId::parse(event).ok()? })
}

/// A GUID with hyphens, in either letter case.
pub(super) fn guid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten()
}

/// `name/{id}` or `name('{id}')`: the id, and what follows it.
fn element<'a>(path: &'a str, name: &str) -> Option<(&'a str, &'a str)> {
    let rest = strip_name(path, name)?;
    if let Some(quoted) = rest.strip_prefix("('") {
        return quoted.split_once("')");
    }
    let rest = rest.strip_prefix('/')?;
    Some(rest.find('/').map_or((rest, ""), |end| rest.split_at(end)))
}

fn strip_name<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let (head, rest) = path.split_at_checked(name.len())?;
    head.eq_ignore_ascii_case(name).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const USER: &str = "2189c720-90d5-44ff-818b-fe585706ee90";
    const TENANT: &str = "7f1d0cb7-93b9-405a-8dad-c21703b7af18";
    const EVENT: &str = "AAMkAD_x-Y=";

    #[test]
    fn all_styles_mean_the_same() {
        let plain = parse(&format!("Users/{USER}/Events/{EVENT}")).unwrap();
        assert_eq!((plain.user.as_str(), plain.event.as_str(), plain.tenant), (USER, EVENT, None));
        for style in [
            format!("users/{USER}/events/{EVENT}"),
            format!("/USERS/{}/EVENTS/{EVENT}", USER.to_uppercase()),
            format!("users('{USER}')/events('{EVENT}')"),
            format!("users('{USER}')/events/{EVENT}"),
            format!("Users/{USER}/Calendar/Events/{EVENT}"),
        ] {
            assert_eq!(parse(&style).as_ref(), Some(&plain), "{style}");
        }
        let with_tenant = parse(&format!("users/{USER}@{TENANT}/events/{EVENT}")).unwrap();
        assert_eq!(with_tenant.tenant, guid(TENANT));
        assert_eq!(with_tenant.user, plain.user);
    }

    #[test]
    fn anything_else_is_refused() {
        for path in [
            String::new(),
            "Users".to_owned(),
            format!("Users/{USER}"),
            format!("Users/{USER}/Events"),
            format!("Users/{USER}/Events/"),
            format!("Users/{USER}/Events/{EVENT}/attachments/x"),
            format!("Users/{USER}/Messages/{EVENT}"),
            format!("Users/someone@contoso.example/Events/{EVENT}"),
            format!("Users/{USER}/Events/../../groups"),
            format!("Users/{USER}/Events/{EVENT}?$select=body"),
            format!("users('{USER}'/events('{EVENT}')"),
            format!("me/events/{EVENT}"),
        ] {
            assert_eq!(parse(&path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,80}") {
            let _ = parse(&text);
            let _ = parse(&format!("users/{text}"));
        }
    }
}
