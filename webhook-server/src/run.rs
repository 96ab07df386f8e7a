//! Puts the process together, and takes it apart in order.

use std::{fs, future::Future, io::Write as _, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use axum::Router;
use kube::Client;
use prometheus::Registry;
use roomkeeper_graph::{
    audit::AuditSink,
    http::{Http, HttpSettings},
};
use roomkeeper_service::{
    admin,
    audit::{self, AuditSettings, DaemonAudit, KeyRole, OpenError},
    audit_copy::AuditCopies,
    audit_export::Exports,
    health::{Gate, Health},
    https::{self, ServeLimits},
    metrics::{self, GraphMetrics},
    scope_access::{AllowedHosts, ScopeClients},
    shutdown,
};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    args::Args,
    http::{
        addin::{self, AddInState},
        client_address::TrustedProxies,
        consent::{self, ConsentLimits, ConsentMetrics, ConsentState},
        ingest::{self, IngestLimits, IngestState},
    },
    keys::{KeyLoader, LoadedKeys, client_state_keys},
    metrics::{ingest::IngestMetrics, queue as queue_metrics},
    queue::{
        self, Queue,
        embedded::{EmbeddedQueue, Options},
    },
    worker::{
        Horizon, LivePermissions, PermitGate, RecordNames, ResyncMetrics, ResyncParts, Resyncs,
        Subscriptions, Waits, Worker, WorkerMetrics, WorkerParts,
    },
};

/// Time between two looks at the queue's health.
const QUEUE_LOOK: Duration = Duration::from_secs(1);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When a part cannot be set up: the message names it.
pub async fn run(args: Args) -> anyhow::Result<()> {
    if args.role.works() {
        args.mailbox_share()?;
    }
    let shutdown = shutdown::token().context("signal handlers")?;
    let health = Health::new();
    let gates = Gates::new(&health);
    let registry = metrics::registry()?;
    let admin_stop = CancellationToken::new();
    let (admin_address, admin_task) =
        admin::serve(args.admin_listen, health.clone(), registry.clone(), admin_stop.clone())
            .await
            .with_context(|| format!("--admin-listen {}", args.admin_listen))?;

    let queue = open_queue(&args).await?;
    queue_metrics::register(&registry, Arc::clone(&queue) as Arc<dyn Queue>)?;
    let opened = Parts::new(&args, &registry, &gates.audit, &shutdown).await?;
    let Some((parts, audit)) = opened else {
        return end(&queue, admin_stop, admin_task).await;
    };
    let mut tasks = Tasks::default();
    tasks.spawn("queue health", watch_queue(Arc::clone(&queue), gates.queue, shutdown.clone()));

    let (keys, loader) = client_state_keys(parts.client.clone(), &args.namespace);
    let mut public_address = None;
    if args.role.serves() {
        let (address, server) = public(&args, &parts, &registry, &queue, keys, &shutdown).await?;
        public_address = Some(address);
        tasks.spawn("client state keys", keep_keys(loader, gates.keys, shutdown.clone()));
        tasks.spawn("public listener", server);
    } else {
        gates.keys.ready();
    }
    if args.role.works() {
        let subscriptions = Subscriptions::new();
        let record_names = RecordNames::new(args.watch_namespace.clone());
        let namespaces = args.watch_namespace.clone();
        let watch =
            subscriptions.clone().watch(parts.client.clone(), namespaces, gates.kube, shutdown.clone());
        tasks.spawn("index of CalendarSubscriptions", watch);
        let watch = record_names.clone().watch(parts.client.clone(), shutdown.clone());
        tasks.spawn("names of BookingRecords", watch);
        let (worker, resyncs) = worker(&args, &parts, &registry, &queue, subscriptions, record_names)?;
        tasks.spawn("worker", worker.run(shutdown.clone()));
        tasks.spawn("resyncs", resyncs.run(shutdown.clone()));
    } else {
        gates.kube.ready();
    }
    announce(public_address, admin_address)?;

    let exports = Exports::new(parts.client.clone(), &audit, parts.allowed_hosts.clone(), &registry)?;
    let stop = shutdown.clone();
    tasks.spawn("exports of the audit", async move { exports.run(stop).await });
    let copies = AuditCopies::bind(parts.client.clone(), &audit).await?;
    tasks.spawn("copies of the audit", copies.run(shutdown.clone()));
    let checkpoints = Arc::clone(&audit.checkpoints);
    let stop = shutdown.clone();
    tasks.spawn("checkpoints of the audit", async move { audit.run(stop).await });
    let ended_early = tasks.until_end(&shutdown).await;
    checkpoints.finish().await;
    end(&queue, admin_stop, admin_task).await?;
    match ended_early {
        Some(name) => bail!("{name} ended by itself"),
        None => Ok(()),
    }
}

