//! Opens a daemon's audit: finds out who writes, and whether the logs are those that the last checkpoints tell of.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kube::Client;
use prometheus::Registry;
use roomkeeper_graph::audit::{
    AuditError,
    chain::{
        ChainedAudit, Checkpoint, CheckpointChain, EnvelopeError, Head, LogName, NotContinued, Signed,
        VerifyingKey,
    },
};
use tokio_util::sync::CancellationToken;

use super::{
    AuditArgs, Checkpoints, GuardedAudit, MetricsError,
    checkpoints::State,
    kept::{Kept, Place, is_own},
    key::{self, KeyAccessError, KeyRole},
    metrics,
    writer::{self, WriterError},
};
use crate::health::Gate;

/// Length of a daemon's segments, in bytes.
pub const SEGMENT: u64 = 64 << 20;
/// Pause before the API server is asked again.
const RETRY: Duration = Duration::from_secs(2);

/// What a daemon says of its audit.
#[derive(Clone, Debug)]
pub struct AuditSettings {
    /// Folder of the logs, on a volume of the daemon's own.
    pub dir: PathBuf,
    /// Who it is, such as the pod's name.
    pub identity: String,
    /// Namespace of the installation.
    pub namespace: String,
    /// Whether it makes the key.
    pub role: KeyRole,
    /// Length from which on a segment is followed by a new one, in bytes; [`SEGMENT`] but in tests.
    pub segment: u64,
    /// The flags.
    pub args: AuditArgs,
}

/// Why there is no audit, so that nothing may be done.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no writer.
    #[error(transparent)]
    Writer(#[from] WriterError),
    /// The logs cannot be opened.
    #[error("--audit-dir: {0}")]
    Audit(#[from] AuditError),
    /// The metrics are registered already: a mistake in this program.
    #[error("metrics: {0}")]
    Metrics(#[from] MetricsError),
    /// The program is to end.
    #[error("asked to end before the audit was open")]
    Ended,
}

/// A daemon's audit.
pub struct DaemonAudit {
    /// Where entries go.
    pub sink: Arc<GuardedAudit>,
    /// What leaves the pod.
    pub checkpoints: Arc<Checkpoints>,
    args: AuditArgs,
    dir: PathBuf,
}

impl DaemonAudit {
    /// The flags.
    pub fn args(&self) -> &AuditArgs {
        &self.args
    }

    /// Folder of the logs.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps checkpoints until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        let AuditArgs { audit_checkpoint_interval: interval, audit_retention: retention, .. } = self.args;
        self.checkpoints.run(interval, retention, shutdown).await;
    }
}

/// Opens the audit, once the API server says what it keeps of it; until then `gate` says why not.
///
/// # Errors
/// What waiting does not mend; see [`OpenError`].
pub async fn open(
    settings: &AuditSettings,
    client: &Client,
    registry: &Registry,
    gate: &Gate,
    shutdown: &CancellationToken,
) -> Result<DaemonAudit, OpenError> {
    writer::check_identity(&settings.identity)?;
    let place = Place::new(client, &settings.namespace, &settings.identity);
    let id = writer::writer_id(&settings.dir)?;
    let known = loop {
        match known(settings, client, &place, &id).await {
            Ok(known) => break known,
            Err(error) => {
                gate.not_ready(&error.to_string());
                tracing::warn!(%error, "the audit waits for its last checkpoints; tried again");
            }
        }
        if shutdown.run_until_cancelled(tokio::time::sleep(RETRY)).await.is_none() {
            return Err(OpenError::Ended);
        }
    };
    let Opened { logs, id, chains } = continued(settings, &known, id)?;
    let logs = Arc::new(logs);
    tracing::info!(writer = logs.writer(), logs = chains.len(), "audit open");
    let sink = Arc::new(GuardedAudit::new(Arc::clone(&logs), settings.args.audit_fail_closed));
    // What the process before announced is gone with it.
    let kept = Kept { announced: None, ..known.kept };
    let state = State { chains, kept, unkept: false };
    let checkpoints = Arc::new(Checkpoints::new(
        logs,
        (client.clone(), settings.namespace.clone()),
        (place, id),
        settings.role,
        state,
    ));
    metrics::register(registry, Arc::clone(&sink), Arc::clone(&checkpoints))?;
    gate.ready();
    Ok(DaemonAudit { sink, checkpoints, args: settings.args.clone(), dir: settings.dir.clone() })
}

/// What the API server says.
struct Known {
    kept: Kept,
    keys: Vec<VerifyingKey>,
}

async fn known(
    settings: &AuditSettings,
    client: &Client,
    place: &Place,
    id: &str,
) -> Result<Known, KeyAccessError> {
    let kept = place.read().await?;
    // A writer that nothing is known of yet has nothing to prove, and need not wait for a key to sign with.
    let proves = kept.data.keys().any(|key| is_own(key, id));
    let mut keys = Vec::new();
    if proves || settings.role == KeyRole::Maker {
        match key::signing_key(client, &settings.namespace, settings.role).await {
            Ok(key) => keys.push(key.public()),
            Err(error) if proves => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "no key for the audit yet; tried again with each checkpoint");
            }
        }
    }
    if proves {
        keys.extend(key::published(client, &settings.namespace).await?);
    }
    Ok(Known { kept, keys })
}

