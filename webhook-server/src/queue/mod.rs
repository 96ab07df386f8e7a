//! The durable queue between the answer to Graph and the work.
//!
//! The promise: once [`Queue::append`] has returned `Ok`, the items are on disk and stay there until they are
//! acknowledged or purged. Work is handed out at least once. Items with one key are merged, and a key is never leased
//! twice at a time; what arrives while its twin is being worked becomes available again after the twin is settled.
//!
//! Time comes in as an argument everywhere, so that tests own it. All times are kept to the millisecond.

mod backoff;
pub mod embedded;
mod item;

use async_trait::async_trait;
use jiff::Timestamp;
use std::time::Duration;

pub use backoff::Backoff;
pub use item::{EventItem, Item, Key, LifecycleEvents, LifecycleItem};
pub(crate) use item::{is_lifecycle, merged_flags};

/// A durable queue of [`Item`]s.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// Stores the items, all or none, and returns when they are durable. An item's `received_at` is taken as the time
    /// of the call.
    async fn append(&self, items: Vec<Item>) -> Result<(), AppendError>;

    /// Hands out up to `max` items that are due, each for `visibility`: whoever does not settle or extend a lease in
    /// that time loses it, and the item is handed out again. The attempt is durable before it begins, so an item that
    /// kills the process is counted too.
    async fn lease(
        &self,
        now: Timestamp,
        max: usize,
        visibility: Duration,
    ) -> Result<Vec<Leased>, LeaseError>;

    /// The work is done: forgets the item, or makes it available again where a twin arrived meanwhile.
    async fn ack(&self, lease: &Lease) -> Result<(), LeaseError>;

    /// The work failed: the item is due again at `not_before`, or, after the last attempt allowed, dead.
    /// A failure that is not the item's own ([`Failure::is_environment`]) costs no attempt.
    async fn retry(
        &self,
        lease: &Lease,
        not_before: Timestamp,
        failure: Failure,
    ) -> Result<Retried, LeaseError>;

    /// The work goes on: the lease now ends at `until`. Held in memory only.
    async fn extend(&self, lease: &Lease, until: Timestamp) -> Result<(), LeaseError>;

    /// Dead letters in the order of their ids, beginning after `after`, at most `max`.
    async fn dead_letters(&self, after: Option<u64>, max: usize) -> Result<Vec<DeadLetter>, LeaseError>;

    /// Makes dead letters available again at `now` with no attempts counted; returns how many were found.
    async fn redrive(&self, ids: &[u64], now: Timestamp) -> Result<usize, LeaseError>;

    /// Deletes dead letters; returns how many were found.
    async fn purge(&self, ids: &[u64]) -> Result<usize, LeaseError>;

    /// Of each of the keys, whether an item is stored that is not settled; dead letters do not count.
    async fn holds(&self, keys: &[Key]) -> Result<Vec<bool>, LeaseError>;

    /// Figures as of the last commit.
    fn stats(&self) -> Stats;

    /// Whether the queue takes writes. While it does not, it repairs itself in the background.
    fn health(&self) -> Health;

    /// Returns when an item may be due or a lease has run out, `now` being the time of the call; a spurious return is
    /// possible.
    async fn wait_for_work(&self, now: Timestamp);
}

/// One item in the hands of a worker.
#[derive(Clone, Debug)]
pub struct Leased {
    /// Names this lease to the queue.
    pub lease: Lease,
    /// What to work on.
    pub item: Item,
    /// 1 at the first attempt.
    pub attempt: u32,
}

/// The right to settle one item. Void once the lease has run out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub(crate) key: Key,
    pub(crate) token: u64,
}

impl Lease {
    /// The key of the item that is leased.
    pub fn key(&self) -> Key {
        self.key
    }
}

/// Why an attempt failed: a closed set, for metrics and for the dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The program is shutting down.
    Interrupted,
    /// Graph or the API server asked to wait.
    Throttled,
    /// Graph could not be reached or answered with a passing error.
    GraphUnavailable,
    /// The Kubernetes API server could not be reached, so nothing may be read.
    KubernetesUnavailable,
    /// The audit could not be written, so nothing may be read.
    AuditUnavailable,
    /// A credential or a permission is missing: a person must act.
    AccessDenied,
    /// The record changed under the worker's hands more often than it starts over.
    Conflict,
    /// Graph or the API server refused this very item.
    Rejected,
    /// A fault in this program.
    Internal,
}

