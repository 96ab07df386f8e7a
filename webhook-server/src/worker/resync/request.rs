//! The requests that are open, in the order in which they are due.

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::Time};
use kube::{Resource, core::ObjectMeta};
use roomkeeper_crds::{CalendarSubscription, calendar_subscription::ResyncClaim};
use serde::Deserialize;
use tokio::sync::Notify;
use uuid::Uuid;

/// How long a claim holds unless it is renewed.
pub(super) const CLAIM: Duration = Duration::from_secs(30);

/// A CalendarSubscription, of which only what tells an open request is read.
#[derive(Clone, Debug, Deserialize)]
pub(in crate::worker) struct Watched {
    metadata: ObjectMeta,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Clone, Debug, Deserialize)]
struct Status {
    resync: Option<Asked>,
    delivery: Option<Answered>,
}

#[derive(Clone, Debug, Deserialize)]
struct Asked {
    requested: Time,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    resync_handled: Option<Time>,
    resync_claim: Option<ResyncClaim>,
}

/// An open request, as last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::worker) struct Seen {
    requested: Timestamp,
    claim: Option<ResyncClaim>,
}

impl Watched {
    /// Metadata, and the request if one is open.
    pub(in crate::worker) fn into_parts(self) -> (ObjectMeta, Option<Seen>) {
        let Some(Status { resync: Some(asked), delivery }) = self.status else {
            return (self.metadata, None);
        };
        let (handled, claim) =
            delivery.map_or((None, None), |delivery| (delivery.resync_handled, delivery.resync_claim));
        let open = handled.is_none_or(|handled| handled.0 < asked.requested.0);
        (self.metadata, open.then_some(Seen { requested: asked.requested.0, claim }))
    }
}

impl Resource for Watched {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        CalendarSubscription::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        CalendarSubscription::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        CalendarSubscription::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        CalendarSubscription::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Whether somebody else's claim keeps `me` away. A claim further ahead than one can be made comes from a wrong clock.
pub(super) fn holds(claim: Option<&ResyncClaim>, me: &str, now: Timestamp) -> Option<Timestamp> {
    let until = claim.filter(|claim| claim.holder != me)?.until.0;
    (until > now && until <= now.checked_add(2 * CLAIM).unwrap_or(now)).then_some(until)
}

/// A request to work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) uid: Uuid,
    /// Times that it failed before.
    pub(super) failures: u32,
}

/// The open requests. Clones share them.
#[derive(Clone, Debug, Default)]
pub(in crate::worker) struct Requests {
    all: Arc<Mutex<All>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct All {
    by_uid: HashMap<Uuid, Entry>,
    /// Those that nobody here works on, by the time when they are due.
    order: BTreeSet<(Timestamp, Uuid)>,
}

#[derive(Debug)]
struct Entry {
    seen: Seen,
    at: Timestamp,
    running: bool,
    failures: u32,
}

impl Requests {
    /// What the watch tells of an object: its open request, or that it has none.
    pub(in crate::worker) fn see(&self, uid: Uuid, seen: Option<Seen>, now: Timestamp) {
        let mut all = self.all();
        let all = &mut *all;
        let Some(seen) = seen else {
            if let Some(entry) = all.by_uid.remove(&uid) {
                all.order.remove(&(entry.at, uid));
            }
            return;
        };
        match all.by_uid.get_mut(&uid) {
            Some(entry) if entry.seen.requested == seen.requested => entry.seen = seen,
            Some(entry) if entry.running => entry.seen = seen,
            old => {
                if let Some(entry) = old {
                    all.order.remove(&(entry.at, uid));
                }
                // The operator's clock may be ahead.
                let at = seen.requested.min(now);
                all.order.insert((at, uid));
                all.by_uid.insert(uid, Entry { seen, at, running: false, failures: 0 });
                self.changed.notify_one();
            }
        }
    }

    /// The request that is due first, or when the next one will be.
    pub(super) fn take(&self, me: &str, now: Timestamp) -> Result<Due, Option<Timestamp>> {
        let mut all = self.all();
        let all = &mut *all;
        loop {
            let Some(&(at, uid)) = all.order.first() else { return Err(None) };
            if at > now {
                return Err(Some(at));
            }
            all.order.remove(&(at, uid));
            let Some(entry) = all.by_uid.get_mut(&uid) else { continue };
            if let Some(until) = holds(entry.seen.claim.as_ref(), me, now) {
                entry.at = until;
                all.order.insert((until, uid));
                continue;
            }
            entry.running = true;
            return Ok(Due { uid, failures: entry.failures });
        }
    }

