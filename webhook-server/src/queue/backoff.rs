//! How long to wait before the next attempt.

use std::time::Duration;

/// Exponential back-off with full-range jitter of the upper half, and a cap.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// Longest wait after the first failed attempt.
    pub base: Duration,
    /// Longest wait ever.
    pub cap: Duration,
}

impl Backoff {
    /// The wait after attempt number `attempt` (1 is the first). `jitter` is a random number in `0.0..1.0`: the answer
    /// lies between one half and the whole of `base * 2^(attempt-1)`, never above the cap.
    pub fn delay(&self, attempt: u32, jitter: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let whole = self.base.saturating_mul(1 << doublings).min(self.cap);
        whole.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0)).min(self.cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BACKOFF: Backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_mins(5) };

    proptest! {
        #[test]
        fn stays_within_the_upper_half_and_the_cap(attempt in 0u32..100, jitter in 0.0f64..1.0) {
            let whole = BACKOFF.delay(attempt, 1.0);
            let delay = BACKOFF.delay(attempt, jitter);
            prop_assert!(delay <= whole && delay >= whole / 2);
            prop_assert!(whole <= BACKOFF.cap);
        }

        #[test]
        fn never_shrinks_with_more_attempts(attempt in 0u32..100) {
            prop_assert!(BACKOFF.delay(attempt + 1, 1.0) >= BACKOFF.delay(attempt, 1.0));
        }
    }

    #[test]
    fn doubles() {
        assert_eq!(BACKOFF.delay(1, 1.0), Duration::from_secs(1));
        assert_eq!(BACKOFF.delay(4, 1.0), Duration::from_secs(8));
        assert_eq!(BACKOFF.delay(40, 1.0), Duration::from_mins(5));
    }
}
