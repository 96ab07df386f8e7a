//! The whole system on one machine.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::Event;
use kube::{Api, Client, Resource, api::ListParams, core::NamespaceResourceScope};
use least_data::canary;
use reqwest::Certificate;
use roomkeeper_controlplane::{
    ControlPlane, Way,
    process::{Program, Supervised},
};
use roomkeeper_crds::{AccessScope, BookingRecord, CalendarSubscription, ConsentRecord};
use roomkeeper_graph::audit::chain::read_all;
use serde_json::{Value, json};

use crate::{
    certificates::{self, ServerIdentity},
    install,
    outlook::Outlook,
    programs,
    simulator::Simulator,
    wait, world,
};

/// Longest wait for a program to say that it serves.
const START: Duration = Duration::from_mins(1);

/// Longest wait for a daemon to be ready.
const READY: Duration = Duration::from_mins(4);

/// Time between two looks at a daemon's metrics.
const KEEP_METRICS: Duration = Duration::from_secs(5);

/// What the examples' AccessScope says where a real one names Microsoft's cloud, and its booking product.
const EXAMPLE_CLOUD: &str = "cloud: Global";
const EXAMPLE_BOOKING_URL: &str = "https://booking.contoso.example/api";
/// The client secret of the examples.
const EXAMPLE_SECRET: &str = "clientSecret: demo\n";

/// Both simulators and everything that the daemons need to be started. Programs die with the value.
pub struct System {
    folder: PathBuf,
    tls: ServerIdentity,
    webhook_port: u16,
    graph_program: Supervised,
    booking_program: Supervised,
    /// The Graph simulator.
    pub graph: Simulator,
    /// The booking simulator.
    pub booking: Simulator,
    kubeconfig_operator: PathBuf,
    kubeconfig_webhook: PathBuf,
}

/// A running daemon.
pub struct Daemon {
    /// The process.
    pub process: Supervised,
    /// Base URL of its admin listener.
    pub admin: String,
    /// Folder of its audit log.
    pub audit: PathBuf,
}

impl System {
    /// Installs the chart's parts, starts both simulators with this world, and prepares certificates.
    ///
    /// `folder` must outlive the value and is removed by its owner.
    ///
    /// # Errors
    /// When a program is not built or does not start.
    pub async fn start(control_plane: &ControlPlane, folder: &Path, world: &Value) -> anyhow::Result<Self> {
        install::apply(&control_plane.admin_client().await?).await?;
        let tls = certificates::loopback(folder)?;
        let world_file = folder.join("world.yaml");
        fs::write(&world_file, serde_yaml::to_string(world)?)?;
        let graph_program = Supervised::spawn(
            Program::new(programs::path("graph-sim")?)
                .args(["--listen", "127.0.0.1:0", "--world"])
                .arg(&world_file)
                .arg("--tls-dir")
                .arg(folder.join("graph-tls"))
                .arg("--trust")
                .arg(&tls.ca),
            &folder.join("graph-sim.log"),
        )?;
        let booking_program = Supervised::spawn(
            Program::new(programs::path("booking-sim")?)
                .args([
                    "--listen",
                    "127.0.0.1:0",
                    "--require-header",
                    "X-Api-Key: demo-booking-key",
                    "--tls-dir",
                ])
                .arg(folder.join("booking-tls")),
            &folder.join("booking-sim.log"),
        )?;
        let graph = simulator(&graph_program, &folder.join("graph-tls/ca.crt")).await?;
        let booking = simulator(&booking_program, &folder.join("booking-tls/ca.crt")).await?;
        Ok(Self {
            folder: folder.to_owned(),
            tls,
            // Bound and released: the webhook server has to come back on the same address after a crash.
            webhook_port: TcpListener::bind("127.0.0.1:0")?.local_addr()?.port(),
            graph_program,
            booking_program,
            graph,
            booking,
            kubeconfig_operator: control_plane
                .kubeconfig_for(install::OPERATOR, &install::SERVICE_ACCOUNT_GROUPS)?,
            kubeconfig_webhook: control_plane
                .kubeconfig_for(install::WEBHOOK, &install::SERVICE_ACCOUNT_GROUPS)?,
        })
    }

