use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{
    receiver::{Receiver, Validation},
    support::{
        App, CLIENT, GROUP, NO_MAILBOX, OTHER_TENANT, SECOND_CLIENT, Sim, USER, USER_2, meeting, until, world,
    },
};

const SUBSCRIPTIONS: &str = "/v1.0/subscriptions";

fn from_now(minutes: i64) -> String {
    format!("{:.7}", Timestamp::now() + SignedDuration::from_mins(minutes))
}

fn wanted(receiver: &Receiver, user: &str) -> Value {
    json!({
        "changeType": "created,updated,deleted",
        "resource": format!("users/{user}/events"),
        "notificationUrl": format!("{}/notifications", receiver.origin),
        "expirationDateTime": from_now(100),
        "clientState": "secret state",
    })
}

fn minutes_left(answer: &Value) -> i64 {
    let expires: Timestamp = answer["expirationDateTime"].as_str().unwrap().parse().unwrap();
    // Half a minute, so that a slow test still rounds to what was asked for.
    (expires.duration_since(Timestamp::now()) + SignedDuration::from_secs(30)).as_mins()
}

#[tokio::test]
async fn both_urls_are_validated_and_the_whole_object_comes_back() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    let mut body = wanted(&receiver, USER);
    body["notificationUrl"] = format!("{}/notifications?tag=a%20b", receiver.origin).into();
    body["lifecycleNotificationUrl"] = format!("{}/lifecycle", receiver.origin).into();
    let created = app.post(SUBSCRIPTIONS, &body).await.expect(201);
    assert_eq!(created.text("clientState"), "secret state");
    assert_eq!(created.text("notificationUrl"), body["notificationUrl"]);
    assert_eq!(created.text("applicationId"), CLIENT);
    assert_eq!(created.text("latestSupportedTlsVersion"), "v1_2");
    for unset in
        ["notificationQueryOptions", "encryptionCertificate", "notificationUrlAppId", "includeResourceData"]
    {
        assert_eq!(created.body.get(unset), Some(&Value::Null), "{unset}");
    }
    assert!(created.text("@odata.context").ends_with("/v1.0/$metadata#subscriptions/$entity"));
    assert_eq!(created.text("expirationDateTime").len(), "2026-01-01T21:42:18.2257768Z".len());
    let asked = receiver.validations();
    assert_eq!(asked.len(), 2);
    let token = "validationToken=Validation%3A+Testing+client+application+reachability+for+subscription+Request-Id%3A+";
    assert!(asked[0].uri.starts_with(&format!("/notifications?tag=a%20b&{token}")), "{}", asked[0].uri);
    assert!(asked[1].uri.starts_with(&format!("/lifecycle?{token}")), "{}", asked[1].uri);
    for one in &asked {
        assert_eq!((one.content_type.as_str(), one.body.as_str()), ("text/plain; charset=utf-8", ""));
    }
    let id = created.text("id");
    let read = app.get(&format!("{SUBSCRIPTIONS}/{id}")).await.expect(200);
    assert_eq!(read.body["clientState"], Value::Null, "told once");
    let list = app.get(SUBSCRIPTIONS).await.expect(200).body;
    assert_eq!(list["value"][0]["id"], id);
    assert_eq!(list["value"][0]["clientState"], Value::Null);
}

#[tokio::test]
async fn an_endpoint_that_does_not_echo_is_refused() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    let failed = "Subscription validation request failed.";
    let hint = "Notification endpoint must respond with 200 OK to validation request.";
    for (validation, code, message) in [
        (Validation::EchoEncoded, "ValidationError", format!("{failed} {hint}")),
        (Validation::Html, "ValidationError", format!("{failed} {hint}")),
        (
            Validation::Status(StatusCode::ACCEPTED),
            "ValidationError",
            format!("{failed} HTTP status code is 'Accepted'. {hint}"),
        ),
        (
            Validation::Status(StatusCode::FORBIDDEN),
            "ValidationError",
            format!("{failed} HTTP status code is 'Forbidden'. {hint}"),
        ),
        (Validation::Hang, "InvalidRequest", "Subscription validation request timed out.".to_owned()),
    ] {
        receiver.validation(validation);
        let answer = app.post(SUBSCRIPTIONS, &wanted(&receiver, USER)).await.refused(400, code);
        assert_eq!(answer.message(), message, "{validation:?}");
    }
    // Nobody listens there, and a certificate of a stranger.
    let mut dead = wanted(&receiver, USER);
    dead["notificationUrl"] = "https://127.0.0.1:1/".into();
    app.post(SUBSCRIPTIONS, &dead).await.refused(400, "ValidationError");
    receiver.validation(Validation::Echo);
    let stranger = Receiver::start().await;
    app.post(SUBSCRIPTIONS, &wanted(&stranger, USER)).await.refused(400, "ValidationError");
    assert_eq!(sim.control("/_sim/subscriptions").await, json!([]));
    app.post(SUBSCRIPTIONS, &wanted(&receiver, USER)).await.expect(201);
}