    /// A request that was taken is answered. A newer one of the same object is due.
    pub(super) fn answered(&self, uid: Uuid, requested: Timestamp, now: Timestamp) {
        let mut all = self.all();
        let all = &mut *all;
        let Some(entry) = all.by_uid.get_mut(&uid).filter(|entry| entry.running) else { return };
        if entry.seen.requested <= requested {
            all.by_uid.remove(&uid);
            return;
        }
        (entry.running, entry.failures, entry.at) = (false, 0, now);
        all.order.insert((now, uid));
        self.changed.notify_one();
    }

    /// A request that was taken is due again at that time; `failed` if it failed.
    pub(super) fn again(&self, uid: Uuid, at: Timestamp, failed: bool) {
        let mut all = self.all();
        let all = &mut *all;
        let Some(entry) = all.by_uid.get_mut(&uid).filter(|entry| entry.running) else { return };
        entry.running = false;
        entry.failures = if failed { entry.failures.saturating_add(1) } else { 0 };
        entry.at = at;
        all.order.insert((at, uid));
        self.changed.notify_one();
    }

    /// Requests that are open.
    pub(in crate::worker) fn open(&self) -> usize {
        self.all().by_uid.len()
    }

    /// Returns when a request may have come.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    fn seen(requested: i64, claim: Option<(&str, i64)>) -> Seen {
        let claim =
            claim.map(|(holder, until)| ResyncClaim { holder: holder.to_owned(), until: Time(at(until)) });
        Seen { requested: at(requested), claim }
    }

    fn uid(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn due(number: u128, failures: u32) -> Due {
        Due { uid: uid(number), failures }
    }

    #[test]
    fn the_oldest_comes_first_and_each_once() {
        let all = Requests::default();
        all.see(uid(1), Some(seen(20, None)), at(30));
        all.see(uid(2), Some(seen(10, None)), at(30));
        // From a clock that is ahead.
        all.see(uid(3), Some(seen(1_000, None)), at(30));
        assert_eq!(all.take("me", at(30)), Ok(due(2, 0)));
        assert_eq!(all.take("me", at(30)), Ok(due(1, 0)));
        all.see(uid(1), Some(seen(20, Some(("me", 60)))), at(31));
        assert_eq!(all.take("me", at(31)), Ok(due(3, 0)));
        assert_eq!(all.take("me", at(31)), Err(None));
        all.answered(uid(1), at(20), at(32));
        assert_eq!((all.open(), all.take("me", at(32))), (2, Err(None)));
    }

    #[test]
    fn a_newer_request_is_due_after_the_one_that_is_worked_on() {
        let all = Requests::default();
        all.see(uid(1), Some(seen(10, None)), at(30));
        assert_eq!(all.take("me", at(30)), Ok(due(1, 0)));
        all.see(uid(1), Some(seen(40, None)), at(40));
        assert_eq!(all.take("me", at(40)), Err(None), "not twice at a time");
        all.answered(uid(1), at(10), at(41));
        assert_eq!(all.take("me", at(41)), Ok(due(1, 0)));
    }

    #[test]
    fn another_workers_claim_is_waited_for_and_taken_over() {
        let all = Requests::default();
        all.see(uid(1), Some(seen(10, Some(("other", 50)))), at(30));
        assert_eq!(all.take("me", at(30)), Err(Some(at(50))));
        assert_eq!(all.take("me", at(50)), Ok(due(1, 0)));
        let mine = ResyncClaim { holder: "me".to_owned(), until: Time(at(50)) };
        assert_eq!(holds(Some(&mine), "me", at(30)), None, "of an earlier life of this worker");
        let ahead = ResyncClaim { holder: "other".to_owned(), until: Time(at(5_000)) };
        assert_eq!(holds(Some(&ahead), "me", at(30)), None);
    }

    #[test]
    fn what_failed_comes_again_in_its_time_and_not_when_it_was_answered_elsewhere() {
        let all = Requests::default();
        all.see(uid(1), Some(seen(10, None)), at(30));
        assert_eq!(all.take("me", at(30)), Ok(due(1, 0)));
        all.again(uid(1), at(35), true);
        assert_eq!(all.take("me", at(34)), Err(Some(at(35))));
        assert_eq!(all.take("me", at(35)), Ok(due(1, 1)));
        all.see(uid(1), None, at(36));
        all.again(uid(1), at(37), true);
        assert_eq!((all.open(), all.take("me", at(40))), (0, Err(None)));
    }
}