    /// Public base URL of the webhook server.
    pub fn public_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.webhook_port)
    }

    /// Certificate and key for whoever serves under the public URL, in PEM files.
    pub fn server_certificate(&self) -> (&Path, &Path) {
        (&self.tls.certificate, &self.tls.key)
    }

    /// Folder of logs, certificates and audit.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts an operator under that identity with further flags.
    ///
    /// # Errors
    /// When it does not say that it serves.
    pub async fn operator(&self, identity: &str, flags: &[&str]) -> anyhow::Result<Daemon> {
        self.operator_program("roomkeeper-operator", identity, flags, None).await
    }

    /// Starts another build of the operator, with a variable of its own.
    ///
    /// # Errors
    /// When it does not say that it serves.
    pub async fn operator_program(
        &self,
        name: &str,
        identity: &str,
        flags: &[&str],
        variable: Option<(&str, &Path)>,
    ) -> anyhow::Result<Daemon> {
        let audit = self.folder.join(format!("audit-{identity}"));
        let mut program = self
            .daemon(name, &self.kubeconfig_operator)?
            .args(["--identity", identity, "--public-url", &self.public_url(), "--audit-dir"])
            .arg(&audit)
            .arg("--booking-ca")
            .arg(self.folder.join("booking-tls/ca.crt"))
            .args(flags);
        if let Some((name, value)) = variable {
            program = program.env(name, value);
        }
        self.run(program, identity, audit).await
    }

    /// Starts a webhook server under that identity with further flags. Its queue is kept between starts.
    ///
    /// # Errors
    /// When it does not say that it serves.
    pub async fn webhook(&self, identity: &str, flags: &[&str]) -> anyhow::Result<Daemon> {
        self.webhook_at(identity, self.webhook_port, flags).await
    }

    /// Starts a webhook server on a port of its own, as a pod behind whoever serves under the public URL.
    ///
    /// # Errors
    /// When it does not say that it serves.
    pub async fn webhook_at(&self, identity: &str, port: u16, flags: &[&str]) -> anyhow::Result<Daemon> {
        self.webhook_over(&self.kubeconfig_webhook, identity, port, flags).await
    }

    /// The same, with a way to the API server of its own that can be cut.
    ///
    /// # Errors
    /// When it does not say that it serves.
    pub async fn webhook_beside(
        &self,
        identity: &str,
        port: u16,
        flags: &[&str],
    ) -> anyhow::Result<(Daemon, Way)> {
        let way = Way::beside(&self.kubeconfig_webhook, identity).await?;
        Ok((self.webhook_over(&way.kubeconfig, identity, port, flags).await?, way))
    }

    async fn webhook_over(
        &self,
        kubeconfig: &Path,
        identity: &str,
        port: u16,
        flags: &[&str],
    ) -> anyhow::Result<Daemon> {
        let audit = self.folder.join(format!("audit-{identity}"));
        let program = self
            .daemon("roomkeeper-webhook-server", kubeconfig)?
            .args(["--identity", identity, "--public-listen", &format!("127.0.0.1:{port}")])
            .arg("--tls-cert")
            .arg(&self.tls.certificate)
            .arg("--tls-key")
            .arg(&self.tls.key)
            .arg("--queue-dir")
            .arg(self.folder.join(format!("queue-{identity}")))
            .arg("--audit-dir")
            .arg(&audit)
            .args(flags);
        self.run(program, identity, audit).await
    }

    fn daemon(&self, name: &str, kubeconfig: &Path) -> anyhow::Result<Program> {
        Ok(Program::new(programs::path(name)?)
            .env("KUBECONFIG", kubeconfig)
            .args(["--namespace", install::NAMESPACE, "--admin-listen", "127.0.0.1:0"])
            .args([
                "--allowed-host",
                authority(&self.graph.origin)?,
                "--allowed-host",
                authority(&self.booking.origin)?,
            ])
            .arg("--graph-ca")
            .arg(self.folder.join("graph-tls/ca.crt")))
    }

    async fn run(&self, program: Program, identity: &str, audit: PathBuf) -> anyhow::Result<Daemon> {
        let process = Supervised::spawn(program, &self.folder.join(format!("{identity}.log")))?;
        let admin = match process.wait_line("admin listening on ", START).await {
            Ok(address) => format!("http://{address}"),
            Err(error) => bail!("{identity} did not start: {error}\n{}", process.log_tail(20)),
        };
        tokio::spawn(keep_metrics(admin.clone(), self.folder.join(format!("shown-metrics-{identity}"))));
        Ok(Daemon { process, admin, audit })
    }

    /// Writes down what the API server shows to everyone who may list: events, and the status of our kinds. It is searched for
    /// planted strings with the rest, when this value goes.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn keep_shown(&self, client: &Client) -> anyhow::Result<()> {
        let events: Api<Event> = Api::all(client.clone());
        let events = events.list(&ListParams::default()).await?.items;
        let statuses = json!([
            statuses(client, |one: AccessScope| one.status).await?,
            statuses(client, |one: CalendarSubscription| one.status).await?,
            statuses(client, |one: ConsentRecord| one.status).await?,
            statuses(client, |one: BookingRecord| one.status).await?,
        ]);
        fs::write(self.folder.join("shown-events.json"), serde_json::to_vec(&events)?)?;
        fs::write(self.folder.join("shown-status.json"), serde_json::to_vec(&statuses)?)?;
        Ok(())
    }

    /// A file of `docs/examples`, with the simulators in the place of Microsoft's cloud and the booking product.
    ///
    /// # Errors
    /// When it cannot be read, or an AccessScope does not name what is to be replaced.
    pub fn example(&self, file: &str) -> anyhow::Result<String> {
        let path = programs::repository().join("docs/examples").join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        if text.contains("kind: AccessScope")
            && !(text.contains(EXAMPLE_CLOUD) && text.contains(EXAMPLE_BOOKING_URL))
        {
            bail!("{file} names neither '{EXAMPLE_CLOUD}' nor {EXAMPLE_BOOKING_URL}");
        }
        let endpoints = format!("endpoints: {{authority: \"{0}\", graph: \"{0}\"}}", self.graph.origin);
        let secret = format!("clientSecret: {}\n", world::CLIENT_SECRET);
        Ok(text
            .replace(EXAMPLE_CLOUD, &endpoints)
            .replace(EXAMPLE_BOOKING_URL, &self.booking.origin)
            .replace(EXAMPLE_SECRET, &secret))
    }

    /// Outlook of the tenant's people.
    ///
    /// # Errors
    /// When the simulator gives no token.
    pub async fn outlook(&self) -> anyhow::Result<Outlook> {
        Outlook::sign_in(self.graph.http.clone(), &self.graph.origin).await
    }

    /// Ticks the box as a user of the add-in; returns the status code of the consent endpoint.
    ///
    /// # Errors
    /// When the webhook server cannot be reached.
    pub async fn tick_the_box(&self, namespace: &str, scope: &str, user_id: &str) -> anyhow::Result<u16> {
        let claims = json!({"tenantId": crate::world::TENANT, "userId": user_id, "audience": crate::world::ADD_IN_AUDIENCE});
        let token = self.graph.post("/_sim/user-token", &claims).await?;
        let token = token.get("access_token").and_then(Value::as_str).context("no access_token")?;
        let answer = self
            .webhook_client()?
            .post(format!("{}/api/scopes/{namespace}/{scope}/consent", self.public_url()))
            .bearer_auth(token)
            .json(&json!({"noticeVersion": "2026-01", "addInVersion": "1.4.0"}))
            .send()
            .await?;
        Ok(answer.status().as_u16())
    }

    /// An HTTP client that trusts the webhook server.
    ///
    /// # Errors
    /// When the certificate cannot be read.
    pub fn webhook_client(&self) -> anyhow::Result<reqwest::Client> {
        trusting(&self.tls.ca)
    }

    /// Ends both simulators.
    pub fn stop(&self) {
        for program in [&self.graph_program, &self.booking_program] {
            if let Err(error) = program.kill() {
                eprintln!("a simulator did not end: {error}");
            }
        }
    }
}

