//! A daemon's audit at a real API server: key, checkpoints, restarts, and what happens when something is not as it was.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod copies;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use prometheus::Registry;
use roomkeeper_controlplane::{ControlPlane, Way};
use roomkeeper_crds::audit::{KEYS_CONFIG_MAP, config_map};
use roomkeeper_graph::{
    Cause,
    audit::{
        AuditEntry, AuditSink as _,
        chain::{Checkpoint, Damage, File, LogName, Report, Signed, VerifyingKey, read_all, verify},
    },
};
use roomkeeper_service::{
    audit::{AuditArgs, AuditSettings, DaemonAudit, KEY_SECRET, KeyRole, open},
    health::Health,
    tls,
};
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const SCOPE: &str = "rooms/contoso";
const DEADLINE: Duration = Duration::from_mins(1);

struct Site {
    plane: &'static ControlPlane,
    admin: Client,
    namespace: String,
    dir: tempfile::TempDir,
}

impl Site {
    async fn new() -> Self {
        tls::install_provider();
        let plane = ControlPlane::shared().await.unwrap();
        let admin = plane.admin_client().await.unwrap();
        let namespace = plane.namespace("audit").await.unwrap();
        Self { plane, admin, namespace, dir: tempfile::tempdir().unwrap() }
    }

    fn folder(&self, identity: &str) -> PathBuf {
        self.dir.path().join(identity)
    }

    fn args() -> AuditArgs {
        AuditArgs {
            audit_export_folder: None,
            audit_export_ca: None,
            audit_listen: None,
            audit_fail_closed: true,
            audit_checkpoint_interval: Duration::from_secs(1),
            audit_retention: None,
        }
    }

    async fn open_as(&self, client: &Client, identity: &str, role: KeyRole) -> DaemonAudit {
        self.open_with(client, identity, role, Self::args()).await
    }

    async fn open_with(
        &self,
        client: &Client,
        identity: &str,
        role: KeyRole,
        args: AuditArgs,
    ) -> DaemonAudit {
        let settings = AuditSettings {
            dir: self.folder(identity),
            identity: identity.to_owned(),
            namespace: self.namespace.clone(),
            role,
            segment: 1_000,
            args,
        };
        let (registry, gate, never) =
            (Registry::new(), Health::new().gate("audit"), CancellationToken::new());
        let opened = open(&settings, client, &registry, &gate, &never);
        timeout(DEADLINE, opened).await.unwrap().unwrap()
    }

    async fn operator(&self) -> DaemonAudit {
        self.open_as(&self.admin, "operator-0", KeyRole::Maker).await
    }

    async fn operator_with(&self, args: AuditArgs) -> DaemonAudit {
        self.open_with(&self.admin, "operator-0", KeyRole::Maker, args).await
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    async fn data(&self, name: &str) -> BTreeMap<String, String> {
        self.maps().get_opt(name).await.unwrap().and_then(|map| map.data).unwrap_or_default()
    }

    async fn keys(&self) -> Vec<VerifyingKey> {
        let keys = self.data(KEYS_CONFIG_MAP).await;
        keys.values().map(|pem| VerifyingKey::from_pem(pem.as_bytes()).unwrap()).collect()
    }

    /// The kept checkpoints of the operator.
    async fn kept(&self) -> Vec<Checkpoint> {
        let (keys, data) = (self.keys().await, self.data(&config_map("operator-0")).await);
        data.values().map(|envelope| Signed::open(envelope, &keys).unwrap().statement).collect()
    }

    /// What the verifier says of the operator's lines and of what is kept, but that no export lists them.
    async fn judge(&self) -> Report {
        let dir = self.folder("operator-0");
        let mut files: Vec<_> = segments(&dir)
            .into_iter()
            .map(|path| {
                let name = path.strip_prefix(&dir).unwrap().to_string_lossy().replace('/', ".");
                File { name, bytes: fs::read(path).unwrap() }
            })
            .collect();
        let kept = self.data(&config_map("operator-0")).await;
        let bytes = kept.values().flat_map(|envelope| [envelope.as_bytes(), b"\n"].concat()).collect();
        files.push(File { name: "kept.checkpoints.jsonl".into(), bytes });
        let mut report = verify(&files, &self.keys().await);
        report.findings.retain(|finding| finding.damage != Damage::Unlisted);
        report
    }
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(segments(&path));
        } else if path.extension().is_some_and(|end| end == "jsonl") {
            found.push(path);
        }
    }
    found
}

async fn write(audit: &DaemonAudit, scope: &str, lines: usize) {
    for _ in 0..lines {
        let note = AuditEntry::Note {
            time: jiff::Timestamp::now(),
            scope: scope.into(),
            caused_by: Cause::new("Test/rooms/a"),
            text: "x".into(),
        };
        audit.sink.record(note).await.unwrap();
    }
}