struct Opened {
    logs: ChainedAudit,
    id: String,
    chains: BTreeMap<LogName, CheckpointChain>,
}

/// Why a writer must not go on under its name.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the checkpoint kept under {key} {cause}")]
    Envelope { key: String, cause: EnvelopeError },
    #[error("{log}: {cause}")]
    Log { log: String, cause: NotContinued },
}

/// Opens the logs of the volume's writer; where they do not fit their checkpoints, those of a new one.
fn continued(settings: &AuditSettings, known: &Known, id: String) -> Result<Opened, OpenError> {
    match opened(settings, known, id)? {
        Ok(opened) => Ok(opened),
        Err(broken) => {
            let id = writer::renew(&settings.dir)?;
            let writer = writer::name(&settings.identity, &id);
            tracing::error!(%broken, writer, "the audit on this volume is not what was stated of it: it is left as it is, and a new writer begins");
            opened(settings, known, id)?.map_err(|broken| {
                OpenError::Audit(AuditError::Open {
                    path: settings.dir.display().to_string(),
                    cause: broken.to_string(),
                })
            })
        }
    }
}

fn opened(settings: &AuditSettings, known: &Known, id: String) -> Result<Result<Opened, Broken>, AuditError> {
    let logs = ChainedAudit::open(&settings.dir, &writer::name(&settings.identity, &id), settings.segment)?;
    Ok(resumed(&logs, &id, known).map(|chains| Opened { logs, id, chains }))
}

fn resumed(
    logs: &ChainedAudit,
    id: &str,
    known: &Known,
) -> Result<BTreeMap<LogName, CheckpointChain>, Broken> {
    let heads = logs.heads();
    let mut chains = BTreeMap::new();
    for (key, envelope) in known.kept.data.iter().filter(|(key, _)| is_own(key, id)) {
        let last = Signed::<Checkpoint>::open(envelope, &known.keys)
            .map_err(|cause| Broken::Envelope { key: key.clone(), cause })?;
        let Some(log) = LogName::of_scope(&last.statement.scope) else {
            return Err(Broken::Envelope { key: key.clone(), cause: EnvelopeError::Malformed });
        };
        let head = heads.get(&log).copied().unwrap_or(Head::EMPTY);
        let chain = CheckpointChain::resume(logs.writer(), log.clone(), Some(last), head)
            .map_err(|cause| Broken::Log { log: log.to_string(), cause })?;
        chains.insert(log, chain);
    }
    Ok(chains)
}
