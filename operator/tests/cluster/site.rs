//! One installation of the operator in a namespace of its own, with the chart's RBAC.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Event};
use kube::{Api, Client, Resource, api::ListParams, core::NamespaceResourceScope};
use roomkeeper_controlplane::{
    ControlPlane,
    process::{Program, ScratchDir, Supervised, scratch_dir},
};
use roomkeeper_crds::condition;
use serde::de::DeserializeOwned;
use serde_yaml::Value;
use tokio::sync::OnceCell;

pub const WAIT: Duration = Duration::from_mins(1);

/// Looks until it finds something; the last look's words tell what was there instead.
pub async fn until<T, F: Future<Output = Result<T, String>>>(what: &str, look: impl FnMut() -> F) -> T {
    within(WAIT, what, look).await
}

/// As [`until`], for what takes its time by its nature.
pub async fn within<T, F: Future<Output = Result<T, String>>>(
    wait: Duration,
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + wait;
    loop {
        let seen = match look().await {
            Ok(found) => return found,
            Err(seen) => seen,
        };
        assert!(Instant::now() < deadline, "in vain for: {what}; last seen: {seen}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Where one installation's logs and audit are. When it goes, they are searched for planted strings.
pub struct Folder(ScratchDir);

impl Folder {
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        match least_data::canary::finish(self.path()) {
            Ok(()) => {}
            Err(error) if std::thread::panicking() => eprintln!("{error}"),
            Err(error) => panic!("{error}"),
        }
    }
}

pub struct Site {
    pub client: Client,
    pub namespace: String,
    pub folder: Folder,
    pub kubeconfig: PathBuf,
}

pub struct Operator {
    pub process: Supervised,
    pub admin: String,
    pub audit: PathBuf,
}

/// The shared API server with our kinds.
pub async fn control_plane() -> &'static ControlPlane {
    static CRDS: OnceCell<()> = OnceCell::const_new();
    let control_plane = ControlPlane::shared().await.unwrap();
    CRDS.get_or_init(|| async { control_plane.apply_crds(&root().join("crds/yaml")).await.unwrap() }).await;
    control_plane
}

/// Writes down now and then what a replica shows: its metrics, and the events of the namespace, until it is gone.
async fn keep_shown(admin: String, events: Api<Event>, file: PathBuf) {
    let mut ticks = tokio::time::interval(Duration::from_secs(2));
    loop {
        ticks.tick().await;
        let Ok(answer) = reqwest::get(format!("{admin}/metrics")).await else { return };
        let (Ok(metrics), Ok(events)) = (answer.text().await, events.list(&ListParams::default()).await)
        else {
            return;
        };
        let shown = format!("{metrics}\n{}", serde_json::to_string(&events.items).unwrap());
        // The folder goes with its test.
        if fs::write(&file, shown).is_err() {
            return;
        }
    }
}

impl Site {
    pub async fn new() -> Self {
        Self::on(control_plane().await).await
    }

    pub async fn on(control_plane: &'static ControlPlane) -> Self {
        let namespace = control_plane.namespace("operator").await.unwrap();
        let user = format!("system:serviceaccount:{namespace}:roomkeeper-operator");
        let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}")];
        let kubeconfig = control_plane.kubeconfig_for(&user, &groups).unwrap();
        let client = control_plane.admin_client().await.unwrap();
        roomkeeper_controlplane::apply::apply_yaml(&client, &rbac(&namespace)).await.unwrap();
        Self { client, namespace, folder: Folder(scratch_dir("operator-test").unwrap()), kubeconfig }
    }

    /// Starts a replica that looks after this namespace alone.
    pub async fn operator(&self, identity: &str, flags: &[String]) -> Operator {
        self.start(identity, self.program(identity, flags)).await
    }

    fn audit(&self, identity: &str) -> PathBuf {
        self.folder.path().join(format!("audit-{identity}"))
    }

    /// Such a replica, not started yet.
    pub fn program(&self, identity: &str, flags: &[String]) -> Program {
        self.build(env!("CARGO_BIN_EXE_roomkeeper-operator"), identity, flags)
    }

    /// The same of another build of the program.
    pub fn build(&self, path: &str, identity: &str, flags: &[String]) -> Program {
        let lease = ["--lease-duration", "5s", "--lease-renew-deadline", "4s", "--lease-retry-period", "1s"];
        let lease: &[&str] = if flags.iter().any(|flag| flag == lease[0]) { &[] } else { &lease };
        Program::new(path)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("RUST_LOG", "info,roomkeeper_operator=debug")
            .args(["--namespace", &self.namespace, "--watch-namespace", &self.namespace])
            .args(["--identity", identity, "--admin-listen", "127.0.0.1:0"])
            .arg("--audit-dir")
            .arg(self.audit(identity))
            .args(lease)
            .args(flags)
    }

    pub async fn start(&self, identity: &str, program: Program) -> Operator {
        let process =
            Supervised::spawn(program, &self.folder.path().join(format!("{identity}.log"))).unwrap();
        let address = match process.wait_line("admin listening on ", WAIT).await {
            Ok(address) => address,
            Err(error) => panic!("{error}\n{}", process.log_tail(30)),
        };
        let admin = format!("http://{address}");
        let shown = self.folder.path().join(format!("shown-{identity}"));
        tokio::spawn(keep_shown(admin.clone(), self.api::<Event>(), shown));
        Operator { process, admin, audit: self.audit(identity) }
    }

    pub async fn apply(&self, yaml: &str) {
        let yaml = yaml.replace("NAMESPACE", &self.namespace);
        roomkeeper_controlplane::apply::apply_yaml(&self.client, &yaml).await.unwrap();
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Holder of the lease.
    pub async fn holder(&self) -> Result<String, String> {
        let lease = self.api::<Lease>().get_opt("roomkeeper-operator").await.unwrap();
        lease
            .and_then(|lease| lease.spec?.holder_identity)
            .filter(|holder| !holder.is_empty())
            .ok_or_else(|| "nobody holds the lease".to_owned())
    }

    /// Waits until a condition of an object reads `Status/Reason`, and returns the object.
    pub async fn condition<K>(&self, name: &str, type_: condition::Type, expected: &str) -> K
    where
        K: Conditioned,
    {
        let api = self.api::<K>();
        until(&format!("{type_}={expected} of {name}"), async || {
            let object =
                api.get_opt(name).await.map_err(|error| error.to_string())?.ok_or("no such object")?;
            let said: Vec<String> = object
                .conditions()
                .iter()
                .map(|one| format!("{}={}/{}: {}", one.type_, one.status, one.reason, one.message))
                .collect();
            let found = condition::get(&object.conditions(), type_)
                .is_some_and(|one| format!("{}/{}", one.status, one.reason) == expected);
            if found { Ok(object) } else { Err(said.join("; ")) }
        })
        .await
    }
}

impl Operator {
    pub async fn get(&self, path: &str) -> Result<(u16, String), String> {
        let answer =
            reqwest::get(format!("{}{path}", self.admin)).await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await.map_err(|error| error.to_string())?))
    }

    /// Waits until a metric has this value.
    pub async fn metric(&self, line: &str) {
        until(line, async || {
            let (_, text) = self.get("/metrics").await?;
            if text.lines().any(|one| one == line) { Ok(()) } else { Err(text) }
        })
        .await;
    }

    pub fn audit_text(&self) -> String {
        let Ok(lines) = roomkeeper_graph::audit::chain::read_all(&self.audit) else { return String::new() };
        lines.iter().map(|line| serde_json::to_string(&line.entry).unwrap() + "\n").collect()
    }
}

