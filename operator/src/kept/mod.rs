//! The objects of a kind as last seen, look-ups over them, and the queue of their controller.
//!
//! A store of typed objects would take several kilobytes for each; a hundred thousand people have to fit into some hundred
//! megabytes. So objects are kept packed and unpacked when somebody looks at one.

mod index;
mod packed;

use std::{
    collections::{HashMap, HashSet},
    marker::PhantomData,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use kube::{ResourceExt as _, core::DeserializeGuard};
use tokio::sync::{mpsc::UnboundedSender, watch};

pub use self::index::Index;
use self::packed::{Packed, Packer};
use crate::{
    api::{Guarded, Object},
    key::Key,
};

/// An object that does not fit the schema of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecodable;

/// One kind.
pub struct Kept<K: Object> {
    objects: RwLock<HashMap<Arc<Key>, Result<Packed, Undecodable>>>,
    packer: Packer,
    /// Versions of objects that came as answers to our own calls and that the watch has not come to yet.
    ahead: Mutex<HashMap<Arc<Key>, u64>>,
    index: Mutex<Index>,
    queue: UnboundedSender<Arc<Key>>,
    complete: watch::Sender<bool>,
    kind: PhantomData<fn() -> K>,
}

impl<K: Object> Kept<K> {
    /// None yet, around the queue of a controller.
    ///
    /// The queue has no bound of its own: it holds names of objects that are kept, and the controller behind it merges
    /// repetitions.
    pub fn new(queue: UnboundedSender<Arc<Key>>) -> Self {
        Self {
            objects: RwLock::default(),
            packer: Packer::default(),
            ahead: Mutex::default(),
            index: Mutex::default(),
            queue,
            complete: watch::Sender::new(false),
            kind: PhantomData,
        }
    }

    /// The object, if it is there and fits its type.
    pub fn get(&self, key: &Key) -> Option<K> {
        self.look(key)?.ok()
    }

    /// The object, if it is there.
    pub fn look(&self, key: &Key) -> Option<Result<K, Undecodable>> {
        let packed = match self.objects().get(key)? {
            Ok(packed) => packed.clone(),
            Err(undecodable) => return Some(Err(*undecodable)),
        };
        Some(packed.unpack().ok_or(Undecodable))
    }

    /// Names of all objects.
    pub fn keys(&self) -> Vec<Key> {
        self.objects().keys().map(|key| (**key).clone()).collect()
    }

    /// All objects that fit their type, one at a time.
    pub fn each(&self) -> impl Iterator<Item = K> {
        self.keys().into_iter().filter_map(|key| self.get(&key))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.objects().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names of the objects under a term of the index.
    pub fn under(&self, term: &str) -> Vec<Key> {
        self.index().get(term)
    }

    /// The look-ups.
    pub fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the controller look at an object.
    pub fn trigger(&self, key: &Key) {
        // One name for the object, wherever it is noted.
        let known = self.objects().get_key_value(key).map(|(key, _)| Arc::clone(key));
        if let Some(key) = known {
            // A closed queue means that this leadership has ended.
            let _ended = self.queue.send(key);
        }
    }

    /// Has the controller look at several objects.
    pub fn trigger_all(&self, keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            self.trigger(&key);
        }
    }

    /// Returns once every object was listed.
    pub async fn complete(&self) {
        // The sender lives in `self`, so that waiting cannot fail.
        let mut complete = self.complete.subscribe();
        drop(complete.wait_for(|complete| *complete).await);
    }

    /// The watch says that an object is new or changed; returns its name. What an answer to our own call said since stays.
    pub(crate) fn put(&self, object: &Guarded<K>, terms: Vec<String>) -> Key {
        let key = Key::of(object);
        let DeserializeGuard(decoded) = object;
        let packed = match decoded {
            Ok(object) => self.packer.pack(object).ok_or(Undecodable),
            Err(_) => Err(Undecodable),
        };
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let mut ahead = self.ahead();
        if let Some(known) = ahead.get(&key) {
            if version(object).is_some_and(|version| version < *known) {
                return key;
            }
            ahead.remove(&key);
        }
        drop(ahead);
        let name = match objects.get_key_value(&key) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::new(key.clone()),
        };
        objects.insert(Arc::clone(&name), packed);
        self.index().put(&name, terms);
        key
    }

    /// An object as the API server just answered, which the watch may come to later. Taken if it is newer than what is kept;
    /// an object that is gone does not come back. Whether it was taken.
    pub(crate) fn answered(&self, object: &K, terms: Vec<String>) -> bool {
        let key = Key::of(object);
        let (Some(new), Some(packed)) = (version(object), self.packer.pack(object)) else { return false };
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let Some((name, Ok(kept))) = objects.get_key_value(&key) else { return false };
        let name = Arc::clone(name);
        let newer = |kept: K| kept.uid() == object.uid() && version(&kept).is_some_and(|kept| kept < new);
        if !kept.unpack().is_some_and(newer) {
            return false;
        }
        self.ahead().insert(Arc::clone(&name), new);
        objects.insert(Arc::clone(&name), Ok(packed));
        self.index().put(&name, terms);
        true
    }

    /// An object is gone; returns its last known form.
    pub(crate) fn remove(&self, key: &Key) -> Option<K> {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let last = objects.remove(key);
        self.ahead().remove(key);
        self.index().remove(key);
        drop(objects);
        last?.ok()?.unpack()
    }

    /// A list begins. It will hold whatever was written before, in its newest version.
    pub(crate) fn listing(&self) {
        self.ahead().clear();
    }

    /// Names of the objects that a complete list does not hold: they are gone.
    pub(crate) fn missing(&self, listed: &HashSet<Key>) -> Vec<Key> {
        self.keys().into_iter().filter(|key| !listed.contains(key)).collect()
    }

    /// Every object was listed.
    pub(crate) fn set_complete(&self) {
        self.complete.send_replace(true);
    }

    fn ahead(&self) -> MutexGuard<'_, HashMap<Arc<Key>, u64>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn objects(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Arc<Key>, Result<Packed, Undecodable>>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Versions of one object are ordered as numbers; one that is none cannot be compared.
fn version(object: &impl kube::Resource) -> Option<u64> {
    object.meta().resource_version.as_ref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use roomkeeper_crds::{CalendarSubscription, CalendarSubscriptionStatus};
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    fn object(name: &str) -> CalendarSubscription {
        serde_yaml::from_str(&format!(
            "apiVersion: roomkeeper.dev/v1alpha1\nkind: CalendarSubscription\nmetadata: {{name: {name}, namespace: n, uid: u-{name}}}\n\
             spec: {{scopeRef: {{name: s}}, user: {name}@contoso.example}}\n"
        ))
        .unwrap()
    }

    #[test]
    fn objects_come_and_go_with_their_look_ups() {
        let (queue, mut triggered) = unbounded_channel();
        let kept = Kept::<CalendarSubscription>::new(queue);
        let term = || vec!["scope:s".to_owned()];
        let a = kept.put(&DeserializeGuard(Ok(object("a"))), term());
        let b = kept.put(&DeserializeGuard(Ok(object("b"))), term());
        assert_eq!(kept.get(&a), Some(object("a")));
        assert_eq!(kept.under("scope:s"), [a.clone(), b.clone()]);
        kept.trigger(&a);
        kept.trigger(&Key::new("n", "nobody"));
        assert_eq!(triggered.try_recv().unwrap().name, "a");
        assert!(triggered.try_recv().is_err(), "what is not there is not looked at");
        assert_eq!(kept.missing(&HashSet::from([b.clone()])), std::slice::from_ref(&a));
        assert_eq!(kept.remove(&a), Some(object("a")), "its last known form");
        assert_eq!((kept.get(&a), kept.len(), kept.remove(&a)), (None, 1, None));
        assert_eq!(kept.under("scope:s"), [b]);
    }

    fn at(version: &str, user_id: &str) -> CalendarSubscription {
        let mut object = object("a");
        object.metadata.resource_version = Some(version.to_owned());
        object.status =
            Some(CalendarSubscriptionStatus { user_id: Some(user_id.to_owned()), ..Default::default() });
        object
    }

    #[test]
    fn an_answer_counts_at_once_and_nothing_older_comes_over_it() {
        let kept = Kept::<CalendarSubscription>::new(unbounded_channel().0);
        let seen = |object: CalendarSubscription| kept.put(&DeserializeGuard(Ok(object)), Vec::new());
        let key = seen(at("9", "watched"));
        assert!(kept.answered(&at("12", "own"), vec!["user:own".to_owned()]));
        assert_eq!(kept.get(&key), Some(at("12", "own")));
        assert_eq!(kept.under("user:own"), std::slice::from_ref(&key));
        seen(at("11", "between"));
        assert_eq!(kept.get(&key), Some(at("12", "own")), "the watch lags behind");
        assert!(!kept.answered(&at("10", "late"), Vec::new()), "an answer that comes late");
        assert_eq!(kept.get(&key), Some(at("12", "own")));
        seen(at("12", "own"));
        seen(at("13", "next"));
        assert_eq!(kept.get(&key), Some(at("13", "next")));
        assert!(!kept.answered(&at("13", "next"), Vec::new()), "known already");

        // A list that began after the answer knows better, also where versions went back because a backup was restored.
        assert!(kept.answered(&at("20", "own"), Vec::new()));
        kept.listing();
        seen(at("5", "restored"));
        assert_eq!(kept.get(&key), Some(at("5", "restored")));
    }

    #[test]
    fn an_answer_brings_nothing_back_that_is_gone() {
        let kept = Kept::<CalendarSubscription>::new(unbounded_channel().0);
        assert!(!kept.answered(&at("5", "own"), Vec::new()));
        let key = kept.put(&DeserializeGuard(Ok(at("9", "watched"))), Vec::new());
        let mut other = at("12", "another of the same name");
        other.metadata.uid = Some("other".to_owned());
        assert!(!kept.answered(&other, Vec::new()));
        kept.remove(&key);
        assert!(!kept.answered(&at("12", "own"), vec!["user:own".to_owned()]));
        assert!(kept.is_empty() && kept.under("user:own").is_empty());
        kept.put(&DeserializeGuard(Ok(at("7", "made anew"))), Vec::new());
        assert_eq!(kept.get(&key), Some(at("7", "made anew")), "nothing is left of it");
    }
}
