//! The limit on calls per minute.

use std::{num::NonZeroU32, time::Instant};

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
}
