//! The register is lost and restored, and moved to another scope, with the chart's policies in force: what `docs/register.md` says.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::Duration;

use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use roomkeeper_crds::{AccessScope, ConsentRecord};
use roomkeeper_e2e::{
    helm::{self, Helm},
    install,
    scene::{NAMESPACE, Scene, ample_quota},
    system::apply,
    wait, world,
};
use serde_json::json;

const WAIT: Duration = Duration::from_mins(2);

fn consents(client: &Client) -> Api<ConsentRecord> {
    Api::namespaced(client.clone(), NAMESPACE)
}

/// What a backup holds, without what belongs to the API server that it came from.
async fn backup(client: &Client) -> Vec<ConsentRecord> {
    let mut records = consents(client).list(&ListParams::default()).await.unwrap().items;
    for record in &mut records {
        let metadata = &mut record.metadata;
        (metadata.uid, metadata.resource_version, metadata.creation_timestamp) = (None, None, None);
        (metadata.generation, metadata.managed_fields, record.status) = (None, None, None);
    }
    records
}

async fn restore(client: &Client, records: &[ConsentRecord]) {
    for record in records {
        consents(client).create(&PostParams::default(), record).await.unwrap();
    }
}

async fn lose(client: &Client) {
    consents(client).delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, kube::Error>, sentence: &str) {
    match answer {
        Err(kube::Error::Api(status)) if status.message.contains(sentence) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_register_is_restored_and_moved_and_revives_nothing_by_itself() {
    let scene = Scene::start(&world::contoso(2)).await.unwrap();
    let (chart, helm) = (helm::chart(), Helm::of(&scene.control_plane).unwrap());
    let chart = helm::argument(&chart).unwrap();
    let url = "publicUrl=https://roomkeeper.contoso.example";
    let only = "templates/policies.yaml";
    let arguments = ["template", "roomkeeper", chart, "-n", install::NAMESPACE, "--set", url, "-s", only];
    apply(&scene.client, &helm.run(&arguments).unwrap()).await.unwrap();
    let _operator = scene.system.operator("operator", &[]).await.unwrap();
    let webhook = scene.system.webhook("webhook", &[]).await.unwrap();
    webhook.ready().await.unwrap();
    scene.install(ample_quota).await.unwrap();
    for number in [1, 2] {
        let status = scene.system.tick_the_box(NAMESPACE, "contoso", &world::user_id(number)).await.unwrap();
        assert_eq!(status, 201);
    }
    scene.subscribed(2).await.unwrap();
    let records = consents(&scene.client).list(&ListParams::default()).await.unwrap().items;
    let second = records.iter().find(|record| record.spec.user.id == world::user_id(2)).unwrap();
    let withdrawn =
        json!({"spec": {"withdrawn": {"at": "2026-11-27T09:00:00Z", "by": "admin", "reason": "T-1"}}});
    let name = second.metadata.name.as_deref().unwrap();
    consents(&scene.client).patch(name, &PatchParams::default(), &Patch::Merge(&withdrawn)).await.unwrap();
    scene.living(2, 0).await.unwrap();

    let saved = backup(&scene.client).await;
    assert_eq!(saved.len(), 2);
    let break_glass =
        scene.control_plane.client_for("admin", &["system:masters", "roomkeeper:break-glass"]).await.unwrap();
    let refusal = "the register keeps its ConsentRecords";
    // A policy is in force a moment after it is made.
    let in_force = async || {
        let dry = DeleteParams { dry_run: true, ..DeleteParams::default() };
        let answer = consents(&scene.client).delete(name, &dry).await;
        Ok(matches!(answer, Err(kube::Error::Api(status)) if status.message.contains(refusal)).then_some(()))
    };
    wait::until("the policies", WAIT, in_force).await.unwrap();
    lose(&break_glass).await;
    scene.living(1, 0).await.unwrap();

    let answer = consents(&scene.client).create(&PostParams::default(), &saved[0]).await;
    refused(answer, "only the webhook server creates ConsentRecords");
    restore(&break_glass, &saved).await;
    scene.living(1, 1).await.unwrap();
    assert_eq!(
        scene.system.graph.subscriptions_of(&world::user_id(2)).await.unwrap(),
        0,
        "withdrawn stays so"
    );

    // Another scope, as on another cluster: the records as they are say nothing about it.
    let scopes: Api<AccessScope> = Api::namespaced(scene.client.clone(), NAMESPACE);
    scopes.delete("contoso", &DeleteParams::default()).await.unwrap();
    let gone = async || Ok(scopes.get_opt("contoso").await?.is_none().then_some(()));
    wait::until("the scope to be gone", WAIT, gone).await.unwrap();
    scene.living(1, 0).await.unwrap();
    let uid = scene.install(ample_quota).await.unwrap();
    let ready = async || {
        let scope = scopes.get("contoso").await?;
        let conditions = scope.status.unwrap_or_default().conditions;
        Ok(roomkeeper_crds::condition::is_true(&conditions, roomkeeper_crds::condition::Type::Ready)
            .then_some(()))
    };
    wait::until("the new scope to be ready", WAIT, ready).await.unwrap();
    assert_eq!(scene.system.graph.subscriptions_of(&world::user_id(1)).await.unwrap(), 0);

    lose(&break_glass).await;
    let moved: Vec<ConsentRecord> = saved
        .into_iter()
        .map(|mut record| {
            record.spec.scope.uid.clone_from(&uid);
            record
        })
        .collect();
    restore(&break_glass, &moved).await;
    scene.living(1, 1).await.unwrap();
    assert_eq!(scene.system.graph.subscriptions_of(&world::user_id(2)).await.unwrap(), 0);
    scene.end().await.unwrap();
}
