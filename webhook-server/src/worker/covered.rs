//! Which notifications tell nothing new, so that they cost no read of Graph.
//!
//! One edit causes two to four notifications of the same version, spread over seconds and over pods. A version that the record
//! holds was read by some pod; one that this process read after it had been told of is remembered here. Only single events are
//! treated so: a series can change in one occurrence, and it is not documented that its own version changes with that.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use roomkeeper_crds::{BookingRecordSpec, booking_record::BookingState};
use roomkeeper_graph::{EventHead, EventType};

use crate::queue::{EventItem, Item, Key};

/// Events remembered. Beyond it the memory starts afresh, which costs reads and nothing else.
const EVENTS: usize = 50_000;

/// Versions remembered of one event.
const VERSIONS: usize = 8;

/// Versions that were read, by event.
#[derive(Debug, Default)]
pub(super) struct Covered(Mutex<HashMap<Key, VecDeque<String>>>);

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
        recorded || self.remembered(item, version)
    }

    /// Work on the item was done after a read that gave this head; `None`: the event was not there.
    pub(super) fn read(&self, item: &EventItem, head: Option<&EventHead>) {
        let key = key(item);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(head) = head.filter(|head| head.event_type == EventType::SingleInstance) else {
            all.remove(&key);
            return;
        };
        if all.len() >= EVENTS && !all.contains_key(&key) {
            all.clear();
        }
        let versions = all.entry(key).or_default();
        for version in item.version.iter().chain([&head.change_key]) {
            if !versions.contains(version) {
                versions.push_back(version.clone());
            }
        }
        while versions.len() > VERSIONS {
            versions.pop_front();
        }
    }

    fn remembered(&self, item: &EventItem, version: &String) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&key(item)).is_some_and(|versions| versions.contains(version))
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
        let record = BookingRecordSpec {
            change_key: "v2".to_owned(),
            ..fixture::spec("2026-11-24T09:00:00Z", "2026-11-24T10:00:00Z")
        };
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