async fn end(
    queue: &EmbeddedQueue,
    admin_stop: CancellationToken,
    admin_task: JoinHandle<std::io::Result<()>>,
) -> anyhow::Result<()> {
    queue.close().await;
    admin_stop.cancel();
    admin_task.await.context("admin listener")?.context("admin listener")
}

struct Gates {
    audit: Gate,
    queue: Gate,
    kube: Gate,
    keys: Gate,
}

impl Gates {
    fn new(health: &Health) -> Self {
        let [audit, queue, kube, keys] = ["audit", "queue", "kube", "keys"].map(|name| health.gate(name));
        Self { audit, queue, kube, keys }
    }
}

/// What ingest and worker share.
struct Parts {
    client: Client,
    http: Http,
    audit: Arc<dyn AuditSink>,
    allowed_hosts: AllowedHosts,
    /// Name of this process in audit and claims.
    identity: String,
}

impl Parts {
    /// `None` when the program is to end before the audit is open.
    async fn new(
        args: &Args,
        registry: &Registry,
        gate: &Gate,
        shutdown: &CancellationToken,
    ) -> anyhow::Result<Option<(Self, DaemonAudit)>> {
        let client = Client::try_default().await.context("no access to a Kubernetes API server")?;
        let extra_ca_pem = args
            .graph_ca
            .as_ref()
            .map(|path| fs::read(path).with_context(|| format!("--graph-ca {}", path.display())))
            .transpose()?;
        let http = Http::new(&HttpSettings { extra_ca_pem, ..HttpSettings::default() })
            .context("--graph-ca")?
            .with_observer(Arc::new(GraphMetrics::new(registry)?))
            .with_gate(Arc::new(PermitGate));
        let identity = match &args.identity {
            Some(identity) => identity.clone(),
            None => host_name()?,
        };
        let allowed_hosts = AllowedHosts::new(&args.allowed_host).context("--allowed-host")?;
        let settings = AuditSettings {
            dir: args.audit_dir.clone(),
            identity: identity.clone(),
            namespace: args.namespace.clone(),
            role: KeyRole::Reader,
            segment: audit::SEGMENT,
            args: args.audit.clone(),
        };
        let opened = match audit::open(&settings, &client, registry, gate, shutdown).await {
            Err(OpenError::Ended) => return Ok(None),
            opened => opened?,
        };
        let audit = Arc::clone(&opened.sink) as _;
        Ok(Some((Self { client, http, audit, allowed_hosts, identity }, opened)))
    }
}

async fn open_queue(args: &Args) -> anyhow::Result<Arc<EmbeddedQueue>> {
    let options = Options {
        max_items: args.queue_max_items,
        max_attempts: args.max_attempts,
        debounce: args.debounce,
        max_debounce: Options::default().max_debounce.max(args.debounce),
        ..Options::default()
    };
    let folder = args.queue_dir.clone();
    let opened = tokio::task::spawn_blocking(move || EmbeddedQueue::open(&folder, &options)).await?;
    Ok(Arc::new(opened.with_context(|| format!("--queue-dir {}", args.queue_dir.display()))?))
}

async fn public(
    args: &Args,
    parts: &Parts,
    registry: &Registry,
    queue: &Arc<EmbeddedQueue>,
    keys: LoadedKeys,
    shutdown: &CancellationToken,
) -> anyhow::Result<(std::net::SocketAddr, impl Future<Output = ()> + use<>)> {
    let file = |flag: &str, path: &Option<std::path::PathBuf>| {
        let path = path.as_ref().with_context(|| format!("{flag} is required unless --role is worker"))?;
        fs::read(path).with_context(|| format!("{flag} {}", path.display()))
    };
    let (certificates, key) = (file("--tls-cert", &args.tls_cert)?, file("--tls-key", &args.tls_key)?);
    let tls = https::tls_config(&certificates, &key).context("--tls-cert and --tls-key")?;
    let limits = IngestLimits { max_body_bytes: args.max_body_bytes, ..IngestLimits::default() };
    let ingest = IngestState::new(
        Arc::clone(queue) as Arc<dyn Queue>,
        Arc::new(keys),
        IngestMetrics::new(registry)?,
        limits,
    );
    let consent = ConsentState::new(
        parts.client.clone(),
        parts.http.clone(),
        Arc::clone(&parts.audit),
        parts.allowed_hosts.clone(),
        ConsentMetrics::new(registry)?,
        ConsentLimits {
            per_address: args.consents_per_address,
            proxies: TrustedProxies::new(args.trusted_proxy.iter().copied()),
        },
    );
    let mut router = Router::new().merge(ingest::router(ingest)).merge(consent::router(consent));
    if let Some(addin) = addin(args, parts)? {
        router = router.merge(addin::router(addin));
    }
    let listener = TcpListener::bind(args.public_listen)
        .await
        .with_context(|| format!("--public-listen {}", args.public_listen))?;
    let address = listener.local_addr().context("--public-listen")?;
    let server = https::serve(listener, Arc::new(tls), router, ServeLimits::default(), shutdown.clone());
    Ok((address, server))
}

