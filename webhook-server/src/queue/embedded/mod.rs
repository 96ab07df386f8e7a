//! The queue in one file of its own (redb), with group commit.

mod engine;
mod index;
mod row;
mod state;
mod storage;
mod writer;

use self::engine::EngineError;
use self::index::Millis;
use self::row::Head;
use self::state::{Arrival, Limits, State};
use self::writer::{Call, Published, Renewal, Reply, Waiting, Writer};
use super::{
    AppendError, DeadLetter, Failure, Health, Item, Key, Lease, LeaseError, Leased, Queue, Retried, Stats,
};
use async_trait::async_trait;
use jiff::Timestamp;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

pub use self::engine::EngineError as StorageFailure;
pub use self::storage::{Folder, FolderError, QueueFiles, SyncMode};

/// How a queue behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rows that the queue holds at most, dead letters included; beyond, appends are refused.
    pub max_items: usize,
    /// Calls that may wait for the next commits; beyond, calls are refused.
    pub max_calls: usize,
    /// Rows that may wait for the next commits, so that a hanging disk does not fill the memory; beyond, refused.
    pub max_waiting_rows: usize,
    /// Attempts after which an item is dead.
    pub max_attempts: u16,
    /// How long an event's item waits for further notifications of the same event.
    pub debounce: Duration,
    /// How long further notifications can put it off, counted from the first.
    pub max_debounce: Duration,
    /// Whether commits wait for the disk.
    pub sync: SyncMode,
    /// Age at which the file is replaced by a new one, so that identifiers of settled items do not linger …
    pub renew_after: Duration,
    /// … once no more rows than this are left, but at four times that age in any case. A start replaces it too, under the same
    /// condition. Dead letters are carried over until they are redriven or purged.
    pub renew_max_rows: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_items: 1_000_000,
            max_calls: 16_384,
            max_waiting_rows: 131_072,
            max_attempts: 10,
            debounce: Duration::from_secs(2),
            max_debounce: Duration::from_secs(10),
            sync: SyncMode::Immediate,
            renew_after: Duration::from_hours(1),
            renew_max_rows: 10_000,
        }
    }
}

/// Why a queue could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder is in use or unusable.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The file in it cannot be opened.
    #[error("the queue's file cannot be opened")]
    Storage(#[source] EngineError),
    /// The thread that owns the file cannot be started.
    #[error("the queue's thread cannot be started")]
    Thread(#[source] std::io::Error),
}

/// A queue in a folder of this machine.
#[derive(Debug)]
pub struct EmbeddedQueue {
    calls: SyncSender<Call>,
    published: watch::Receiver<Published>,
    waiting: Arc<AtomicUsize>,
    max_waiting_rows: usize,
}

impl EmbeddedQueue {
    /// Opens the queue in a folder, or makes it. Reads all rows: about a second per million.
    pub fn open(folder: &Path, options: &Options) -> Result<Self, OpenError> {
        Self::open_on(Box::new(Folder::open(folder)?), options)
    }

    /// Opens a queue on any kind of files. Blocks as [`EmbeddedQueue::open`] does.
    pub fn open_on(files: Box<dyn QueueFiles>, options: &Options) -> Result<Self, OpenError> {
        let limits = Limits {
            max_rows: options.max_items,
            max_attempts: options.max_attempts.max(1),
            debounce: millis(options.debounce),
            max_debounce: millis(options.max_debounce),
        };
        if options.sync == SyncMode::NoneForMeasurementOnly {
            tracing::error!("the queue runs WITHOUT fsync: acknowledged notifications can be lost");
        }
        let renewal = Renewal { after: options.renew_after, max_rows: options.renew_max_rows };
        let (writer, published) =
            Writer::open(files, options.sync, renewal, State::new(limits)).map_err(OpenError::Storage)?;
        let (calls, waiting) = mpsc::sync_channel(options.max_calls.max(1));
        thread::Builder::new()
            .name("queue".to_owned())
            .spawn(move || writer.run(&waiting))
            .map_err(OpenError::Thread)?;
        let max_waiting_rows = options.max_waiting_rows;
        Ok(Self { calls, published, waiting: Arc::default(), max_waiting_rows })
    }

    /// Serves what was asked before, then closes the file. Every later call fails. Dropping the queue closes it too, but
    /// without waiting for the end.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        let mut call = Call::Close(done);
        loop {
            match self.calls.try_send(call) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(_)) => return,
                Err(TrySendError::Full(back)) => call = back,
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // An error here means that the thread has ended already, which is what was asked for.
        drop(closed.await);
    }

    async fn ask<T>(&self, call: impl FnOnce(Reply<T, LeaseError>) -> Call) -> Result<T, LeaseError> {
        let (reply, result) = oneshot::channel();
        self.calls.try_send(call(reply)).map_err(|error| match error {
            TrySendError::Full(_) => LeaseError::Busy,
            TrySendError::Disconnected(_) => LeaseError::Storage,
        })?;
        result.await.unwrap_or(Err(LeaseError::Storage))
    }
}

