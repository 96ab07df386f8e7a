//! When a subscription is renewed. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::backoff::jitter_of;

/// Share of its life after which a subscription is renewed: 0.65 up to 0.75, by the uid of its CalendarSubscription, so
/// that subscriptions made together are not renewed together, and each at the same share every time.
const EARLIEST: f64 = 0.65;
const SPREAD: f64 = 0.10;

/// A life that came back shorter than this is not renewed any faster.
const SHORTEST: Duration = Duration::from_secs(5);

/// When to renew a subscription that was made or renewed at `from` and lives until `expires`, as Graph returned it.
pub fn renew_at(from: Timestamp, expires: Timestamp, uid: &str) -> Timestamp {
    let life = Duration::try_from(expires.duration_since(from)).unwrap_or_default();
    let after = life.mul_f64(EARLIEST + SPREAD * jitter_of(uid)).max(SHORTEST);
    // Whole seconds read back equal.
    from.checked_add(Duration::from_secs(after.as_secs())).unwrap_or(expires)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_lies_at_about_seven_tenths(minutes in 1_i64..10_070, uid in "[0-9a-f]{8}") {
            let from = Timestamp::from_second(1_700_000_000).unwrap();
            let expires = Timestamp::from_second(1_700_000_000 + minutes * 60).unwrap();
            let at = renew_at(from, expires, &uid);
            let share = at.duration_since(from).as_secs_f64() / expires.duration_since(from).as_secs_f64();
            prop_assert!((0.62..=0.75).contains(&share), "{share}");
            prop_assert_eq!(at, renew_at(from, expires, &uid));
        }
    }

    #[test]
    fn an_expiry_in_the_past_does_not_spin() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        assert_eq!(renew_at(now, Timestamp::UNIX_EPOCH, "u"), now + SHORTEST);
    }
}
