//! How lines name a person.

use std::collections::BTreeSet;

use url::Url;

/// Whom the report is about.
#[derive(Debug)]
pub(super) struct Person {
    /// Object ids in lower case.
    pub(super) ids: BTreeSet<String>,
    /// Ids and names, in lower case, as they stand in URLs.
    called: BTreeSet<String>,
}

impl Person {
    pub(super) fn new(
        ids: impl IntoIterator<Item = String>,
        names: impl IntoIterator<Item = String>,
    ) -> Self {
        let ids: BTreeSet<String> = ids.into_iter().map(|id| id.to_lowercase()).collect();
        let names = names.into_iter().map(|name| name.to_lowercase());
        Self { called: ids.iter().cloned().chain(names).collect(), ids }
    }

    /// Whether a URL is of this person: `…/users/{id or name}` and whatever is below.
    pub(super) fn is_in(&self, url: &Url) -> bool {
        let parts: Vec<String> =
            url.path_segments().into_iter().flatten().map(|part| decoded(part).to_lowercase()).collect();
        parts
            .windows(2)
            .any(|pair| matches!(pair, [users, who] if users == "users" && self.called.contains(who)))
    }

    /// Whether an object id is this person's.
    pub(super) fn has(&self, id: &str) -> bool {
        self.ids.contains(&id.to_lowercase())
    }
}

/// Without its percent signs: a query of one name tells the same rules.
fn decoded(part: &str) -> String {
    // Plus means a space in a query and itself in a path.
    let query = format!("x={}", part.replace('+', "%2B"));
    url::form_urlencoded::parse(query.as_bytes())
        .map(|(_, value)| value.into_owned())
        .next()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_of_whom_it_names_after_users() {
        let person = Person::new(
            ["2189C720-90d5-44ff-818b-fe585706ee90".to_owned()],
            ["o'Neil+1#ext#@contoso.example".to_owned()],
        );
        let at =
            |path: &str| person.is_in(&Url::parse(&format!("https://graph.example/v1.0/{path}")).unwrap());
        assert!(at("users/2189c720-90d5-44ff-818b-fe585706ee90/calendar/events/AAMk%3D?$select=id"));
        assert!(at("users/o%27neil+1%23ext%23@contoso.example?$select=id"));
        assert!(!at("users/2189c720-90d5-44ff-818b-fe585706ee91/calendar/events"));
        assert!(!at("groups/2189c720-90d5-44ff-818b-fe585706ee90"));
        assert!(!at("users?$filter=2189c720-90d5-44ff-818b-fe585706ee90"));
        assert!(!at("users"));
    }
}
