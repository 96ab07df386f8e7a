//! Growing delays. Pure: the random part is an argument.

use std::time::Duration;

/// Delay after the first failure.
pub const BASE: Duration = Duration::from_secs(1);
/// Longest delay.
pub const CAP: Duration = Duration::from_mins(5);

/// Delay after `failures` (from 1) in a row: doubling from [`BASE`] to [`CAP`], of which the upper half is spread by
/// `jitter` (0 up to, not including, 1) so that what failed together does not come back together.
pub fn delay(failures: u32, jitter: f64) -> Duration {
    let doubled = BASE.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    let whole = doubled.min(CAP);
    whole.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

/// A number from 0 up to, not including, 1 that depends on the uid alone: the same in every process and after every start.
pub fn jitter_of(uid: &str) -> f64 {
    use sha2::{Digest as _, Sha256};
    let digest = Sha256::digest(uid.as_bytes());
    let high = digest.iter().take(4).fold(0_u32, |value, byte| (value << 8) | u32::from(*byte));
    f64::from(high) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_doubles_up_to_the_cap() {
        assert_eq!(delay(1, 1.0), Duration::from_secs(1));
        assert_eq!(delay(4, 1.0), Duration::from_secs(8));
        assert_eq!(delay(4, 0.0), Duration::from_secs(4));
        assert_eq!(delay(40, 1.0), CAP);
        assert_eq!(delay(u32::MAX, 1.0), CAP);
    }

    proptest! {
        #[test]
        fn it_stays_within_its_bounds(failures: u32, jitter in -1.0_f64..2.0) {
            let delay = delay(failures, jitter);
            prop_assert!(delay >= BASE / 2 && delay <= CAP);
        }

        #[test]
        fn a_uid_always_gives_the_same_jitter(uid in "[0-9a-f-]{1,36}") {
            let jitter = jitter_of(&uid);
            prop_assert!((0.0..1.0).contains(&jitter));
            prop_assert_eq!(jitter.to_bits(), jitter_of(&uid).to_bits());
        }
    }
}
