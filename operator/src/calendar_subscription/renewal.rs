//! When a subscription is renewed. Pure.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use crate::backoff::jitter_of;

/// Share of its life after which a subscription is renewed: 0.65 up to 0.75, by the uid of its CalendarSubscription, so
/// that subscriptions made together are not renewed together, and each at the same share every time.
const EARLIEST: f64 = 0.65;
const SPREAD: f64 = 0.10;

/// A life that came back shorter than this is not renewed any faster.
const SHORTEST: Duration = Duration::from_secs(30);

/// A renewal that Graph answered without extending is not repeated faster than this.
const FUTILE: Duration = Duration::from_mins(10);

/// Seconds that are no difference between two ends: clocks differ, and the request is on its way for a while.
const TOLERANCE: i64 = 60;

/// A subscription that Graph does not extend is made anew when it has less than this left.
const NEAR_END: Duration = Duration::from_mins(30);

const MINUTE: i64 = 60;

/// How many renewals each minute has, over all scopes of the process: the sender is one, whatever it sends for.
#[derive(Debug, Default)]
pub struct Calendar(BTreeMap<i64, u32>);

/// The minute that a time lies in.
pub fn minute_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(MINUTE)
}

impl Calendar {
    /// One renewal more in that minute.
    pub fn add(&mut self, minute: i64) {
        *self.0.entry(minute).or_default() += 1;
    }

    /// One renewal less in that minute.
    pub fn remove(&mut self, minute: i64) {
        if let Some(count) = self.0.get_mut(&minute) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(&minute);
            }
        }
    }

    fn count(&self, minute: i64) -> u32 {
        self.0.get(&minute).copied().unwrap_or_default()
    }
}

/// When to renew a subscription that was made or renewed at `from` and lives until `expires`, as Graph returned it: at the
/// place of its uid, or in the next minute of the window that does not have its fair share of renewals yet.
pub fn renew_at(from: Timestamp, expires: Timestamp, uid: &str, calendar: &Calendar) -> Timestamp {
    let life = Duration::try_from(expires.duration_since(from)).unwrap_or_default();
    // Whole seconds read back equal.
    let after = |share: f64| {
        let seconds = life.mul_f64(share).max(SHORTEST).as_secs();
        from.checked_add(Duration::from_secs(seconds)).unwrap_or(expires)
    };
    let (first, last) = (after(EARLIEST), after(EARLIEST + SPREAD));
    let place = after(EARLIEST + SPREAD * jitter_of(uid));
    let (first_minute, last_minute, own) = (minute_of(first), minute_of(last), minute_of(place));
    let booked: u64 = calendar.0.range(first_minute..=last_minute).map(|(_, count)| u64::from(*count)).sum();
    let minutes = u64::try_from(last_minute - first_minute + 1).unwrap_or(1);
    // As many as there are with this one, over the minutes: one of them always has room.
    let share = (booked + 1).div_ceil(minutes);
    let has_room = |minute: &i64| u64::from(calendar.count(*minute)) < share;
    match (own..=last_minute).chain(first_minute..own).find(has_room) {
        Some(minute) if minute != own => {
            let second = place.as_second().rem_euclid(MINUTE);
            Timestamp::from_second(minute * MINUTE + second).unwrap_or(place).clamp(first, last)
        }
        _ => place,
    }
}

/// Whether a renewal led nowhere: the answer holds the end that was known before, and not the one that was asked for.
pub fn is_futile(known: Timestamp, returned: Timestamp, asked: Timestamp) -> bool {
    let extended = returned.duration_since(known).as_secs() > TOLERANCE;
    !extended && asked.duration_since(returned).as_secs() > TOLERANCE
}

/// Whether a subscription that Graph does not extend has so little left that it is made anew rather than asked for again.
pub fn is_near_end(expires: Timestamp, now: Timestamp) -> bool {
    Duration::try_from(expires.duration_since(now)).unwrap_or_default() < NEAR_END
}

