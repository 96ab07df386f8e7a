//! The worker: leased items, at most so many at a time, each `read → decide → apply`.

pub mod add_in;
mod covered;
mod decide;
mod delivery;
mod ending;
mod event;
#[cfg(test)]
mod fixture;
mod mailbox;
mod metrics;
mod outcome;
mod permission;
mod permit;
mod reader;
mod reading;
mod record_names;
mod records;
mod resync;
mod series;
mod spec;
mod subscriptions;
mod tries;
mod watched;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::Client;
use roomkeeper_crds::name::log_hash;
use roomkeeper_graph::audit::AuditSink;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use self::{covered::Covered, event::Parts, mailbox::Mailboxes, outcome::Setback, tries::Memory};
pub use self::{
    delivery::DeliveryReports,
    metrics::WorkerMetrics,
    outcome::Outcome,
    permission::{Answer, Denial, LivePermissions, Permissions},
    permit::{Permit, PermitGate},
    reader::{ReadError, Reader, Wanted},
    record_names::RecordNames,
    records::Records,
    resync::{Listing, ResyncMetrics, ResyncParts, Resyncs},
    series::Horizon,
    subscriptions::{ObjectName, Subscriptions},
};
use crate::queue::{Backoff, Failure, Item, LeaseError, Leased, Queue, Retried};

/// Looks that find nothing before an event counts as gone: Exchange may still be moving it.
const MISSING_LOOKS: u32 = 2;

/// Looks for a CalendarSubscription that is not known or not set up, before its notification is dropped: about two minutes,
/// in which a watch that broke off has been made again.
const UNSETTLED_LOOKS: u32 = 9;

/// Items in hand for each worker: those of a busy mailbox wait without keeping a worker from the others.
const IN_HAND_PER_WORKER: usize = 4;

/// How long a lease runs; it is extended while the work goes on.
const VISIBILITY: Duration = Duration::from_mins(1);

/// How long work under way may go on at shutdown, before it is given back.
const GRACE: Duration = Duration::from_secs(15);

/// Wait before the queue is asked again after it failed.
const QUEUE_PAUSE: Duration = Duration::from_millis(500);

/// Waits between attempts.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// After failures.
    pub failed: Backoff,
    /// After an event was not found, or a CalendarSubscription not known.
    pub short: Backoff,
}

impl Default for Waits {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self {
            failed: Backoff { base: secs(1), cap: secs(300) },
            short: Backoff { base: Duration::from_millis(500), cap: secs(60) },
        }
    }
}

/// What a worker is made of.
pub struct WorkerParts {
    /// Where items come from.
    pub queue: Arc<dyn Queue>,
    /// API server.
    pub client: Client,
    /// Index of the CalendarSubscriptions.
    pub subscriptions: Subscriptions,
    /// Which BookingRecords there are.
    pub record_names: RecordNames,
    /// May this calendar be read?
    pub permissions: Arc<dyn Permissions>,
    /// Graph.
    pub reader: Arc<dyn Reader>,
    /// Where notifications are entered.
    pub audit: Arc<dyn AuditSink>,
    /// Metrics.
    pub metrics: WorkerMetrics,
    /// Items worked on at a time.
    pub workers: usize,
    /// Reads of one mailbox in flight.
    pub mailbox_concurrency: usize,
    /// How far ahead the occurrences of a series are listed.
    pub horizon: Horizon,
    /// Waits between attempts.
    pub waits: Waits,
}

/// Works on leased items until it is told to stop.
pub struct Worker {
    queue: Arc<dyn Queue>,
    parts: Parts,
    metrics: WorkerMetrics,
    memory: Memory,
    slots: Semaphore,
    in_hand: usize,
    waits: Waits,
}