fn addin(args: &Args, parts: &Parts) -> anyhow::Result<Option<AddInState>> {
    let Some((folder, settings)) = args.addin_dir.as_ref().zip(args.addin_settings.as_ref()) else {
        return Ok(None);
    };
    let settings =
        fs::read_to_string(settings).with_context(|| format!("--addin-settings {}", settings.display()))?;
    let state = AddInState::new(parts.client.clone(), parts.allowed_hosts.clone(), folder, &settings)?;
    Ok(Some(state))
}

fn worker(
    args: &Args,
    parts: &Parts,
    registry: &Registry,
    queue: &Arc<EmbeddedQueue>,
    subscriptions: Subscriptions,
    record_names: RecordNames,
) -> anyhow::Result<(Arc<Worker>, Arc<Resyncs>)> {
    let reader = Arc::new(ScopeClients::new(
        parts.client.clone(),
        parts.http.clone(),
        parts.allowed_hosts.clone(),
        Arc::clone(&parts.audit),
    ));
    let worker = Worker::new(WorkerParts {
        queue: Arc::clone(queue) as Arc<dyn Queue>,
        client: parts.client.clone(),
        subscriptions,
        record_names,
        permissions: Arc::new(LivePermissions::new(parts.client.clone())),
        reader: Arc::clone(&reader) as _,
        audit: Arc::clone(&parts.audit),
        metrics: WorkerMetrics::new(registry)?,
        workers: usize::from(args.workers),
        mailbox_concurrency: args.mailbox_share()?,
        horizon: Horizon::of_days(args.occurrence_horizon_days),
        waits: Waits::default(),
    });
    let resyncs = Resyncs::new(
        &worker,
        ResyncParts {
            client: parts.client.clone(),
            listing: reader,
            identity: parts.identity.clone(),
            metrics: ResyncMetrics::new(registry)?,
        },
    );
    Ok((worker, resyncs))
}

async fn keep_keys(loader: KeyLoader, gate: Gate, shutdown: CancellationToken) {
    loader.run(gate, shutdown).await;
}

async fn watch_queue(queue: Arc<EmbeddedQueue>, gate: Gate, shutdown: CancellationToken) {
    loop {
        match queue.health() {
            queue::Health::Serving => gate.ready(),
            queue::Health::StorageFailed => gate.not_ready("its storage failed"),
            queue::Health::Closed => gate.not_ready("closed"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(QUEUE_LOOK) => {}
        }
    }
}

/// The parts that run until shutdown.
#[derive(Default)]
struct Tasks {
    set: JoinSet<&'static str>,
}

impl Tasks {
    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(async move {
            task.await;
            name
        });
    }

    /// Waits for shutdown and then for every part. A part that ends before, ends the process: its name is returned.
    async fn until_end(mut self, shutdown: &CancellationToken) -> Option<&'static str> {
        let mut early = None;
        while let Some(ended) = self.set.join_next().await {
            if shutdown.is_cancelled() {
                continue;
            }
            early = Some(ended.unwrap_or("a part of the process"));
            shutdown.cancel();
        }
        early
    }
}

fn announce(public: Option<std::net::SocketAddr>, admin: std::net::SocketAddr) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if let Some(public) = public {
        writeln!(out, "public listening on https://{public}").context("standard output")?;
    }
    writeln!(out, "admin listening on {admin}").and_then(|()| out.flush()).context("standard output")
}

fn host_name() -> anyhow::Result<String> {
    let name = nix::unistd::gethostname().context("host name")?;
    name.into_string().ok().context("the host name is no text: give --identity")
}
