//! What reconcilers share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use kube::{Client, ResourceExt as _};
use roomkeeper_crds::{AccessScope, BookingRecord, CalendarSubscription, ConsentRecord};
use roomkeeper_graph::{GraphClient, audit::AuditSink};
use roomkeeper_service::{
    audit_export::Standings,
    client_state::KeyRing,
    scope_access::{ScopeAccessError, ScopeClients},
};

use crate::{
    access_scope::{directory::Directory, memory::Memory},
    args::Settings,
    booking_record::{
        client::{BookingClient, Products},
        conflicts::{self, Conflicts},
        deletions::Deletions,
        purge::Purges,
        quota::Quotas,
    },
    calendar_subscription::{bulk::Bursts, horizon::Horizons, sightings::Sightings, watched::Watched},
    clock::Clock,
    events::Events,
    holds::Holds,
    kept::Kept,
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
    /// How the exports of its logs are.
    pub exports: Arc<Standings>,
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
    /// Deletions of CalendarSubscriptions that belong together.
    pub bursts: Bursts,
    /// What must not be tried again yet.
    pub holds: Holds,
    /// Calls to booking products that may be made, by AccessScope.
    pub quotas: Quotas,
    /// Places of those that are to be deleted.
    pub deletions: Deletions,
    /// Calendars whose records go.
    pub purges: Purges,
    /// Up to when the series of calendars are listed.
    pub horizons: Horizons,
    /// BookingRecords that wait for a space that is taken.
    pub conflicts: Conflicts,
    /// Mailboxes that bookings are being written to.
    pub mailboxes: crate::booking_record::write_back::Mailboxes,
    /// Failures in a row at the API server, by uid.
    pub failures: Mutex<HashMap<String, u32>>,
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

    /// The client of a scope. A token that was given once is good for the end of subscriptions: for that, the last client that worked
    /// stands in where there is none, as in a namespace under deletion, where the Secret may go first.
    ///
    /// # Errors
    /// When there is no client, nor one that worked where that will do.
    pub async fn client_for(
        &self,
        scope: &AccessScope,
        to_end: bool,
    ) -> Result<GraphClient, ScopeAccessError> {
        let uid = scope.uid().unwrap_or_default();
        match self.process.clients.client_for(scope).await {
            Ok(client) => {
                self.memory.keep_client(&uid, &client);
                Ok(client)
            }
            Err(error) if to_end => self.memory.last_client(&uid).ok_or(error),
            Err(error) => Err(error),
        }
    }

    /// Forgets what is kept about an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.holds.clear(uid);
        self.holds.clear(&conflicts::slot(uid));
        self.sightings.forget(uid);
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}