impl Worker {
    /// Puts the parts together.
    pub fn new(parts: WorkerParts) -> Arc<Self> {
        let WorkerParts {
            queue,
            client,
            subscriptions,
            record_names,
            permissions,
            reader,
            audit,
            metrics,
            workers,
            mailbox_concurrency,
            horizon,
            waits,
        } = parts;
        let workers = workers.max(1);
        Arc::new(Self {
            queue,
            parts: Parts {
                subscriptions,
                permissions,
                reader,
                records: Records::new(client.clone(), record_names),
                delivery: DeliveryReports::new(client),
                audit,
                mailboxes: Mailboxes::new(mailbox_concurrency),
                horizon,
                covered: Covered::default(),
            },
            metrics,
            memory: Memory::default(),
            slots: Semaphore::new(workers),
            in_hand: workers.saturating_mul(IN_HAND_PER_WORKER),
            waits,
        })
    }

    /// Works until `shutdown`, then lets the work under way end, and gives back what takes too long.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = self.parts.subscriptions.listed() => {}
        }
        while !shutdown.is_cancelled() {
            while let Some(ended) = tasks.try_join_next() {
                report(ended);
            }
            self.metrics.in_hand(tasks.len());
            let free = self.in_hand.saturating_sub(tasks.len());
            if free == 0 {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    Some(ended) = tasks.join_next() => report(ended),
                }
                continue;
            }
            match self.queue.lease(Timestamp::now(), free, VISIBILITY).await {
                Ok(leased) if leased.is_empty() => tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = self.queue.wait_for_work(Timestamp::now()) => {}
                    Some(ended) = tasks.join_next() => report(ended),
                },
                Ok(leased) => {
                    for one in leased {
                        let (worker, shutdown, stop) = (Arc::clone(&self), shutdown.clone(), stop.clone());
                        tasks.spawn(async move { worker.handle(&one, &shutdown, &stop).await });
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the queue gives no work");
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        () = tokio::time::sleep(QUEUE_PAUSE) => {}
                    }
                }
            }
        }
        let drained = timeout(GRACE, async {
            while let Some(ended) = tasks.join_next().await {
                report(ended);
            }
        });
        if drained.await.is_err() {
            stop.cancel();
            while let Some(ended) = tasks.join_next().await {
                report(ended);
            }
        }
        self.metrics.in_hand(0);
    }

    /// Works on one item, keeps its lease alive meanwhile, and settles it.
    async fn handle(&self, leased: &Leased, shutdown: &CancellationToken, stop: &CancellationToken) {
        let result = tokio::select! {
            result = self.work(leased, shutdown) => result,
            () = stop.cancelled() => Err(Setback::Failed(Failure::Interrupted)),
            () = self.keep_lease(leased) => {
                // Someone else has the item now; the write rule makes the half-done work harmless.
                tracing::warn!(item = leased.lease.key().short(), "the lease was lost while working");
                return;
            }
        };
        self.settle(leased, result).await;
    }

    async fn work(&self, leased: &Leased, shutdown: &CancellationToken) -> Result<Outcome, Setback> {
        match &leased.item {
            Item::V1Event(item) => {
                // The place comes first: items of a busy mailbox wait for it without keeping a worker from the others.
                let mailbox = self.parts.mailboxes.of(&item.tenant_id, &item.user_id);
                let place = tokio::select! {
                    place = mailbox.enter() => place.map_err(Setback::Wait)?,
                    () = shutdown.cancelled() => return Err(Setback::Failed(Failure::Interrupted)),
                };
                let _slot = self.slot(shutdown).await?;
                let missing = self.memory.of(leased.lease.key()).missing;
                self.parts.event(item, &place, missing).await
            }
            Item::V1Lifecycle(item) => {
                let _slot = self.slot(shutdown).await?;
                let Some(name) = self.parts.subscriptions.find(&item.subscription_uid) else {
                    return Err(Setback::Unsettled);
                };
                match self.parts.delivery.lifecycle(&name, item).await {
                    Ok(true) => Ok(Outcome::Lifecycle),
                    Ok(false) => Ok(Outcome::UnknownSubscription),
                    Err(failure) => Err(Setback::Failed(failure)),
                }
            }
        }
    }

    async fn slot(&self, shutdown: &CancellationToken) -> Result<SemaphorePermit<'_>, Setback> {
        tokio::select! {
            slot = self.slots.acquire() => slot.map_err(|_closed| Setback::Failed(Failure::Internal)),
            () = shutdown.cancelled() => Err(Setback::Failed(Failure::Interrupted)),
        }
    }

    /// Extends the lease again and again; returns when it is lost.
    async fn keep_lease(&self, leased: &Leased) {
        loop {
            tokio::time::sleep(VISIBILITY / 3).await;
            match self.queue.extend(&leased.lease, Timestamp::now() + VISIBILITY).await {
                Err(LeaseError::NotHeld) => return,
                // The lease still has two thirds of its time; the next turn tries again.
                Ok(()) | Err(LeaseError::Busy | LeaseError::Storage) => {}
            }
        }
    }

    async fn settle(&self, leased: &Leased, result: Result<Outcome, Setback>) {
        let key = leased.lease.key();
        let mut tries = self.memory.of(key);
        let (why, failure, wait) = match result {
            Ok(outcome) => {
                self.acknowledge(leased, outcome).await;
                return;
            }
            Err(Setback::Failed(failure)) => {
                tries.failed = tries.failed.saturating_add(1);
                (failure.as_str(), failure, self.waits.failed.delay(tries.failed, rand::random()))
            }
            Err(Setback::Wait(time)) => (Failure::Throttled.as_str(), Failure::Throttled, time),
            Err(Setback::Missing) => {
                tries.missing = tries.missing.saturating_add(1);
                // Not the item's fault: what is looked for a third time is settled as gone.
                ("missing", Failure::Interrupted, self.waits.short.delay(tries.missing, rand::random()))
            }
            Err(Setback::Unsettled) => {
                tries.unsettled = tries.unsettled.saturating_add(1);
                if tries.unsettled >= UNSETTLED_LOOKS {
                    let subscription = log_hash(subscription_uid(&leased.item));
                    tracing::warn!(subscription, "dropped a notification of an unknown CalendarSubscription");
                    self.acknowledge(leased, Outcome::UnknownSubscription).await;
                    return;
                }
                ("unsettled", Failure::Interrupted, self.waits.short.delay(tries.unsettled, rand::random()))
            }
        };
        self.metrics.again(why);
        let not_before = Timestamp::now().checked_add(wait).unwrap_or(Timestamp::MAX);
        match persistently(|| self.queue.retry(&leased.lease, not_before, failure)).await {
            Ok(Retried::Again) => self.memory.keep(key, tries),
            Ok(Retried::Dead) => {
                self.memory.forget(key);
                tracing::error!(
                    item = key.short(),
                    failure = failure.as_str(),
                    "an item is a dead letter now"
                );
            }
            Err(error) => {
                tracing::warn!(item = key.short(), %error, "an item could not be given back; its lease runs out");
            }
        }
    }

    async fn acknowledge(&self, leased: &Leased, outcome: Outcome) {
        let key = leased.lease.key();
        self.memory.forget(key);
        let notified = !matches!(&leased.item, Item::V1Event(item) if item.found);
        if outcome.wrote() && notified {
            let waited = Timestamp::now().duration_since(leased.item.received_at());
            self.metrics.recorded(Duration::try_from(waited).unwrap_or_default());
        }
        self.metrics.done(outcome);
        if let Err(error) = persistently(|| self.queue.ack(&leased.lease)).await {
            tracing::warn!(item = key.short(), %error, "an item could not be acknowledged and will be worked on again");
        }
    }
}

/// Settling is worth a few tries: otherwise the item is worked on once more.
async fn persistently<T, F>(mut call: impl FnMut() -> F) -> Result<T, LeaseError>
where
    F: Future<Output = Result<T, LeaseError>>,
{
    for _ in 0..4 {
        match call().await {
            Err(LeaseError::Busy | LeaseError::Storage) => tokio::time::sleep(QUEUE_PAUSE).await,
            settled => return settled,
        }
    }
    call().await
}

fn subscription_uid(item: &Item) -> &str {
    match item {
        Item::V1Event(item) => &item.subscription_uid,
        Item::V1Lifecycle(item) => &item.subscription_uid,
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        // The payload could quote data; the item's lease runs out and its attempts are counted.
        tracing::error!("work on an item ended in a panic");
    }
}