/// Keeps checkpoints, as often as it takes.
async fn keep(audit: &DaemonAudit) {
    let kept = async {
        while audit.checkpoints.keep_all().await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(DEADLINE, kept).await.unwrap();
}

fn log() -> LogName {
    LogName::of_scope(SCOPE).unwrap()
}

#[tokio::test]
async fn checkpoints_leave_the_pod_and_a_restart_goes_on_from_them() {
    let site = Site::new().await;
    let audit = site.operator().await;
    write(&audit, SCOPE, 3).await;
    write(&audit, "", 1).await;
    audit.checkpoints.keep_all().await.unwrap();
    let kept = site.kept().await;
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept.iter().all(|one| one.sequence == 1));
    // Nothing grew: nothing new is stated.
    audit.checkpoints.keep_all().await.unwrap();
    assert_eq!(site.kept().await, kept);
    drop(audit);

    let audit = site.operator().await;
    write(&audit, SCOPE, 2).await;
    let made = audit.checkpoints.checkpoint(&log(), Some(4)).await.unwrap().statement;
    assert_eq!((made.sequence, made.number, made.exported), (2, 5, 4));
    drop(audit);

    let audit = site.operator().await;
    write(&audit, SCOPE, 1).await;
    audit.checkpoints.finish().await;
    let last = audit.checkpoints.last(&log()).await.unwrap().statement;
    assert_eq!((last.sequence, last.number, last.exported), (3, 6, 4));
    assert!(site.kept().await.contains(&last));
    let report = site.judge().await;
    assert!(report.findings.is_empty(), "{report:?}");
    assert_eq!(audit.checkpoints.failures(), 0);
    let labelled = ListParams::default().labels("roomkeeper.dev/audit=checkpoints");
    assert_eq!(site.maps().list(&labelled).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn an_old_copy_is_left_as_it_is_and_a_new_writer_begins() {
    let site = Site::new().await;
    let audit = site.operator().await;
    write(&audit, SCOPE, 2).await;
    let dir = site.folder("operator-0");
    let segment = segments(&dir).remove(0);
    let old = fs::read(&segment).unwrap();
    write(&audit, SCOPE, 2).await;
    audit.checkpoints.keep_all().await.unwrap();
    drop(audit);
    fs::write(&segment, &old).unwrap();

    let audit = site.operator().await;
    write(&audit, SCOPE, 1).await;
    audit.checkpoints.keep_all().await.unwrap();
    assert_eq!(fs::read(&segment).unwrap(), old, "what was put back is left for a person to see");
    let kept = site.kept().await;
    assert_eq!(kept.len(), 2, "the last word on the old writer stays: {kept:?}");
    let writers: BTreeSet<_> = read_all(&dir).unwrap().into_iter().map(|line| line.writer).collect();
    assert_eq!(writers.len(), 2);
    let report = site.judge().await;
    let pending: Vec<_> = report.logs.iter().map(|log| (log.last, log.pending.is_some())).collect();
    assert!(pending.contains(&(2, true)), "the old writer's last lines are gone: {report:?}");
    assert!(pending.contains(&(1, false)), "{report:?}");
    drop(audit);
    let again = site.operator().await;
    assert_eq!(again.checkpoints.last(&log()).await.unwrap().statement.number, 1, "the new writer stays");
}

#[tokio::test]
async fn what_was_exported_goes_after_its_time_and_the_rest_still_verifies() {
    let site = Site::new().await;
    let audit = site.operator().await;
    write(&audit, SCOPE, 16).await;
    audit.checkpoints.keep_all().await.unwrap();
    let folder = audit.sink.logs().folder(&log());
    let before = folder.segments().unwrap();
    assert!(before.len() > 3, "{before:?}");
    let none = Duration::ZERO;
    audit.checkpoints.drop_old(none).await.unwrap();
    assert_eq!(folder.segments().unwrap(), before, "nothing was exported");
    // In the middle of a segment: that one stays.
    let exported = before[2];
    audit.checkpoints.checkpoint(&log(), Some(exported)).await.unwrap();
    audit.checkpoints.drop_old(Duration::from_hours(1)).await.unwrap();
    assert_eq!(folder.segments().unwrap(), before, "nothing is old");
    let first = fs::read(folder.segment(1)).unwrap();
    audit.checkpoints.drop_old(none).await.unwrap();
    assert_eq!(folder.segments().unwrap(), before[2..]);
    let stated = audit.checkpoints.last(&log()).await.unwrap().statement;
    assert_eq!((stated.start.number, stated.exported), (before[2], exported));
    assert_eq!(site.kept().await, [stated]);
    assert!(site.judge().await.findings.is_empty());

    // A crash after the checkpoint and before the files went.
    drop(audit);
    fs::write(folder.segment(1), first).unwrap();
    let audit = site.operator().await;
    audit.checkpoints.drop_old(none).await.unwrap();
    assert_eq!(folder.segments().unwrap(), before[2..]);
    assert!(site.judge().await.findings.is_empty());
}

#[tokio::test]
async fn the_api_server_being_away_only_delays() {
    let site = Site::new().await;
    let way = Way::beside(site.plane.admin_kubeconfig_path(), &site.namespace).await.unwrap();
    let config = Kubeconfig::read_from(&way.kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    let audit = site.open_as(&Client::try_from(config).unwrap(), "operator-0", KeyRole::Maker).await;
    write(&audit, SCOPE, 1).await;
    audit.checkpoints.keep_all().await.unwrap();
    way.cut();
    write(&audit, SCOPE, 1).await;
    audit.checkpoints.keep_all().await.unwrap_err();
    write(&audit, SCOPE, 1).await;
    way.mend();
    keep(&audit).await;
    let kept = site.kept().await;
    assert_eq!(kept[0].number, 3, "{kept:?}");
    assert!(site.judge().await.findings.is_empty());
}

#[tokio::test]
async fn what_somebody_removed_or_replaced_is_kept_again() {
    let site = Site::new().await;
    let audit = site.operator().await;
    write(&audit, SCOPE, 1).await;
    audit.checkpoints.keep_all().await.unwrap();
    let name = config_map("operator-0");
    site.maps().delete(&name, &DeleteParams::default()).await.unwrap();
    write(&audit, SCOPE, 1).await;
    keep(&audit).await;
    assert_eq!(site.kept().await[0].number, 2);

    let put = async |value: serde_json::Value| {
        let patch = Patch::Merge(json!({"data": {"00000000.system": value}}));
        site.maps().patch(&name, &PatchParams::default(), &patch).await.unwrap();
    };
    put(json!("of another volume")).await;
    write(&audit, SCOPE, 1).await;
    keep(&audit).await;
    let data = site.data(&name).await;
    assert_eq!((data.len(), data["00000000.system"].as_str()), (2, "of another volume"));
    put(json!(null)).await;
    write(&audit, SCOPE, 1).await;
    keep(&audit).await;
    assert_eq!(site.kept().await[0].number, 4);
}

#[tokio::test]
async fn a_new_key_is_published_beside_the_former_one() {
    let site = Site::new().await;
    let audit = site.operator().await;
    write(&audit, SCOPE, 1).await;
    write(&audit, "", 1).await;
    audit.checkpoints.keep_all().await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(site.admin.clone(), &site.namespace);
    secrets.delete(KEY_SECRET, &DeleteParams::default()).await.unwrap();
    write(&audit, SCOPE, 1).await;
    keep(&audit).await;
    assert_eq!(site.keys().await.len(), 2, "the former key stays for what it signed");
    assert!(site.judge().await.findings.is_empty());
    drop(audit);
    let audit = site.operator().await;
    assert_eq!(audit.checkpoints.last(&log()).await.unwrap().statement.number, 2);
}

/// A webhook server needs no key to begin; with rights by name alone it keeps its checkpoints once there is one.
#[tokio::test]
async fn a_reader_waits_for_the_key_with_rights_by_name_alone() {
    let site = Site::new().await;
    let (namespace, user) = (&site.namespace, format!("webhook-{}", site.namespace));
    let rights = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: audit, namespace: {namespace}}}\nrules:\n\
         - {{apiGroups: [''], resources: [secrets], resourceNames: [{KEY_SECRET}], verbs: [get]}}\n\
         - {{apiGroups: [''], resources: [configmaps], resourceNames: [{KEYS_CONFIG_MAP}], verbs: [get]}}\n\
         - {{apiGroups: [''], resources: [configmaps], resourceNames: [roomkeeper-audit-webhook-0], verbs: [get, create, patch]}}\n\
         ---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: audit, namespace: {namespace}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: audit}}\n\
         subjects: [{{kind: User, name: {user}, apiGroup: rbac.authorization.k8s.io}}]\n"
    );
    site.plane.apply_yaml(&rights).await.unwrap();
    let client = site.plane.client_for(&user, &[]).await.unwrap();
    let audit = site.open_as(&client, "webhook-0", KeyRole::Reader).await;
    write(&audit, SCOPE, 1).await;
    let waits = audit.checkpoints.keep_all().await.unwrap_err();
    assert!(waits.to_string().contains("the operator makes it"), "{waits}");
    let operator = site.operator().await;
    operator.checkpoints.keep_all().await.unwrap();
    keep(&audit).await;
    assert_eq!(site.data(&config_map("webhook-0")).await.len(), 1);
    drop(audit);
    let audit = site.open_as(&client, "webhook-0", KeyRole::Reader).await;
    assert_eq!(audit.checkpoints.last(&log()).await.unwrap().statement.number, 1);
}
