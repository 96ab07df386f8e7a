use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    receiver::Receiver,
    support::{App, CLIENT, OTHER_TENANT, SECRET, Sim, TENANT, USER, USER_2, until, world},
};

async fn subscribe(app: &App<'_>, receiver: &Receiver, user: &str, lifecycle: bool) -> Value {
    let mut body = json!({
        "changeType": "created,updated,deleted",
        "resource": format!("users/{user}/events"),
        "notificationUrl": format!("{}/changes", receiver.origin),
        "expirationDateTime": format!("{:.7}", Timestamp::now() + SignedDuration::from_hours(100)),
        "clientState": "state",
    });
    if lifecycle {
        body["lifecycleNotificationUrl"] = format!("{}/lifecycle", receiver.origin).into();
    }
    app.post("/v1.0/subscriptions", &body).await.expect(201).body
}

fn received(receiver: &Receiver, path: &str) -> Vec<Value> {
    let bodies = receiver.notifications();
    let of = |path: &str| {
        bodies.iter().filter(|one| one.uri.starts_with(path)).map(|one| one.body.clone()).collect::<Vec<_>>()
    };
    of(path)
        .iter()
        .flat_map(|body| serde_json::from_str::<Value>(body).unwrap()["value"].as_array().unwrap().clone())
        .collect()
}

#[tokio::test]
async fn a_lifecycle_event_comes_in_the_documented_form() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    let made = subscribe(&app, &receiver, USER, true).await;
    for event in ["reauthorizationRequired", "missed", "subscriptionRemoved"] {
        sim.command("/_sim/lifecycle", &json!({"subscriptionId": made["id"], "lifecycleEvent": event}))
            .await
            .expect(200);
    }
    let all = until("three lifecycle events", async || {
        let all = received(&receiver, "/lifecycle");
        (all.len() == 3).then_some(all)
    })
    .await;
    for one in &all {
        let mut members: Vec<&str> = one.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(
            members,
            ["clientState", "lifecycleEvent", "subscriptionExpirationDateTime", "subscriptionId", "tenantId"]
        );
        assert_eq!((one["clientState"].as_str(), &one["subscriptionId"]), (Some("state"), &made["id"]));
    }
    let path = format!("/v1.0/subscriptions/{}", made["id"].as_str().unwrap());
    app.call(Method::GET, &path, &[], None).await.expect(404);
    let bare = subscribe(&app, &receiver, USER_2, false).await;
    let asked = json!({"subscriptionId": bare["id"], "lifecycleEvent": "missed"});
    sim.command("/_sim/lifecycle", &asked).await.expect(409);
}

#[tokio::test]
async fn random_faults_strike_as_often_as_asked_and_some_after_the_work_was_done() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    let kinds = ["throttled", "unavailable", "badGateway", "extensionServiceUnavailable", "unauthorized"];
    sim.command(
        "/_sim/faults",
        &json!({"random": {"seed": 1, "share": 0.3, "kinds": kinds}, "retryAfterSeconds": 7}),
    )
    .await;
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for _ in 0..200 {
        let answer = app.call(Method::GET, "/v1.0/subscriptions", &[], None).await;
        if answer.status == 429 {
            assert_eq!((answer.header("retry-after"), answer.code()), ("7", "TooManyRequests"));
        }
        if answer.status == 403 {
            let beginning = "Operation: Read; Exception: [Status Code: ServiceUnavailable; Reason: ";
            assert!(answer.message().starts_with(beginning), "{answer:?}");
        }
        *statuses.entry(answer.status).or_default() += 1;
    }
    assert_eq!(statuses.keys().copied().collect::<Vec<_>>(), [200, 401, 403, 429, 502, 503]);
    assert!((100..180).contains(&statuses[&200]), "{statuses:?}");

    // Carried out, and nobody told.
    sim.command("/_sim/faults", &json!({"random": {"seed": 1, "share": 1.0, "kinds": ["timeout"]}}))
        .await
        .expect(200);
    let body = json!({
        "changeType": "created", "resource": format!("users/{USER}/events"),
        "notificationUrl": format!("{}/changes", receiver.origin),
        "expirationDateTime": format!("{:.7}", Timestamp::now() + SignedDuration::from_hours(100)),
    });
    assert!(
        app.try_call(Method::POST, "/v1.0/subscriptions", Some(&body)).await.is_err(),
        "the answer breaks off"
    );
    sim.command("/_sim/faults", &json!({"random": {"seed": 1, "share": 1.0, "kinds": ["connectionReset"]}}))
        .await;
    assert!(app.try_call(Method::GET, "/v1.0/subscriptions", None).await.is_err());
    sim.command("/_sim/faults", &json!({"random": {"seed": 1, "share": 0.0, "kinds": []}})).await.expect(200);
    let listed = app.call(Method::GET, "/v1.0/subscriptions", &[], None).await.expect(200);
    assert_eq!(listed.body["value"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_policy_takes_effect_an_hour_later_and_deny_beats_restrict() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    let policy =
        json!({"tenantId": TENANT, "clientId": CLIENT, "deny": [USER_2], "restrictTo": [USER, USER_2]});
    sim.command("/_sim/policies", &policy).await.expect(200);
    let events = |user: &str| format!("/v1.0/users/{user}/events?$select=id");
    app.call(Method::GET, &events(USER_2), &[], None).await.expect(200);
    sim.command("/_sim/clock", &json!({"advanceSeconds": 3_600})).await.expect(200);
    let app = sim.app().await;
    app.call(Method::GET, &events(USER), &[], None).await.expect(200);
    let denied = app.call(Method::GET, &events(USER_2), &[], None).await.expect(403);
    assert_eq!((denied.code(), denied.message()), ("ErrorAccessDenied", "Access to OData is disabled."));
    let body = json!({
        "changeType": "created", "resource": format!("users/{USER_2}/events"),
        "notificationUrl": format!("{}/changes", receiver.origin),
        "expirationDateTime": format!("{:.7}", Timestamp::now() + SignedDuration::from_hours(100)),
    });
    let denied = app.post("/v1.0/subscriptions", &body).await.expect(403);
    assert_eq!(denied.message(), "Operation: Create; Exception: [Status Code: Forbidden; Reason: Forbidden]");
}

#[tokio::test]
async fn what_is_left_of_a_deleted_user_cannot_be_touched_and_is_still_listed() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    let made = subscribe(&app, &receiver, USER, true).await;
    let path = format!("/v1.0/subscriptions/{}", made["id"].as_str().unwrap());
    sim.command("/_sim/users", &json!({"userId": USER, "deleted": true})).await.expect(200);
    let deleted = app.call(Method::DELETE, &path, &[], None).await.expect(404);
    let text = format!(
        "Operation: Delete; Exception: [Status Code: NotFound; Reason: The requested user '{USER}@{TENANT}' is invalid.]"
    );
    assert_eq!((deleted.code(), deleted.message()), ("ExtensionError", text.as_str()));
    let got = app.call(Method::GET, &path, &[], None).await.expect(404);
    assert_eq!(got.message(), "There was an error processing a storage extension.");
    let listed = app.call(Method::GET, "/v1.0/subscriptions", &[], None).await.expect(200);
    assert_eq!(listed.body["value"].as_array().unwrap().len(), 1);
    let gone = app.call(Method::GET, &format!("/v1.0/users/{USER}/events?$select=id"), &[], None).await;
    assert_eq!(gone.expect(404).code(), "ErrorInvalidUser");
}

