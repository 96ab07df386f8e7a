//! What a request is for, as far as what can go wrong with it depends on that.

use http::Method;

/// By whom the request would be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The token endpoint.
    Token,
    /// The rest of the login host.
    Login,
    /// Subscriptions; the operation as errors name it.
    Subscriptions(&'static str),
    /// Somebody's mailbox.
    Mailbox,
    /// Whatever else Graph has.
    Graph,
}

impl Target {
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        let lower = path.to_ascii_lowercase();
        // `users('id')` is `users/id`.
        let lower = lower.replace("('", "/").replace("')", "");
        let segments: Vec<&str> = lower.split('/').filter(|segment| !segment.is_empty()).collect();
        match segments.as_slice() {
            ["v1.0" | "beta", "subscriptions", rest @ ..] => Self::Subscriptions(operation(method, rest)),
            ["v1.0" | "beta", "users", _, _, ..] => Self::Mailbox,
            ["v1.0" | "beta", ..] => Self::Graph,
            [_, "oauth2", "v2.0", "token"] => Self::Token,
            _ => Self::Login,
        }
    }
}

fn operation(method: &Method, below: &[&str]) -> &'static str {
    match (method, below) {
        (&Method::POST, [_, ..]) => "Reauthorize",
        (&Method::POST, []) => "Create",
        (&Method::PATCH, _) => "Update",
        (&Method::DELETE, _) => "Delete",
        _ => "Read",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        for (method, path, target) in [
            (Method::POST, "/v1.0/subscriptions", Target::Subscriptions("Create")),
            (Method::PATCH, "/v1.0/Subscriptions/1", Target::Subscriptions("Update")),
            (Method::DELETE, "/v1.0/subscriptions('1')", Target::Subscriptions("Delete")),
            (Method::GET, "/v1.0/subscriptions/1", Target::Subscriptions("Read")),
            (Method::POST, "/v1.0/subscriptions/1/reauthorize", Target::Subscriptions("Reauthorize")),
            (Method::GET, "/v1.0/users/1/events", Target::Mailbox),
            (Method::GET, "/v1.0/users('1')/calendarView/delta", Target::Mailbox),
            (Method::GET, "/v1.0/users/1", Target::Graph),
            (Method::GET, "/v1.0/groups/1/transitiveMembers", Target::Graph),
            (Method::POST, "/v1.0/$batch", Target::Graph),
            (Method::POST, "/contoso.example/oauth2/v2.0/token", Target::Token),
            (Method::GET, "/contoso.example/v2.0/.well-known/openid-configuration", Target::Login),
        ] {
            assert_eq!(Target::of(&method, path), target, "{method} {path}");
        }
    }
}
