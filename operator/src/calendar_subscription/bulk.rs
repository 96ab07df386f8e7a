//! Whether the deletion of a CalendarSubscription is one of very many.
//!
//! Deleting an object that followed from a consent withdraws the consent. A pruned folder or `kubectl delete --all` is no decision
//! about each of these people: where more objects of a scope go together than its shrink guard lets pass, their Graph subscriptions
//! end and the register stays as it is. That can only be told once no further deletion arrives, so a withdrawal waits for that.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use roomkeeper_graph::SubscriptionId;

use crate::access_scope::shrink;

/// No further deletion for this long means that they all arrived.
pub const SETTLE: Duration = Duration::from_secs(10);
/// A deletion this much later than the last one, with all of them carried out, has nothing to do with them.
const TOGETHER: Duration = Duration::from_mins(10);
/// Longer than any deletion waits for Graph.
const LONGEST: Duration = Duration::from_hours(4);

/// What a deletion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// It cannot be told before this time has passed.
    Open(Duration),
    /// One of a few: each is a decision about that person.
    Few,
    /// One of so many.
    Bulk {
        /// Objects deleted.
        deleted: usize,
        /// Objects there were.
        of: usize,
        /// Whether whoever asks is to say it: the first one, and again after [`Bursts::not_said`].
        first: bool,
    },
}

#[derive(Debug, Default)]
struct Progress {
    /// What was ended of it at Graph.
    ended: Vec<SubscriptionId>,
    gone: bool,
}

#[derive(Debug, Default)]
struct Burst {
    /// By uid.
    deleted: HashMap<String, Progress>,
    last: Duration,
    said: bool,
}

/// Deletions that belong together, by the uid of their AccessScope.
#[derive(Debug, Default)]
pub struct Bursts(Mutex<HashMap<String, Burst>>);

impl Bursts {
    /// A deletion is seen at `passed`, the time since the process began; seen again it counts once.
    pub fn seen(&self, scope: &str, object: &str, passed: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, burst| {
            let open = burst.deleted.values().any(|one| !one.gone);
            burst.last.saturating_add(if open { LONGEST } else { TOGETHER }) > passed
        });
        let burst = all.entry(scope.to_owned()).or_default();
        if !burst.deleted.contains_key(object) {
            burst.deleted.insert(object.to_owned(), Progress::default());
            burst.last = passed;
        }
    }

    /// What the deletions of a scope are, where `present` of its objects are still there, those under deletion among them.
    pub fn size(&self, scope: &str, present: usize, max_percent: u8, passed: Duration) -> Size {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(burst) = all.get_mut(scope) else { return Size::Few };
        let settled = burst.last.saturating_add(SETTLE);
        if passed < settled {
            return Size::Open(settled.saturating_sub(passed));
        }
        let deleted = burst.deleted.len();
        let of = present + burst.deleted.values().filter(|one| one.gone).count();
        if !shrink::is_large(deleted, of, max_percent) {
            return Size::Few;
        }
        let first = !std::mem::replace(&mut burst.said, true);
        Size::Bulk { deleted, of, first }
    }

    /// That the deletions of a scope are a bulk could not be said: the next one is to say it.
    pub fn not_said(&self, scope: &str) {
        if let Some(burst) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(scope) {
            burst.said = false;
        }
    }

    /// The object is gone; it counts as one of its burst for a while yet.
    pub fn gone(&self, scope: &str, object: &str) {
        self.progress(scope, object, |one| one.gone = true);
    }

    /// These subscriptions are ended at Graph, while the object waits for the size of its burst.
    pub fn ended(&self, scope: &str, object: &str, ids: &[SubscriptionId]) {
        self.progress(scope, object, |one| one.ended.extend(ids));
    }

    /// Takes out what is ended already.
    pub fn leave_to_end(&self, scope: &str, object: &str, ids: &mut Vec<SubscriptionId>) {
        self.progress(scope, object, |one| ids.retain(|id| !one.ended.contains(id)));
    }

    fn progress(&self, scope: &str, object: &str, change: impl FnOnce(&mut Progress)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(one) = all.get_mut(scope).and_then(|burst| burst.deleted.get_mut(object)) {
            change(one);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_single_deletion_waits_for_others_and_is_one_of_a_few() {
        let bursts = Bursts::default();
        bursts.seen("scope", "a", at(0));
        assert_eq!(bursts.size("scope", 1, 10, at(3)), Size::Open(at(7)));
        bursts.seen("scope", "a", at(9));
        assert_eq!(bursts.size("scope", 1, 10, at(10)), Size::Few, "one of one is no bulk");
    }

    #[test]
    fn many_stay_many_to_the_last_of_them() {
        let bursts = Bursts::default();
        for number in 0..20 {
            bursts.seen("scope", &number.to_string(), at(number));
        }
        assert_eq!(bursts.size("scope", 100, 10, at(20)), Size::Open(at(9)));
        for _until_it_could_be_said in 0..2 {
            bursts.not_said("scope");
            assert_eq!(
                bursts.size("scope", 100, 10, at(29)),
                Size::Bulk { deleted: 20, of: 100, first: true }
            );
        }
        for gone in 0_u64..19 {
            bursts.gone("scope", &gone.to_string());
        }
        assert_eq!(bursts.size("scope", 81, 10, at(500)), Size::Bulk { deleted: 20, of: 100, first: false });
        assert_eq!(bursts.size("scope", 100, 20, at(500)), Size::Few, "the share is the scope's");
        assert_eq!(bursts.size("other", 1, 10, at(500)), Size::Few);
    }

    #[test]
    fn what_comes_much_later_is_another_burst() {
        let bursts = Bursts::default();
        for number in 0..20 {
            bursts.seen("scope", &number.to_string(), at(0));
            bursts.gone("scope", &number.to_string());
        }
        bursts.seen("scope", "later", at(601));
        assert_eq!(bursts.size("scope", 30, 10, at(611)), Size::Few);
    }
}