/// When to try again what led nowhere.
pub fn retry_at(now: Timestamp, expires: Timestamp, planned: Timestamp) -> Timestamp {
    now.checked_add(FUTILE).unwrap_or(now).max(planned).min(expires.max(now))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    proptest! {
        #[test]
        fn it_lies_at_about_seven_tenths(minutes in 1_i64..10_070, uid in "[0-9a-f]{8}") {
            let (from, expires) = (at(0), at(minutes * 60));
            let first = renew_at(from, expires, &uid, &Calendar::default());
            let share = first.duration_since(from).as_secs_f64() / expires.duration_since(from).as_secs_f64();
            prop_assert!((0.62..=0.75).contains(&share), "{share}");
            prop_assert_eq!(first, renew_at(from, expires, &uid, &Calendar::default()));
        }

        /// However unlucky the uids, and whatever lives come back, no minute of the window has more than its share, nor does
        /// a renewal leave the window.
        #[test]
        fn no_minute_has_more_than_its_share(
            uids in proptest::collection::vec("[ab]{1,2}", 1..400),
            hours in 1_i64..24,
        ) {
            let mut calendar = Calendar::default();
            let (from, expires) = (at(0), at(hours * 3_600));
            for uid in &uids {
                let at = renew_at(from, expires, uid, &calendar);
                let share = at.duration_since(from).as_secs_f64() / expires.duration_since(from).as_secs_f64();
                prop_assert!((0.64..=0.76).contains(&share), "{share}");
                calendar.add(minute_of(at));
            }
            let window = minute_of(at(hours * 3_600 * 75 / 100)) - minute_of(at(hours * 3_600 * 65 / 100)) + 1;
            let fair = i64::try_from(uids.len()).unwrap().unsigned_abs().div_ceil(window.unsigned_abs());
            let most = calendar.0.values().copied().max().unwrap();
            prop_assert!(u64::from(most) <= fair, "{most} of {fair}");
        }
    }

    #[test]
    fn a_full_minute_gives_way_to_the_next() {
        let (from, expires) = (at(0), at(7 * 86_400));
        let mut calendar = Calendar::default();
        let first = renew_at(from, expires, "u", &calendar);
        calendar.add(minute_of(first));
        let second = renew_at(from, expires, "u", &calendar);
        assert_eq!(minute_of(second), minute_of(first) + 1);
        calendar.remove(minute_of(first));
        assert_eq!(renew_at(from, expires, "u", &calendar), first);
        assert!(calendar.0.is_empty(), "nothing is left behind");
    }

    #[test]
    fn an_expiry_in_the_past_does_not_spin() {
        let again = renew_at(at(0), Timestamp::UNIX_EPOCH, "u", &Calendar::default());
        assert_eq!(again, at(0) + SHORTEST);
    }

    #[test]
    fn a_renewal_that_extends_nothing_is_known_by_its_answer() {
        let (known, asked) = (at(2 * 86_400), at(7 * 86_400));
        assert!(is_futile(known, known, asked));
        assert!(is_futile(known, at(2 * 86_400 - 10), asked));
        assert!(!is_futile(known, asked, asked));
        assert!(!is_futile(known, at(3 * 86_400), asked), "shorter than asked, and longer than before");
        assert!(!is_futile(asked, asked, asked), "there was nothing to extend");
        assert!(is_near_end(at(100), at(0)) && !is_near_end(at(3_600), at(0)));
        assert_eq!(retry_at(at(0), at(86_400), at(60)), at(600), "no faster than that");
        assert_eq!(retry_at(at(0), at(86_400), at(60_000)), at(60_000));
        assert_eq!(retry_at(at(0), at(300), at(60)), at(300), "and not after the end");
    }

    /// Answers that extend nothing end after a few tries, not in a loop.
    #[test]
    fn answers_that_extend_nothing_are_few() {
        let expires = at(2 * 86_400);
        let (mut now, mut tries) = (at(0), 0);
        while !is_near_end(expires, now) {
            now = retry_at(now, expires, renew_at(now, expires, "u", &Calendar::default()));
            tries += 1;
        }
        assert!(tries < 10, "{tries}");
    }
}
