//! Members of answers that nobody asked for: what is remembered of them is their class and number, never name or value.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::fields::{EventField, GroupField, UserField};

const BODIES: [&str; 3] = ["body", "bodyPreview", "uniqueBody"];
const EXTENSIONS: [&str; 3] = ["extensions", "singleValueExtendedProperties", "multiValueExtendedProperties"];

/// Class of a member that was not asked for. Names come from outside, so that a metric or an audit entry could be filled with
/// them; this set is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MemberClass {
    /// Text of an event, or part of it: `body`, `bodyPreview`, `uniqueBody`.
    Body,
    /// `attachments`.
    Attachments,
    /// `extensions`, `singleValueExtendedProperties`, `multiValueExtendedProperties`.
    Extensions,
    /// A field that other calls ask for and this one did not.
    Listed,
    /// Any other.
    Other,
}

impl MemberClass {
    /// All classes, for metrics that start at zero.
    pub const ALL: [Self; 5] = [Self::Body, Self::Attachments, Self::Extensions, Self::Listed, Self::Other];

    /// Stable name, as in the audit and fit for a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Attachments => "attachments",
            Self::Extensions => "extensions",
            Self::Listed => "listed",
            Self::Other => "other",
        }
    }

    /// Class of a member of that name, whatever its case.
    pub(crate) fn of(member: &str) -> Self {
        let is = |name: &str| member.eq_ignore_ascii_case(name);
        if BODIES.iter().any(|name| is(name)) {
            Self::Body
        } else if is("attachments") {
            Self::Attachments
        } else if EXTENSIONS.iter().any(|name| is(name)) {
            Self::Extensions
        } else if EventField::ALL.iter().any(|field| is(field.name()))
            || UserField::ALL.iter().any(|field| is(field.name()))
            || GroupField::ALL.iter().any(|field| is(field.name()))
        {
            Self::Listed
        } else {
            Self::Other
        }
    }
}

impl fmt::Display for MemberClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many members of each class came unasked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Unrequested(BTreeMap<MemberClass, u64>);

impl Unrequested {
    pub(crate) fn add(&mut self, member: &str) {
        *self.0.entry(MemberClass::of(member)).or_default() += 1;
    }

    /// Number of members of all classes.
    pub(crate) fn count(&self) -> u64 {
        self.0.values().sum()
    }

    pub(crate) fn by_class(&self) -> &BTreeMap<MemberClass, u64> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_class_and_no_class_holds_a_name_from_outside() {
        for (member, class) in [
            ("body", MemberClass::Body),
            ("BODYPREVIEW", MemberClass::Body),
            ("uniqueBody", MemberClass::Body),
            ("attachments", MemberClass::Attachments),
            ("extensions", MemberClass::Extensions),
            ("singleValueExtendedProperties", MemberClass::Extensions),
            ("subject", MemberClass::Listed),
            ("userPrincipalName", MemberClass::Listed),
            ("groupTypes", MemberClass::Listed),
            ("webLink", MemberClass::Other),
            ("canary subject of a meeting", MemberClass::Other),
            ("", MemberClass::Other),
        ] {
            assert_eq!(MemberClass::of(member), class, "{member}");
        }
    }

    #[test]
    fn classes_have_one_spelling() {
        for class in MemberClass::ALL {
            assert_eq!(serde_json::to_string(&class).unwrap(), format!("\"{class}\""));
        }
    }

    #[test]
    fn members_are_counted_by_class() {
        let mut unrequested = Unrequested::default();
        for member in ["body", "bodyPreview", "webLink"] {
            unrequested.add(member);
        }
        assert_eq!(unrequested.count(), 3);
        let expected = BTreeMap::from([(MemberClass::Body, 2), (MemberClass::Other, 1)]);
        assert_eq!(*unrequested.by_class(), expected);
    }
}
