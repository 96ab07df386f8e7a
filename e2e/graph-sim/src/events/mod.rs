//! Events of default calendars (graph-facts §6).

mod attendee_copies;
mod concurrency;
mod content;
mod custom_zone;
mod delta;
mod filter;
mod handlers;
mod ids;
mod list;
mod parts;
mod recurrence;
mod relocation;
mod render;
mod series;
mod store;
mod window;
mod windows_zones;
mod write;
mod zone;

use uuid::Uuid;

pub(crate) use self::{
    concurrency::Concurrency,
    custom_zone::set_custom_zone,
    delta::{DeltaChange, DeltaTokens, calendar_view_delta},
    handlers::{collection, item},
    list::{calendar_view, instances},
    relocation::relocate,
    store::Calendars,
    zone::Zone,
};
use crate::subscriptions::ChangeType;

/// Something happened to an event.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) tenant: Uuid,
    pub(crate) user: Uuid,
    /// Its default id.
    pub(crate) id: String,
    pub(crate) immutable_id: String,
    pub(crate) version: String,
    pub(crate) kind: ChangeType,
}

impl Change {
    /// A new event is soon updated by Exchange itself, and an edit shows twice (graph-facts §3.4).
    pub(crate) fn echo(&self) -> Option<Self> {
        (self.kind != ChangeType::Deleted).then(|| Self { kind: ChangeType::Updated, ..self.clone() })
    }
}
