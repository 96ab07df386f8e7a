//! The limits on calls: per minute as a bucket, per week as a rolling window.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    time::{Duration, Instant},
};

/// Length of the window of the limit per week.
const WEEK: Duration = Duration::from_hours(7 * 24);

/// What a token weighs: each nanosecond brings as much as there are calls per minute. Whole numbers, so that whoever waits as
/// long as was said is not refused for a rounding.
const TOKEN: u128 = 60_000_000_000;

/// Token bucket that holds a minute's worth and is full at the start.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_minute: u128,
    weight: u128,
    filled: Instant,
}

impl Bucket {
    pub(crate) fn new(per_minute: NonZeroU32, now: Instant) -> Self {
        let per_minute = u128::from(per_minute.get());
        Self { per_minute, weight: per_minute * TOKEN, filled: now }
    }

    /// Takes a token; without one, says after how many whole seconds there will be one.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), u32> {
        let grown = now.saturating_duration_since(self.filled).as_nanos().saturating_mul(self.per_minute);
        self.weight = self.weight.saturating_add(grown).min(self.per_minute * TOKEN);
        self.filled = self.filled.max(now);
        if let Some(left) = self.weight.checked_sub(TOKEN) {
            self.weight = left;
            return Ok(());
        }
        let seconds = (TOKEN - self.weight).div_ceil(self.per_minute * 1_000_000_000);
        // At most a minute, as there is at least one call per minute.
        Err(u32::try_from(seconds).unwrap_or(60))
    }
}

/// So many calls within any seven days.
#[derive(Debug)]
pub(crate) struct Week {
    limit: NonZeroU32,
    calls: VecDeque<Instant>,
}

impl Week {
    pub(crate) fn new(limit: NonZeroU32) -> Self {
        Self { limit, calls: VecDeque::new() }
    }

    /// Whether one more call fits; if not, after how many whole seconds it will.
    pub(crate) fn fits(&mut self, now: Instant) -> Result<(), u32> {
        while self.calls.front().is_some_and(|call| now.saturating_duration_since(*call) >= WEEK) {
            self.calls.pop_front();
        }
        let spent = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
        match self.calls.front() {
            Some(oldest) if spent >= self.limit.get() => {
                let left = WEEK.saturating_sub(now.saturating_duration_since(*oldest));
                let seconds = left.as_nanos().div_ceil(1_000_000_000);
                Err(u32::try_from(seconds).unwrap_or(u32::MAX))
            }
            _ => Ok(()),
        }
    }

    /// Notes a call that was let in.
    pub(crate) fn spend(&mut self, now: Instant) {
        self.calls.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_empties_says_how_long_and_fills_again() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut bucket = Bucket::new(NonZeroU32::new(2).unwrap(), start);
        assert_eq!(bucket.take(start), Ok(()));
        assert_eq!(bucket.take(start), Ok(()));
        assert_eq!(bucket.take(start), Err(30), "one token in half a minute");
        assert_eq!(bucket.take(after(20)), Err(10), "a refusal costs nothing");
        assert_eq!(bucket.take(after(30)), Ok(()));
        assert_eq!(bucket.take(after(30)), Err(30));
        for _ in 0..2 {
            assert_eq!(bucket.take(after(3600)), Ok(()));
        }
        assert_eq!(bucket.take(after(3600)), Err(30), "it never holds more than a minute's worth");
    }

    #[test]
    fn the_wait_is_never_rounded_down_to_nothing() {
        let start = Instant::now();
        let mut bucket = Bucket::new(NonZeroU32::new(6000).unwrap(), start);
        for _ in 0..6000 {
            assert_eq!(bucket.take(start), Ok(()));
        }
        assert_eq!(bucket.take(start), Err(1));
    }

    #[test]
    fn a_week_rolls_and_says_when_the_oldest_call_leaves_it() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut week = Week::new(NonZeroU32::new(2).unwrap());
        for at in [0, 100] {
            assert_eq!(week.fits(after(at)), Ok(()));
            week.spend(after(at));
        }
        assert_eq!(week.fits(after(100)), Err(604_700));
        assert_eq!(week.fits(after(604_799)), Err(1), "a refusal costs nothing");
        assert_eq!(week.fits(after(604_800)), Ok(()));
        week.spend(after(604_800));
        assert_eq!(week.fits(after(604_800)), Err(100));
    }
}