#[async_trait]
impl Queue for EmbeddedQueue {
    async fn append(&self, items: Vec<Item>) -> Result<(), AppendError> {
        let waiting =
            Waiting::enter(&self.waiting, items.len(), self.max_waiting_rows).ok_or(AppendError::Full)?;
        // Hashing and encoding happen here, on the callers' threads, because the one writer is the bottleneck.
        let arrivals: Result<Vec<Arrival>, serde_json::Error> = items.iter().map(arrival).collect();
        let arrivals = arrivals.map_err(|_| AppendError::Storage)?;
        let (reply, result) = oneshot::channel();
        self.calls.try_send(Call::Append(arrivals, waiting, reply)).map_err(|error| match error {
            TrySendError::Full(_) => AppendError::Full,
            TrySendError::Disconnected(_) => AppendError::Storage,
        })?;
        result.await.unwrap_or(Err(AppendError::Storage))
    }

    async fn lease(
        &self,
        now: Timestamp,
        max: usize,
        visibility: Duration,
    ) -> Result<Vec<Leased>, LeaseError> {
        let (now, visibility) = (now.as_millisecond(), millis(visibility));
        self.ask(|reply| Call::Lease { now, max, visibility, reply }).await
    }

    async fn ack(&self, lease: &Lease) -> Result<(), LeaseError> {
        self.ask(|reply| Call::Ack(lease.clone(), reply)).await
    }

    async fn retry(
        &self,
        lease: &Lease,
        not_before: Timestamp,
        failure: Failure,
    ) -> Result<Retried, LeaseError> {
        let (lease, not_before) = (lease.clone(), not_before.as_millisecond());
        self.ask(|reply| Call::Retry { lease, not_before, failure, reply }).await
    }

    async fn extend(&self, lease: &Lease, until: Timestamp) -> Result<(), LeaseError> {
        let (lease, until) = (lease.clone(), until.as_millisecond());
        self.ask(|reply| Call::Extend { lease, until, reply }).await
    }

    async fn dead_letters(&self, after: Option<u64>, max: usize) -> Result<Vec<DeadLetter>, LeaseError> {
        self.ask(|reply| Call::DeadLetters { after, max, reply }).await
    }

    async fn redrive(&self, ids: &[u64], now: Timestamp) -> Result<usize, LeaseError> {
        let (ids, now) = (ids.to_vec(), now.as_millisecond());
        self.ask(|reply| Call::Redrive { ids, now, reply }).await
    }

    async fn purge(&self, ids: &[u64]) -> Result<usize, LeaseError> {
        let ids = ids.to_vec();
        self.ask(|reply| Call::Purge(ids, reply)).await
    }

    async fn holds(&self, keys: &[Key]) -> Result<Vec<bool>, LeaseError> {
        let keys = keys.to_vec();
        self.ask(|reply| Call::Holds(keys, reply)).await
    }

    fn stats(&self) -> Stats {
        self.published.borrow().stats
    }

    fn health(&self) -> Health {
        self.published.borrow().health
    }

    async fn wait_for_work(&self, now: Timestamp) {
        let began = Instant::now();
        let mut published = self.published.clone();
        loop {
            let Published { health, stats } = *published.borrow_and_update();
            let due = stats.next_due.filter(|_| health == Health::Serving).map(|due| {
                let wait = due.as_millisecond().saturating_sub(now.as_millisecond());
                began + Duration::from_millis(u64::try_from(wait).unwrap_or(0))
            });
            let changed = match due {
                Some(due) => tokio::select! {
                    () = tokio::time::sleep_until(due) => return,
                    changed = published.changed() => changed,
                },
                None => published.changed().await,
            };
            if changed.is_err() {
                // Closed: there will be no work, and whoever waits ends otherwise.
                std::future::pending::<()>().await;
            }
        }
    }
}

fn arrival(item: &Item) -> Result<Arrival, serde_json::Error> {
    let head = Head::of(item);
    let bytes = row::encode(&head, item)?;
    Ok(Arrival { head, bytes, debounced: item.is_debounced() })
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}
