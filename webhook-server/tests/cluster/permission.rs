//! Nothing is read unless the API server says, now, that it may be.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Client, Config,
    api::{DeleteParams, Patch, PatchParams},
};
use roomkeeper_crds::AccessScope;
use roomkeeper_webhook_server::{queue::Item, worker::LivePermissions};
use serde_json::json;
use tokio::net::TcpListener;

use super::{
    calendar::{Calendar, Reads, event},
    cluster::until,
    worker::Running,
    world::{USER, World},
};

async fn denied(world: &World, item: Item, outcome: &str) {
    let calendar = Arc::new(Calendar::default());
    calendar.put(event(1));
    let reads = Reads::of(&calendar);
    let worker = Running::start(world, Arc::clone(&reads) as _).await;
    worker.work(item).await;
    assert!(reads.log().is_empty(), "something was read");
    assert_eq!(worker.done(outcome), 1);
    assert!(world.all_records().await.is_empty());
}

#[tokio::test]
async fn not_without_a_standing_consent() {
    let world = World::new("withdrawn").await;
    world.withdraw().await;
    denied(&world, world.item(), "denied").await;
    let name = world.consent.metadata.name.as_deref().unwrap();
    world.consents().delete(name, &DeleteParams::default()).await.unwrap();
    denied(&world, world.item(), "denied").await;
}

#[tokio::test]
async fn not_while_scope_or_subscription_is_suspended() {
    let world = World::new("suspended").await;
    let suspend = |suspend: bool| Patch::Merge(json!({"spec": {"suspend": suspend}}));
    let params = PatchParams::default();
    world.subscriptions().patch("user1", &params, &suspend(true)).await.unwrap();
    denied(&world, world.item(), "denied").await;
    world.subscriptions().patch("user1", &params, &suspend(false)).await.unwrap();
    let scopes: Api<AccessScope> = Api::namespaced(world.cluster.admin.clone(), &world.namespace);
    scopes.patch("contoso", &params, &suspend(true)).await.unwrap();
    denied(&world, world.item(), "denied").await;
}

#[tokio::test]
async fn not_the_calendar_of_another_user() {
    let world = World::new("other-user").await;
    let mut item = world.item();
    if let Item::V1Event(event) = &mut item {
        assert_eq!(event.user_id, USER);
        event.user_id = "6ea91a8d-e32e-41a1-b7bd-d2d185eed0e0".to_owned();
    }
    denied(&world, item, "wrong_user").await;
}

#[tokio::test]
async fn not_before_the_operator_has_set_the_subscription_up_and_soon_after() {
    let world = World::new("unsettled").await;
    let calendar = Arc::new(Calendar::default());
    calendar.put(event(1));
    let reads = Reads::of(&calendar);
    let status = json!({"status": {"consent": null}});
    world
        .subscriptions()
        .patch_status("user1", &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
    let worker = Running::start(&world, Arc::clone(&reads) as _).await;
    worker.notify(world.item()).await;
    until("a second look", async || (worker.again("unsettled") > 0).then_some(())).await;
    assert!(reads.log().is_empty());
    let granted_at: &Time = &world.consent.spec.granted.at;
    let status =
        json!({"status": {"consent": {"name": world.consent.metadata.name, "grantedAt": granted_at}}});
    world
        .subscriptions()
        .patch_status("user1", &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();
    worker.work(world.item()).await;
    until("the record", async || world.record().await).await;
}

/// An API server that takes connections and never answers.
#[tokio::test]
async fn not_while_the_api_server_does_not_answer() {
    let world = World::new("cut-off").await;
    let calendar = Arc::new(Calendar::default());
    calendar.put(event(1));
    let reads = Reads::of(&calendar);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config::new(format!("http://{}", silent.local_addr().unwrap()).parse().unwrap());
    let permissions = LivePermissions::new(Client::try_from(config).unwrap());
    let worker = Running::with(&world, Arc::clone(&reads) as _, Arc::new(permissions)).await;
    worker.notify(world.item()).await;
    until("two refusals", async || (worker.again("kubernetes_unavailable") >= 2).then_some(())).await;
    assert!(reads.log().is_empty());
    assert!(world.all_records().await.is_empty());
    let stats = roomkeeper_webhook_server::queue::Queue::stats(&*worker.queue);
    assert_eq!(stats.depth, 1, "the notification waits");
    drop(silent);
}
