//! The chart through its life at a real API server: installed, upgraded, uninstalled, and applied as GitOps does it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{collections::BTreeMap, fs};

use kube::{
    Api, Client,
    api::DynamicObject,
    discovery::{self, Scope},
};
use roomkeeper_controlplane::{ControlPlane, StartOptions};
use roomkeeper_e2e::{
    helm::{self, Helm},
    install, programs,
};
use serde::Deserialize as _;
use serde_json::Value;

const CRDS: usize = 4;

const VALUES: &str = r"
publicUrl: https://roomkeeper.contoso.example
allowedHosts: [booking.contoso.example]
scopes:
- {namespace: contoso, graphSecrets: [contoso-graph], bookingSecrets: [contoso-booking], serviceAccounts: [contoso-calendars]}
webhook:
  ingress: {enabled: true, className: nginx}
rbac:
  bindings:
  - {role: support, namespace: contoso, groups: [support]}
  - {role: auditor, users: [auditor@contoso.example]}
";

struct Stage {
    plane: ControlPlane,
    client: Client,
    helm: Helm,
    values: String,
    chart: String,
}

impl Stage {
    async fn new() -> Self {
        let plane = ControlPlane::start(StartOptions::default()).await.unwrap();
        let client = plane.admin_client().await.unwrap();
        for namespace in [install::NAMESPACE, "contoso"] {
            install::namespace(&client, namespace).await.unwrap();
        }
        let values = plane.dir().join("values.yaml");
        fs::write(&values, VALUES).unwrap();
        let helm = Helm::of(&plane).unwrap();
        let text = |path: &std::path::Path| helm::argument(path).unwrap().to_owned();
        let (values, chart) = (text(&values), text(&helm::chart()));
        Self { plane, client, helm, values, chart }
    }

    fn release(&self, verb: &str, more: &[&str]) -> String {
        let mut arguments =
            vec![verb, "roomkeeper", &self.chart, "-n", install::NAMESPACE, "-f", &self.values];
        arguments.extend(more);
        self.helm.run(&arguments).unwrap()
    }

    /// The live twin of each object in a text of YAML; `None` for what is not there.
    async fn live(&self, yaml: &str) -> BTreeMap<String, (Value, Option<DynamicObject>)> {
        let mut found = BTreeMap::new();
        for document in serde_yaml::Deserializer::from_str(yaml) {
            let wanted = Value::deserialize(document).unwrap();
            if wanted.is_null() {
                continue;
            }
            let object: DynamicObject = serde_json::from_value(wanted.clone()).unwrap();
            let types = object.types.as_ref().unwrap();
            let gvk = kube::core::GroupVersionKind::try_from(types).unwrap();
            let (resource, capabilities) = discovery::pinned_kind(&self.client, &gvk).await.unwrap();
            let api: Api<DynamicObject> = if capabilities.scope == Scope::Namespaced {
                Api::namespaced_with(
                    self.client.clone(),
                    object.metadata.namespace.as_deref().unwrap(),
                    &resource,
                )
            } else {
                Api::all_with(self.client.clone(), &resource)
            };
            let name = object.metadata.name.unwrap();
            let live = api.get_opt(&name).await.unwrap();
            let key = format!("{} {}/{name}", types.kind, object.metadata.namespace.unwrap_or_default());
            assert!(found.insert(key.clone(), (wanted, live)).is_none(), "{key} is there twice");
        }
        found
    }

    async fn versions(&self, yaml: &str) -> BTreeMap<String, String> {
        let live = self.live(yaml).await;
        live.into_iter()
            .map(|(key, (_, live))| {
                let version = live.unwrap_or_else(|| panic!("{key} is not there")).metadata.resource_version;
                (key, version.unwrap())
            })
            .collect()
    }

