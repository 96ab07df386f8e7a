//! What Argo CD and Flux do to the objects, as sequences of calls to the API server: nothing that they put right, prune, rename or
//! make again subscribes anybody without a consent, or falsifies the register; and whatever is deleted comes to its end.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use roomkeeper_crds::{
    AccessScope, CalendarSubscription, ConsentRecord,
    condition::{self, Type},
};
use roomkeeper_e2e::{
    scene::{NAMESPACE, Scene},
    system::Daemon,
    wait, world,
};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_mins(2);
/// Long enough for the operator to have acted on anything that it would act on.
const QUIET: Duration = Duration::from_secs(5);

/// A pipeline: applies on the server's side, as its field manager, whatever others have changed.
struct Pipeline<'a> {
    scene: &'a Scene,
    manager: &'static str,
}

impl Pipeline<'_> {
    async fn sync(&self, object: &Value) -> DynamicObject {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap();
        let kind = GroupVersionKind::gvk("roomkeeper.dev", "v1alpha1", text("/kind"));
        let resource = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> = Api::namespaced_with(self.scene.client.clone(), NAMESPACE, &resource);
        let params = PatchParams::apply(self.manager).force();
        api.patch(text("/metadata/name"), &params, &Patch::Apply(object)).await.unwrap()
    }
}

fn subscription(name: &str, number: usize) -> Value {
    json!({
        "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "CalendarSubscription",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app.kubernetes.io/managed-by": "flux"}},
        "spec": {"scopeRef": {"name": "contoso"}, "user": world::principal_name(number), "onDelete": "KeepConsent"},
    })
}

/// The scope writes none by itself: the pipeline does.
fn by_hand(example: &str) -> String {
    example.replace("createSubscriptions: true", "createSubscriptions: false")
}

struct Stage {
    scene: Scene,
    _operator: Daemon,
    _webhook: Daemon,
    scope_uid: String,
}

impl Stage {
    async fn new(operator_flags: &[&str]) -> Self {
        let scene = Scene::start(&world::contoso(3)).await.unwrap();
        let operator = scene.system.operator("operator", operator_flags).await.unwrap();
        let webhook = scene.system.webhook("webhook", &[]).await.unwrap();
        let scope_uid = scene.install(by_hand).await.unwrap();
        Self { scene, _operator: operator, _webhook: webhook, scope_uid }
    }

