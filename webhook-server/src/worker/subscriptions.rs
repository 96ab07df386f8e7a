//! Which CalendarSubscription has which uid, and which of them ask to be read again: a watched index of a few dozen bytes
//! an object.
//!
//! It only names the objects and tells that there is something to do; what an object says is read live.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use futures::{StreamExt as _, TryStreamExt as _, stream::SelectAll};
use jiff::Timestamp;
use kube::{
    Api, Client,
    core::{DeserializeGuard, ObjectMeta},
    runtime::{WatchStreamExt as _, watcher, watcher::Event},
};
use roomkeeper_service::health::Gate;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    resync::{Requests, Seen, Watched},
    watched,
};

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectName {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// The index. Clones share it.
#[derive(Clone, Debug)]
pub struct Subscriptions {
    by_uid: Arc<RwLock<HashMap<Uuid, ObjectName>>>,
    /// Those that ask to be read again.
    requests: Requests,
    /// Whether every namespace was listed once.
    listed: watch::Sender<bool>,
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self { by_uid: Arc::default(), requests: Requests::default(), listed: watch::Sender::new(false) }
    }
}

impl Subscriptions {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// The CalendarSubscription of that uid, as last seen.
    pub fn find(&self, uid: &str) -> Option<ObjectName> {
        self.at(Uuid::try_parse(uid).ok()?)
    }

    /// The CalendarSubscription of that uid, as last seen.
    pub(super) fn at(&self, uid: Uuid) -> Option<ObjectName> {
        self.by_uid.read().unwrap_or_else(PoisonError::into_inner).get(&uid).cloned()
    }

    /// Requests to read a calendar again.
    pub(super) fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Returns when the index is complete: before that, an unknown uid proves nothing.
    pub async fn listed(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let mut listed = self.listed.subscribe();
        drop(listed.wait_for(|listed| *listed).await);
    }

    /// Keeps the index until `shutdown`; `gate` opens when every namespace was listed once. No namespace means all.
    pub async fn watch(
        self,
        client: Client,
        namespaces: Vec<String>,
        gate: Gate,
        shutdown: CancellationToken,
    ) {
        let namespaces = watched::slices(namespaces);
        let pending = Arc::new(Mutex::new(namespaces.len()));
        let mut events = SelectAll::new();
        for namespace in namespaces {
            let api: Api<DeserializeGuard<Watched>> = watched::api(&client, namespace.as_deref());
            let stream = watcher(api, watcher::Config::default()).default_backoff();
            let mut slice =
                Slice { all: self.clone(), listed: HashMap::new(), of: HashSet::new(), seen: false };
            let (pending, gate, listed) = (Arc::clone(&pending), gate.clone(), self.listed.clone());
            events.push(
                stream
                    .map_ok(move |event| {
                        if slice.take(event) {
                            let mut left = pending.lock().unwrap_or_else(PoisonError::into_inner);
                            *left -= 1;
                            if *left == 0 {
                                listed.send_replace(true);
                                gate.ready();
                            }
                        }
                    })
                    .boxed(),
            );
        }
        watched::keep("CalendarSubscriptions", events, shutdown).await;
    }
}

/// What one watch contributes.
struct Slice {
    all: Subscriptions,
    /// Objects of a list that is under way.
    listed: HashMap<Uuid, (ObjectName, Option<Seen>)>,
    /// Objects that this watch put into the index: what a list no longer holds is removed.
    of: HashSet<Uuid>,
    seen: bool,
}

impl Slice {
    /// Takes one event; true when the first list is complete.
    fn take(&mut self, event: Event<DeserializeGuard<Watched>>) -> bool {
        let now = Timestamp::now();
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                if let Some((uid, name, seen)) = entry(object) {
                    self.listed.insert(uid, (name, seen));
                }
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let mut all = self.all.by_uid.write().unwrap_or_else(PoisonError::into_inner);
                for gone in self.of.iter().filter(|uid| !listed.contains_key(*uid)) {
                    all.remove(gone);
                    self.all.requests.see(*gone, None, now);
                }
                self.of = listed.keys().copied().collect();
                for (uid, (name, seen)) in listed {
                    all.insert(uid, name);
                    self.all.requests.see(uid, seen, now);
                }
                return !std::mem::replace(&mut self.seen, true);
            }
            Event::Apply(object) => {
                if let Some((uid, name, seen)) = entry(object) {
                    self.of.insert(uid);
                    self.all.by_uid.write().unwrap_or_else(PoisonError::into_inner).insert(uid, name);
                    self.all.requests.see(uid, seen, now);
                }
            }
            Event::Delete(object) => {
                if let Some((uid, ..)) = entry(object) {
                    self.of.remove(&uid);
                    self.all.by_uid.write().unwrap_or_else(PoisonError::into_inner).remove(&uid);
                    self.all.requests.see(uid, None, now);
                }
            }
        }
        false
    }
}

