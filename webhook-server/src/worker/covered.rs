//! Which notifications tell nothing new, so that they cost no read of Graph.
//!
//! One edit causes two to four notifications of the same version, spread over seconds and over pods. A version that the record
//! holds was read by some pod; one that this process read after it had been told of is remembered here. Only single events are
//! treated so: a series can change in one occurrence, and it is not documented that its own version changes with that.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use roomkeeper_crds::{BookingRecordSpec, booking_record::BookingState};
use roomkeeper_graph::{EventHead, EventType};

use crate::queue::{EventItem, Item, Key};

/// Events remembered. Beyond it the memory starts afresh, which costs reads and nothing else.
const EVENTS: usize = 50_000;

/// Versions remembered of one event.
const VERSIONS: usize = 8;

/// Versions that were read.
#[derive(Debug, Default)]
pub(super) struct Covered(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By event; the one that was read last stands last.
    versions: HashMap<Key, VecDeque<String>>,
    /// Events whose record may be older than its version says, until they are read again.
    doubted: HashSet<Key>,
    /// More were doubted than are remembered. From then on every event is: that costs reads, and forgetting a doubt could cost a change.
    is_all_doubted: bool,
}

impl Covered {
    /// Whether what the item tells of was read already, by the record or by memory.
    pub(super) fn holds(&self, item: &EventItem, record: Option<&BookingRecordSpec>) -> bool {
        let Some(version) = item.version.as_ref().filter(|_| !item.deleted && !item.found) else {
            return false;
        };
        let recorded = record.is_some_and(|record| {
            record.state == BookingState::Booked
                && record.recurrence_pattern.is_none()
                && record.change_key == *version
        });
        let key = key(item);
        let known = self.known();
        if known.is_all_doubted || known.doubted.contains(&key) {
            return false;
        }
        let Some(versions) = known.versions.get(&key) else { return recorded };
        // A record that stands in another version than was read last here is the work of a pod that may have read before.
        let is_behind = record.is_some_and(|record| {
            record.state == BookingState::Booked && versions.back() != Some(&record.change_key)
        });
        recorded || (versions.contains(version) && !is_behind)
    }

    /// The event counts as not read until work on it is done after a read: what its record says may be older than it seems.
    pub(super) fn doubt(&self, item: &EventItem) {
        let mut known = self.known();
        known.doubted.insert(key(item));
        if known.doubted.len() > EVENTS {
            known.is_all_doubted = true;
            known.doubted = HashSet::new();
        }
    }

