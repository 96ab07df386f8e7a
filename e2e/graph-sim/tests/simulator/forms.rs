//! One form for each kind of value: what parsers take out of kindness is refused.

use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, CLIENT, GROUP, SECRET, Sim, TENANT, USER, USER_2, meeting};

/// Other spellings of an id that parsers of GUIDs take.
fn spellings(id: &str) -> [String; 4] {
    let simple = id.replace('-', "");
    [simple.clone(), format!("{{{id}}}"), format!("urn:uuid:{id}"), format!("{{{simple}}}")]
}

fn encoded(text: &str) -> String {
    text.replace('{', "%7B").replace('}', "%7D")
}

#[tokio::test]
async fn ids_have_their_hyphens() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    app.get(&format!("/v1.0/users/{}?$select=id", USER.to_uppercase())).await.expect(200);
    for user in spellings(USER) {
        let user = encoded(&user);
        app.get(&format!("/v1.0/users/{user}?$select=id")).await.refused(404, "Request_ResourceNotFound");
        app.get(&format!("/v1.0/users/{user}/events?$select=id")).await.refused(404, "ErrorInvalidUser");
    }
    for group in spellings(GROUP) {
        let group = encoded(&group);
        for path in [format!("groups/{group}"), format!("groups/{group}/members")] {
            app.get(&format!("/v1.0/{path}?$select=id")).await.refused(400, "Request_BadRequest");
        }
    }
    for user in spellings(USER_2) {
        let member = format!("/v1.0/groups/{GROUP}/members/{}", encoded(&user));
        app.get(&member).await.refused(400, "BadRequest");
        let writer = sim.app_as(crate::support::SECOND_CLIENT).await;
        writer.delete(&format!("{member}/$ref")).await.refused(400, "Request_BadRequest");
        let body = json!({"@odata.id": format!("users/{user}")});
        let answer = writer.post(&format!("/v1.0/groups/{GROUP}/members/$ref"), &body).await;
        answer.refused(400, "Request_BadRequest");
    }
    for id in spellings(USER) {
        app.get(&format!("/v1.0/subscriptions/{}", encoded(&id))).await.refused(404, "ResourceNotFound");
    }
}

#[tokio::test]
async fn subscriptions_are_found_and_made_by_hyphenated_ids_only() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let id = "11111111-2222-4333-8444-555555555555";
    let planted = json!({"tenantId": TENANT, "applicationId": CLIENT, "value": [{
        "id": id, "userId": USER, "notificationUrl": "https://127.0.0.1:1/n", "lifecycleNotificationUrl": "https://127.0.0.1:1/l",
        "clientState": "s", "expirationDateTime": "2099-01-01T00:00:00Z",
    }]});
    sim.command("/_sim/subscriptions", &planted).await.expect(200);
    app.get(&format!("/v1.0/subscriptions/{id}")).await.expect(200);
    for id in spellings(id) {
        let path = format!("/v1.0/subscriptions/{}", encoded(&id));
        app.get(&path).await.refused(404, "ResourceNotFound");
        app.delete(&path).await.refused(404, "ResourceNotFound");
    }
    for user in spellings(USER_2) {
        let body = json!({
            "changeType": "created", "resource": format!("users/{user}/events"),
            "notificationUrl": "https://127.0.0.1:1/n", "expirationDateTime": "2099-01-01T00:00:00Z",
        });
        app.post("/v1.0/subscriptions", &body).await.refused(404, "ExtensionError");
    }
}

#[tokio::test]
async fn tenants_and_apps_are_named_by_hyphenated_ids_only() {
    let sim = Sim::start().await;
    let scope = format!("{}/.default", sim.running.origin);
    let ask = async |tenant: &str, client: &str| {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("client_secret", SECRET),
            ("scope", &scope),
        ];
        sim.form(&format!("/{}/oauth2/v2.0/token", encoded(tenant)), &form).await
    };
    ask(TENANT, CLIENT).await.expect(200);
    for client in spellings(CLIENT) {
        assert_eq!(ask(TENANT, &client).await.expect(400).body["error_codes"], json!([700_016]), "{client}");
    }
    for tenant in spellings(TENANT) {
        assert_eq!(ask(&tenant, CLIENT).await.expect(400).body["error_codes"], json!([90_002]), "{tenant}");
    }
}