#[tokio::test]
async fn what_is_asked_for_must_be_possible() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    for (member, value, status, code) in [
        ("changeType", json!("created,moved"), 400, "InvalidRequest"),
        ("changeType", json!("created,created"), 400, "InvalidRequest"),
        ("changeType", json!(null), 400, "InvalidRequest"),
        ("resource", json!(format!("users/{USER}/events/AAMk")), 400, "ExtensionError"),
        ("resource", json!(format!("groups/{GROUP}/events")), 400, "ExtensionError"),
        ("resource", json!(format!("users/{USER}/colours")), 400, "ExtensionError"),
        ("resource", json!(format!("users/{USER}/messages")), 501, "NotImplemented"),
        ("resource", json!(format!("users/{USER}/calendars/AAMk/events")), 501, "NotImplemented"),
        ("resource", json!(format!("/groups/{GROUP}/members")), 501, "NotImplemented"),
        ("resource", json!("users/nobody@contoso.example/events"), 404, "ExtensionError"),
        ("resource", json!(format!("users/{NO_MAILBOX}/events")), 404, "ExtensionError"),
        ("resource", json!(format!("users/{USER}/events?$filter=x")), 501, "NotImplemented"),
        ("notificationUrl", json!("http://127.0.0.1/"), 400, "InvalidRequest"),
        ("notificationUrl", json!("/notifications"), 400, "InvalidRequest"),
        ("lifecycleNotificationUrl", json!("http://127.0.0.1/"), 400, "InvalidRequest"),
        ("expirationDateTime", json!("tomorrow"), 400, "RequestBodyRead"),
        ("expirationDateTime", json!("2020-01-01T00:00:00Z"), 400, "InvalidRequest"),
        ("expirationDateTime", json!(from_now(10_071)), 400, "ExtensionError"),
        ("clientState", json!("x".repeat(129)), 400, "InvalidRequest"),
        ("latestSupportedTlsVersion", json!("v2"), 400, "RequestBodyRead"),
        ("includeResourceData", json!(true), 501, "NotImplemented"),
        ("encryptionCertificate", json!("abc"), 400, "InvalidRequest"),
        ("id", json!(USER), 400, "InvalidRequest"),
        ("colour", json!("red"), 400, "RequestBodyRead"),
    ] {
        let mut body = wanted(&receiver, USER);
        body[member] = value.clone();
        let answer = app.post(SUBSCRIPTIONS, &body).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{member}={value}: {:?}", answer.body);
    }
    assert_eq!(receiver.validations().len(), 0, "nothing impossible is validated");
    let mut late = wanted(&receiver, USER);
    late["expirationDateTime"] = from_now(10_080).into();
    let answer = app.post(SUBSCRIPTIONS, &late).await;
    assert_eq!(answer.message(), "Subscription expiration can only be 10070 minutes in the future.");
    let mut soon = wanted(&receiver, USER);
    soon["expirationDateTime"] = from_now(1).into();
    soon["clientState"] = "x".repeat(128).into();
    soon["includeResourceData"] = false.into();
    let created = app.post(SUBSCRIPTIONS, &soon).await.expect(201);
    assert_eq!(minutes_left(&created.body), 45, "raised to the shortest life");
    assert_eq!(created.body["includeResourceData"], false, "shown as given");
}

