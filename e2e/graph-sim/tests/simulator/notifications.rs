use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    receiver::Receiver,
    support::{App, Sim, TENANT, USER, USER_2, meeting, until},
};

pub(crate) const ALL: &str = "created,updated,deleted";

pub(crate) async fn subscribe(
    app: &App<'_>,
    receiver: &Receiver,
    user: &str,
    path: &str,
    changes: &str,
) -> String {
    subscribe_with(app, receiver, user, path, changes, &[]).await
}

async fn subscribe_with(
    app: &App<'_>,
    receiver: &Receiver,
    user: &str,
    path: &str,
    changes: &str,
    headers: &[(&str, &str)],
) -> String {
    let body = json!({
        "changeType": changes,
        "resource": format!("users/{user}/events"),
        "notificationUrl": format!("{}{path}", receiver.origin),
        "expirationDateTime": format!("{:.7}", Timestamp::now() + SignedDuration::from_hours(100)),
        "clientState": "state",
    });
    app.call(Method::POST, "/v1.0/subscriptions", headers, Some(&body)).await.expect(201).text("id")
}

/// All notifications received, in their order.
pub(crate) fn received(receiver: &Receiver) -> Vec<Value> {
    let bodies = receiver.notifications();
    let items =
        |body: &String| serde_json::from_str::<Value>(body).unwrap()["value"].as_array().unwrap().clone();
    bodies.iter().flat_map(|one| items(&one.body)).collect()
}

pub(crate) async fn until_received(receiver: &Receiver, count: usize) -> Vec<Value> {
    until(&format!("{count} notifications"), async || {
        let all = received(receiver);
        (all.len() >= count).then_some(all)
    })
    .await
}

pub(crate) fn kinds(all: &[Value]) -> Vec<&str> {
    all.iter().map(|one| one["changeType"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_envelope_is_that_of_the_real_capture() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    let subscription = subscribe(&app, &receiver, USER, "/n?tag=1", ALL).await;
    let created = app.create_event(&meeting()).await;
    let all = until_received(&receiver, 2).await;
    assert_eq!(kinds(&all), ["created", "updated"], "a new event is soon updated too");
    let first = &receiver.notifications()[0];
    assert_eq!(first.uri, "/n?tag=1", "the query is preserved");
    assert!(first.content_type.starts_with("application/json"));
    let id = created.text("id");
    let resource = format!("Users/{USER}/Events/{id}");
    let expires = all[0]["subscriptionExpirationDateTime"].as_str().unwrap().to_owned();
    assert!(expires.ends_with("+00:00") && expires.parse::<Timestamp>().is_ok(), "{expires}");
    let etag = created.text("@odata.etag").replace('"', "\\\"");
    // Member order and letter case count.
    assert_eq!(
        first.body,
        format!(
            r##"{{"value":[{{"subscriptionId":"{subscription}","subscriptionExpirationDateTime":"{expires}","changeType":"created","resource":"{resource}","resourceData":{{"@odata.type":"#Microsoft.Graph.Event","@odata.id":"{resource}","@odata.etag":"{etag}","id":"{id}"}},"clientState":"state","tenantId":"{TENANT}"}}]}}"##
        )
    );
    app.get(&format!("/v1.0/{resource}?$select=id")).await.expect(200);
}

#[tokio::test]
async fn edits_show_twice_and_deletions_once() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    let prefer = [("Prefer", "IdType=\"ImmutableId\"")];
    subscribe_with(&app, &receiver, USER, "/n", ALL, &prefer).await;
    let created = app.create_event(&meeting()).await;
    let path = format!("/v1.0/users/{USER}/events/{}", created.text("id"));
    until_received(&receiver, 2).await;
    app.patch(&path, &json!({"subject": "Moved"})).await.expect(200);
    let all = until_received(&receiver, 4).await;
    assert_eq!(kinds(&all), ["created", "updated", "updated", "updated"]);
    let immutable = app.call(Method::GET, &format!("{path}?$select=id"), &prefer, None).await.text("id");
    for one in &all {
        assert_eq!(one["resourceData"]["id"], immutable, "the form of ids was chosen with the subscription");
    }
    app.delete(&path).await.expect(204);
    let all = until_received(&receiver, 5).await;
    assert_eq!(kinds(&all[4..]), ["deleted"]);
}

#[tokio::test]
async fn only_the_changes_and_the_mailbox_asked_for() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    let body = json!({
        "changeType": "deleted",
        "resource": format!("users/{USER}/events"),
        "notificationUrl": format!("{}/n", receiver.origin),
        "expirationDateTime": format!("{:.7}", Timestamp::now() + SignedDuration::from_hours(1)),
    });
    app.post("/v1.0/subscriptions", &body).await.expect(201);
    let other = app.post(&format!("/v1.0/users/{USER_2}/events"), &meeting()).await.expect(201).text("id");
    app.delete(&format!("/v1.0/users/{USER_2}/events/{other}")).await.expect(204);
    let id = app.create_event(&meeting()).await.text("id");
    app.delete(&format!("/v1.0/users/{USER}/events/{id}")).await.expect(204);
    let all = until_received(&receiver, 1).await;
    assert_eq!(kinds(&all), ["deleted"]);
    assert_eq!(all[0]["clientState"], Value::Null);
    assert_eq!(sim.control("/_sim/notifications").await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn attendees_hear_of_their_copy() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    subscribe(&app, &receiver, USER_2, "/n", ALL).await;
    let mut body = meeting();
    body["attendees"] = json!([{"emailAddress": {"address": "user2@contoso.example"}}]);
    let id = app.create_event(&body).await.text("id");
    let all = until_received(&receiver, 2).await;
    assert_eq!(kinds(&all), ["created", "updated"]);
    let resource = all[0]["resource"].as_str().unwrap();
    assert!(resource.starts_with(&format!("Users/{USER_2}/Events/")) && !resource.contains(&id));
    app.get(&format!("/v1.0/{resource}?$select=id")).await.expect(200);
}

#[tokio::test]
async fn what_is_not_accepted_in_time_is_sent_again() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    let id = app.create_event(&meeting()).await.text("id");
    subscribe(&app, &receiver, USER, "/n", "deleted").await;
    receiver.answers(&[None, Some(StatusCode::SERVICE_UNAVAILABLE), Some(StatusCode::FOUND)]);
    app.delete(&format!("/v1.0/users/{USER}/events/{id}")).await.expect(204);
    let log = until("the delivery", async || {
        let log = sim.control("/_sim/notifications").await;
        (log[0]["state"] == "delivered").then_some(log)
    })
    .await;
    let statuses: Vec<&Value> =
        log[0]["attempts"].as_array().unwrap().iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, [&Value::Null, &json!(503), &json!(302), &json!(202)]);
    assert_eq!(log[0]["eventId"], id);
    let bodies: Vec<String> = receiver.notifications().into_iter().map(|one| one.body).collect();
    assert_eq!(bodies.len(), 4);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
}