#[tokio::test]
async fn times_have_their_separators() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let events = format!("/v1.0/users/{USER}/events");
    let expiry = |time: &str| {
        json!({
            "changeType": "created", "resource": format!("users/{USER}/events"),
            "notificationUrl": "https://127.0.0.1:1/n", "expirationDateTime": time,
        })
    };
    for bad in
        ["20991201T120000Z", "2099-12-01T12Z", "2099-12-01T120000Z", "2099-12-01T12:00:00+01", "2099-12-01"]
    {
        app.post("/v1.0/subscriptions", &expiry(bad)).await.refused(400, "RequestBodyRead");
        let url =
            format!("{events}?$select=id&$filter=lastModifiedDateTime%20ge%20{}", bad.replace('+', "%2B"));
        assert_ne!(app.get(&url).await.status, 200, "{bad}");
        let mut body = meeting();
        body["start"]["dateTime"] = bad.into();
        app.post(&events, &body).await.refused(400, "RequestBodyRead");
        let view =
            format!("/v1.0/users/{USER}/calendarView?$select=id&startDateTime=2026-12-01&endDateTime=");
        let end = bad.replace('+', "%2B");
        // A date alone is no time, but calendar views take it.
        if bad.len() > 10 {
            app.get(&format!("{view}{end}")).await.refused(400, "ErrorInvalidParameter");
        }
    }
    app.get(&format!("{events}?$select=id&$filter=lastModifiedDateTime%20ge%202026-12-01T12:00Z"))
        .await
        .expect(200);
    let mut series = meeting();
    series["recurrence"] = json!({
        "pattern": {"type": "daily", "interval": 1},
        "range": {"type": "noEnd", "startDate": "20261201"},
    });
    app.post(&events, &series).await.refused(400, "RequestBodyRead");
}

#[tokio::test]
async fn members_of_a_body_occur_once() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let events = format!("/v1.0/users/{USER}/events");
    let times = r#""start": {"dateTime": "2026-12-01T10:00:00", "timeZone": "UTC"}, "end": {"dateTime": "2026-12-01T11:00:00", "timeZone": "UTC"}"#;
    let twice = format!(r#"{{"subject": "a", {times}, "subject": "b"}}"#);
    let deep = format!(r#"{{{times}, "location": {{"displayName": "a", "displayName": "a"}}}}"#);
    let listed = format!(
        r#"{{{times}, "attendees": [{{"type": "required", "emailAddress": {{"address": "a@b.example", "address": "c@d.example"}}}}]}}"#
    );
    let send = async |path: &str, body: String| {
        let request =
            sim.http.post(sim.url(path)).bearer_auth(&app.token).header("content-type", "application/json");
        Answer::read(request.body(body).send().await.unwrap()).await
    };
    for body in [twice, deep, listed] {
        send(&events, body).await.refused(400, "BadRequest");
    }
    send(&events, format!(r#"{{"subject": "a", {times}}}"#)).await.expect(201);
    let batch = r#"{"requests": [{"id": "1", "id": "2", "method": "GET", "url": "/users"}]}"#;
    send("/v1.0/$batch", batch.to_owned()).await.refused(400, "BadRequest");
}

#[tokio::test]
async fn headers_occur_once() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let id = app.create_event(&meeting()).await.text("id");
    let event = format!("/v1.0/users/{USER}/events/{id}");
    let etag = app.get(&format!("{event}?$select=id")).await.text("@odata.etag");
    let change = json!({"subject": "x"});
    for headers in [
        [("If-Match", etag.as_str()), ("If-Match", "*")],
        [("If-Match", etag.as_str()), ("If-Match", etag.as_str())],
        [("client-request-id", "a"), ("client-request-id", "b")],
        [("Content-Type", "application/json"), ("Content-Type", "text/plain")],
    ] {
        app.call(Method::PATCH, &event, &headers, Some(&change)).await.refused(400, "BadRequest");
    }
    let consistency = [("ConsistencyLevel", "eventual"), ("ConsistencyLevel", "session")];
    let members = format!("/v1.0/groups/{GROUP}/members?$select=id");
    app.call(Method::GET, &members, &consistency, None).await.refused(400, "BadRequest");
    let other = format!("Bearer {}", app.token);
    app.call(Method::GET, &members, &[("Authorization", &other)], None).await.refused(400, "BadRequest");
    let request = sim.http.patch(sim.url(&event)).bearer_auth(&app.token).json(&change);
    let request = request.header("If-Match", reqwest::header::HeaderValue::from_bytes(b"\xff").unwrap());
    Answer::read(request.send().await.unwrap()).await.refused(400, "BadRequest");
    // Lists may come in several parts.
    let accepts = [("Accept", "text/html"), ("Accept", "application/json")];
    app.call(Method::GET, &members, &accepts, None).await.expect(200);
    let batch = json!({"requests": [{
        "id": "1", "method": "GET", "url": format!("users/{USER}/events?$select=id"),
        "headers": {"Prefer": "odata.maxpagesize=1", "prefer": "odata.maxpagesize=2"},
    }]});
    app.post("/v1.0/$batch", &batch).await.refused(400, "BadRequest");
}

#[tokio::test]
async fn preferences_have_one_form_and_occur_once() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let id = app.create_event(&meeting()).await.text("id");
    let path = format!("/v1.0/users/{USER}/events/{id}?$select=id");
    for bad in [
        "outlook.timezone=UTC",
        "IdType=ImmutableId",
        "odata.maxpagesize=\"5\"",
        "IdType=\"ImmutableId\", IdType=\"ImmutableId\"",
        "outlook.timezone=\"UTC\", outlook.timezone=\"Asia/Tokyo\"",
    ] {
        app.call(Method::GET, &path, &[("Prefer", bad)], None).await.refused(400, "BadRequest");
    }
    let twice = [("Prefer", "odata.maxpagesize=5"), ("Prefer", "odata.maxpagesize=6")];
    app.call(Method::GET, &path, &twice, None).await.refused(400, "BadRequest");
}
