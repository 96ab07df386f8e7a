//! The one thread that owns the file. It takes all calls that wait, carries them out in one transaction, commits once,
//! and only then answers them: the more calls wait, the more share an fsync, and an idle queue waits for nobody.

use super::engine::{DEAD, Engine, EngineError, ITEMS, Tables, database};
use super::index::{Held, Millis};
use super::row::Head;
use super::state::{self, Arrival, State, Totals};
use super::storage::{QueueFiles, SyncMode};
use crate::queue::{
    AppendError, DeadLetter, DeadReason, Failure, Health, Key, Lease, LeaseError, Leased, Retried, Stats,
};
use jiff::Timestamp;
use redb::ReadableTable;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// Rows that one transaction takes from appends before it commits, so that the first caller is not kept waiting.
const MAX_BATCH_ROWS: usize = 16_384;
/// Calls that one transaction takes.
const MAX_BATCH_CALLS: usize = 4096;
const FIRST_REPAIR_AFTER: Duration = Duration::from_millis(50);
const LONGEST_REPAIR_WAIT: Duration = Duration::from_secs(5);
const MAINTENANCE_EVERY: Duration = Duration::from_mins(1);

/// Where the answer to a call goes. Dropped unanswered, it says that the storage failed.
pub(super) type Reply<T, E> = oneshot::Sender<Result<T, E>>;

/// Rows of a call that waits for its transaction, as counted over all such calls.
#[derive(Debug)]
pub(super) struct Waiting {
    all: Arc<AtomicUsize>,
    rows: usize,
}

impl Waiting {
    /// Counts the rows, unless they are too many with those that wait already.
    pub(super) fn enter(all: &Arc<AtomicUsize>, rows: usize, limit: usize) -> Option<Self> {
        let waiting = Self { all: Arc::clone(all), rows };
        let before = all.fetch_add(rows, Ordering::Relaxed);
        (before.saturating_add(rows) <= limit).then_some(waiting)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.all.fetch_sub(self.rows, Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub(super) enum Call {
    Append(Vec<Arrival>, Waiting, Reply<(), AppendError>),
    Lease { now: Millis, max: usize, visibility: Millis, reply: Reply<Vec<Leased>, LeaseError> },
    Ack(Lease, Reply<(), LeaseError>),
    Retry { lease: Lease, not_before: Millis, failure: Failure, reply: Reply<Retried, LeaseError> },
    Extend { lease: Lease, until: Millis, reply: Reply<(), LeaseError> },
    DeadLetters { after: Option<u64>, max: usize, reply: Reply<Vec<DeadLetter>, LeaseError> },
    Redrive { ids: Vec<u64>, now: Millis, reply: Reply<usize, LeaseError> },
    Purge(Vec<u64>, Reply<usize, LeaseError>),
    Holds(Vec<Key>, Reply<Vec<bool>, LeaseError>),
    Close(oneshot::Sender<()>),
}

/// What is known of the queue without asking its thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Published {
    pub(super) health: Health,
    pub(super) stats: Stats,
}

/// When the file is replaced by a new one, so that identifiers of settled items do not stay in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Renewal {
    pub(super) after: Duration,
    pub(super) max_rows: usize,
}

/// A file that holds many rows waits until there are fewer, but not beyond so many times the age of renewal.
const LATEST_RENEWAL: u32 = 4;

#[derive(Debug)]
pub(super) struct Writer {
    files: Box<dyn QueueFiles>,
    sync: SyncMode,
    renewal: Renewal,
    engine: Option<Engine>,
    made: Instant,
    state: State,
    /// Leases to go on with once the storage is repaired.
    held: Vec<Held>,
    commits: u64,
    storage_errors: u64,
    published: watch::Sender<Published>,
}

type Answer = Box<dyn FnOnce() + Send>;

fn answer<T: Send + 'static, E: Send + 'static>(reply: Reply<T, E>, result: Result<T, E>) -> Answer {
    // A caller that stopped waiting is no fault of the queue.
    Box::new(move || drop(reply.send(result)))
}

impl Writer {
    /// Opens the files and takes in what they hold.
    pub(super) fn open(
        files: Box<dyn QueueFiles>,
        sync: SyncMode,
        renewal: Renewal,
        mut state: State,
    ) -> Result<(Self, watch::Receiver<Published>), EngineError> {
        let mut engine = Engine::open(&*files, sync)?;
        load(&mut state, &engine)?;
        // How old the file is cannot be told: without this, a process that restarts often would keep it for ever.
        if state.index.rows() + state.dead <= renewal.max_rows {
            engine = engine.renew(&*files, sync)?;
        }
        let (published, receiver) =
            watch::channel(Published { health: Health::Serving, stats: Stats::default() });
        let mut writer = Self {
            files,
            sync,
            renewal,
            engine: Some(engine),
            made: Instant::now(),
            state,
            held: Vec::new(),
            commits: 0,
            storage_errors: 0,
            published,
        };
        writer.carry_out(Vec::new())?;
        Ok((writer, receiver))
    }