#[tokio::test]
async fn the_same_twice_is_a_conflict_that_names_the_first() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    let id = app.post(SUBSCRIPTIONS, &wanted(&receiver, USER)).await.expect(201).text("id");
    let mut again = wanted(&receiver, USER);
    again["resource"] = "/Users/user1@contoso.example/Events".into();
    again["changeType"] = "deleted,updated,created".into();
    let answer = app.post(SUBSCRIPTIONS, &again).await.refused(409, "ObjectIdentifierInUse");
    assert_eq!(
        answer.message(),
        format!("Subscription Id {id} already exists for the requested combination")
    );
    again["changeType"] = "updated".into();
    app.post(SUBSCRIPTIONS, &again).await.expect(201);
    app.post(SUBSCRIPTIONS, &wanted(&receiver, USER_2)).await.expect(201);
    // Another app is not in the way, and does not see what is not its own.
    let second = sim.app_as(SECOND_CLIENT).await;
    second.post(SUBSCRIPTIONS, &wanted(&receiver, USER)).await.expect(201);
    assert_eq!(second.get(SUBSCRIPTIONS).await.expect(200).body["value"].as_array().unwrap().len(), 1);
    let path = format!("{SUBSCRIPTIONS}/{id}");
    second.get(&path).await.refused(404, "ResourceNotFound");
    second.delete(&path).await.refused(404, "ResourceNotFound");
    let elsewhere = App { sim: &sim, token: sim.token_in(OTHER_TENANT, CLIENT).await };
    elsewhere.get(&path).await.refused(404, "ResourceNotFound");
    assert_eq!(elsewhere.get(SUBSCRIPTIONS).await.expect(200).body["value"], json!([]));
    app.delete(&path).await.expect(204);
    app.delete(&path).await.refused(404, "ResourceNotFound");
    app.post(SUBSCRIPTIONS, &wanted(&receiver, USER)).await.expect(201);
}

#[tokio::test]
async fn only_expiry_and_notification_url_can_be_changed() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    let id = app.post(SUBSCRIPTIONS, &wanted(&receiver, USER)).await.expect(201).text("id");
    let path = format!("{SUBSCRIPTIONS}/{id}");
    let renewed = app.patch(&path, &json!({"expirationDateTime": from_now(5_000)})).await.expect(200);
    assert_eq!(minutes_left(&renewed.body), 5_000);
    assert_eq!(receiver.validations().len(), 1, "a plain renewal does not validate");
    app.patch(&path, &json!({"notificationUrl": format!("{}/other", receiver.origin)})).await.expect(200);
    assert_eq!(receiver.validations().len(), 2);
    receiver.validation(Validation::Status(StatusCode::NOT_FOUND));
    let moved = json!({"notificationUrl": format!("{}/third", receiver.origin)});
    app.patch(&path, &moved).await.refused(400, "ValidationError");
    assert!(app.get(&path).await.text("notificationUrl").ends_with("/other"));
    for (body, code) in [
        (json!({}), "InvalidRequest"),
        (json!({"lifecycleNotificationUrl": "https://127.0.0.1/"}), "InvalidRequest"),
        (json!({"expirationDateTime": from_now(100), "clientState": "x"}), "InvalidRequest"),
        (json!({"expirationDateTime": from_now(10_080)}), "ExtensionError"),
        (json!({"expirationDateTime": 5}), "RequestBodyRead"),
    ] {
        app.patch(&path, &body).await.refused(400, code);
    }
    let empty = app.patch(&path, &json!({})).await;
    assert_eq!(
        empty.message(),
        "Subscription must contain either the 'expirationDateTime' or 'notificationUrl' property and its value."
    );
    let answer = app.call(Method::POST, &format!("{path}/reauthorize"), &[], None).await.expect(204);
    assert_eq!(answer.body, "");
    assert_eq!(minutes_left(&app.get(&path).await.body), 5_000, "reauthorize keeps the expiry");
}

#[tokio::test]
async fn an_expired_subscription_is_gone_and_silent() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let id = sim.app().await.post(SUBSCRIPTIONS, &wanted(&receiver, USER)).await.expect(201).text("id");
    sim.advance(101 * 60).await;
    let app = sim.app().await;
    let path = format!("{SUBSCRIPTIONS}/{id}");
    app.get(&path).await.refused(404, "ResourceNotFound");
    app.patch(&path, &json!({"expirationDateTime": from_now(5_000)})).await.refused(404, "ResourceNotFound");
    assert_eq!(app.get(SUBSCRIPTIONS).await.expect(200).body["value"], json!([]));
    app.create_event(&meeting()).await;
    assert_eq!(sim.control("/_sim/notifications").await, json!([]));
    let mut again = wanted(&receiver, USER);
    again["expirationDateTime"] = from_now(300).into();
    app.post(SUBSCRIPTIONS, &again).await.expect(201);
}

#[tokio::test]
async fn the_read_role_itself_is_wanted_unless_the_world_is_lenient() {
    let receiver = Receiver::start().await;
    let mut world = world();
    world["tenants"][0]["apps"][0]["roles"] = json!(["Calendars.ReadWrite"]);
    let sim = Sim::with(&world, Some(&receiver.ca_pem)).await;
    let answer =
        sim.app().await.post(SUBSCRIPTIONS, &wanted(&receiver, USER)).await.refused(403, "ExtensionError");
    assert_eq!(answer.message(), "Operation: Create; Exception: [Status Code: Forbidden; Reason: Forbidden]");
    sim.app_as(SECOND_CLIENT).await.post(SUBSCRIPTIONS, &wanted(&receiver, USER)).await.expect(201);
    world["strictSubscriptionRole"] = false.into();
    let sim = Sim::with(&world, Some(&receiver.ca_pem)).await;
    sim.app().await.post(SUBSCRIPTIONS, &wanted(&receiver, USER)).await.expect(201);
}