#[tokio::test]
async fn a_shorter_life_is_told_and_a_patch_may_change_nothing() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    sim.command("/_sim/faults", &json!({"shorterExpiryMinutes": 1_440})).await.expect(200);
    let made = subscribe(&app, &receiver, USER, true).await;
    let expires: Timestamp = made["expirationDateTime"].as_str().unwrap().parse().unwrap();
    assert!(expires < Timestamp::now() + SignedDuration::from_hours(25), "{expires}");
    sim.command("/_sim/faults", &json!({"shorterExpiryMinutes": 0, "patchKeepsExpiry": true}))
        .await
        .expect(200);
    let path = format!("/v1.0/subscriptions/{}", made["id"].as_str().unwrap());
    let asked = format!("{:.7}", Timestamp::now() + SignedDuration::from_hours(100));
    let patched =
        app.call(Method::PATCH, &path, &[], Some(&json!({"expirationDateTime": asked}))).await.expect(200);
    assert_eq!(patched.body["expirationDateTime"], made["expirationDateTime"]);
}

#[tokio::test]
async fn a_disabled_app_gets_no_token() {
    let sim = Sim::start().await;
    sim.command("/_sim/apps", &json!({"tenantId": TENANT, "clientId": CLIENT, "enabled": false}))
        .await
        .expect(200);
    let scope = format!("{}/.default", sim.running.origin);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", CLIENT),
        ("client_secret", SECRET),
        ("scope", &scope),
    ];
    let refused = sim.form(&format!("/{TENANT}/oauth2/v2.0/token"), &form).await;
    assert_eq!(
        (refused.status, refused.body["error_codes"][0].as_u64()),
        (400, Some(7_000_112)),
        "{refused:?}"
    );
}

async fn only(sim: &Sim, kind: &str) {
    let random = json!({"random": {"seed": 1, "share": 1.0, "kinds": [kind]}, "retryAfterSeconds": 7});
    sim.command("/_sim/faults", &random).await.expect(200);
}

