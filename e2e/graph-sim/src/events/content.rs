//! An event as it is stored.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::{
    ids,
    series::{Changes, PrivateChanges, Rule},
    zone::Moment,
};
use crate::odata::PropertyId;

/// A name and an address.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) address: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Attendee {
    pub(super) person: Person,
    pub(super) kind: &'static str,
}

/// What the organiser decides and every copy of the event shares.
#[expect(clippy::struct_excessive_bools, reason = "each is a member of Graph's event")]
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shared {
    pub(super) subject: Option<String>,
    pub(super) body_type: &'static str,
    pub(super) body: String,
    pub(super) start: Moment,
    pub(super) end: Moment,
    pub(super) is_all_day: bool,
    pub(super) location: Value,
    pub(super) locations: Vec<Value>,
    pub(super) attendees: Vec<Attendee>,
    pub(super) importance: &'static str,
    pub(super) sensitivity: &'static str,
    pub(super) recurrence: Option<Rule>,
    /// What became of single occurrences.
    pub(super) changes: Arc<Changes>,
    pub(super) response_requested: bool,
    pub(super) allow_new_time_proposals: bool,
    pub(super) hide_attendees: bool,
}

/// What belongs to one copy alone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Private {
    pub(super) show_as: &'static str,
    pub(super) is_reminder_on: bool,
    pub(super) reminder_minutes: i32,
    pub(super) categories: Vec<String>,
    pub(super) transaction_id: Option<String>,
    pub(super) extended: BTreeMap<PropertyId, String>,
    /// What of single occurrences is this copy's own.
    pub(super) changes: Arc<PrivateChanges>,
}

impl Default for Private {
    fn default() -> Self {
        Self {
            show_as: "busy",
            is_reminder_on: true,
            reminder_minutes: 15,
            categories: Vec::new(),
            transaction_id: None,
            extended: BTreeMap::new(),
            changes: Arc::default(),
        }
    }
}

/// The series that an occurrence belongs to.
#[derive(Clone, Debug)]
pub(super) struct PartOf {
    pub(super) master_id: String,
    pub(super) master_immutable_id: String,
    pub(super) original_start: Timestamp,
    pub(super) is_exception: bool,
}

/// One copy of an event, in one mailbox.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) immutable_id: String,
    pub(super) i_cal_u_id: String,
    pub(super) change_key: String,
    pub(super) created: Timestamp,
    pub(super) modified: Timestamp,
    /// User id and name of the organiser.
    pub(super) organizer_id: Uuid,
    pub(super) organizer: Person,
    pub(super) is_organizer: bool,
    pub(super) is_cancelled: bool,
    /// Of occurrences, which are never stored: they are made from their series when they are asked for.
    pub(super) part_of: Option<PartOf>,
    pub(super) shared: Shared,
    pub(super) private: Private,
}

impl Event {
    pub(super) fn new(
        now: Timestamp,
        organizer_id: Uuid,
        organizer: Person,
        shared: Shared,
        private: Private,
    ) -> Self {
        Self {
            id: ids::default_id(),
            immutable_id: ids::immutable_id(),
            i_cal_u_id: ids::i_cal_u_id(),
            change_key: ids::change_key(),
            created: now,
            modified: now,
            organizer_id,
            organizer,
            is_organizer: true,
            is_cancelled: false,
            part_of: None,
            shared,
            private,
        }
    }

    /// An attendee's copy: nothing private goes along (graph-facts §6.4).
    pub(super) fn copy_for_attendee(&self, now: Timestamp) -> Self {
        Self {
            id: ids::default_id(),
            immutable_id: ids::immutable_id(),
            change_key: ids::change_key(),
            created: now,
            modified: now,
            is_organizer: false,
            private: Private { show_as: "tentative", ..Private::default() },
            ..self.clone()
        }
    }

    /// Gives it a new version.
    pub(super) fn touch(&mut self, now: Timestamp) {
        self.change_key = ids::change_key();
        self.modified = now;
    }

    /// Gives it another default id, as a move within the mailbox does; the immutable one stays (graph-facts §6.2).
    pub(super) fn relocate(&mut self, now: Timestamp) {
        self.id = ids::default_id();
        self.touch(now);
    }

    pub(super) fn etag(&self) -> String {
        format!("W/\"{}\"", self.change_key)
    }
}
