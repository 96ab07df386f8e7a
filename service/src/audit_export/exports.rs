//! The exports of one daemon: each of its logs whose AccessScope asks for it, when it is due.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use kube::{Api, Client};
use prometheus::Registry;
use roomkeeper_crds::{AccessScope, annotation::EXPORT_REQUESTED_AT, audit_export::AuditExport};
use roomkeeper_graph::audit::chain::{Checkpoint, Known, LogName, SYSTEM, Signed, VerifyingKey};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    CheckpointError, Checkpoints, Exporter, Manifests, Schedule, StoreSettings, Target, dereference,
    metrics::ExportMetrics,
    open,
    standing::{Memory, Standing, Standings},
    trouble::Trouble,
};
use crate::{
    audit::{self, DaemonAudit},
    scope_access::{AllowedHosts, endpoints},
};

/// Time between two looks at what is due.
const LOOK: Duration = Duration::from_secs(10);
/// Wait after a first failure; each further one doubles it, up to [`LONGEST_WAIT`].
const FIRST_WAIT: SignedDuration = SignedDuration::from_secs(30);
const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(30);
/// Logs that are exported at the same time.
const AT_A_TIME: usize = 8;
/// Longest wait for the API server.
const TIMEOUT: Duration = Duration::from_secs(10);

struct Settings {
    hosts: AllowedHosts,
    /// Folder below which a destination may name a folder.
    folder: Option<PathBuf>,
    extra_ca_pem: Option<Vec<u8>>,
    /// Where tokens lie while they are used; only this process reads there.
    tokens: PathBuf,
}

/// Exports of all logs of one daemon.
pub struct Exports {
    client: Client,
    checkpoints: Arc<audit::Checkpoints>,
    settings: Settings,
    metrics: ExportMetrics,
    standings: Arc<Standings>,
}

