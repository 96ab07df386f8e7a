//! What a sweep saw at Graph that the reconciler of a CalendarSubscription has to look at. The reconciler decides, because
//! only there nothing else happens to the same object at the same time.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use roomkeeper_graph::SubscriptionId;

/// One subscription at Graph that belongs to a CalendarSubscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Its id.
    pub id: SubscriptionId,
    /// Whether its notifications come to the public URL of today and are signed with the key of today.
    pub current: bool,
}

/// By the uid of the CalendarSubscription. An empty list says that none was seen.
#[derive(Debug, Default)]
pub struct Sightings(Mutex<HashMap<String, Vec<Sighting>>>);

impl Sightings {
    /// What is to be looked at.
    pub fn get(&self, uid: &str) -> Option<Vec<Sighting>> {
        self.all().get(uid).cloned()
    }

    /// Puts something to be looked at.
    pub fn put(&self, uid: &str, seen: Vec<Sighting>) {
        self.all().insert(uid.to_owned(), seen);
    }

    /// It was looked at, or the object is gone.
    pub fn forget(&self, uid: &str) {
        self.all().remove(uid);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Vec<Sighting>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
