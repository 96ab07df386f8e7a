//! Deletions in a measured pace: ten thousand records that end in one minute must not keep the API server from its other work.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::key::Key;

/// Whoever has a place within this time goes at once: the controller does not look again sooner.
const AT_ONCE: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
struct Inner {
    /// The first place that nobody has, by the time passed.
    free: Duration,
    told: HashMap<Key, Duration>,
}

/// The places.
#[derive(Debug, Default)]
pub struct Deletions(Mutex<Inner>);

impl Deletions {
    /// `None`: a record may be deleted now; otherwise how long it waits, without keeping anybody from working.
    pub fn wait(&self, record: &Key, per_second: NonZeroU32, passed: Duration) -> Option<Duration> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = inner.told.get(record).copied();
        let place = told.unwrap_or_else(|| inner.free.max(passed));
        if told.is_none() {
            inner.free = place.saturating_add(Duration::from_secs(1) / per_second.get());
        }
        if place <= passed.saturating_add(AT_ONCE) {
            inner.told.remove(record);
            return None;
        }
        inner.told.insert(record.clone(), place);
        Some(place.saturating_sub(passed))
    }

    /// A record is gone.
    pub fn forget(&self, record: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).told.remove(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_spread_and_each_place_is_used_once() {
        let (deletions, rate) = (Deletions::default(), NonZeroU32::new(100).unwrap());
        let key = |number: u32| Key::new("n", number.to_string());
        let mut gone = 0;
        let mut at = Duration::from_secs(7);
        let mut left: Vec<u32> = (0..1000).collect();
        for _ in 0..200 {
            let before = left.len();
            left.retain(|number| deletions.wait(&key(*number), rate, at).is_some());
            gone += before - left.len();
            let elapsed = at.saturating_sub(Duration::from_secs(7)).as_secs_f64();
            assert!(
                f64::from(u32::try_from(gone).unwrap()) <= elapsed.mul_add(100.0, 7.0),
                "{gone} after {elapsed}"
            );
            at += AT_ONCE;
        }
        assert_eq!((gone, left.len()), (1000, 0));
        assert!(deletions.0.lock().unwrap().told.is_empty());
        assert_eq!(
            deletions.wait(&key(0), rate, at + Duration::from_hours(1)),
            None,
            "a rest is not saved up"
        );
    }
}
