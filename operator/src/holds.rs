//! What must not be tried again yet.
//!
//! Every status write brings the object back to its controller at once. A remote call that just failed, or that the remote
//! side asked to wait with, must not follow such an echo; anything else about the object must.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{backoff, clock::Clock};

/// Which attempt a hold is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt(u64);

impl Attempt {
    /// The attempt that everything in `what` describes: another generation, request or action is another attempt.
    pub fn of(what: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        Self(hasher.finish())
    }
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    failures: u32,
    /// By the time that has passed, not by the wall clock, which can be set.
    until: Duration,
    /// `None`: nothing may be sent at all.
    attempt: Option<Attempt>,
}

/// Holds by uid.
#[derive(Debug, Default)]
pub struct Holds {
    all: Mutex<HashMap<String, Hold>>,
    clock: Clock,
}

impl Holds {
    /// None, by that clock.
    pub fn new(clock: Clock) -> Self {
        Self { all: Mutex::default(), clock }
    }

    /// How long this attempt must still wait; `None` when it may be made.
    pub fn remaining(&self, uid: &str, attempt: Attempt) -> Option<Duration> {
        let hold = *self.all().get(uid)?;
        if hold.attempt.is_some_and(|held| held != attempt) {
            return None;
        }
        hold.until.checked_sub(self.clock.passed()).filter(|left| !left.is_zero())
    }

    /// The attempt failed: it waits for a growing time, which is returned.
    pub fn back_off(&self, uid: &str, attempt: Attempt, jitter: f64) -> Duration {
        let mut all = self.all();
        let failures = match all.get(uid) {
            Some(hold) if hold.attempt == Some(attempt) => hold.failures.saturating_add(1),
            _ => 1,
        };
        let delay = backoff::delay(failures, jitter);
        all.insert(uid.to_owned(), Hold { failures, until: self.after(delay), attempt: Some(attempt) });
        delay
    }

    /// The attempt was refused: it waits for a time that doubles from `first` to `longest`, of which the upper half is spread by
    /// `jitter`, and which is returned.
    pub fn slow_down(
        &self,
        uid: &str,
        attempt: Attempt,
        first: Duration,
        longest: Duration,
        jitter: f64,
    ) -> Duration {
        let mut all = self.all();
        let failures = match all.get(uid) {
            Some(hold) if hold.attempt == Some(attempt) => hold.failures.saturating_add(1),
            _ => 1,
        };
        let doubled = first.saturating_mul(1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX));
        let delay = doubled.min(longest).mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0));
        all.insert(uid.to_owned(), Hold { failures, until: self.after(delay), attempt: Some(attempt) });
        delay
    }

    /// What is held need not wait any more; how often it failed is remembered.
    pub fn release(&self, uid: &str) {
        if let Some(hold) = self.all().get_mut(uid) {
            hold.until = Duration::ZERO;
        }
    }

    /// Whether anything is or was held.
    pub fn knows(&self, uid: &str) -> bool {
        self.all().contains_key(uid)
    }

    /// The attempt waits for exactly this time.
    pub fn wait(&self, uid: &str, attempt: Attempt, delay: Duration) {
        let hold = Hold { failures: 0, until: self.after(delay), attempt: Some(attempt) };
        self.all().insert(uid.to_owned(), hold);
    }

    /// Nothing is sent for this object for exactly this time: the remote side asked for it.
    pub fn wait_with_all(&self, uid: &str, delay: Duration) {
        let hold = Hold { failures: 0, until: self.after(delay), attempt: None };
        self.all().insert(uid.to_owned(), hold);
    }

    /// Success, or the object is gone.
    pub fn clear(&self, uid: &str) {
        self.all().remove(uid);
    }

    fn after(&self, delay: Duration) -> Duration {
        self.clock.passed().saturating_add(delay)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Hold>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_attempt_waits() {
        let holds = Holds::default();
        let (create, remove) = (Attempt::of(("create", 1)), Attempt::of(("remove", 1)));
        assert_eq!(holds.remaining("a", create), None);
        holds.wait("a", create, Duration::from_hours(1));
        assert!(holds.remaining("a", create).is_some());
        assert_eq!(holds.remaining("a", remove), None, "a withdrawal does not wait for a failed creation");
        assert_eq!(holds.remaining("b", create), None);
        holds.wait_with_all("a", Duration::from_hours(1));
        assert!(
            holds.remaining("a", remove).is_some(),
            "what the remote side asked for holds for everything"
        );
        holds.clear("a");
        assert_eq!(holds.remaining("a", remove), None);
    }

    #[test]
    fn failures_in_a_row_wait_longer_and_another_attempt_starts_anew() {
        let holds = Holds::default();
        let (first, second) = (Attempt::of(1), Attempt::of(2));
        assert_eq!(holds.back_off("a", first, 1.0), Duration::from_secs(1));
        assert_eq!(holds.back_off("a", first, 1.0), Duration::from_secs(2));
        assert_eq!(holds.back_off("a", second, 1.0), Duration::from_secs(1));
    }
}
