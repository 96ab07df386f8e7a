//! What reconcilers share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use futures::channel::mpsc::UnboundedSender;
use kube::{
    Client,
    runtime::reflector::{ObjectRef, Store},
};
use roomkeeper_crds::{AccessScope, BookingRecord, CalendarSubscription, ConsentRecord};
use roomkeeper_graph::audit::AuditSink;
use roomkeeper_service::{client_state::KeyRing, scope_access::ScopeClients};

use crate::{
    access_scope::{directory::Directory, memory::Memory},
    api::{Guarded, Object},
    args::Settings,
    booking_record::{
        self,
        client::{BookingClient, Products},
    },
    calendar_subscription::{sightings::Sightings, watched::Watched},
    clock::Clock,
    events::Events,
    holds::Holds,
    index::Index,
    key::Key,
    lease::LeaderDeadline,
    metrics::Metrics,
};

/// What lives as long as the process.
pub struct Process {
    /// The wall clock.
    pub clock: Clock,
    /// Client of the API server.
    pub kube: Client,
    /// The flags.
    pub settings: Settings,
    /// User name of the operator at the API server: it signs withdrawals.
    pub user_name: String,
    /// Graph clients, one per AccessScope.
    pub clients: ScopeClients,
    /// The audit log.
    pub audit: Arc<dyn AuditSink>,
    /// Client of the booking products.
    pub booking: BookingClient,
    /// Headers for them, out of Secrets.
    pub products: Products,
    /// Until when this replica leads.
    pub deadline: LeaderDeadline,
    /// Events on objects.
    pub events: Events,
    /// Metrics.
    pub metrics: Metrics,
}

/// What one leadership knows; a new one starts from nothing.
pub struct Context {
    /// What lives longer.
    pub process: Arc<Process>,
    /// Keys behind clientState.
    pub keys: RwLock<Arc<KeyRing>>,
    /// AccessScopes.
    pub scopes: Kept<AccessScope>,
    /// CalendarSubscriptions.
    pub subscriptions: Kept<CalendarSubscription>,
    /// ConsentRecords.
    pub consents: Kept<ConsentRecord>,
    /// BookingRecords.
    pub bookings: Kept<BookingRecord>,
    /// Members of the scopes.
    pub directory: Directory,
    /// What was asked of Graph for each AccessScope, and when.
    pub memory: Memory,
    /// States of the CalendarSubscriptions.
    pub watched: Watched,
    /// Subscriptions seen at Graph that somebody must look at.
    pub sightings: Sightings,
    /// What must not be tried again yet.
    pub holds: Holds,
    /// Failures in a row at the API server, by uid.
    pub failures: Mutex<HashMap<String, u32>>,
}

/// One kind: its objects, look-ups over them, and the queue of its controller.
pub struct Kept<K: Object> {
    store: Store<Guarded<K>>,
    index: Mutex<Index>,
    queue: UnboundedSender<ObjectRef<Guarded<K>>>,
}

impl<K: Object> Kept<K> {
    /// Around a store and a queue.
    ///
    /// The queue has no bound of its own: it holds names of objects that are in the store, and the scheduler behind it
    /// merges repetitions.
    pub fn new(store: Store<Guarded<K>>, queue: UnboundedSender<ObjectRef<Guarded<K>>>) -> Self {
        Self { store, index: Mutex::default(), queue }
    }

    /// The object, if it is there and fits its type.
    pub fn get(&self, key: &Key) -> Option<K> {
        self.store.get(&key.reference()).and_then(|guarded| guarded.0.as_ref().ok().cloned())
    }

    /// The store behind.
    pub fn store(&self) -> &Store<Guarded<K>> {
        &self.store
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
        // A closed queue means that this leadership has ended.
        let _ended = self.queue.unbounded_send(key.reference());
    }

    /// Has the controller look at several objects.
    pub fn trigger_all(&self, keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            self.trigger(&key);
        }
    }
}

impl Context {
    /// The keys in force.
    pub fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the keys.
    pub fn set_ring(&self, ring: KeyRing) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
    }

    /// Forgets what is kept about an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.holds.clear(uid);
        self.holds.clear(&booking_record::refused_slot(uid));
        self.sightings.forget(uid);
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}
