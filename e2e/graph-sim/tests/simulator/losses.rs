//! Notifications that are late, doubled, lost or not sent any more, and who is told.

use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    notifications::{ALL, kinds, received, subscribe, until_received},
    receiver::Receiver,
    support::{App, SECOND_CLIENT, Sim, TENANT, USER, meeting, until, world},
};

async fn switch(sim: &Sim, faults: &Value) {
    sim.command("/_sim/faults", faults).await.expect(200);
}

/// With a lifecycle URL.
async fn subscribe_fully(app: &App<'_>, receiver: &Receiver) -> String {
    let body = json!({
        "changeType": ALL,
        "resource": format!("users/{USER}/events"),
        "notificationUrl": format!("{}/n", receiver.origin),
        "lifecycleNotificationUrl": format!("{}/lifecycle", receiver.origin),
        "expirationDateTime": format!("{:.7}", Timestamp::now() + SignedDuration::from_hours(100)),
    });
    app.post("/v1.0/subscriptions", &body).await.expect(201).text("id")
}

/// States in the log, as often as they occur.
async fn states(sim: &Sim) -> std::collections::BTreeMap<String, usize> {
    let log = sim.control("/_sim/notifications").await;
    let mut counts = std::collections::BTreeMap::new();
    for one in log.as_array().unwrap() {
        *counts.entry(one["state"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}

/// An event of which all is told: what follows its creation does not come in between later.
async fn created(sim: &Sim, app: &App<'_>) -> String {
    let id = app.create_event(&meeting()).await.text("id");
    until("both of the creation", async || (states(sim).await.get("delivered") == Some(&2)).then_some(()))
        .await;
    id
}

fn lifecycle_events(receiver: &Receiver) -> Vec<String> {
    received(receiver).iter().filter_map(|one| Some(one["lifecycleEvent"].as_str()?.to_owned())).collect()
}

#[tokio::test]
async fn a_later_notification_overtakes_an_earlier_one() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    subscribe(&app, &receiver, USER, "/n", ALL).await;
    switch(&sim, &json!({"reorderNotifications": true})).await;
    let id = app.create_event(&meeting()).await.text("id");
    assert_eq!(kinds(&until_received(&receiver, 2).await), ["updated", "created"]);
    // What nothing follows is not held for ever.
    app.delete(&format!("/v1.0/users/{USER}/events/{id}")).await.expect(204);
    assert_eq!(kinds(&until_received(&receiver, 3).await), ["updated", "created", "deleted"]);
}

#[tokio::test]
async fn notifications_are_doubled() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    let subscription = subscribe_fully(&app, &receiver).await;
    let id = created(&sim, &app).await;
    switch(&sim, &json!({"duplicateNotifications": true})).await;
    app.delete(&format!("/v1.0/users/{USER}/events/{id}")).await.expect(204);
    let all = until_received(&receiver, 4).await;
    assert_eq!((kinds(&all[2..]), &all[2]), (vec!["deleted"; 2], &all[3]));
    switch(&sim, &json!({"duplicateNotifications": false, "duplicateLifecycleNotifications": true})).await;
    let asked = json!({"subscriptionId": subscription, "lifecycleEvent": "reauthorizationRequired"});
    sim.command("/_sim/lifecycle", &asked).await.expect(200);
    until_received(&receiver, 6).await;
    assert_eq!(lifecycle_events(&receiver), ["reauthorizationRequired", "reauthorizationRequired"]);
}

#[tokio::test]
async fn what_is_lost_is_told_once_or_not_at_all() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    subscribe_fully(&app, &receiver).await;
    switch(&sim, &json!({"loseNotifications": 1.0})).await;
    let lost = async |count: usize| {
        until("the losses", async || (states(&sim).await.get("lost") == Some(&count)).then_some(())).await;
    };
    app.create_event(&meeting()).await;
    lost(2).await;
    switch(&sim, &json!({"loseIsMissed": true})).await;
    app.create_event(&meeting()).await;
    lost(4).await;
    until("missed", async || (!lifecycle_events(&receiver).is_empty()).then_some(())).await;
    // One `missed` for the two that were lost close together; none for those before.
    assert_eq!(lifecycle_events(&receiver), ["missed"]);
    assert_eq!(sim.control("/_sim/faults").await["lostNotifications"], 4);
    // It can be lost itself.
    switch(&sim, &json!({"loseLifecycleNotifications": 1.0})).await;
    app.create_event(&meeting()).await;
    lost(7).await;
    assert_eq!(lifecycle_events(&receiver), ["missed"]);
    assert_eq!(sim.control("/_sim/faults").await["lostLifecycleNotifications"], 1);
}