/// What has conditions.
pub trait Conditioned:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + std::fmt::Debug
{
    fn conditions(&self) -> Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition>;
}

macro_rules! conditioned {
    ($($kind:ty),+) => { $(impl Conditioned for $kind {
        fn conditions(&self) -> Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
            self.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default()
        }
    })+ };
}

conditioned!(
    roomkeeper_crds::AccessScope,
    roomkeeper_crds::CalendarSubscription,
    roomkeeper_crds::BookingRecord
);

/// The chart's RBAC for this namespace, and leave to read the Secrets of the tests.
fn rbac(namespace: &str) -> String {
    let text = fs::read_to_string(root().join("charts/roomkeeper/templates/rbac-operator.yaml")).unwrap();
    let text = text.replace("{{ .Release.Namespace }}", namespace);
    assert!(!text.contains("{{"), "the chart uses another expression: {text}");
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(&text) {
        let mut value: Value = serde::Deserialize::deserialize(document).unwrap();
        // Cluster-wide objects of one test must not be those of another.
        if value["kind"] == "ClusterRoleBinding" {
            value["metadata"]["name"] = format!("roomkeeper-operator-{namespace}").into();
        }
        documents.push(serde_yaml::to_string(&value).unwrap());
    }
    documents.push(format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: secrets, namespace: {namespace}}}\n\
         rules: [{{apiGroups: [''], resources: [secrets], resourceNames: [graph, booking], verbs: [get, list, watch]}},\n\
         {{apiGroups: [''], resources: [serviceaccounts/token], resourceNames: [graph, nobody], verbs: [create]}},\n\
         {{apiGroups: [''], resources: [configmaps], verbs: [get, create, patch]}}]\n"
    ));
    documents.push(format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: secrets, namespace: {namespace}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: secrets}}\n\
         subjects: [{{kind: ServiceAccount, name: roomkeeper-operator, namespace: {namespace}}}]\n"
    ));
    documents.join("---\n")
}