    /// Serves calls until the last sender is gone or the queue is closed.
    pub(super) fn run(mut self, calls: &Receiver<Call>) {
        let mut wait = FIRST_REPAIR_AFTER;
        let closed = loop {
            if self.engine.is_none() {
                match refuse_for(wait, calls) {
                    Ok(()) => {
                        wait = if self.repair() {
                            FIRST_REPAIR_AFTER
                        } else {
                            (wait * 2).min(LONGEST_REPAIR_WAIT)
                        }
                    }
                    Err(closed) => break closed,
                }
                continue;
            }
            match calls.recv_timeout(self.renewal.after.min(MAINTENANCE_EVERY)) {
                Ok(Call::Close(done)) => break Some(done),
                Ok(first) => {
                    let (batch, closed) = gather(first, calls);
                    self.serve(batch);
                    if let Some(done) = closed {
                        break Some(done);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break None,
            }
            self.maintain();
        };
        self.engine = None;
        self.published.send_modify(|published| published.health = Health::Closed);
        // The folder's lock goes with the files: a caller that waits for the end may open the folder again.
        drop(self);
        if let Some(done) = closed {
            let _ = done.send(());
        }
    }

    fn serve(&mut self, batch: Vec<Call>) {
        // A panic inside the engine must not end the only thread that can store anything.
        match catch_unwind(AssertUnwindSafe(|| self.carry_out(batch))) {
            Ok(Ok(answers)) => answers.into_iter().for_each(|answer| answer()),
            Ok(Err(error)) => self.fail(Some(&error)),
            Err(_) => self.fail(None),
        }
    }

    /// One transaction. When it returns `Ok`, all is durable and the answers may go out.
    fn carry_out(&mut self, batch: Vec<Call>) -> Result<Vec<Answer>, EngineError> {
        let Some(engine) = &self.engine else { return Ok(Vec::new()) };
        let transaction = engine.begin()?;
        let mut answers = Vec::with_capacity(batch.len());
        self.state.dirty = false;
        let oldest = {
            let mut tables = Tables::open(&transaction)?;
            for call in batch {
                answers.push(apply(&mut self.state, &mut tables, call)?);
            }
            let first = tables.items.first().map_err(database("read the first row"))?;
            first.and_then(|(_, row)| Head::read(row.value()).ok()).map(|head| head.first_received)
        };
        if self.state.dirty {
            transaction.commit().map_err(database("commit"))?;
            self.commits += 1;
        } else {
            transaction.abort().map_err(database("abort"))?;
        }
        self.state.index.committed();
        self.publish(Health::Serving, oldest);
        Ok(answers)
    }

    fn fail(&mut self, error: Option<&EngineError>) {
        let cause = error.and_then(Error::source).map(ToString::to_string);
        let step = error.map_or_else(|| "a panic in the database".to_owned(), ToString::to_string);
        tracing::error!(step, cause, "the queue's storage failed; calls are refused until it is repaired");
        self.storage_errors += 1;
        self.held = self.state.index.held_before();
        self.engine = None;
        self.published.send_modify(|published| {
            published.health = Health::StorageFailed;
            published.stats.storage_errors_total = self.storage_errors;
        });
    }

    /// Takes all rows that can be read over into a new file: after a failed fsync the old one is not to be trusted with
    /// new rows. Rows of calls that were refused may be among them, which only repeats work.
    fn repair(&mut self) -> bool {
        let repaired = catch_unwind(AssertUnwindSafe(|| {
            let engine = Engine::open(&*self.files, self.sync)?.renew(&*self.files, self.sync)?;
            self.state.clear();
            load(&mut self.state, &engine)?;
            self.state.index.restore(&self.held);
            self.engine = Some(engine);
            self.made = Instant::now();
            self.carry_out(Vec::new()).map(drop)
        }));
        match repaired {
            Ok(Ok(())) => {
                tracing::info!("the queue's storage is repaired");
                self.held.clear();
                return true;
            }
            Ok(Err(error)) => {
                let cause = error.source().map(ToString::to_string);
                tracing::warn!(step = %error, cause, "the queue's storage cannot be repaired yet");
            }
            Err(_) => tracing::warn!("the queue's storage cannot be repaired yet: a panic in the database"),
        }
        self.storage_errors += 1;
        self.engine = None;
        self.published.send_modify(|published| published.stats.storage_errors_total = self.storage_errors);
        false
    }

    /// Replaces an old file: identifiers of settled items stay in it until it is unlinked.
    fn maintain(&mut self) {
        let rows = self.state.index.rows() + self.state.dead;
        let (age, after) = (self.made.elapsed(), self.renewal.after);
        if age < after || (rows > self.renewal.max_rows && age < after.saturating_mul(LATEST_RENEWAL)) {
            return;
        }
        self.made = Instant::now();
        let Some(engine) = self.engine.take() else { return };
        match catch_unwind(AssertUnwindSafe(|| engine.renew(&*self.files, self.sync))) {
            Ok(Ok(engine)) => self.engine = Some(engine),
            Ok(Err(error)) => self.fail(Some(&error)),
            Err(_) => self.fail(None),
        }
    }

    fn publish(&self, health: Health, oldest: Option<Millis>) {
        let Totals { redeliveries, coalesced, exhausted, undecodable } = self.state.totals;
        let index = &self.state.index;
        let stats = Stats {
            depth: index.rows() as u64,
            leased: index.leased() as u64,
            dead: self.state.dead as u64,
            oldest_received: oldest.and_then(|at| Timestamp::from_millisecond(at).ok()),
            next_due: index.next_due().and_then(|at| Timestamp::from_millisecond(at).ok()),
            redeliveries_total: redeliveries,
            coalesced_total: coalesced,
            exhausted_total: exhausted,
            undecodable_total: undecodable,
            commits_total: self.commits,
            storage_errors_total: self.storage_errors,
        };
        self.published.send_if_modified(|published| {
            // Whoever waits for work is woken only where the time to wait for has changed.
            let wake = published.stats.next_due != stats.next_due || published.health != health;
            *published = Published { health, stats };
            wake
        });
    }
}

/// Drops calls unanswered, which tells their callers that the storage failed. `Err` means: end.
fn refuse_for(wait: Duration, calls: &Receiver<Call>) -> Result<(), Option<oneshot::Sender<()>>> {
    let until = Instant::now() + wait;
    loop {
        match calls.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Call::Close(done)) => return Err(Some(done)),
            Ok(call) => drop(call),
            Err(RecvTimeoutError::Timeout) => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => return Err(None),
        }
    }
}

fn gather(first: Call, calls: &Receiver<Call>) -> (Vec<Call>, Option<oneshot::Sender<()>>) {
    let mut rows = rows_of(&first);
    let mut batch = vec![first];
    while rows < MAX_BATCH_ROWS && batch.len() < MAX_BATCH_CALLS {
        match calls.try_recv() {
            Ok(Call::Close(done)) => return (batch, Some(done)),
            Ok(call) => {
                rows += rows_of(&call);
                batch.push(call);
            }
            Err(_) => break,
        }
    }
    (batch, None)
}

fn rows_of(call: &Call) -> usize {
    match call {
        Call::Append(arrivals, ..) => arrivals.len(),
        _ => 1,
    }
}

fn apply(state: &mut State, tables: &mut Tables<'_>, call: Call) -> Result<Answer, EngineError> {
    Ok(match call {
        Call::Append(arrivals, waiting, reply) => {
            let result = state.append(tables, arrivals)?;
            drop(waiting);
            answer(reply, result)
        }
        Call::Lease { now, max, visibility, reply } => {
            answer(reply, Ok(state.lease(tables, now, max, visibility)?))
        }
        Call::Ack(lease, reply) => answer(reply, state.ack(tables, &lease)?),
        Call::Retry { lease, not_before, failure, reply } => {
            answer(reply, state.retry(tables, &lease, not_before, failure)?)
        }
        Call::Extend { lease, until, reply } => answer(reply, state.extend(&lease, until)),
        Call::DeadLetters { after, max, reply } => {
            answer(reply, Ok(state::dead_letters(tables, after, max)?))
        }
        Call::Redrive { ids, now, reply } => answer(reply, Ok(state.redrive(tables, &ids, now)?)),
        Call::Purge(ids, reply) => answer(reply, Ok(state.purge(tables, &ids)?)),
        Call::Holds(keys, reply) => {
            answer(reply, Ok(keys.iter().map(|key| state.index.get(key).is_some()).collect()))
        }
        Call::Close(done) => Box::new(move || {
            let _ = done.send(());
        }),
    })
}

/// Takes in all rows; those that cannot be read go to the dead letters at once.
fn load(state: &mut State, engine: &Engine) -> Result<(), EngineError> {
    let mut unreadable = Vec::new();
    engine.scan(ITEMS, |seq, row| match Head::read(row) {
        Ok(head) => state.load_item(seq, &head),
        Err(_) => unreadable.push(seq),
    })?;
    engine.scan(DEAD, |id, _| state.load_dead(id))?;
    if unreadable.is_empty() {
        return Ok(());
    }
    tracing::warn!(rows = unreadable.len(), "rows that cannot be read were moved to the dead letters");
    let transaction = engine.begin()?;
    {
        let mut tables = Tables::open(&transaction)?;
        for seq in unreadable {
            state.bury_row(&mut tables, seq, DeadReason::Undecodable, None)?;
        }
    }
    transaction.commit().map_err(database("commit"))
}