    /// `kubectl apply --server-side`, as Argo CD and Flux do.
    fn apply(&self, file: &str) {
        let output = self
            .plane
            .kubectl()
            .args(["apply", "--server-side", "--force-conflicts", "--field-manager=gitops", "-f", file])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Paths of `wanted` whose value in `live` is another: a pipeline would see them as a difference for ever.
fn differing(wanted: &Value, live: &Value, path: &str, found: &mut Vec<String>) {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => {
            for (key, value) in wanted {
                differing(value, live.get(key).unwrap_or(&Value::Null), &format!("{path}.{key}"), found);
            }
        }
        (Value::Array(wanted), Value::Array(live)) if wanted.len() == live.len() => {
            for (index, (wanted, live)) in wanted.iter().zip(live).enumerate() {
                differing(wanted, live, &format!("{path}[{index}]"), found);
            }
        }
        // 1.0 and 1 are one number.
        (Value::Number(wanted), Value::Number(live)) if wanted.as_f64() == live.as_f64() => {}
        (wanted, live) if wanted == live => {}
        (wanted, live) => found.push(format!("{path}: {wanted} became {live}")),
    }
}

#[tokio::test]
async fn installed_upgraded_and_uninstalled() {
    let stage = Stage::new().await;
    let notes = stage.release("install", &[]);
    for next in ["rollout status", "kubectl apply -n contoso", "kubectl wait -n contoso"] {
        assert!(notes.contains(next), "{notes}");
    }
    let manifest = stage.helm.run(&["get", "manifest", "roomkeeper", "-n", install::NAMESPACE]).unwrap();
    let first = stage.versions(&manifest).await;
    assert!(first.len() > 30, "{first:?}");

    stage.release("upgrade", &[]);
    assert_eq!(stage.versions(&manifest).await, first, "an upgrade with the same values changed something");

    stage.release("upgrade", &["--set", "operator.concurrency=9"]);
    let changed = stage.versions(&manifest).await;
    let changed: Vec<&String> =
        changed.iter().filter(|(key, version)| first[*key] != **version).map(|(key, _)| key).collect();
    assert_eq!(changed, [&format!("StatefulSet {}/roomkeeper-operator", install::NAMESPACE)]);

    let scope =
        fs::read_to_string(programs::repository().join("docs/examples/03-access-scope.yaml")).unwrap();
    stage.plane.apply_yaml(&scope).await.unwrap();
    stage.helm.run(&["uninstall", "roomkeeper", "-n", install::NAMESPACE]).unwrap();
    let left: Vec<String> = stage
        .live(&format!("{manifest}\n---\n{scope}"))
        .await
        .into_iter()
        .filter_map(|(key, (_, live))| live.is_some().then_some(key))
        .collect();
    assert_eq!(
        left.iter().filter(|key| key.starts_with("CustomResourceDefinition ")).count(),
        CRDS,
        "{left:?}"
    );
    assert!(left.contains(&"AccessScope contoso/contoso".to_owned()), "{left:?}");
    assert_eq!(left.len(), CRDS + 1, "more than the CRDs stayed: {left:?}");

    // The CRDs that stayed are taken over, with their objects.
    stage.release("install", &[]);
    assert_eq!(stage.versions(&manifest).await.len(), first.len());
    assert!(stage.live(&scope).await.into_values().all(|(_, live)| live.is_some()));
}

#[tokio::test]
async fn applied_twice_by_a_pipeline() {
    let stage = Stage::new().await;
    let rendered = stage.release("template", &[]);
    let file = stage.plane.dir().join("rendered.yaml");
    fs::write(&file, &rendered).unwrap();
    let file = helm::argument(&file).unwrap();
    stage.apply(file);
    let first = stage.versions(&rendered).await;
    stage.apply(file);
    assert_eq!(stage.versions(&rendered).await, first, "applied again, something changed");
    let diff = stage
        .plane
        .kubectl()
        .args(["diff", "--server-side", "--field-manager=gitops", "-f", file])
        .output()
        .unwrap();
    assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stdout));

    let mut found = Vec::new();
    for (key, (wanted, live)) in stage.live(&rendered).await {
        differing(&wanted, &serde_json::to_value(live.unwrap()).unwrap(), &key, &mut found);
    }
    assert!(found.is_empty(), "the API server writes otherwise than the chart:\n{}", found.join("\n"));
}
