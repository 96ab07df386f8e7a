//! The program: starts what every replica needs, then takes part in the election for as long as it lives.

use std::{io::Write as _, pin::pin, sync::Arc, time::Duration};

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{Api, Client, api::PostParams};
use roomkeeper_graph::{
    budget::Budgets,
    http::{Http, HttpError, HttpSettings},
};
use roomkeeper_service::{
    admin,
    audit::{self, AuditSettings, DaemonAudit, KeyRole, OpenError},
    audit_copy::{AuditCopies, ListenError},
    audit_export::{Exports, SetupError},
    health::{Gate, Health},
    metrics::{self, GraphMetrics},
    scope_access::ScopeClients,
    shutdown,
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{ApiError, bounded},
    args::Settings,
    booking_record::client::{BookingClient, ClientError, Products},
    clock::Clock,
    context::Process,
    events::Events,
    lead::lead,
    lease::{Election, LeaderDeadline},
    metrics::Metrics,
    served,
};

/// Longest wait for work under way when the program is asked to end.
const DRAIN: Duration = Duration::from_secs(20);

/// Pause before the next candidacy after a leadership that ended by a mistake.
const PAUSE: Duration = Duration::from_secs(5);

/// Why the program cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Signals cannot be caught, or the admin listener cannot be bound.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Neither a kubeconfig nor a service account.
    #[error("no access to a Kubernetes API server: {0}")]
    Kubernetes(#[from] kube::Error),
    /// Metrics are registered twice: a mistake in this program.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The CA file for Graph is unusable.
    #[error("--graph-ca: {0}")]
    Graph(#[from] HttpError),
    /// The CA file for booking APIs is unusable.
    #[error("--booking-ca: {0}")]
    Booking(#[from] ClientError),
    /// Without an audit log nothing may be sent, so that there is nothing to do.
    #[error(transparent)]
    Audit(#[from] OpenError),
    /// No copies of the audit can be given.
    #[error(transparent)]
    Copies(#[from] ListenError),
    /// The audit cannot be exported.
    #[error(transparent)]
    Exports(#[from] SetupError),
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start; what goes wrong later is tried again.
pub async fn run(settings: Settings) -> Result<(), RunError> {
    let shutdown = shutdown::token().map_err(|source| RunError::Io { what: "signals", source })?;
    let registry = metrics::registry()?;
    let metrics = Metrics::new(&registry)?;
    let graph_metrics = GraphMetrics::new(&registry)?;
    let health = Health::new();
    let (crds, election_gate, keys, audit_gate) =
        (health.gate("crds"), health.gate("election"), health.gate("client-state"), health.gate("audit"));
    // Only a leader needs the keys: a standby that does not have them is ready to take over all the same.
    keys.ready();

    let deadline = LeaderDeadline::default();
    let http = HttpSettings { extra_ca_pem: settings.graph_ca.clone(), ..HttpSettings::default() };
    let budgets = Budgets::new(settings.budgets).with_observer(Arc::new(graph_metrics.clone()));
    let http = Http::gated(&http, Arc::new(deadline.clone()))?
        .with_observer(Arc::new(graph_metrics))
        .with_budgets(Arc::new(budgets));
    let booking = BookingClient::new(settings.booking_ca.as_deref(), deadline.clone(), metrics.clone())?;
    let kube = Client::try_default().await?;

    let (address, serving) = admin::serve(settings.admin_listen, health, registry.clone(), shutdown.clone())
        .await
        .map_err(|source| RunError::Io { what: "--admin-listen", source })?;
    writeln!(std::io::stdout(), "admin listening on {address}")
        .map_err(|source| RunError::Io { what: "standard output", source })?;

    let prepared = async {
        served::wait(&kube, &settings.namespace, &settings.watch_namespaces, &crds).await;
        let user_name = own_user_name(&kube, &election_gate, settings.lease.retry).await;
        let opened = audit::open(&audit_settings(&settings), &kube, &registry, &audit_gate, &shutdown).await;
        opened.map(|audit| (user_name, audit))
    };
    let prepared = tokio::select! {
        prepared = prepared => match prepared {
            Err(OpenError::Ended) => None,
            prepared => Some(prepared?),
        },
        () = shutdown.cancelled() => None,
    };
    if let Some((user_name, audit)) = prepared {
        #[cfg(feature = "rehearsal")]
        let clock = Clock::from_environment();
        #[cfg(not(feature = "rehearsal"))]
        let clock = Clock::default();
        let exports = Exports::new(kube.clone(), &audit, settings.allowed_hosts.clone(), &registry)?;
        let copies = AuditCopies::bind(kube.clone(), &audit).await?;
        let process = Arc::new(Process {
            clock,
            clients: ScopeClients::new(
                kube.clone(),
                http,
                settings.allowed_hosts.clone(),
                Arc::clone(&audit.sink) as _,
            ),
            events: Events::new(kube.clone(), &settings.identity),
            kube,
            settings,
            user_name,
            audit: Arc::clone(&audit.sink) as _,
            exports: exports.standings(),
            booking,
            products: Products::default(),
            deadline,
            metrics,
        });
        let work = Box::pin(elect(&process, &election_gate, &keys, &shutdown));
        with_audit(&audit, &exports, copies, &shutdown, work).await;
    }
    // The admin listener ends with the same signal.
    if let Ok(Err(error)) = serving.await {
        tracing::warn!(%error, "the admin listener failed");
    }
    Ok(())
}

fn audit_settings(settings: &Settings) -> AuditSettings {
    AuditSettings {
        dir: settings.audit_dir.clone(),
        identity: settings.identity.clone(),
        namespace: settings.namespace.clone(),
        role: KeyRole::Maker,
        segment: audit::SEGMENT,
        args: settings.audit.clone(),
    }
}

/// Keeps checkpoints of the audit, exports it and gives copies during the work, and keeps a last checkpoint after it.
async fn with_audit(
    audit: &DaemonAudit,
    exports: &Exports,
    copies: AuditCopies,
    shutdown: &CancellationToken,
    work: impl Future<Output = ()>,
) {
    let copies = copies.run(shutdown.clone());
    tokio::join!(work, audit.run(shutdown.clone()), exports.run(shutdown.clone()), copies);
    audit.checkpoints.finish().await;
}

async fn elect(process: &Arc<Process>, gate: &Gate, keys: &Gate, shutdown: &CancellationToken) {
    let settings = &process.settings;
    let mut election = Election::new(
        process.kube.clone(),
        &settings.namespace,
        settings.identity.clone(),
        settings.lease,
        process.deadline.clone(),
    );
    loop {
        tokio::select! {
            () = election.campaign(gate) => {}
            () = shutdown.cancelled() => break,
        }
        process.metrics.leader.set(1);
        let draining = CancellationToken::new();
        let ended = tokio::select! {
            // Renewals go on while work under way comes to its end.
            () = election.keep() => Ended::Lost,
            ended = work(Arc::clone(process), keys, draining, shutdown) => ended,
        };
        process.metrics.leader.set(0);
        keys.ready();
        match ended {
            Ended::Lost => tracing::warn!("not leading any more; taking part in the election again"),
            Ended::Asked => break,
            Ended::Failed => {
                election.release().await;
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = shutdown.cancelled() => break,
                }
            }
        }
    }
    election.release().await;
}

enum Ended {
    Lost,
    Asked,
    Failed,
}

async fn work(
    process: Arc<Process>,
    keys: &Gate,
    draining: CancellationToken,
    shutdown: &CancellationToken,
) -> Ended {
    let mut work = pin!(lead(process, keys, draining.clone()));
    let early = tokio::select! {
        result = &mut work => Some(result),
        () = shutdown.cancelled() => None,
    };
    match early {
        Some(Ok(())) => Ended::Failed,
        Some(Err(error)) => {
            tracing::error!(%error, "the leadership ended");
            Ended::Failed
        }
        None => {
            draining.cancel();
            match tokio::time::timeout(DRAIN, work).await {
                Ok(Ok(())) => tracing::info!("work under way has ended"),
                Ok(Err(error)) => tracing::error!(%error, "the leadership ended"),
                Err(_elapsed) => tracing::warn!(seconds = DRAIN.as_secs(), "work under way was cut off"),
            }
            Ended::Asked
        }
    }
}

/// User name of this process at the API server.
async fn own_user_name(client: &Client, gate: &Gate, retry: Duration) -> String {
    loop {
        match self_review(client).await {
            Ok(Some(name)) => return name,
            Ok(None) => gate.not_ready("the API server does not tell the operator's own user name"),
            Err(error) => {
                gate.not_ready(&format!("SelfSubjectReview: {error}"));
                tracing::warn!(%error, "the operator's own user name cannot be asked for; tried again");
            }
        }
        tokio::time::sleep(retry).await;
    }
}

async fn self_review(client: &Client) -> Result<Option<String>, ApiError> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = bounded(api.create(&PostParams::default(), &SelfSubjectReview::default())).await?;
    Ok(review.status.and_then(|status| status.user_info).and_then(|user| user.username))
}
