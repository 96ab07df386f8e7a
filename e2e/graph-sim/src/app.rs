//! The state that all requests share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::Clock, directory::Directory, events::Calendars, events::Concurrency, events::DeltaTokens,
    faults::Faults, journal::Journal, login::SigningKey, notify::Notifier, policies::AccessPolicies,
    quota::Quota, subscriptions::Subscriptions, world::Settings,
};

pub(crate) struct App {
    pub(crate) clock: Clock,
    pub(crate) faults: Faults,
    pub(crate) settings: Settings,
    /// Under which the simulator is reached: `https://host:port`.
    pub(crate) own_origins: Vec<String>,
    pub(crate) key: SigningKey,
    pub(crate) directory: Mutex<Directory>,
    pub(crate) calendars: Mutex<Calendars>,
    pub(crate) concurrency: Concurrency,
    pub(crate) delta: DeltaTokens,
    pub(crate) subscriptions: Mutex<Subscriptions>,
    pub(crate) notifier: Notifier,
    pub(crate) quota: Quota,
    pub(crate) policies: AccessPolicies,
    pub(crate) journal: Journal,
    /// To notification URLs.
    pub(crate) outbound: reqwest::Client,
    /// Deliveries under way.
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

/// A request that panicked leaves whole data behind: every change is one statement under the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
