//! The fields that can be asked for: closed lists, the only source of `$select`, `$expand` and `$filter`.
//!
//! An event's body, its preview and its attachments are not among them, so no request can name them:
//!
//! ```compile_fail,E0599
//! let field = roomkeeper_graph::fields::EventField::Body;
//! ```
//!
//! ```compile_fail,E0599
//! let field = roomkeeper_graph::fields::EventField::BodyPreview;
//! ```
//!
//! ```compile_fail,E0599
//! let field = roomkeeper_graph::fields::EventField::Attachments;
//! ```
//!
//! ```
//! let field = roomkeeper_graph::fields::EventField::Subject;
//! assert_eq!(field.name(), "subject");
//! ```

use crate::ids::ManifestId;

/// A field of a kind of object, by its name in Graph.
pub(crate) trait Field: Copy + 'static {
    fn name(self) -> &'static str;
}

macro_rules! fields {
    ($(#[$doc:meta])* $kind:ident { $($(#[$field_doc:meta])* $field:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kind {
            $($(#[$field_doc])* $field,)*
        }

        impl $kind {
            /// Every field that can be asked for.
            pub const ALL: &'static [Self] = &[$(Self::$field,)*];

            /// The field's name in Graph.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$field => $name,)*
                }
            }
        }

        impl Field for $kind {
            fn name(self) -> &'static str {
                Self::name(self)
            }
        }
    };
}

fields!(
    /// Fields of an event.
    EventField {
        /// Immutable id of the event in this mailbox.
        Id = "id",
        /// Id of the event over all calendars.
        ICalUId = "iCalUId",
        /// Version of the event.
        ChangeKey = "changeKey",
        /// When it was last changed.
        LastModifiedDateTime = "lastModifiedDateTime",
        /// Whether this is the organiser's copy.
        IsOrganizer = "isOrganizer",
        /// Single event, series master, occurrence or exception.
        Type = "type",
        /// Whether the organiser cancelled it.
        IsCancelled = "isCancelled",
        /// Title.
        Subject = "subject",
        /// Start.
        Start = "start",
        /// End.
        End = "end",
        /// Whether it lasts whole days.
        IsAllDay = "isAllDay",
        /// Who organises it.
        Organizer = "organizer",
        /// Who is invited.
        Attendees = "attendees",
        /// Normal, personal, private or confidential.
        Sensitivity = "sensitivity",
        /// Id of the series that an occurrence belongs to.
        SeriesMasterId = "seriesMasterId",
        /// Pattern and range of a series.
        Recurrence = "recurrence",
        /// Start that the series gives an occurrence, wherever it was moved to.
        OriginalStart = "originalStart",
    }
);

fields!(
    /// Fields of a user.
    UserField {
        /// Object id.
        Id = "id",
        /// Sign-in name.
        UserPrincipalName = "userPrincipalName",
    }
);

fields!(
    /// Fields of a group.
    GroupField {
        /// Object id.
        Id = "id",
        /// Whether it has an address.
        MailEnabled = "mailEnabled",
        /// Whether it can grant access.
        SecurityEnabled = "securityEnabled",
        /// `Unified` for Microsoft 365 groups, `DynamicMembership`.
        GroupTypes = "groupTypes",
    }
);

/// First read of an event: identity, and whether it is a copy that can book.
pub(crate) const EVENT_HEAD: &[EventField] = &[
    EventField::Id,
    EventField::ICalUId,
    EventField::ChangeKey,
    EventField::LastModifiedDateTime,
    EventField::IsOrganizer,
    EventField::Type,
    EventField::IsCancelled,
];

/// Fields of the second read that end up in a `BookingRecord`, besides those of the first.
pub(crate) const EVENT_STORED: &[EventField] = &[
    EventField::Subject,
    EventField::Start,
    EventField::End,
    EventField::Organizer,
    EventField::Attendees,
    EventField::Sensitivity,
    EventField::SeriesMasterId,
    EventField::Recurrence,
    EventField::IsAllDay,
];

/// Fields of a booked event in a list, besides those of the first read: whether it lies ahead.
pub(crate) const EVENT_BOOKED: &[EventField] =
    &[EventField::Start, EventField::End, EventField::IsAllDay, EventField::Recurrence];

/// Fields of an occurrence: when it takes place, and when the series would have it.
pub(crate) const EVENT_OCCURRENCE: &[EventField] =
    &[EventField::Id, EventField::IsCancelled, EventField::Start, EventField::End, EventField::OriginalStart];

/// Read of one of a series: which series it is of.
pub(crate) const EVENT_MASTER: &[EventField] = &[EventField::Id, EventField::SeriesMasterId];

/// User look-up.
pub(crate) const USER: &[UserField] = &[UserField::Id, UserField::UserPrincipalName];

/// Group look-up.
pub(crate) const GROUP: &[GroupField] =
    &[GroupField::Id, GroupField::MailEnabled, GroupField::SecurityEnabled, GroupField::GroupTypes];

/// Members of a group.
pub(crate) const MEMBER: &[UserField] = &[UserField::Id];

/// Name of the member that holds expanded extended properties.
pub(crate) const EXTENDED_PROPERTIES: &str = "singleValueExtendedProperties";

/// Id of the add-in's property: its custom properties, in the public-strings set.
pub(crate) fn add_in_property(manifest: &ManifestId) -> String {
    format!("String {{00020329-0000-0000-C000-000000000046}} Name cecp-{manifest}")
}

/// Id of the property that holds what became of the bookings: our own, never the add-in's, which a write would take out of the
/// user's hands.
pub(crate) fn booking_property(manifest: &ManifestId) -> String {
    format!("String {{00020329-0000-0000-C000-000000000046}} Name roomkeeper-{manifest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_name_is_a_body_or_an_attachment() {
        for field in EventField::ALL {
            let name = field.name().to_ascii_lowercase();
            assert!(!name.contains("body") && !name.contains("attachment"), "{name}");
        }
    }

    #[test]
    fn the_reads_together_name_every_event_field_once() {
        let mut read: Vec<_> = [EVENT_HEAD, EVENT_STORED].concat();
        read.push(EventField::OriginalStart);
        read.sort_unstable();
        let mut all = EventField::ALL.to_vec();
        all.sort_unstable();
        assert_eq!(read, all);
    }

    #[test]
    fn the_add_in_property_is_named_in_lower_case() {
        let manifest = ManifestId::parse("0C64D6B6-CC36-4B6A-8F9C-0E3A4B6C2D1F").unwrap();
        assert_eq!(
            add_in_property(&manifest),
            "String {00020329-0000-0000-C000-000000000046} Name cecp-0c64d6b6-cc36-4b6a-8f9c-0e3a4b6c2d1f"
        );
    }
}