/// Nothing that daemons wrote, and nothing that they showed, may hold a planted string.
impl Drop for System {
    fn drop(&mut self) {
        match canary::finish(&self.folder) {
            Ok(()) => {}
            Err(error) if std::thread::panicking() => eprintln!("{error}"),
            #[expect(clippy::panic, reason = "there is no other way for a test to fail when it ends")]
            Err(error) => panic!("{error}"),
        }
    }
}

/// Writes a daemon's metrics down now and then, until it is gone.
async fn keep_metrics(admin: String, file: PathBuf) {
    let mut ticks = tokio::time::interval(KEEP_METRICS);
    loop {
        ticks.tick().await;
        let Ok(answer) = reqwest::get(format!("{admin}/metrics")).await else { return };
        let Ok(text) = answer.text().await else { return };
        if let Err(error) = fs::write(&file, text) {
            // The folder goes with its test.
            tracing::debug!(%error, file = %file.display(), "metrics are not kept");
            return;
        }
    }
}

async fn statuses<K, S>(client: &Client, status: fn(K) -> Option<S>) -> anyhow::Result<Value>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
    S: serde::Serialize,
{
    let all: Api<K> = Api::all(client.clone());
    let statuses: Vec<S> =
        all.list(&ListParams::default()).await?.items.into_iter().filter_map(status).collect();
    Ok(serde_json::to_value(statuses)?)
}

