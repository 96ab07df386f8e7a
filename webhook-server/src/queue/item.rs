//! What the queue holds: ids only, never a body, a subject or a secret.

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One piece of work. The tag carries the version: a later version of an item is a new variant, and a row whose tag is
/// unknown to the running program goes to the dead letters, from where a newer program redrives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Item {
    /// Something happened to one event of one calendar.
    V1Event(EventItem),
    /// Graph said something about a subscription.
    V1Lifecycle(LifecycleItem),
}

/// A change of one event: notified, or found by reading the calendar again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventItem {
    /// Directory (tenant) id, lower case.
    pub tenant_id: String,
    /// Object id of the calendar's owner, lower case.
    pub user_id: String,
    /// Graph's immutable event id; its letter case counts.
    pub event_id: String,
    /// Uid of the CalendarSubscription that the verified clientState names: of the newest notification merged in.
    pub subscription_uid: String,
    /// At least one of the notifications merged into this item said `deleted`.
    pub deleted: bool,
    /// Nothing notified it: it was found by reading the calendar again. False once a notification is merged in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub found: bool,
    /// Version of the event that the notification told of (its `changeKey`); absent where none was told, or where notifications of
    /// several versions were merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When the oldest notification merged into this item arrived.
    pub received_at: Timestamp,
}

/// A lifecycle notification of one subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LifecycleItem {
    /// Directory (tenant) id, lower case.
    pub tenant_id: String,
    /// Uid of the CalendarSubscription that the verified clientState names.
    pub subscription_uid: String,
    /// Graph's id of the subscription: of the newest notification merged in.
    pub subscription_id: String,
    /// Everything that Graph said and that was merged into this item.
    pub events: LifecycleEvents,
    /// When the newest notification merged into this item arrived: what was done before it does not answer it.
    pub received_at: Timestamp,
}

/// The set of lifecycle events that one item stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LifecycleEvents {
    /// `missed`: some notifications were not delivered.
    pub missed: bool,
    /// `subscriptionRemoved`: Graph ended the subscription.
    pub subscription_removed: bool,
    /// `reauthorizationRequired`: renew or reauthorize.
    pub reauthorization_required: bool,
}

const DELETED: u8 = 1;
const MISSED: u8 = 1 << 1;
const SUBSCRIPTION_REMOVED: u8 = 1 << 2;
const REAUTHORIZATION_REQUIRED: u8 = 1 << 3;
const NOTIFIED: u8 = 1 << 4;
const SEVERAL_VERSIONS: u8 = 1 << 5;

/// The flags of two items of one key together. Items of different origins may tell of different versions.
pub(crate) fn merged_flags(one: u8, other: u8, same_origin: bool) -> u8 {
    one | other | bit(!same_origin, SEVERAL_VERSIONS)
}

/// Whether these are the flags of a lifecycle notification, each of which has one at least.
pub(crate) fn is_lifecycle(flags: u8) -> bool {
    flags & (MISSED | SUBSCRIPTION_REMOVED | REAUTHORIZATION_REQUIRED) != 0
}

/// Items with the same key are merged; the hash keeps rows and memory small whatever the ids' lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub(crate) [u8; 16]);

impl Key {
    /// A short form for log lines: names the item without naming the event.
    pub fn short(&self) -> String {
        self.0.first_chunk::<4>().map(|start| HEXLOWER.encode(start)).unwrap_or_default()
    }
}

impl Item {
    /// (tenant, user, event) of an event, (tenant, CalendarSubscription) of a lifecycle notification.
    pub fn key(&self) -> Key {
        match self {
            Self::V1Event(event) => hash(b"event", &[&event.tenant_id, &event.user_id, &event.event_id]),
            Self::V1Lifecycle(item) => hash(b"lifecycle", &[&item.tenant_id, &item.subscription_uid]),
        }
    }

    /// When the notification that counts arrived: the oldest one about an event, the newest one about a subscription.
    pub fn received_at(&self) -> Timestamp {
        match self {
            Self::V1Event(event) => event.received_at,
            Self::V1Lifecycle(item) => item.received_at,
        }
    }

    /// Whether a burst of notifications should be waited out before the item is handed out.
    pub(crate) fn is_debounced(&self) -> bool {
        matches!(self, Self::V1Event(_))
    }