/// Why a daemon cannot export.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file with certificate authorities cannot be read.
    #[error("--audit-export-ca {path}: {cause}")]
    Ca {
        /// The file.
        path: String,
        /// The operating system's reason.
        cause: io::Error,
    },
    /// The folder for tokens cannot be made.
    #[error("--audit-dir: {path} cannot be made: {cause}")]
    Tokens {
        /// The folder.
        path: String,
        /// The operating system's reason.
        cause: io::Error,
    },
    /// The metrics are registered already: a mistake in this program.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl Exports {
    /// Of the logs of a daemon's audit.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn new(
        client: Client,
        audit: &DaemonAudit,
        hosts: AllowedHosts,
        registry: &Registry,
    ) -> Result<Self, SetupError> {
        let args = audit.args();
        let read = |path: &PathBuf| {
            fs::read(path).map_err(|cause| SetupError::Ca { path: path.display().to_string(), cause })
        };
        let settings = Settings {
            hosts,
            folder: args.audit_export_folder.clone(),
            extra_ca_pem: args.audit_export_ca.as_ref().map(read).transpose()?,
            tokens: tokens(audit.dir())?,
        };
        let metrics = ExportMetrics::new(registry)?;
        let checkpoints = Arc::clone(&audit.checkpoints);
        Ok(Self { client, checkpoints, settings, metrics, standings: Arc::default() })
    }

    /// How they are.
    pub fn standings(&self) -> Arc<Standings> {
        Arc::clone(&self.standings)
    }

    /// Exports what is due until `shutdown`. An export that is cut off goes on after the next start.
    pub async fn run(&self, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            if shutdown.run_until_cancelled(Box::pin(self.look())).await.is_none() {
                return;
            }
        }
    }

    /// Looks at each log once.
    async fn look(&self) {
        let logs: Vec<_> =
            self.checkpoints.logs().heads().into_keys().filter(|log| log.as_str() != SYSTEM).collect();
        // Several at a time, so that a destination that does not answer holds up few others.
        stream::iter(logs).for_each_concurrent(AT_A_TIME, |log| self.look_into(log)).await;
        let failing =
            self.standings.known().values().filter(|memory| memory.standing.trouble.is_some()).count();
        self.metrics.failing(failing);
    }

    async fn look_into(&self, log: LogName) {
        let scope = match self.scope(&log).await {
            Ok(scope) => scope,
            Err(error) => {
                return tracing::debug!(%log, %error, "whether the audit is to be exported cannot be asked");
            }
        };
        // A scope that is gone has no destination any more; its log stays where it is.
        let export =
            scope.as_ref().and_then(|scope| Some((scope, scope.spec.audit.as_ref()?.export.as_ref()?)));
        let Some((scope, export)) = export else {
            self.standings.known().remove(&log);
            return;
        };
        let memory = self.standings.known().get(&log).cloned().unwrap_or_default();
        let memory = self.look_at(&log, scope, export, memory, Timestamp::now()).await;
        self.standings.known().insert(log, memory);
    }

    async fn scope(&self, log: &LogName) -> Result<Option<AccessScope>, String> {
        let Some((namespace, name)) = log.as_str().split_once('/') else { return Ok(None) };
        let api: Api<AccessScope> = Api::namespaced(self.client.clone(), namespace);
        match timeout(TIMEOUT, api.get_opt(name)).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_elapsed) => Err("the API server did not answer in time".to_owned()),
        }
    }

    async fn look_at(
        &self,
        log: &LogName,
        scope: &AccessScope,
        export: &AuditExport,
        memory: Memory,
        now: Timestamp,
    ) -> Memory {
        let generation = scope.metadata.generation;
        if memory.generation == generation && memory.again.is_some_and(|again| again > now) {
            return memory;
        }
        match self.export_if_due(log, scope, export, &memory, now).await {
            Ok((last, next)) => Memory {
                standing: Standing { last, next, trouble: None },
                settled: true,
                generation,
                ..Memory::default()
            },
            Err(trouble) => {
                let failures = memory.failures.saturating_add(1);
                let wait =
                    FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_WAIT);
                tracing::warn!(%log, %trouble, "the audit is not exported; tried again");
                self.metrics.failed();
                let trouble = Some((trouble.reason(), trouble.to_string()));
                Memory {
                    standing: Standing { trouble, ..memory.standing },
                    failures,
                    again: Some(now.saturating_add(wait).unwrap_or(Timestamp::MAX)),
                    settled: false,
                    generation,
                }
            }
        }
    }

    /// When the last whole export was made, and when the next is due.
    async fn export_if_due(
        &self,
        log: &LogName,
        scope: &AccessScope,
        export: &AuditExport,
        memory: &Memory,
        now: Timestamp,
    ) -> Result<(Option<Timestamp>, Option<Timestamp>), Trouble> {
        let schedule = Schedule::new(&export.schedule, &export.time_zone)?;
        let since = scope.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
        let is_due = |last: Option<Timestamp>| {
            let asked = asked(scope, now).is_some_and(|asked| last.is_none_or(|last| last < asked));
            asked || schedule.due(since, last).is_some_and(|due| due <= now)
        };
        let known = memory.standing.last;
        if memory.settled && !is_due(known) {
            return Ok((known, schedule.due(since, known)));
        }
        let logs = self.checkpoints.logs();
        let folder = logs.folder(log);
        let (key, keys) = self.checkpoints.keys().await?;
        let proving: Vec<_> = keys.iter().copied().chain([key.public()]).collect();
        let kept = Manifests::of(&folder).read(&proving)?;
        let last = kept.last.as_ref().map(|manifest| manifest.statement.time);
        if kept.pending.is_none() && !is_due(last) {
            return Ok((last, schedule.due(since, last)));
        }
        let target = Target::new(&export.destination, &self.settings.hosts, self.settings.folder.as_deref())?;
        let namespace = scope.metadata.namespace.as_deref().unwrap_or_default();
        let access =
            dereference(&self.client, namespace, &export.destination, &target, &self.settings.tokens).await?;
        let authority = endpoints(&scope.spec, &self.settings.hosts)?.authority().clone();
        let store = StoreSettings {
            extra_ca_pem: self.settings.extra_ca_pem.clone(),
            authority: Some(authority),
            ..StoreSettings::default()
        };
        let store = open(&target, &access.credential, &store)?;
        let kept_outside = KeptOutside { checkpoints: &self.checkpoints, keys: &proving };
        let exporter = Exporter {
            writer: logs.writer(),
            log,
            folder: &folder,
            key: &key,
            earlier_keys: &keys,
            checkpoints: &kept_outside,
            destination: &store,
        };
        let made = exporter.run(now).await?;
        self.metrics.exported(made.lines);
        tracing::info!(%log, lines = made.lines, last = made.last, "exported the audit");
        Ok((Some(now), schedule.due(since, Some(now))))
    }
}

/// When a person asked for an export that does not wait for the schedule. One in the future counts from then on.
fn asked(scope: &AccessScope, now: Timestamp) -> Option<Timestamp> {
    let asked: Timestamp = scope.metadata.annotations.as_ref()?.get(EXPORT_REQUESTED_AT)?.parse().ok()?;
    (asked <= now).then_some(asked)
}

/// An empty folder of the audit's volume that nobody else may enter: what lies there was left by a process that was killed.
fn tokens(dir: &Path) -> Result<PathBuf, SetupError> {
    let path = dir.join(".tokens");
    let made = match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => DirBuilder::new().mode(0o700).create(&path),
    };
    match made {
        Ok(()) => Ok(path),
        Err(cause) => Err(SetupError::Tokens { path: path.display().to_string(), cause }),
    }
}

/// The daemon's checkpoints, as an export needs them.
struct KeptOutside<'a> {
    checkpoints: &'a audit::Checkpoints,
    keys: &'a [VerifyingKey],
}

fn failed(error: impl std::fmt::Display) -> CheckpointError {
    CheckpointError { cause: error.to_string() }
}

#[async_trait]
impl Checkpoints for KeptOutside<'_> {
    async fn last(&self, log: &LogName) -> Result<Option<Signed<Checkpoint>>, CheckpointError> {
        Ok(self.checkpoints.last(log).await)
    }

    async fn state(&self, log: &LogName, exported: u64) -> Result<Signed<Checkpoint>, CheckpointError> {
        self.checkpoints.checkpoint(log, Some(exported)).await.map_err(failed)
    }

    async fn others(&self, log: &LogName) -> Result<Vec<Known>, CheckpointError> {
        self.checkpoints.others(log, self.keys).await.map_err(failed)
    }
}
