//! Checkpoints that leave the pod: on a timer, at the end, and whenever an export asks for one.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use roomkeeper_crds::audit::Announced;
use roomkeeper_graph::audit::chain::{
    ChainedAudit, Checkpoint, CheckpointChain, Head, Known, LogName, NotContinued, SignError, Signed,
    SigningKey, Start, VerifyingKey,
};
use tokio::{sync::Mutex, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    kept::{Kept, Place, data_key, is_own},
    key::{self, KeyAccessError, KeyRole},
    others::{self, OthersError},
};

/// Longest time that the end of the program is held up for a last checkpoint.
const LAST: Duration = Duration::from_secs(5);
/// Time between two looks for segments that are old enough to go.
const RETENTION: Duration = Duration::from_mins(10);

/// Why a checkpoint was not made or not kept.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The key or the ConfigMap cannot be read or written.
    #[error("{0}")]
    Access(#[from] KeyAccessError),
    /// It cannot be signed.
    #[error("{0}")]
    Sign(#[from] SignError),
    /// The log is not where it was.
    #[error("{0}")]
    NotContinued(#[from] NotContinued),
    /// A segment cannot be read or removed.
    #[error("segments of the audit: {0}")]
    Segments(#[from] io::Error),
}

/// The checkpoints of one writer.
pub struct Checkpoints {
    logs: Arc<ChainedAudit>,
    client: Client,
    namespace: String,
    place: Place,
    role: KeyRole,
    /// The volume's id.
    id: String,
    state: Mutex<State>,
    failures: AtomicU64,
    last_kept: AtomicI64,
}

pub(super) struct State {
    pub(super) chains: BTreeMap<LogName, CheckpointChain>,
    pub(super) kept: Kept,
    /// Whether a checkpoint was made that is not known to be kept. Until it is, none is made after it, so that what is kept
    /// has no gap.
    pub(super) unkept: bool,
}

/// What is new about a log in its next checkpoint.
#[derive(Debug, Clone, Copy, Default)]
struct Change {
    exported: Option<u64>,
    start: Option<Start>,
}

impl Checkpoints {
    pub(super) fn new(
        logs: Arc<ChainedAudit>,
        (client, namespace): (Client, String),
        (place, id): (Place, String),
        role: KeyRole,
        state: State,
    ) -> Self {
        let (failures, last_kept) = (AtomicU64::new(0), AtomicI64::new(0));
        Self { logs, client, namespace, place, role, id, state: Mutex::new(state), failures, last_kept }
    }

    /// Times that checkpoints could not be made or kept.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// When the API server last had everything, in seconds since 1970; 0 before.
    pub fn last_kept(&self) -> i64 {
        self.last_kept.load(Ordering::Relaxed)
    }

    /// The logs themselves.
    pub fn logs(&self) -> &ChainedAudit {
        &self.logs
    }

    /// The key that statements are signed with, and every key that was published.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn keys(&self) -> Result<(SigningKey, Vec<VerifyingKey>), KeyAccessError> {
        let key = key::signing_key(&self.client, &self.namespace, self.role).await?;
        Ok((key, key::published(&self.client, &self.namespace).await?))
    }

    /// Every other writer that the API server knows for a log, with its last checkpoints.
    ///
    /// # Errors
    /// They cannot be read, or are not what a daemon signed.
    pub async fn others(&self, log: &LogName, keys: &[VerifyingKey]) -> Result<Vec<Known>, OthersError> {
        others::others(&self.client, &self.namespace, self.logs.writer(), log, keys).await
    }

    /// The last checkpoint of a log, kept or not.
    pub async fn last(&self, log: &LogName) -> Option<Signed<Checkpoint>> {
        self.state.lock().await.chains.get(log).and_then(|chain| chain.last().cloned())
    }

    /// Tells beside the checkpoints where copies of the logs are given. Where the API server is away, the next checkpoint does it.
    pub async fn announce(&self, announced: Announced) {
        let mut state = self.state.lock().await;
        state.kept.announced = Some(announced);
        state.unkept = true;
        let kept = self.settle(&mut state).await;
        self.told(kept);
    }

    /// Makes and keeps a checkpoint of each log that grew; the API server being away only delays it.
    ///
    /// # Errors
    /// See [`CheckpointError`]. Nothing is lost: the next call goes on from there.
    pub async fn keep_all(&self) -> Result<(), CheckpointError> {
        let mut state = self.state.lock().await;
        self.settle(&mut state).await?;
        let grown = self.logs.heads().into_iter().filter(|(log, head)| {
            let last = state.chains.get(log).and_then(|chain| chain.last());
            head.number > last.map_or(0, |last| last.statement.number)
        });
        let grown: Vec<_> = grown.map(|(log, head)| (log, head, Change::default())).collect();
        // The maker looks every time: a key that was replaced is published before the webhook server signs much with it.
        if !grown.is_empty() || self.role == KeyRole::Maker {
            self.make(&mut state, grown).await?;
        }
        self.settle(&mut state).await?;
        self.last_kept.store(Timestamp::now().as_second(), Ordering::Relaxed);
        Ok(())
    }

    /// Makes and keeps a checkpoint of one log that says up to which line an export has carried it away. Without a line it only
    /// says how far the log has come. It is kept when this returns.
    ///
    /// # Errors
    /// See [`CheckpointError`]. The checkpoint may have been made; it is then kept before any other.
    pub async fn checkpoint(
        &self,
        log: &LogName,
        exported: Option<u64>,
    ) -> Result<Signed<Checkpoint>, CheckpointError> {
        self.change(log, Change { exported, start: None }).await
    }

    async fn change(&self, log: &LogName, change: Change) -> Result<Signed<Checkpoint>, CheckpointError> {
        let mut state = self.state.lock().await;
        self.settle(&mut state).await?;
        let head = self.logs.heads().get(log).copied().unwrap_or(Head::EMPTY);
        self.make(&mut state, vec![(log.clone(), head, change)]).await?;
        self.settle(&mut state).await?;
        let made = state.chains.get(log).and_then(|chain| chain.last().cloned());
        made.ok_or_else(|| CheckpointError::Segments(io::ErrorKind::NotFound.into()))
    }

    async fn make(
        &self,
        state: &mut State,
        logs: Vec<(LogName, Head, Change)>,
    ) -> Result<(), CheckpointError> {
        let key = key::signing_key(&self.client, &self.namespace, self.role).await?;
        for (log, head, change) in logs {
            let mut chain = match state.chains.get(&log) {
                Some(chain) => chain.clone(),
                None => CheckpointChain::resume(self.logs.writer(), log.clone(), None, head)?,
            };
            let last = chain.last().map(|last| &last.statement);
            let start = change.start.or(last.map(|last| last.start)).unwrap_or(Start::FIRST);
            let exported = change.exported.or(last.map(|last| last.exported)).unwrap_or(0);
            let made = chain.next(head, start, exported, Timestamp::now(), &key)?;
            state.kept.data.insert(data_key(&self.id, &log), made.envelope.clone());
            state.unkept = true;
            state.chains.insert(log, chain);
        }
        Ok(())
    }

    /// Has the API server keep what was made. Where somebody else wrote, it is written once more over what they left.
    async fn settle(&self, state: &mut State) -> Result<(), CheckpointError> {
        if !state.unkept {
            return Ok(());
        }
        let mut written = self.place.write(&state.kept).await;
        if written.as_ref().is_err_and(KeyAccessError::is_conflict) {
            if self.reread(state).await? {
                return Ok(());
            }
            written = self.place.write(&state.kept).await;
        }
        state.kept = written?;
        state.unkept = false;
        Ok(())
    }

    /// Somebody else wrote: what is not of this writer is theirs, what is, is this process's. True if all is kept already,
    /// because only the answer to the last write was lost.
    async fn reread(&self, state: &mut State) -> Result<bool, CheckpointError> {
        let mut theirs = self.place.read().await?;
        if theirs.data == state.kept.data && theirs.announced == state.kept.announced {
            state.kept = theirs;
            state.unkept = false;
            return Ok(true);
        }
        tracing::warn!(
            writer = self.logs.writer(),
            "the kept checkpoints of this daemon were changed or removed by somebody else; does another process run under its identity?"
        );
        theirs.data.retain(|key, _| !is_own(key, &self.id));
        let ours = state.kept.data.iter().filter(|(key, _)| is_own(key, &self.id));
        theirs.data.extend(ours.map(|(key, envelope)| (key.clone(), envelope.clone())));
        theirs.announced.clone_from(&state.kept.announced);
        state.kept = theirs;
        Ok(false)
    }

    /// Drops what was exported and is older than `retention`. The checkpoint that says so is kept first: after a crash in
    /// between there is more than it says, which is no damage.
    ///
    /// # Errors
    /// See [`CheckpointError`]. What is left goes with the next call.
    pub async fn drop_old(&self, retention: Duration) -> Result<(), CheckpointError> {
        let before = Timestamp::now() - SignedDuration::try_from(retention).unwrap_or(SignedDuration::MAX);
        let stated: Vec<_> = {
            let state = self.state.lock().await;
            let last = |(log, chain): (&LogName, &CheckpointChain)| {
                Some((log.clone(), chain.last()?.statement.clone()))
            };
            state.chains.iter().filter_map(last).collect()
        };
        for (log, last) in stated {
            let folder = self.logs.folder(&log);
            let planned = tokio::task::spawn_blocking(move || folder.plan_start(before, last.exported));
            let start = planned.await.map_err(io::Error::other)??;
            if start.number > last.start.number {
                self.change(&log, Change { exported: None, start: Some(start) }).await?;
            }
            // Also after a crash in between: what is there begins before what is stated.
            let (folder, start) =
                (self.logs.folder(&log), if start.number > last.start.number { start } else { last.start });
            let dropped = tokio::task::spawn_blocking(move || {
                if start.number > folder.start()?.number { folder.drop_before(start) } else { Ok(0) }
            });
            let segments = dropped.await.map_err(io::Error::other)??;
            if segments > 0 {
                tracing::info!(%log, segments, "old segments of the audit that were exported are dropped");
            }
        }
        Ok(())
    }

    /// Keeps checkpoints until `shutdown`, and makes a last one then.
    pub async fn run(&self, interval: Duration, retention: Option<Duration>, shutdown: CancellationToken) {
        let mut looked = tokio::time::Instant::now();
        loop {
            let ended = shutdown.run_until_cancelled(tokio::time::sleep(interval)).await.is_none();
            if ended {
                return;
            }
            self.told(self.keep_all().await);
            if let Some(retention) = retention
                && looked.elapsed() >= RETENTION.min(retention)
            {
                looked = tokio::time::Instant::now();
                self.told(self.drop_old(retention).await);
            }
        }
    }

    /// A last checkpoint, once nothing is entered any more.
    pub async fn finish(&self) {
        match timeout(LAST, self.keep_all()).await {
            Ok(result) => self.told(result),
            Err(_elapsed) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    "the last checkpoint of the audit was not kept in time; the next start makes it"
                );
            }
        }
    }

    fn told(&self, result: Result<(), CheckpointError>) {
        if let Err(error) = result {
            self.failures.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%error, "checkpoints of the audit are not kept yet; tried again");
        }
    }
}