#[tokio::test]
async fn after_four_hours_graph_gives_up() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    let id = app.create_event(&meeting()).await.text("id");
    subscribe(&app, &receiver, USER, "/n", "deleted").await;
    receiver.answers(&[Some(StatusCode::INTERNAL_SERVER_ERROR); 200]);
    app.delete(&format!("/v1.0/users/{USER}/events/{id}")).await.expect(204);
    let log = until("giving up", async || {
        sim.advance(1_800).await;
        let log = sim.control("/_sim/notifications").await;
        (log[0]["state"] == "givenUp").then_some(log)
    })
    .await;
    assert!(log[0]["attempts"].as_array().unwrap().len() > 1);
}

#[tokio::test]
async fn a_deleted_subscription_sends_nothing_more() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    let id = app.create_event(&meeting()).await.text("id");
    let subscription = subscribe(&app, &receiver, USER, "/n", "deleted").await;
    receiver.answers(&[Some(StatusCode::INTERNAL_SERVER_ERROR); 100]);
    app.delete(&format!("/v1.0/users/{USER}/events/{id}")).await.expect(204);
    until_received(&receiver, 1).await;
    app.delete(&format!("/v1.0/subscriptions/{subscription}")).await.expect(204);
    until("the end", async || {
        sim.advance(600).await;
        let log = sim.control("/_sim/notifications").await;
        (log[0]["state"] == "subscriptionGone").then_some(())
    })
    .await;
}

#[tokio::test]
async fn items_that_wait_for_one_url_go_together() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    subscribe(&app, &receiver, USER, "/n", ALL).await;
    subscribe(&app, &receiver, USER_2, "/n", ALL).await;
    // As many as may be under way at once, held for their three seconds.
    receiver.answers(&[None; 16]);
    for _ in 0..30 {
        for user in [USER, USER_2] {
            app.post(&format!("/v1.0/users/{user}/events"), &meeting()).await.expect(201);
        }
    }
    until("all deliveries", async || {
        let log = sim.control("/_sim/notifications").await;
        let log = log.as_array().unwrap();
        (log.len() == 120 && log.iter().all(|one| one["state"] == "delivered")).then_some(())
    })
    .await;
    let mixed = receiver.notifications().iter().any(|one| {
        let body: Value = serde_json::from_str(&one.body).unwrap();
        let ids: std::collections::BTreeSet<&str> = body["value"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["subscriptionId"].as_str().unwrap())
            .collect();
        ids.len() == 2
    });
    assert!(mixed, "one POST holds items of several subscriptions");
}
