//! `audit export`: an auditor copies a scope's log straight from the pods, through the API server and a node's kubelet.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{fs, path::Path};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use roomkeeper_controlplane::apply::apply_yaml;
use roomkeeper_crds::audit::{COPY_CERTIFICATE, COPY_SERVICE_ACCOUNT, KEYS_CONFIG_MAP, config_map};
use roomkeeper_e2e::{
    exports::{DAMAGED, files},
    install,
    kubelet::Kubelet,
    plugin::{Plugin, Said},
    programs,
    scene::{NAMESPACE, Scene},
    world,
};
use serde_json::json;

const OPERATOR: &str = "roomkeeper-operator-0";
const WEBHOOK: &str = "roomkeeper-webhook-0";
const LISTEN: [&str; 2] = ["--audit-listen", "127.0.0.1:0"];

/// The chart's roles for auditors, as its golden has them.
fn roles() -> String {
    let golden = fs::read_to_string(programs::repository().join("e2e/chart/golden/full.yaml")).unwrap();
    let is_auditors = |document: &&str| {
        document.contains("  name: roomkeeper-auditor\n")
            && ["kind: ClusterRole\n", "kind: Role\n"].iter().any(|kind| document.contains(kind))
    };
    let found: Vec<&str> = golden.split("\n---\n").filter(is_auditors).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    found.join("\n---\n")
}

/// The block of YAML that `docs/audit.md` gives platform teams for their auditors.
fn documented() -> String {
    let page = fs::read_to_string(programs::repository().join("docs/audit.md")).unwrap();
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```"));
    let found: Vec<&str> =
        blocks.map(|(block, _)| block).filter(|block| block.contains(COPY_SERVICE_ACCOUNT)).collect();
    assert_eq!(found.len(), 1);
    found[0].to_owned()
}

struct Auditor<'a> {
    plugin: Plugin,
    folder: &'a Path,
}

impl Auditor<'_> {
    fn export(&self, to: &str, flags: &[&str]) -> Said {
        let to = self.folder.join(to);
        let export = ["audit", "export", "contoso", "-n", NAMESPACE, "--to", to.to_str().unwrap()];
        self.plugin.run(&[&export[..], flags].concat()).unwrap()
    }

    fn verify(&self, from: &[&str], key: &Path) -> Said {
        let from: Vec<_> =
            from.iter().map(|one| self.folder.join(one).to_str().unwrap().to_owned()).collect();
        let mut all: Vec<&str> = vec!["audit", "verify", "--key", key.to_str().unwrap()];
        all.extend(from.iter().map(String::as_str));
        self.plugin.run(&all).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_auditor_copies_the_log_from_each_pod_and_nobody_else_does() {
    let scene = Scene::start(&world::contoso(1)).await.unwrap();
    let operator = scene.system.operator(OPERATOR, &LISTEN).await.unwrap();
    let webhook =
        scene.system.webhook(WEBHOOK, &[&LISTEN[..], &["--debounce", "0s"]].concat()).await.unwrap();
    operator.ready().await.unwrap();
    webhook.ready().await.unwrap();
    scene.subscribe(1, str::to_owned).await.unwrap();
    let kubelet = Kubelet::start(&scene.client, scene.system.server_certificate()).await.unwrap();
    kubelet.pod(OPERATOR, "roomkeeper-operator").await.unwrap();
    kubelet.pod(WEBHOOK, "roomkeeper-webhook").await.unwrap();
    apply_yaml(&scene.client, &roles()).await.unwrap();

    let folder = scene.system.folder().join("copies");
    fs::create_dir(&folder).unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(scene.client.clone(), install::NAMESPACE);
    let pem: Vec<String> = maps.get(KEYS_CONFIG_MAP).await.unwrap().data.unwrap().into_values().collect();
    let key = folder.join("keys.pem");
    fs::write(&key, pem.concat()).unwrap();
    let person = scene.control_plane.kubeconfig_for("audit@contoso.example", &["contoso-audit"]).unwrap();
    let auditor = Auditor { plugin: Plugin::of(&person).unwrap(), folder: &folder };

    let refused = auditor.export("nothing", &[]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.err.contains("forbidden") && refused.err.contains("docs/kubectl-plugin.md"),
        "{refused:?}"
    );
    apply_yaml(&scene.client, &documented()).await.unwrap();

    let copied = auditor.export("all", &[]);
    assert_eq!(copied.code, 0, "{copied:?}");
    for pod in [OPERATOR, WEBHOOK] {
        assert!(copied.out.contains(pod), "{}", copied.out);
    }
    let good = auditor.verify(&["all"], &key);
    assert_eq!(good.code, 0, "{good:?}");
    let to = folder.join("all");
    let report = auditor.plugin.run(&["audit", "report", world::USER_1, to.to_str().unwrap()]).unwrap();
    assert!(report.code == 0 && report.out.contains("ask Graph to tell of changes"), "{report:?}");
    let notes =
        auditor.plugin.json(&["audit", "verify", to.to_str().unwrap(), "--key", key.to_str().unwrap()]);
    assert_eq!(notes.unwrap()["logs"].as_array().unwrap().len(), 2);
    let twice = auditor.export("all", &[]);
    assert!(twice.code == 2 && twice.err.contains("is there already"), "{twice:?}");
    let lines = files(&to, ".jsonl.gz").unwrap();
    let whole = fs::read(&lines[0]).unwrap();
    fs::remove_file(&lines[0]).unwrap();
    assert_eq!(auditor.verify(&["all"], &key).code, DAMAGED);
    fs::write(&lines[0], whole).unwrap();

    // A ServiceAccount without the right, of which anybody could have a token.
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: another, namespace: contoso}\n---\n\
        apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: another, namespace: contoso}\n\
        rules: [{apiGroups: [''], resources: [serviceaccounts/token], resourceNames: [another], verbs: [create]}]\n---\n\
        apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: another, namespace: contoso}\n\
        roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: another}\n\
        subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: contoso-audit}]\n";
    apply_yaml(&scene.client, account).await.unwrap();
    let other = auditor.export("other", &["--service-account", "contoso/another"]);
    assert_eq!(other.code, DAMAGED, "{other:?}");
    assert!(other.out.contains("403 Forbidden: not allowed"), "{other:?}");
    assert!(files(&folder.join("other"), ".jsonl.gz").unwrap().is_empty());

    // Whoever stands in the way of a pod cannot pass for it.
    let map = config_map(OPERATOR);
    let before = maps.get(&map).await.unwrap().metadata.annotations.unwrap()[COPY_CERTIFICATE].clone();
    let set = async |certificate: &str| {
        let patch = json!({"metadata": {"annotations": {COPY_CERTIFICATE: certificate}}});
        maps.patch(&map, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    };
    set(&fs::read_to_string(scene.system.server_certificate().0).unwrap()).await;
    let not_it = auditor.export("not-it", &[]);
    assert_eq!(not_it.code, DAMAGED, "{not_it:?}");
    assert!(not_it.out.contains("not the listener that its ConfigMap announces"), "{not_it:?}");
    set(&before).await;

    // What a pod that is away has written is named, and whatever the others have is copied.
    drop(webhook);
    let rest = auditor.export("rest", &[]);
    assert_eq!(rest.code, DAMAGED, "{rest:?}");
    let row = |pod: &str| rest.out.lines().find(|line| line.starts_with(pod)).unwrap().to_owned();
    assert!(row(OPERATOR).ends_with("copied") && row(WEBHOOK).contains("does not answer"), "{}", rest.out);
    drop((operator, kubelet));
    scene.end().await.unwrap();
}
