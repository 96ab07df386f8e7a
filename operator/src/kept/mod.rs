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

use kube::core::DeserializeGuard;
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

    /// An object is new or changed; returns its name.
    pub(crate) fn put(&self, object: &Guarded<K>, terms: Vec<String>) -> Key {
        let key = Key::of(object);
        let DeserializeGuard(decoded) = object;
        let packed = match decoded {
            Ok(object) => self.packer.pack(object).ok_or(Undecodable),
            Err(_) => Err(Undecodable),
        };
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let name = match objects.get_key_value(&key) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::new(key.clone()),
        };
        objects.insert(Arc::clone(&name), packed);
        drop(objects);
        self.index().put(&name, terms);
        key
    }

    /// An object is gone.
    pub(crate) fn remove(&self, key: &Key) {
        self.objects.write().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.index().remove(key);
    }

    /// A list is complete; returns the names of the objects that it does not hold any more, which are gone.
    pub(crate) fn listed(&self, listed: &HashSet<Key>) -> Vec<Key> {
        let gone: Vec<Key> = self.keys().into_iter().filter(|key| !listed.contains(key)).collect();
        for key in &gone {
            self.remove(key);
        }
        self.complete.send_replace(true);
        gone
    }

    fn objects(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Arc<Key>, Result<Packed, Undecodable>>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use roomkeeper_crds::CalendarSubscription;
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
        assert_eq!(kept.listed(&HashSet::from([b.clone()])), std::slice::from_ref(&a));
        assert_eq!((kept.get(&a), kept.len()), (None, 1));
        assert_eq!(kept.under("scope:s"), [b]);
    }
}