    /// Work on the item was done after a read that gave this head; `None`: the event was not there.
    pub(super) fn read(&self, item: &EventItem, head: Option<&EventHead>) {
        let key = key(item);
        let mut known = self.known();
        known.doubted.remove(&key);
        let all = &mut known.versions;
        let Some(head) = head.filter(|head| head.event_type == EventType::SingleInstance) else {
            all.remove(&key);
            return;
        };
        if all.len() >= EVENTS && !all.contains_key(&key) {
            all.clear();
        }
        let versions = all.entry(key).or_default();
        for version in item.version.iter().chain([&head.change_key]) {
            versions.retain(|one| one != version);
            versions.push_back(version.clone());
        }
        while versions.len() > VERSIONS {
            versions.pop_front();
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(item: &EventItem) -> Key {
    Item::V1Event(item.clone()).key()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use roomkeeper_graph::EventId;

    use super::*;
    use crate::worker::fixture;

    fn item(version: Option<&str>) -> EventItem {
        EventItem {
            tenant_id: "t".to_owned(),
            user_id: "u".to_owned(),
            event_id: "AAMk=".to_owned(),
            subscription_uid: "s".to_owned(),
            deleted: false,
            found: false,
            version: version.map(str::to_owned),
            received_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn record(version: &str) -> BookingRecordSpec {
        BookingRecordSpec {
            change_key: version.to_owned(),
            ..fixture::spec("2026-11-24T09:00:00Z", "2026-11-24T10:00:00Z")
        }
    }

    fn head(version: &str, event_type: EventType) -> EventHead {
        EventHead {
            id: EventId::parse("AAMk=").unwrap(),
            i_cal_u_id: "u".to_owned(),
            change_key: version.to_owned(),
            last_modified: Timestamp::UNIX_EPOCH,
            is_organizer: true,
            event_type,
            is_cancelled: false,
            add_in_value: None,
        }
    }

    #[test]
    fn the_version_of_the_record_is_no_news_and_any_other_is() {
        let record = record("v2");
        let covered = Covered::default();
        assert!(covered.holds(&item(Some("v2")), Some(&record)));
        for (item, record) in [
            (item(Some("v1")), Some(&record)),
            (item(Some("v3")), Some(&record)),
            (item(None), Some(&record)),
            (item(Some("v2")), None),
            (EventItem { deleted: true, ..item(Some("v2")) }, Some(&record)),
            (EventItem { found: true, ..item(Some("v2")) }, Some(&record)),
        ] {
            assert!(!covered.holds(&item, record), "{:?} {}", item.version, record.is_some());
        }
        let cancelled = BookingRecordSpec { state: BookingState::Cancelled, ..record.clone() };
        assert!(!covered.holds(&item(Some("v2")), Some(&cancelled)));
        let recurrence = serde_json::json!({
            "pattern": {"type": "daily", "interval": 1},
            "range": {"type": "noEnd", "startDate": "2026-11-24"},
        });
        let recurrence_pattern = Some(serde_json::from_value(recurrence).unwrap());
        assert!(!covered.holds(&item(Some("v2")), Some(&BookingRecordSpec { recurrence_pattern, ..record })));
    }

    #[test]
    fn a_record_that_another_pod_made_of_another_version_is_a_reason_to_read() {
        let covered = Covered::default();
        covered.read(&item(Some("v2")), Some(&head("v2", EventType::SingleInstance)));
        assert!(covered.holds(&item(Some("v2")), None), "read, and nothing is booked");
        assert!(!covered.holds(&item(Some("v2")), Some(&record("v1"))), "the other pod read before");
        assert!(covered.holds(&item(Some("v2")), Some(&record("v2"))));
        let cancelled = BookingRecordSpec { state: BookingState::Cancelled, ..record("v1") };
        assert!(covered.holds(&item(Some("v2")), Some(&cancelled)));
    }

    #[test]
    fn a_doubted_event_is_read_until_that_is_done() {
        let record = record("v2");
        let covered = Covered::default();
        covered.doubt(&item(Some("v2")));
        assert!(!covered.holds(&item(Some("v2")), Some(&record)));
        covered.read(&item(Some("v2")), Some(&head("v2", EventType::SingleInstance)));
        assert!(covered.holds(&item(Some("v2")), Some(&record)));
    }

    #[test]
    fn where_too_many_are_doubted_everyone_is() {
        let (covered, certain, record) = (Covered::default(), item(Some("v2")), record("v2"));
        for number in 0..=EVENTS {
            assert!(covered.holds(&certain, Some(&record)));
            covered.doubt(&EventItem { event_id: format!("{number}"), ..item(None) });
        }
        assert!(!covered.holds(&certain, Some(&record)));
    }

    #[test]
    fn what_was_told_of_before_a_read_is_covered_by_it() {
        let covered = Covered::default();
        covered.read(&item(Some("v1")), Some(&head("v2", EventType::SingleInstance)));
        assert!(covered.holds(&item(Some("v1")), None));
        assert!(covered.holds(&item(Some("v2")), None));
        assert!(!covered.holds(&item(Some("v3")), None));
        covered.read(&item(Some("v3")), None);
        assert!(!covered.holds(&item(Some("v2")), None), "an event that comes back is read");
        covered.read(&item(Some("v1")), Some(&head("v1", EventType::SeriesMaster)));
        assert!(!covered.holds(&item(Some("v1")), None), "a series can change in an occurrence");
        for number in 0..20 {
            covered.read(&item(None), Some(&head(&format!("w{number}"), EventType::SingleInstance)));
        }
        assert!(covered.holds(&item(Some("w19")), None) && !covered.holds(&item(Some("w0")), None));
    }
}