impl Daemon {
    /// Text of its metrics.
    ///
    /// # Errors
    /// When its admin listener does not answer.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        Ok(reqwest::get(format!("{}/metrics", self.admin)).await?.error_for_status()?.text().await?)
    }

    /// Items in its queue.
    ///
    /// # Errors
    /// When its metrics do not say.
    pub async fn queue_depth(&self) -> anyhow::Result<usize> {
        let metrics = self.metrics().await?;
        let depth = metrics.lines().find_map(|line| line.strip_prefix("roomkeeper_queue_depth "));
        depth.context("no roomkeeper_queue_depth")?.parse().context("roomkeeper_queue_depth")
    }

    /// Waits until `/readyz` answers 200.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let look = async || Ok(self.is_ready().await.then_some(()));
        wait::until(&format!("{} to be ready", self.admin), READY, look).await
    }

    /// Whether `/readyz` answers 200.
    pub async fn is_ready(&self) -> bool {
        match reqwest::get(format!("{}/readyz", self.admin)).await {
            Ok(answer) => answer.status().is_success(),
            Err(_not_listening) => false,
        }
    }

    /// Every entry of its audit, as JSON.
    ///
    /// # Errors
    /// When a line is none.
    pub fn audit_entries(&self) -> anyhow::Result<Vec<Value>> {
        let lines = read_all(&self.audit).with_context(|| format!("read {}", self.audit.display()))?;
        Ok(lines.into_iter().map(|line| Value::Object(line.entry)).collect())
    }
}

async fn simulator(program: &Supervised, ca: &Path) -> anyhow::Result<Simulator> {
    let origin = match program.wait_line("ready ", START).await {
        Ok(origin) => origin.trim_end_matches('/').to_owned(),
        Err(error) => bail!("a simulator did not start: {error}\n{}", program.log_tail(20)),
    };
    Ok(Simulator { http: trusting(ca)?, origin })
}

/// An HTTP client that trusts the authority in that file. It has a name of its own: what people, their administrator and the tests
/// send is told from what Roomkeeper sends by it.
///
/// # Errors
/// When the file is no certificate.
pub fn trusting(ca: &Path) -> anyhow::Result<reqwest::Client> {
    let pem = fs::read(ca).with_context(|| format!("read {}", ca.display()))?;
    Ok(reqwest::Client::builder()
        .add_root_certificate(Certificate::from_pem(&pem)?)
        .timeout(Duration::from_mins(1))
        .user_agent("stand-in/people")
        .build()?)
}

fn authority(origin: &str) -> anyhow::Result<&str> {
    origin.strip_prefix("https://").with_context(|| format!("{origin} is no https origin"))
}

/// Applies YAML as the cluster's administrator.
///
/// # Errors
/// When the API server refuses it.
pub async fn apply(client: &Client, text: &str) -> anyhow::Result<()> {
    roomkeeper_controlplane::apply::apply_yaml(client, text).await?;
    Ok(())
}
