//! Validated identifiers: the only text from outside that reaches the path of a Graph URL.

use std::{fmt, str::FromStr};

use uuid::Uuid;

/// A value cannot be an identifier of this kind. Names the kind and the rule, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} is not valid: {rule}")]
pub struct IdError {
    kind: &'static str,
    rule: &'static str,
}

const GUID_RULE: &str = "expected a GUID of the form 00000000-0000-0000-0000-000000000000";

/// Text of a GUID kept in place (36 bytes, no heap), in lower case, so that a set of 100,000 stays small.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct GuidText([u8; 36]);

impl GuidText {
    fn parse(kind: &'static str, text: &str) -> Result<Self, IdError> {
        if text.len() != 36 {
            return Err(IdError { kind, rule: GUID_RULE });
        }
        let uuid = Uuid::try_parse(text).map_err(|_| IdError { kind, rule: GUID_RULE })?;
        Ok(uuid.into())
    }

    fn as_str(&self) -> &str {
        // Written by `Hyphenated::encode_lower` only, hence always ASCII.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl From<Uuid> for GuidText {
    fn from(uuid: Uuid) -> Self {
        let mut text = [0; 36];
        uuid.hyphenated().encode_lower(&mut text);
        Self(text)
    }
}

macro_rules! guid_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(GuidText);

        impl $name {
            /// Accepts a GUID with hyphens in either letter case; kept in lower case.
            ///
            /// # Errors
            /// Anything else.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                GuidText::parse($kind, text).map(Self)
            }

            /// The id as Graph writes it: lower case with hyphens.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid.into())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.as_str())
            }
        }
    };
}

guid_id!(
    /// Object id of a user in Entra ID.
    UserId,
    "user id"
);
guid_id!(
    /// Object id of a group in Entra ID.
    GroupId,
    "group id"
);
guid_id!(
    /// Id of a change notification subscription.
    SubscriptionId,
    "subscription id"
);
guid_id!(
    /// Id in the manifest of the Outlook add-in; it is part of the name of the add-in's property.
    ManifestId,
    "manifest id"
);

/// Id of an event in one mailbox. Case-sensitive; immutable ids are asked for in every request.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Box<str>);

impl EventId {
    /// Longest accepted id, in bytes. Real ones have about 150.
    pub const MAX_BYTES: usize = 1_024;

    /// Accepts the alphabets that Exchange uses: base64, plain and URL-safe.
    ///
    /// # Errors
    /// Empty, longer than [`Self::MAX_BYTES`], or another character.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let kind = "event id";
        if text.is_empty() || text.len() > Self::MAX_BYTES {
            return Err(IdError { kind, rule: "expected 1 to 1,024 characters" });
        }
        let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'=' | b'+' | b'/');
        if !text.bytes().all(known) {
            return Err(IdError { kind, rule: "expected letters, digits and - _ = + / only" });
        }
        Ok(Self(text.into()))
    }

    /// The id as Graph writes it, not percent-encoded.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EventId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({})", self.0)
    }
}

/// How a user is looked up: by object id or by user principal name.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct UserKey(Box<str>);

impl UserKey {
    pub(crate) fn parse(text: &str) -> Result<Self, IdError> {
        let kind = "user";
        if let Ok(id) = UserId::parse(text) {
            return Ok(Self(id.as_str().into()));
        }
        if text.len() > 256 || text.split('@').filter(|part| !part.is_empty()).count() != 2 {
            return Err(IdError {
                kind,
                rule: "expected an object id (GUID) or a user principal name (name@domain, at most 256 bytes)",
            });
        }
        // Graph reads `/users/$…` as a keyword; the parenthesised form is not supported here.
        if text.starts_with('$') {
            return Err(IdError {
                kind,
                rule: "a user principal name that starts with $ cannot be looked up, use the object id",
            });
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '/' | '\\' | '?' | '%')) {
            return Err(IdError {
                kind,
                rule: r"a user principal name holds no white space and none of / \ ? %, use the object id",
            });
        }
        Ok(Self(text.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name that may be personal stays out of logs.
impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_normalised_to_lower_case() {
        let id = UserId::parse("2189C720-90D5-44FF-818B-FE585706EE90").unwrap();
        assert_eq!(id.as_str(), "2189c720-90d5-44ff-818b-fe585706ee90");
        assert_eq!(id, UserId::parse("2189c720-90d5-44ff-818b-fe585706ee90").unwrap());
        assert_eq!(size_of::<UserId>(), 36);
    }

    #[test]
    fn other_forms_of_a_guid_and_other_text_are_refused() {
        for text in
            ["", "2189c72090d544ff818bfe585706ee90", "{2189c720-90d5-44ff-818b-fe585706ee90}", "me", "../x"]
        {
            let error = UserId::parse(text).unwrap_err();
            assert_eq!(
                error.to_string(),
                "user id is not valid: expected a GUID of the form 00000000-0000-0000-0000-000000000000"
            );
        }
    }

    #[test]
    fn event_ids_keep_their_case_and_refuse_path_characters() {
        assert_eq!(EventId::parse("AAMkAD-_x=").unwrap().as_str(), "AAMkAD-_x=");
        for text in ["", ".", "..", "a b", "a?b", "a%2Fb", "a'b", "ä", &"a".repeat(1_025)] {
            assert!(EventId::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn users_are_looked_up_by_id_or_principal_name_only() {
        for text in
            ["2189c720-90d5-44ff-818b-fe585706ee90", "user1@contoso.example", "o'neil#ext#@contoso.example"]
        {
            assert!(UserKey::parse(text).is_ok(), "{text}");
        }
        for text in
            ["", "user1", "a@b@c", "$x@contoso.example", "a/b@contoso.example", "a b@contoso.example", "@x"]
        {
            assert!(UserKey::parse(text).is_err(), "{text}");
        }
    }
}