#[tokio::test]
async fn reauthorizing_and_renewing_within_ten_minutes_is_counted() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    let id = app.post(SUBSCRIPTIONS, &wanted(&receiver, USER)).await.expect(201).text("id");
    let path = format!("{SUBSCRIPTIONS}/{id}");
    let renew = async || {
        app.patch(&path, &json!({"expirationDateTime": from_now(500)})).await.expect(200);
    };
    let reauthorize = async || {
        app.call(Method::POST, &format!("{path}/reauthorize"), &[], None).await.expect(204);
    };
    let counted = async || sim.control("/_sim/counters").await["reauthorizedAndRenewedWithin10Min"].clone();
    renew().await;
    sim.advance(601).await;
    reauthorize().await;
    sim.advance(601).await;
    renew().await;
    assert_eq!(counted().await, 0);
    sim.advance(598).await;
    reauthorize().await;
    assert_eq!(counted().await, 1);
    renew().await;
    assert_eq!(counted().await, 2);
}

#[tokio::test]
async fn a_mailbox_has_its_quota_and_lists_have_pages() {
    let receiver = Receiver::start().await;
    let mut world = world();
    let apps: Vec<Value> = (0..143)
        .map(|number| json!({"clientId": format!("00000000-0000-4000-8000-{number:012}"), "secret": crate::support::SECRET, "roles": ["Calendars.Read"]}))
        .collect();
    world["tenants"][0]["apps"] = apps.into();
    let users: Vec<Value> = (0..150)
        .map(|number| json!({"id": format!("00000000-0000-4000-9000-{number:012}"), "userPrincipalName": format!("u{number}@contoso.example"), "displayName": "U"}))
        .collect();
    world["tenants"][0]["users"].as_array_mut().unwrap().extend(users);
    let sim = Sim::with(&world, Some(&receiver.ca_pem)).await;
    let app = sim.app_as("00000000-0000-4000-8000-000000000000").await;
    for number in 0..150 {
        let body = wanted(&receiver, &format!("00000000-0000-4000-9000-{number:012}"));
        app.post(SUBSCRIPTIONS, &body).await.expect(201);
    }
    let first = app.get(SUBSCRIPTIONS).await.expect(200).body;
    assert_eq!(first["value"].as_array().unwrap().len(), 100);
    let empty = app.get(first["@odata.nextLink"].as_str().unwrap()).await.expect(200).body;
    assert_eq!(empty["value"], json!([]), "the second page is empty and has more to follow");
    let second = app.get(empty["@odata.nextLink"].as_str().unwrap()).await.expect(200).body;
    assert_eq!(second["value"].as_array().unwrap().len(), 50);
    assert_eq!(second.get("@odata.nextLink"), None);
    // Seven combinations of changes for each app, until the mailbox has its 1,000.
    let kinds = [
        "created",
        "updated",
        "deleted",
        "created,updated",
        "created,deleted",
        "updated,deleted",
        "created,updated,deleted",
    ];
    let mut made = 0;
    'all: for number in 0..143 {
        let app = sim.app_as(&format!("00000000-0000-4000-8000-{number:012}")).await;
        for kind in kinds {
            let mut body = wanted(&receiver, USER);
            body["changeType"] = kind.into();
            let answer = app.post(SUBSCRIPTIONS, &body).await;
            if made == 1_000 {
                answer.refused(403, "ExtensionError");
                break 'all;
            }
            answer.expect(201);
            made += 1;
        }
    }
    assert_eq!(made, 1_000);
}

#[tokio::test]
async fn a_caller_that_dies_during_the_post_leaves_the_subscription() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    sim.command("/_sim/faults", &json!({"subscriptionPostLatencyMs": 60_000})).await.expect(200);
    let token = sim.token(CLIENT).await;
    let request = sim.http.post(sim.url(SUBSCRIPTIONS)).bearer_auth(token).json(&wanted(&receiver, USER));
    let call = tokio::spawn(request.send());
    let live = until("the subscription", async || {
        let live = sim.control("/_sim/subscriptions").await;
        (live.as_array().unwrap().len() == 1).then_some(live)
    })
    .await;
    assert!(!call.is_finished(), "committed before it is answered");
    call.abort();
    assert_eq!(live[0]["userId"], USER);
    assert_eq!(live[0]["clientState"], "secret state");
}
