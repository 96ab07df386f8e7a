//! Up to when the series of each calendar are listed: as time goes on, more of them has to be read.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use crate::key::Key;

/// For each CalendarSubscription, its records of series of which more is to come, with the time up to which that is listed.
#[derive(Debug, Default)]
pub struct Horizons(Mutex<HashMap<Key, HashMap<Key, Timestamp>>>);

impl Horizons {
    /// A record is listed up to then; `None`: it is gone, or there is nothing more to list. Whether the calendar's earliest time
    /// is another one now.
    pub fn put(&self, subscription: &Key, record: &Key, until: Option<Timestamp>) -> bool {
        let mut all = self.all();
        let before = earliest(&all, subscription);
        match until {
            Some(until) => {
                all.entry(subscription.clone()).or_default().insert(record.clone(), until);
            }
            None => {
                if let Some(records) = all.get_mut(subscription) {
                    records.remove(record);
                    if records.is_empty() {
                        all.remove(subscription);
                    }
                }
            }
        }
        earliest(&all, subscription) != before
    }

    /// The earliest time up to which a series of a calendar is listed.
    pub fn earliest(&self, subscription: &Key) -> Option<Timestamp> {
        earliest(&self.all(), subscription)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Key, HashMap<Key, Timestamp>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn earliest(all: &HashMap<Key, HashMap<Key, Timestamp>>, subscription: &Key) -> Option<Timestamp> {
    all.get(subscription)?.values().min().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_counts_and_nothing_is_left_behind() {
        let (horizons, calendar) = (Horizons::default(), Key::new("n", "c"));
        let key = |name: &str| Key::new("n", name);
        let at = |second: i64| Some(Timestamp::from_second(second).unwrap());
        assert!(horizons.put(&calendar, &key("a"), at(20)));
        assert!(!horizons.put(&calendar, &key("b"), at(30)));
        assert!(horizons.put(&calendar, &key("b"), at(10)));
        assert_eq!(horizons.earliest(&calendar), at(10));
        assert!(horizons.put(&calendar, &key("b"), None));
        assert_eq!(horizons.earliest(&calendar), at(20));
        horizons.put(&calendar, &key("a"), None);
        assert!(horizons.all().is_empty());
    }
}
