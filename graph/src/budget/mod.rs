//! Budgets of calls: how many writes and lists of subscriptions an app may send in a tenant, whoever of this process sends
//! them, and who goes first when there is not enough for all.
//!
//! Graph counts per app and tenant (graph documentation, "throttling limits", Subscriptions). What it counts is when requests
//! arrive, which nobody here can know; so a request counts from its start until the whole period after its answer, and no
//! window of Graph's can hold more than the budget. A library's token bucket would let twice the budget through in one window
//! (a burst, then the refill), and knows no lanes.
//!
//! A higher lane is served first, always: new consents and deletions are few, and renewals become due a third of a
//! subscription's life before its end. Within a lane, first come, first served. Only whoever is served within a second waits; the
//! others are told when to come back, so that a tenant's backlog takes no place in which something could be done for another
//! tenant, or in a higher lane.

mod bucket;

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

pub(crate) use self::bucket::Away;
use self::bucket::Bucket;
pub use self::bucket::Place;
use crate::audit::Purpose;

/// Who goes first: in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Somebody waits for it: a first subscription.
    New,
    /// Somebody must not be read any more.
    Delete,
    /// It is due, and has time.
    Renewal,
    /// Looking after what is.
    Resync,
}

impl Lane {
    /// Every lane, first to last.
    pub const ALL: [Self; 4] = [Self::New, Self::Delete, Self::Renewal, Self::Resync];

    /// As in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Delete => "delete",
            Self::Renewal => "renewal",
            Self::Resync => "resync",
        }
    }
}

/// How much an app may send in a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetSettings {
    /// Writes of subscriptions (create, renew, reauthorize, delete) in a period.
    pub writes: NonZeroUsize,
    /// Lists of subscriptions, page by page, in a period.
    pub lists: NonZeroUsize,
    /// The period.
    pub period: Duration,
}

impl Default for BudgetSettings {
    /// The strictest limits that were published: 500 writes in 20 seconds. Lists have a limit of their own, far above need.
    fn default() -> Self {
        let number = |number| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
        Self { writes: number(500), lists: number(100), period: Duration::from_secs(20) }
    }
}

/// Sees how long a request waited for its place.
pub trait WaitObserver: Send + Sync {
    /// Called once per place that was given.
    fn waited(&self, lane: Lane, time: Duration);
}

/// All budgets of a process.
pub struct Budgets {
    settings: BudgetSettings,
    buckets: Mutex<HashMap<Key, Arc<Bucket>>>,
    observer: Option<Arc<dyn WaitObserver>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    graph: String,
    tenant_id: String,
    client_id: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Writes,
    Lists,
}

/// Whose budget.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// Origin of Graph.
    pub(crate) graph: String,
    pub(crate) tenant_id: String,
    pub(crate) client_id: String,
}

impl Budgets {
    /// Budgets that nothing was taken from yet.
    pub fn new(settings: BudgetSettings) -> Self {
        Self { settings, buckets: Mutex::default(), observer: None }
    }

    /// Reports waiting times to `observer`.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn WaitObserver>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Waits for a place where the purpose has a budget. Dropping the future gives the turn up.
    ///
    /// # Errors
    /// When to come back, where that is long.
    pub(crate) async fn place(&self, account: &Account, purpose: Purpose, lane: Lane) -> Result<Place, Away> {
        let Some(kind) = Kind::of(purpose) else { return Ok(Place::default()) };
        let began = Instant::now();
        let place = self.bucket(account, kind).place(lane).await?;
        if let Some(observer) = &self.observer {
            observer.waited(lane, began.elapsed());
        }
        Ok(place)
    }

    /// Graph asked to be left alone for that long.
    pub(crate) fn pause(&self, account: &Account, purpose: Purpose, time: Duration) {
        if let Some(kind) = Kind::of(purpose) {
            self.bucket(account, kind).pause(time);
        }
    }

    fn bucket(&self, account: &Account, kind: Kind) -> Arc<Bucket> {
        let Account { graph, tenant_id, client_id } = account.clone();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(Key { graph, tenant_id, client_id, kind }).or_insert_with(|| {
            let limit = match kind {
                Kind::Writes => self.settings.writes,
                Kind::Lists => self.settings.lists,
            };
            Bucket::new(limit.get(), self.settings.period)
        });
        Arc::clone(bucket)
    }
}

impl Kind {
    fn of(purpose: Purpose) -> Option<Self> {
        match purpose {
            Purpose::CreateSubscription
            | Purpose::RenewSubscription
            | Purpose::ReauthorizeSubscription
            | Purpose::DeleteSubscription => Some(Self::Writes),
            Purpose::ListSubscriptions => Some(Self::Lists),
            _ => None,
        }
    }
}

/// The lane of a request that nobody chose one for.
pub(crate) fn lane_of(purpose: Purpose) -> Lane {
    match purpose {
        Purpose::DeleteSubscription => Lane::Delete,
        Purpose::RenewSubscription | Purpose::ReauthorizeSubscription => Lane::Renewal,
        _ => Lane::Resync,
    }
}