#[tokio::test]
async fn each_kind_answers_as_it_would_there() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let one = format!("/v1.0/subscriptions/{USER}");
    let operations = [
        (Method::POST, "/v1.0/subscriptions".to_owned(), "Create"),
        (Method::GET, one.clone(), "Read"),
        (Method::PATCH, one.clone(), "Update"),
        (Method::DELETE, one.clone(), "Delete"),
        (Method::POST, format!("{one}/reauthorize"), "Reauthorize"),
    ];
    for (kind, status, inner) in [
        ("extensionServiceUnavailable", 403, "[Status Code: ServiceUnavailable; Reason: Target resource"),
        ("extensionUnauthorized", 401, "[Status Code: Unauthorized; Reason: Authentication failed]"),
    ] {
        only(&sim, kind).await;
        for (method, path, operation) in &operations {
            let answer = app.call(method.clone(), path, &[], None).await.refused(status, "ExtensionError");
            let beginning = format!("Operation: {operation}; Exception: {inner}");
            assert!(answer.message().starts_with(&beginning), "{:?}", answer.body);
        }
        app.get(&format!("/v1.0/users/{USER}?$select=id")).await.expect(200);
    }
    let user = format!("/v1.0/users/{USER}?$select=id");
    let events = format!("/v1.0/users/{USER}/events?$select=id");
    for (kind, path, status, code, retry_after) in [
        ("throttled", &events, 429, "ApplicationThrottled", "7"),
        ("throttled", &user, 429, "TooManyRequests", "7"),
        ("unavailable", &user, 503, "serviceNotAvailable", ""),
        ("unavailableRetryAfter", &user, 503, "serviceNotAvailable", "7"),
        ("internalServerError", &events, 500, "UnknownError", ""),
        ("badGateway", &user, 502, "UnknownError", ""),
        ("gatewayTimeout", &user, 504, "UnknownError", ""),
        ("insufficientClaims", &user, 403, "insufficient_claims", ""),
        ("unauthorized", &user, 401, "InvalidAuthenticationToken", ""),
    ] {
        only(&sim, kind).await;
        let answer = app.get(path).await.refused(status, code);
        assert_eq!(answer.header("retry-after"), retry_after, "{kind}");
        if status == 429 {
            assert_eq!(answer.message().contains("MailboxConcurrency"), path == &events);
        }
    }
    only(&sim, "tokenThrottled").await;
    let busy = sim.form(&format!("/{TENANT}/oauth2/v2.0/token"), &[]).await.expect(503);
    assert_eq!(busy.body["error_codes"], json!([90_033]));
    for member in ["error", "error_description", "timestamp", "trace_id", "correlation_id", "error_uri"] {
        assert!(!busy.text(member).is_empty(), "{member}");
    }
}

#[tokio::test]
async fn requests_within_a_batch_are_struck_too() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let kinds = ["throttled", "timeout", "connectionReset"];
    let random = json!({"random": {"seed": 3, "share": 0.4, "kinds": kinds}, "retryAfterSeconds": 7});
    sim.command("/_sim/faults", &random).await.expect(200);
    let steps: Vec<Value> = (0..20)
        .map(
            |id| json!({"id": id.to_string(), "method": "GET", "url": format!("/users/{USER_2}?$select=id")}),
        )
        .collect();
    let body = json!({"requests": steps});
    // The batch itself is a request like any other, and may be struck or break off.
    let answer = until("a batch that comes through", async || {
        let text = app.try_call(Method::POST, "/v1.0/$batch", Some(&body)).await.ok()?;
        serde_json::from_str::<Value>(&text).ok().filter(|answer| answer.get("responses").is_some())
    })
    .await;
    let responses = answer["responses"].as_array().unwrap();
    let throttled: Vec<&Value> = responses.iter().filter(|one| one["status"] == 429).collect();
    assert!((1..20).contains(&throttled.len()), "{answer}");
    assert!(throttled.iter().all(|one| one["headers"]["retry-after"] == "7"), "{answer}");
    assert!(responses.iter().all(|one| one["status"] == 429 || one["status"] == 200), "{answer}");
}

#[tokio::test]
async fn policies_name_what_exists() {
    let sim = Sim::start().await;
    for (wrong, named) in [
        (json!({"tenantId": USER, "clientId": CLIENT}), "tenantId"),
        (json!({"tenantId": TENANT, "clientId": USER}), "clientId"),
        (json!({"tenantId": TENANT, "clientId": CLIENT, "deny": [TENANT]}), "deny"),
        (json!({"tenantId": OTHER_TENANT, "clientId": CLIENT, "restrictTo": [USER]}), "restrictTo"),
    ] {
        let answer = sim.command("/_sim/policies", &wrong).await.expect(400);
        assert!(answer.message().contains(named), "{:?}", answer.body);
    }
}

#[tokio::test]
async fn users_and_groups_cost_units() {
    let mut world = world();
    world["resourceUnitsPer10s"] = 5.into();
    let sim = Sim::with(&world, None).await;
    let app = sim.app().await;
    let one = format!("/v1.0/users/{USER}?$select=id");
    for number in 1..=5 {
        let answer = app.get(&one).await.expect(200);
        let told = if number == 5 { "1.00" } else { "" };
        assert_eq!(
            (answer.header("x-ms-resource-unit"), answer.header("x-ms-throttle-limit-percentage")),
            ("1", told)
        );
    }
    let refused = app.get(&one).await.refused(429, "TooManyRequests");
    assert_eq!(refused.header("x-ms-throttle-information"), "ResourceUnitLimitExceeded");
    assert_eq!(
        refused.header("x-ms-throttle-scope"),
        format!("Tenant_Application/ReadWrite/{CLIENT}/{TENANT}")
    );
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    sim.advance(wait).await;
    app.get(&one).await.expect(200);
}