#[tokio::test]
async fn what_graph_gave_up_on_is_told_where_losses_are() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    subscribe_fully(&app, &receiver).await;
    let id = created(&sim, &app).await;
    switch(&sim, &json!({"loseIsMissed": true})).await;
    receiver.answers(&[Some(StatusCode::INTERNAL_SERVER_ERROR); 200]);
    app.delete(&format!("/v1.0/users/{USER}/events/{id}")).await.expect(204);
    until("giving up", async || {
        sim.advance(1_800).await;
        (states(&sim).await.get("givenUp") == Some(&1)).then_some(())
    })
    .await;
    until("missed", async || lifecycle_events(&receiver).contains(&"missed".to_owned()).then_some(())).await;
    let log = sim.control("/_sim/notifications").await;
    assert_eq!(log.as_array().unwrap().iter().filter(|one| one["lifecycleEvent"] == "missed").count(), 1);
}

#[tokio::test]
async fn a_subscription_can_vanish_without_a_word() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    let id = subscribe_fully(&app, &receiver).await;
    sim.command("/_sim/subscriptions/remove", &json!({"subscriptionId": id})).await.expect(200);
    let path = format!("/v1.0/subscriptions/{id}");
    let renewal =
        json!({"expirationDateTime": format!("{:.7}", Timestamp::now() + SignedDuration::from_hours(2))});
    app.patch(&path, &renewal).await.refused(404, "ResourceNotFound");
    assert_eq!(app.get("/v1.0/subscriptions").await.expect(200).body["value"], json!([]));
    app.create_event(&meeting()).await;
    assert_eq!(sim.control("/_sim/notifications").await, json!([]));
    sim.command("/_sim/subscriptions/remove", &json!({"subscriptionId": id})).await.expect(404);
}

#[tokio::test]
async fn too_many_that_wait_are_dropped_and_counted() {
    let receiver = Receiver::start().await;
    let mut world = world();
    world["notificationBacklog"] = 1.into();
    let sim = Sim::with(&world, Some(&receiver.ca_pem)).await;
    let app = sim.app().await;
    subscribe_fully(&app, &receiver).await;
    receiver.answers(&[None]);
    app.create_event(&meeting()).await;
    until("the drop", async || {
        (sim.control("/_sim/counters").await["droppedNotifications"] == 1).then_some(())
    })
    .await;
    assert_eq!(states(&sim).await.get("dropped"), Some(&1));
}

#[tokio::test]
async fn who_does_not_reauthorize_hears_nothing_after_a_while() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    let subscription = subscribe_fully(&app, &receiver).await;
    let challenge = json!({"subscriptionId": subscription, "lifecycleEvent": "reauthorizationRequired"});
    sim.command("/_sim/lifecycle", &challenge).await.expect(200);
    app.create_event(&meeting()).await;
    until("both and the challenge", async || (states(&sim).await.get("delivered") == Some(&3)).then_some(()))
        .await;
    sim.advance(3_601).await;
    let app = sim.app().await;
    app.create_event(&meeting()).await;
    until("the pause", async || (states(&sim).await.get("paused") == Some(&2)).then_some(())).await;
    let path = format!("/v1.0/subscriptions/{subscription}");
    app.call(Method::POST, &format!("{path}/reauthorize"), &[], None).await.expect(204);
    app.create_event(&meeting()).await;
    until("both", async || (states(&sim).await.get("delivered") == Some(&5)).then_some(())).await;
    // A renewal does as well.
    sim.command("/_sim/lifecycle", &challenge).await.expect(200);
    sim.advance(1_800).await;
    let renewal =
        json!({"expirationDateTime": format!("{:.7}", Timestamp::now() + SignedDuration::from_hours(50))});
    app.patch(&path, &renewal).await.expect(200);
    sim.advance(3_000).await;
    sim.app().await.create_event(&meeting()).await;
    until("both again", async || (states(&sim).await.get("delivered") == Some(&8)).then_some(())).await;
    assert_eq!(states(&sim).await.get("paused"), Some(&2), "what was lost stays lost");
}

#[tokio::test]
async fn an_app_without_its_rights_hears_nothing_in_time() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    subscribe(&sim.app_as(SECOND_CLIENT).await, &receiver, USER, "/n", "created").await;
    let change = async |member: &str, value: Value| {
        let mut change = json!({"tenantId": TENANT, "clientId": SECOND_CLIENT});
        change[member] = value;
        sim.command("/_sim/apps", &change).await.expect(200);
    };
    let happens = async |state: &str, count: usize| {
        sim.app().await.create_event(&meeting()).await;
        until(state, async || (states(&sim).await.get(state) == Some(&count)).then_some(())).await;
    };
    change("roles", json!(["Calendars.ReadWrite"])).await;
    happens("delivered", 1).await;
    sim.advance(3_601).await;
    happens("paused", 1).await;
    change("roles", json!(["Calendars.Read"])).await;
    happens("delivered", 2).await;
    change("enabled", json!(false)).await;
    happens("delivered", 3).await;
    sim.advance(3_601).await;
    happens("paused", 2).await;
    change("enabled", json!(true)).await;
    let policy = |deny: Value| json!({"tenantId": TENANT, "clientId": SECOND_CLIENT, "deny": deny, "effectiveInSeconds": 0});
    sim.command("/_sim/policies", &policy(json!([USER]))).await.expect(200);
    happens("paused", 3).await;
    sim.command("/_sim/policies", &policy(json!([]))).await.expect(200);
    happens("delivered", 4).await;
}