    /// What accumulates when items merge.
    pub(crate) fn flags(&self) -> u8 {
        match self {
            Self::V1Event(event) => bit(event.deleted, DELETED) | bit(!event.found, NOTIFIED),
            Self::V1Lifecycle(LifecycleItem { events, .. }) => {
                bit(events.missed, MISSED)
                    | bit(events.subscription_removed, SUBSCRIPTION_REMOVED)
                    | bit(events.reauthorization_required, REAUTHORIZATION_REQUIRED)
            }
        }
    }

    /// What is replaced when items merge: two items of one key with different origins differ in more than flags.
    pub(crate) fn origin(&self) -> u64 {
        let Key(hash) = match self {
            Self::V1Event(event) => {
                let version = event.version.as_deref().unwrap_or_default();
                hash(b"origin", &[&event.subscription_uid, version])
            }
            Self::V1Lifecycle(item) => hash(b"origin", &[&item.subscription_id]),
        };
        hash.first_chunk().copied().map_or(0, u64::from_be_bytes)
    }

    /// The item as it stands after merging: flags added, and for an event the arrival of the first one.
    pub(crate) fn merged(self, flags: u8, first_received: Timestamp) -> Self {
        match self {
            Self::V1Event(mut event) => {
                event.deleted |= flags & DELETED != 0;
                event.found &= flags & NOTIFIED == 0;
                event.version = event.version.filter(|_| flags & SEVERAL_VERSIONS == 0);
                event.received_at = event.received_at.min(first_received);
                Self::V1Event(event)
            }
            Self::V1Lifecycle(mut item) => {
                item.events.missed |= flags & MISSED != 0;
                item.events.subscription_removed |= flags & SUBSCRIPTION_REMOVED != 0;
                item.events.reauthorization_required |= flags & REAUTHORIZATION_REQUIRED != 0;
                Self::V1Lifecycle(item)
            }
        }
    }
}

fn bit(set: bool, value: u8) -> u8 {
    if set { value } else { 0 }
}

fn hash(kind: &[u8], parts: &[&str]) -> Key {
    let mut hasher = Sha256::new();
    hasher.update(kind);
    for part in parts {
        // The length in front keeps ("ab", "c") and ("a", "bc") apart.
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let digest = hasher.finalize();
    let mut key = [0; 16];
    key.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
    Key(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event_id: &str, deleted: bool) -> Item {
        Item::V1Event(EventItem {
            tenant_id: "t".to_owned(),
            user_id: "u".to_owned(),
            event_id: event_id.to_owned(),
            subscription_uid: "s".to_owned(),
            deleted,
            found: false,
            version: None,
            received_at: Timestamp::UNIX_EPOCH,
        })
    }

    #[test]
    fn the_key_tells_letter_case_of_event_ids_apart_and_ignores_what_merges() {
        assert_ne!(event("AAa=", false).key(), event("AAA=", false).key());
        assert_eq!(event("AAa=", false).key(), event("AAa=", true).key());
    }

    #[test]
    fn a_row_is_tagged_with_its_version() {
        let text = serde_json::to_string(&event("e", false)).unwrap();
        assert!(text.contains(r#""type":"V1Event""#), "{text}");
        assert!(serde_json::from_str::<Item>(r#"{"type":"V9Event"}"#).is_err());
    }

    #[test]
    fn flags_accumulate() {
        let merged = event("e", false).merged(event("e", true).flags(), Timestamp::UNIX_EPOCH);
        assert_eq!(merged, event("e", true));
    }

    #[test]
    fn what_was_found_and_is_notified_counts_as_notified() {
        let Item::V1Event(item) = event("e", false) else { panic!("not an event") };
        let found = Item::V1Event(EventItem { found: true, ..item });
        assert_eq!(found.clone().merged(found.flags(), Timestamp::UNIX_EPOCH), found);
        let both = found.flags() | event("e", false).flags();
        assert_eq!(found.merged(both, Timestamp::UNIX_EPOCH), event("e", false));
        let row = serde_json::to_string(&event("e", false)).unwrap();
        assert!(!row.contains("found"), "rows of notifications are as they were: {row}");
    }
}
