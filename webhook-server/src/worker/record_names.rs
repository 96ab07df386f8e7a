//! Which BookingRecords there are, as last seen: a watched set of eight bytes a record.
//!
//! It spares the question about a record that is not there, which is what most new events ask first. It decides nothing: what it
//! takes for absent is created, which the API server refuses where the set was behind, and what it takes for there is read live.

use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::BuildHasher as _,
    sync::{Arc, PoisonError, RwLock, RwLockWriteGuard},
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Api, Client,
    core::{ObjectMeta, PartialObjectMeta},
    runtime::{WatchStreamExt as _, watcher, watcher::Event},
};
use roomkeeper_crds::BookingRecord;
use tokio_util::sync::CancellationToken;

use super::{subscriptions::ObjectName, watched};

/// The set. Clones share it. The default one knows nothing, so that every record is asked for.
#[derive(Clone, Debug, Default)]
pub struct RecordNames {
    /// By watched namespace; `None` is all of them.
    slices: Arc<HashMap<Option<String>, RwLock<Slice>>>,
    hasher: RandomState,
}

/// What one watch tells. Two names of one hash cost a question and nothing else.
#[derive(Debug, Default)]
struct Slice {
    names: HashSet<u64>,
    /// Names of a list that is under way.
    listing: HashSet<u64>,
    /// Whether a list was complete once: before that, a name that is not in the set proves nothing.
    listed: bool,
}

impl RecordNames {
    /// An empty set for these namespaces; none means all.
    pub fn new(namespaces: Vec<String>) -> Self {
        let slices =
            watched::slices(namespaces).into_iter().map(|slice| (slice, RwLock::default())).collect();
        Self { slices: Arc::new(slices), hasher: RandomState::new() }
    }

    /// Keeps the set until `shutdown`.
    pub async fn watch(self, client: Client, shutdown: CancellationToken) {
        let watches = self.slices.iter().map(|(namespace, slice)| {
            let api: Api<PartialObjectMeta<BookingRecord>> = watched::api(&client, namespace.as_deref());
            watcher(api, watcher::Config::default())
                .default_backoff()
                .map_ok(|event| self.take(slice, event))
                .boxed()
        });
        watched::keep("the names of BookingRecords", stream::select_all(watches), shutdown).await;
    }

    fn take(&self, slice: &RwLock<Slice>, event: Event<PartialObjectMeta<BookingRecord>>) {
        let mut slice = written(slice);
        match event {
            Event::Init => slice.listing.clear(),
            Event::InitApply(object) => {
                if let Some(hash) = self.hash_of(&object.metadata) {
                    slice.listing.insert(hash);
                }
            }
            Event::InitDone => {
                slice.names = std::mem::take(&mut slice.listing);
                slice.listed = true;
            }
            Event::Apply(object) => {
                if let Some(hash) = self.hash_of(&object.metadata) {
                    slice.names.insert(hash);
                }
            }
            Event::Delete(object) => {
                if let Some(hash) = self.hash_of(&object.metadata) {
                    slice.names.remove(&hash);
                }
            }
        }
    }

    /// Whether every namespace was listed once.
    pub fn listed(&self) -> bool {
        self.slices.values().all(|slice| slice.read().unwrap_or_else(PoisonError::into_inner).listed)
    }

    /// False where the record was not there a moment ago.
    pub(super) fn may_exist(&self, record: &ObjectName) -> bool {
        let Some(slice) = self.slice(record) else { return true };
        let slice = slice.read().unwrap_or_else(PoisonError::into_inner);
        !slice.listed || slice.names.contains(&self.hash(&record.namespace, &record.name))
    }

    /// The API server said so just now, which the watch may tell later.
    pub(super) fn learn(&self, record: &ObjectName, exists: bool) {
        let Some(slice) = self.slice(record) else { return };
        let hash = self.hash(&record.namespace, &record.name);
        let mut slice = written(slice);
        if exists {
            slice.names.insert(hash);
        } else {
            slice.names.remove(&hash);
        }
    }

    fn slice(&self, record: &ObjectName) -> Option<&RwLock<Slice>> {
        self.slices.get(&Some(record.namespace.clone())).or_else(|| self.slices.get(&None))
    }

    fn hash_of(&self, metadata: &ObjectMeta) -> Option<u64> {
        Some(self.hash(metadata.namespace.as_ref()?, metadata.name.as_ref()?))
    }

    fn hash(&self, namespace: &str, name: &str) -> u64 {
        self.hasher.hash_one((namespace, name))
    }
}

fn written(slice: &RwLock<Slice>) -> RwLockWriteGuard<'_, Slice> {
    slice.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use kube::core::PartialObjectMetaExt as _;

    use super::*;

    fn name(namespace: &str, name: &str) -> ObjectName {
        ObjectName { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn object(record: &ObjectName) -> PartialObjectMeta<BookingRecord> {
        let metadata = ObjectMeta {
            namespace: Some(record.namespace.clone()),
            name: Some(record.name.clone()),
            ..ObjectMeta::default()
        };
        metadata.into_response_partial()
    }

    fn take(names: &RecordNames, event: Event<PartialObjectMeta<BookingRecord>>) {
        names.take(names.slices.values().next().unwrap(), event);
    }

    #[test]
    fn nothing_counts_as_absent_before_a_list_was_complete() {
        let (names, a, b) = (RecordNames::new(Vec::new()), name("rooms", "a"), name("rooms", "b"));
        take(&names, Event::Init);
        take(&names, Event::InitApply(object(&a)));
        assert!(names.may_exist(&a) && names.may_exist(&b));
        take(&names, Event::InitDone);
        assert!(names.may_exist(&a) && !names.may_exist(&b));
        take(&names, Event::Apply(object(&b)));
        take(&names, Event::Delete(object(&a)));
        assert!(!names.may_exist(&a) && names.may_exist(&b));
        assert!(!names.may_exist(&name("other", "b")), "a name is one in its namespace");
    }

    #[test]
    fn a_new_list_replaces_what_was_known_and_answers_are_known_at_once() {
        let (names, a, b) = (RecordNames::new(Vec::new()), name("rooms", "a"), name("rooms", "b"));
        take(&names, Event::InitDone);
        names.learn(&a, true);
        assert!(names.may_exist(&a));
        names.learn(&a, false);
        assert!(!names.may_exist(&a));
        names.learn(&a, true);
        take(&names, Event::Init);
        take(&names, Event::InitApply(object(&b)));
        assert!(names.may_exist(&a), "until the list is complete");
        take(&names, Event::InitDone);
        assert!(!names.may_exist(&a) && names.may_exist(&b));
    }

    #[test]
    fn a_namespace_that_is_not_watched_is_asked_about() {
        let names = RecordNames::new(vec!["rooms".to_owned()]);
        take(&names, Event::InitDone);
        assert!(!names.may_exist(&name("rooms", "a")));
        assert!(names.may_exist(&name("other", "a")));
        assert!(RecordNames::default().may_exist(&name("rooms", "a")));
    }
}