    fn pipeline(&self, manager: &'static str) -> Pipeline<'_> {
        Pipeline { scene: &self.scene, manager }
    }

    fn subscriptions(&self) -> Api<CalendarSubscription> {
        Api::namespaced(self.scene.client.clone(), NAMESPACE)
    }

    /// Waits until the object says so, of its present generation: the condition's status and reason.
    async fn says(&self, name: &str, type_: Type, expected: &str) -> CalendarSubscription {
        wait::until(&format!("{name}: {type_:?} {expected}"), WAIT, async || {
            let object = self.subscriptions().get(name).await?;
            let status = object.status.clone().unwrap_or_default();
            let said = condition::get(&status.conditions, type_);
            let said = said.map(|one| format!("{}/{}", one.status, one.reason));
            let current = status.observed_generation == object.metadata.generation;
            anyhow::ensure!(current && said.as_deref() == Some(expected), "{said:?}");
            Ok(Some(object))
        })
        .await
        .unwrap()
    }

    async fn gone(&self, name: &str) {
        let look = async || Ok(self.subscriptions().get_opt(name).await?.is_none().then_some(()));
        wait::until(&format!("{name} to be gone"), WAIT, look).await.unwrap();
    }

    async fn delete(&self, name: &str) {
        self.subscriptions().delete(name, &DeleteParams::default()).await.unwrap();
    }

    async fn standing(&self) -> usize {
        let consents: Api<ConsentRecord> = Api::namespaced(self.scene.client.clone(), NAMESPACE);
        let all = consents.list(&ListParams::default()).await.unwrap().items;
        all.iter().filter(|consent| consent.spec.withdrawn.is_none()).count()
    }

    /// POSTs of subscriptions that Graph has seen.
    async fn posts(&self) -> usize {
        let requests = self.scene.system.graph.requests().await.unwrap();
        let is_ours = |request: &&Value| {
            request["method"] == "POST"
                && request["path"].as_str().is_some_and(|path| path.ends_with("/subscriptions"))
        };
        requests.iter().filter(is_ours).count()
    }
}

/// What a pipeline compares: everything but what the server keeps for itself.
fn compared(object: &DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap();
    let metadata = value["metadata"].as_object_mut().unwrap();
    metadata.remove("managedFields");
    value
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pipeline_neither_subscribes_anybody_without_consent_nor_fights_the_operator() {
    let stage = Stage::new(&[]).await;
    let flux = stage.pipeline("kustomize-controller");

    // Who has not ticked the box turns no Kustomization red: kstatus takes this for Current.
    flux.sync(&subscription("user1", 1)).await;
    let waiting = stage.says("user1", Type::Ready, "True/AwaitingConsent").await;
    let types: Vec<String> =
        waiting.status.unwrap().conditions.into_iter().map(|condition| condition.type_).collect();
    assert!(!types.iter().any(|one| one == "Stalled" || one == "Reconciling"), "{types:?}");
    stage.scene.living(1, 0).await.unwrap();

    stage.scene.consent(&stage.scope_uid, 1).await.unwrap();
    stage.says("user1", Type::Subscribed, "True/Created").await;
    stage.scene.living(1, 1).await.unwrap();

    // Applied again it is the same object: nothing for a pipeline to report, and nothing for the operator to do.
    let posts = stage.posts().await;
    let first = flux.sync(&subscription("user1", 1)).await;
    let second = flux.sync(&subscription("user1", 1)).await;
    assert_eq!(compared(&first), compared(&second));
    assert_eq!(first.resource_version(), second.resource_version());
    // The operator owns no field of the spec, so that no other manager ever conflicts with it.
    let managers = second.metadata.managed_fields.unwrap();
    let owners: Vec<String> = managers
        .iter()
        .filter(|one| one.subresource.is_none())
        .filter(|one| one.fields_v1.as_ref().is_some_and(|fields| fields.0.get("f:spec").is_some()))
        .filter_map(|one| one.manager.clone())
        .collect();
    assert_eq!(owners, ["kustomize-controller"]);

    // Self-heal: what a person changes by hand is put back, and the operator follows both ways.
    let suspend = Patch::Merge(json!({"spec": {"suspend": true}}));
    stage.subscriptions().patch("user1", &PatchParams::default(), &suspend).await.unwrap();
    stage.scene.living(1, 0).await.unwrap();
    let mut wanted = subscription("user1", 1);
    wanted["spec"]["suspend"] = json!(false);
    flux.sync(&wanted).await;
    stage.scene.living(1, 1).await.unwrap();

    // What support withdrew no sync brings back, however often.
    let consents: Api<ConsentRecord> = Api::namespaced(stage.scene.client.clone(), NAMESPACE);
    let name = consents.list(&ListParams::default()).await.unwrap().items[0].name_any();
    let withdrawn =
        json!({"spec": {"withdrawn": {"at": "2026-11-27T09:00:00Z", "by": "support", "reason": "T-1"}}});
    consents.patch(&name, &PatchParams::default(), &Patch::Merge(&withdrawn)).await.unwrap();
    stage.says("user1", Type::Ready, "True/ConsentWithdrawn").await;
    stage.scene.living(1, 0).await.unwrap();
    let posts_then = stage.posts().await;
    assert_eq!(posts_then, posts + 1, "one for the self-heal");
    flux.sync(&wanted).await;
    stage.delete("user1").await;
    stage.gone("user1").await;
    flux.sync(&wanted).await;
    stage.says("user1", Type::Ready, "True/ConsentWithdrawn").await;
    tokio::time::sleep(QUIET).await;
    assert_eq!(stage.posts().await, posts_then);
    assert_eq!(stage.scene.system.graph.subscriptions_of(&world::user_id(1)).await.unwrap(), 0);
    stage.scene.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pruned_renamed_and_made_again_the_register_stays_true() {
    let stage = Stage::new(&[]).await;
    let argo = stage.pipeline("argocd-controller");
    for number in [1, 2] {
        stage.scene.consent(&stage.scope_uid, number).await.unwrap();
        argo.sync(&subscription(&format!("user{number}"), number)).await;
        stage.scene.living(number, 1).await.unwrap();
    }

    // Pruned: ended at Graph, the consent stands; made again: subscribed again.
    stage.delete("user1").await;
    stage.gone("user1").await;
    stage.scene.living(1, 0).await.unwrap();
    assert_eq!(stage.standing().await, 2);
    argo.sync(&subscription("user1", 1)).await;
    stage.says("user1", Type::Subscribed, "True/Created").await;
    stage.scene.living(1, 1).await.unwrap();

    // Renamed: the new one is there before the old one is pruned. Never two for one calendar.
    argo.sync(&subscription("user-two", 2)).await;
    stage.says("user-two", Type::Stalled, "True/Duplicate").await;
    assert_eq!(stage.scene.system.graph.subscriptions_of(&world::user_id(2)).await.unwrap(), 1);
    stage.delete("user2").await;
    stage.gone("user2").await;
    stage.says("user-two", Type::Subscribed, "True/Created").await;
    stage.scene.living(2, 1).await.unwrap();
    assert_eq!(stage.standing().await, 2);

    // The scope is pruned and comes back under its name: it is another one, and nobody has consented to it.
    let scopes: Api<AccessScope> = Api::namespaced(stage.scene.client.clone(), NAMESPACE);
    scopes.delete("contoso", &DeleteParams::default()).await.unwrap();
    let look = async || Ok(scopes.get_opt("contoso").await?.is_none().then_some(()));
    wait::until("the scope to be gone", WAIT, look).await.unwrap();
    stage.scene.living(1, 0).await.unwrap();
    stage.scene.living(2, 0).await.unwrap();
    assert_eq!(stage.standing().await, 2, "a scope that goes withdraws nothing");
    let again = stage.scene.install(by_hand).await.unwrap();
    assert_ne!(again, stage.scope_uid);
    stage.says("user1", Type::Ready, "True/AwaitingConsent").await;
    stage.says("user-two", Type::Ready, "True/AwaitingConsent").await;
    stage.scene.living(1, 0).await.unwrap();
    stage.scene.end().await.unwrap();
}

/// Deletes the namespace of scope, subscriptions and register while a namespace controller is at work.
async fn a_namespace_goes(operator_flags: &[&str]) {
    let stage = Stage::new(operator_flags).await;
    let _controllers = stage.scene.control_plane.controller_manager().await.unwrap();
    for number in 1..=3 {
        stage.scene.consent(&stage.scope_uid, number).await.unwrap();
        stage.pipeline("argocd-controller").sync(&subscription(&format!("user{number}"), number)).await;
        stage.scene.living(number, 1).await.unwrap();
    }
    let namespaces: Api<Namespace> = Api::all(stage.scene.client.clone());
    namespaces.delete(NAMESPACE, &DeleteParams::default()).await.unwrap();
    let look = async || {
        let namespace = namespaces.get_opt(NAMESPACE).await?;
        match namespace.and_then(|namespace| namespace.status) {
            None => Ok(Some(())),
            Some(status) => anyhow::bail!("{:?}", status.conditions),
        }
    };
    wait::until("the namespace to be gone", WAIT, look).await.unwrap();
    for number in 1..=3 {
        stage.scene.living(number, 0).await.unwrap();
    }
    stage.scene.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_ends_with_everything_in_it() {
    a_namespace_goes(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_ends_where_only_some_are_looked_after() {
    a_namespace_goes(&["--watch-namespace", NAMESPACE, "--watch-namespace", "fabrikam"]).await;
}
