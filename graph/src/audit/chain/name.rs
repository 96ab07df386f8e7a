//! Which log an entry belongs to, and the name of its folder.

use std::fmt;

/// Name of the log for entries that belong to no scope. It has no slash, so no scope can be called that.
pub const SYSTEM: &str = "system";

/// The scope that a log is of: `namespace/name` of an `AccessScope`, or [`SYSTEM`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogName(String);

impl LogName {
    /// The log for entries of this scope; the empty scope is the system's. `None` if it is no `namespace/name`.
    pub fn of_scope(scope: &str) -> Option<Self> {
        if scope.is_empty() || scope == SYSTEM {
            return Some(Self(SYSTEM.to_owned()));
        }
        let (namespace, name) = scope.split_once('/')?;
        (is_part(namespace) && is_part(name)).then(|| Self(scope.to_owned()))
    }

    /// The log whose folder is called that.
    pub fn of_folder(folder: &str) -> Option<Self> {
        let name = Self::of_scope(&folder.replacen('_', "/", 1))?;
        (name.folder() == folder).then_some(name)
    }

    /// As it stands in lines.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Name of the folder: no part of a Kubernetes name has an underscore, so two logs never share one.
    pub fn folder(&self) -> String {
        self.0.replace('/', "_")
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_part(part: &str) -> bool {
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    !part.is_empty() && part.len() <= 253 && !part.starts_with('.') && part.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_and_folders_belong_together() {
        for (scope, log, folder) in [
            ("", "system", "system"),
            ("system", "system", "system"),
            ("rooms/contoso", "rooms/contoso", "rooms_contoso"),
            ("a/b.c-d", "a/b.c-d", "a_b.c-d"),
        ] {
            let name = LogName::of_scope(scope).unwrap();
            assert_eq!((name.as_str(), name.folder().as_str()), (log, folder));
            assert_eq!(LogName::of_folder(folder), Some(name));
        }
        for scope in ["/", "a/", "/b", "a/b/c", "a/..", "../b", "A/b", "a_b/c", "rooms", "a b/c"] {
            assert_eq!(LogName::of_scope(scope), None, "{scope}");
        }
        for folder in ["", "a/b", "a_b_c", "lost+found"] {
            assert_eq!(LogName::of_folder(folder), None, "{folder}");
        }
    }
}
