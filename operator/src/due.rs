//! When which object is looked at next. Pure: time is an argument.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use crate::key::Key;

/// Due times, one for each object. Of several the earliest counts.
#[derive(Debug, Default)]
pub struct Due {
    by_time: BTreeMap<(Instant, u64), Arc<Key>>,
    by_key: HashMap<Arc<Key>, (Instant, u64)>,
    next: u64,
}

impl Due {
    /// An object is to be looked at then, unless it is earlier.
    pub fn at(&mut self, key: Arc<Key>, time: Instant) {
        if let Some(place) = self.by_key.get(&key) {
            if place.0 <= time {
                return;
            }
            self.by_time.remove(place);
        }
        // Of equal times the first stays the first.
        let place = (time, self.next);
        self.next += 1;
        self.by_time.insert(place, Arc::clone(&key));
        self.by_key.insert(key, place);
    }

    /// The first that is due and that `may` let pass; those that it does not keep their place.
    pub fn take(&mut self, now: Instant, may: impl Fn(&Key) -> bool) -> Option<Arc<Key>> {
        let place =
            self.by_time.range(..=(now, u64::MAX)).find(|(_, key)| may(key)).map(|(place, _)| *place)?;
        let key = self.by_time.remove(&place)?;
        self.by_key.remove(&key);
        Some(key)
    }

    /// When the first later than `now` is due.
    pub fn next_after(&self, now: Instant) -> Option<Instant> {
        self.by_time.range((now, u64::MAX)..).next().map(|((time, _), _)| *time)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(name: &str) -> Arc<Key> {
        Arc::new(Key::new("n", name))
    }

    #[test]
    fn the_earliest_time_counts_and_each_comes_once() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut due = Due::default();
        due.at(key("a"), start + 3 * second);
        due.at(key("a"), start + second);
        due.at(key("a"), start + 2 * second);
        due.at(key("b"), start + 2 * second);
        let take = |due: &mut Due, seconds: u32| {
            due.take(start + seconds * second, |_| true).map(|key| key.name.clone())
        };
        assert_eq!(due.next_after(start), Some(start + second));
        assert_eq!(take(&mut due, 0), None);
        assert_eq!(take(&mut due, 1).as_deref(), Some("a"));
        assert_eq!(take(&mut due, 1), None);
        assert_eq!(take(&mut due, 2).as_deref(), Some("b"));
        assert_eq!(take(&mut due, 9), None);
        assert!(due.by_key.is_empty() && due.by_time.is_empty());
    }

    #[test]
    fn what_may_not_run_keeps_its_place_and_keeps_nobody_else() {
        let now = Instant::now();
        let mut due = Due::default();
        due.at(key("busy"), now);
        due.at(key("free"), now);
        assert_eq!(due.take(now, |key| key.name != "busy").unwrap().name, "free");
        assert_eq!(due.take(now, |_| true).unwrap().name, "busy");
    }
}
