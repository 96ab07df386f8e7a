//! One control plane for all tests, with the chart's CRDs and RBAC.

use std::{
    path::Path,
    sync::{Mutex, Once},
    time::Duration,
};

use kube::Client;
use roomkeeper_controlplane::ControlPlane;
use tokio::{
    sync::OnceCell,
    time::{Instant, sleep},
};

pub const INSTALLATION: &str = "roomkeeper-system";

static READY: OnceCell<()> = OnceCell::const_new();

/// Keeps what this process logs, at every level, where the last search for planted strings looks.
fn keep_log() {
    static KEPT: Once = Once::new();
    let Some(keep) = std::env::var_os("ROOMKEEPER_KEEP_WRITTEN").filter(|keep| !keep.is_empty()) else {
        return;
    };
    KEPT.call_once(|| {
        std::fs::create_dir_all(&keep).unwrap();
        let file = Path::new(&keep).join(format!("webhook-cluster-{}.log", std::process::id()));
        let file = std::fs::File::create(file).unwrap();
        // Other crates' debug logs are not what a daemon is run with.
        let levels = "info,roomkeeper_graph=trace,roomkeeper_service=trace,roomkeeper_webhook_server=trace";
        let log = tracing_subscriber::fmt().json().with_env_filter(levels).with_writer(Mutex::new(file));
        log.init();
    });
}

/// Client of the administrator, and of the webhook server's ServiceAccount.
#[derive(Clone)]
pub struct Cluster {
    pub plane: &'static ControlPlane,
    pub admin: Client,
    pub webhook: Client,
}

pub async fn cluster() -> Cluster {
    roomkeeper_service::tls::install_provider();
    keep_log();
    let plane = ControlPlane::shared().await.unwrap();
    READY
        .get_or_init(|| async {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
            plane.apply_crds(&root.join("crds/yaml")).await.unwrap();
            let namespace =
                format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {INSTALLATION}}}}}");
            plane.apply_yaml(&namespace).await.unwrap();
            let rbac = root.join("charts/roomkeeper/templates/rbac-webhook.yaml");
            let rbac =
                std::fs::read_to_string(rbac).unwrap().replace("{{ .Release.Namespace }}", INSTALLATION);
            plane.apply_yaml(&rbac).await.unwrap();
            // The chart grants the checkpoints of the audit by the names of its pods.
            let audit = format!(
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: audit, namespace: {INSTALLATION}}}\n\
                 rules: [{{apiGroups: [''], resources: [configmaps], verbs: [get, create, patch]}}]\n---\n\
                 apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: audit, namespace: {INSTALLATION}}}\n\
                 roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: audit}}\n\
                 subjects: [{{kind: ServiceAccount, name: roomkeeper-webhook, namespace: {INSTALLATION}}}]\n"
            );
            plane.apply_yaml(&audit).await.unwrap();
        })
        .await;
    let user = format!("system:serviceaccount:{INSTALLATION}:roomkeeper-webhook");
    let groups = ["system:serviceaccounts", "system:serviceaccounts:roomkeeper-system"];
    Cluster {
        plane,
        admin: plane.admin_client().await.unwrap(),
        webhook: plane.client_for(&user, &groups).await.unwrap(),
    }
}

/// Looks until `look` finds something.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