/// An object that cannot be read has a name all the same.
fn entry(object: DeserializeGuard<Watched>) -> Option<(Uuid, ObjectName, Option<Seen>)> {
    let (metadata, seen) = match object.0 {
        Ok(watched) => watched.into_parts(),
        Err(invalid) => (invalid.metadata, None),
    };
    let ObjectMeta { uid, namespace, name, .. } = metadata;
    let uid = Uuid::try_parse(&uid?).ok()?;
    Some((uid, ObjectName { namespace: namespace?, name: name? }, seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(number: u128, name: &str) -> DeserializeGuard<Watched> {
        with_status(number, name, &serde_json::json!({}))
    }

    fn with_status(number: u128, name: &str, status: &serde_json::Value) -> DeserializeGuard<Watched> {
        let object = serde_json::json!({
            "metadata": {"uid": Uuid::from_u128(number), "name": name, "namespace": "contoso"},
            "spec": {"anything": true}, "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    fn slice(all: &Subscriptions) -> Slice {
        Slice { all: all.clone(), listed: HashMap::new(), of: HashSet::new(), seen: false }
    }

    #[test]
    fn the_index_follows_lists_and_events_of_several_watches() {
        let all = Subscriptions::new();
        let find = |number| all.find(&Uuid::from_u128(number).to_string()).map(|found| found.name);
        let (mut one, mut two) = (slice(&all), slice(&all));
        for event in [Event::Init, Event::InitApply(object(1, "a")), Event::InitApply(object(2, "b"))] {
            assert!(!one.take(event));
            assert_eq!(find(1), None, "nothing shows before the list is complete");
        }
        assert!(one.take(Event::InitDone));
        assert!(!two.take(Event::Apply(object(3, "c"))));
        assert_eq!((find(1), find(3)), (Some("a".to_owned()), Some("c".to_owned())));
        one.take(Event::Delete(object(1, "a")));
        assert_eq!(find(1), None);
        one.take(Event::Init);
        assert!(!one.take(Event::InitDone), "only the first list opens the gate");
        assert_eq!(find(2), None, "what a list no longer holds is gone");
        assert_eq!(find(3), Some("c".to_owned()), "another watch's objects stay");
        assert_eq!(all.find("no uuid"), None);
    }

    #[test]
    fn what_asks_to_be_read_again_is_known_until_it_is_answered_or_gone() {
        let all = Subscriptions::new();
        let mut watch = slice(&all);
        let asked = |at: &str| serde_json::json!({"requested": at, "reason": "FromALaterVersion"});
        let open = serde_json::json!({"resync": asked("2026-11-23T10:00:00Z")});
        let answered = serde_json::json!({
            "resync": asked("2026-11-23T10:00:00Z"), "delivery": {"resyncHandled": "2026-11-23T10:00:00Z"},
        });
        watch.take(Event::Apply(with_status(1, "a", &open)));
        watch.take(Event::Apply(with_status(2, "b", &answered)));
        watch.take(Event::Apply(with_status(3, "c", &serde_json::json!({"resync": "unreadable"}))));
        assert_eq!(all.requests().open(), 1);
        assert!(all.find(&Uuid::from_u128(3).to_string()).is_some());
        watch.take(Event::Apply(with_status(1, "a", &answered)));
        watch.take(Event::Apply(with_status(2, "b", &open)));
        assert_eq!(all.requests().open(), 1);
        watch.take(Event::Init);
        watch.take(Event::InitDone);
        assert_eq!(all.requests().open(), 0);
    }
}