impl Failure {
    /// Every failure. New ones go to the end: the place in this list is what is stored.
    pub const ALL: [Self; 9] = [
        Self::Interrupted,
        Self::Throttled,
        Self::GraphUnavailable,
        Self::KubernetesUnavailable,
        Self::AuditUnavailable,
        Self::AccessDenied,
        Self::Conflict,
        Self::Rejected,
        Self::Internal,
    ];

    /// True where the surroundings failed and not the item: such a failure must not kill items, however long it lasts.
    pub fn is_environment(self) -> bool {
        !matches!(self, Self::Conflict | Self::Rejected | Self::Internal)
    }

    /// As in metrics and lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interrupted => "interrupted",
            Self::Throttled => "throttled",
            Self::GraphUnavailable => "graph_unavailable",
            Self::KubernetesUnavailable => "kubernetes_unavailable",
            Self::AuditUnavailable => "audit_unavailable",
            Self::AccessDenied => "access_denied",
            Self::Conflict => "conflict",
            Self::Rejected => "rejected",
            Self::Internal => "internal",
        }
    }

    /// As on disk; 0 means that no attempt failed yet.
    pub(crate) fn code(self) -> u8 {
        Self::ALL.iter().zip(1..).find(|(failure, _)| **failure == self).map_or(0, |(_, code)| code)
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().zip(1..).find(|(_, own)| *own == code).map(|(failure, _)| failure)
    }
}

/// What became of an item that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// It will be handed out again.
    Again,
    /// It was the last attempt allowed: the item is a dead letter now.
    Dead,
}

/// An item that is not handed out any more.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Names it to [`Queue::redrive`] and [`Queue::purge`].
    pub id: u64,
    /// Why it is dead.
    pub reason: DeadReason,
    /// The failure of the last attempt that reported one.
    pub failure: Option<Failure>,
    /// Attempts made.
    pub attempts: u32,
    /// Absent where the row cannot be read.
    pub item: Option<Item>,
}

/// Why an item is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadReason {
    /// All attempts were used up.
    AttemptsExhausted,
    /// The row is damaged or of a version that this program does not know.
    Undecodable,
}

impl DeadReason {
    /// Every reason.
    pub const ALL: [Self; 2] = [Self::AttemptsExhausted, Self::Undecodable];

    /// As in metrics and lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::Undecodable => "undecodable",
        }
    }
}

/// Figures of the queue. Totals count from the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Rows stored, leased ones included, dead ones not.
    pub depth: u64,
    /// Items in the hands of workers.
    pub leased: u64,
    /// Dead letters stored.
    pub dead: u64,
    /// Arrival of the oldest notification that is not settled.
    pub oldest_received: Option<Timestamp>,
    /// When the next item is due or the next lease runs out.
    pub next_due: Option<Timestamp>,
    /// Items handed out for the second time or more.
    pub redeliveries_total: u64,
    /// Notifications that needed no row of their own, because a stored item stands for them.
    pub coalesced_total: u64,
    /// Items that died of [`DeadReason::AttemptsExhausted`].
    pub exhausted_total: u64,
    /// Items that died of [`DeadReason::Undecodable`].
    pub undecodable_total: u64,
    /// Commits made.
    pub commits_total: u64,
    /// Storage errors seen.
    pub storage_errors_total: u64,
}

/// Whether the queue takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Serving,
    /// The storage failed; a repair is being tried again and again.
    StorageFailed,
    /// The queue was closed.
    Closed,
}

/// Why items were not stored. In every case the sender must send them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No room: a limit on rows or on calls in flight is reached.
    #[error("the queue is full")]
    Full,
    /// The storage failed; whether the items are on disk is not known.
    #[error("the queue's storage failed")]
    Storage,
}

/// Why a call on leased or dead items failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// The lease has run out or was settled before.
    #[error("the lease is not held any more")]
    NotHeld,
    /// Too many calls are in flight.
    #[error("the queue is busy")]
    Busy,
    /// The storage failed; the lease goes on as if the call had not been made.
    #[error("the queue's storage failed")]
    Storage,
}
