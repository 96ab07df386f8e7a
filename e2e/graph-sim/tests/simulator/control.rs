use serde_json::{Value, json};

use crate::support::{Answer, CLIENT, EXPAND, Sim, TENANT, USER, meeting, world};

#[tokio::test]
async fn requests_are_counted_by_method_and_template() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let id = app.create_event(&meeting()).await.text("id");
    let event = format!("/v1.0/users/{USER}/calendar/events/{id}");
    app.get(&format!("{event}?$select=id,subject&{EXPAND}")).await.expect(200);
    app.get(&format!("/v1.0/users/{USER}?$select=id")).await.expect(200);
    app.get("/v1.0/subscriptions").await.expect(200);
    let counters = sim.control("/_sim/counters").await;
    assert_eq!(
        counters["requests"],
        json!({
            "GET /subscriptions": 1,
            "GET /users/{id}": 1,
            "GET /users/{id}/calendar/events/{id}": 1,
            "POST /users/{id}/events": 1,
            "POST /{tenant}/oauth2/v2.0/token": 1,
        })
    );
    assert_eq!((&counters["withoutSelect"], &counters["forbiddenFields"]), (&json!(0), &json!(0)));
    app.get(&format!("{event}?$select=id,hasAttachments")).await.expect(200);
    app.get(&format!("{event}?$select=id,body,bodyPreview")).await.expect(200);
    app.get(&format!("{event}?$select=id&$expand=attachments")).await.expect(501);
    app.get(&format!("{event}/attachments")).await.expect(501);
    app.get(&event).await.expect(200);
    app.get(&format!("/v1.0/users/{USER}")).await.expect(200);
    let counters = sim.control("/_sim/counters").await;
    assert_eq!(counters["forbiddenFieldsByName"], json!({"attachments": 2, "body": 2, "bodyPreview": 1}));
    assert_eq!(counters["forbiddenFields"], 5);
    assert_eq!(counters["hasAttachmentsSelected"], 1);
    assert_eq!(
        counters["withoutSelectByTemplate"],
        json!({"/users/{id}": 1, "/users/{id}/calendar/events/{id}": 1})
    );
    assert_eq!(counters["withoutSelect"], 2);
}

#[tokio::test]
async fn every_request_is_listed_without_its_token() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    app.get(&format!("/v1.0/users/{USER}?$select=id")).await.expect(200);
    app.get("/v1.0/nothing?x=%20y").await.expect(400);
    let log = sim.control("/_sim/requests").await;
    let seen: Vec<(&str, &str, &Value)> = log
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["method"].as_str().unwrap(), one["path"].as_str().unwrap(), &one["status"]))
        .collect();
    let token_path = format!("/{TENANT}/oauth2/v2.0/token");
    let user_path = format!("/v1.0/users/{USER}?$select=id");
    assert_eq!(
        seen,
        [
            ("POST", token_path.as_str(), &json!(200)),
            ("GET", user_path.as_str(), &json!(200)),
            ("GET", "/v1.0/nothing?x=%20y", &json!(400)),
        ]
    );
    assert!(log.as_array().unwrap().iter().all(|one| one["clientId"] == CLIENT && one["tenantId"] == TENANT));
    let text = log.to_string();
    assert!(!text.contains(&app.token) && !text.contains("demo~"));
}

#[tokio::test]
async fn the_control_api_is_strict_too() {
    let sim = Sim::start().await;
    for (path, body) in [
        ("/_sim/faults", json!({"latency": 5})),
        ("/_sim/faults", json!({"latencyMs": -1})),
        ("/_sim/faults", json!({"latencyMs": 700_000})),
        ("/_sim/faults", json!([])),
        ("/_sim/clock", json!({})),
        ("/_sim/clock", json!({"advanceSeconds": 999_999_999_999_u64})),
        ("/_sim/clock", json!({"advanceSeconds": -1})),
        ("/_sim/faults", json!({"loseLifecycleNotifications": 2})),
    ] {
        let answer = sim.command(path, &body).await;
        assert_eq!(answer.status, 400, "{path} {body}: {:?}", answer.body);
        assert!(!answer.message().is_empty());
    }
    let unknown = sim.command("/_sim/faults", &json!({"latency": 5})).await;
    assert!(unknown.message().contains("latency"), "{:?}", unknown.body);
    sim.command("/_sim/nothing", &json!({})).await.expect(404);
    sim.command("/_sim/counters", &json!({})).await.expect(405);
    let query = sim.http.get(sim.url("/_sim/counters?x=1")).send().await.unwrap();
    Answer::read(query).await.expect(400);
}

#[tokio::test]
async fn both_versions_of_http_are_served() {
    let sim = Sim::start().await;
    let token = sim.token(CLIENT).await;
    let ca = reqwest::Certificate::from_pem(sim.running.ca_pem.as_bytes()).unwrap();
    let one = reqwest::Client::builder().tls_certs_only([ca]).http1_only().no_proxy().build().unwrap();
    for (client, version) in [(&sim.http, reqwest::Version::HTTP_2), (&one, reqwest::Version::HTTP_11)] {
        let url = sim.url(&format!("/v1.0/users/{USER}?$select=id"));
        let answer = client.get(url).bearer_auth(&token).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
    }
    // Also by name.
    let url =
        sim.url("/contoso.example/v2.0/.well-known/openid-configuration").replace("127.0.0.1", "localhost");
    let answer = Answer::read(one.get(url).send().await.unwrap()).await.expect(200);
    assert!(answer.text("issuer").starts_with("https://localhost:"));
}

#[tokio::test]
async fn every_answer_has_the_simulators_date() {
    let mut world = world();
    world["clockOffsetSeconds"] = (-86_400).into();
    let sim = Sim::with(&world, None).await;
    let hours_behind = |answer: &Answer| {
        let date = jiff::fmt::rfc2822::parse(answer.header("date")).unwrap().timestamp();
        let behind = jiff::Timestamp::now().duration_since(date) + jiff::SignedDuration::from_mins(30);
        behind.as_hours()
    };
    let app = sim.app().await;
    let user = format!("/v1.0/users/{USER}?$select=id");
    assert_eq!(hours_behind(&app.get(&user).await.expect(200)), 24);
    let error = app.get("/v1.0/nothing").await.expect(400);
    let body: jiff::civil::DateTime =
        error.body["error"]["innerError"]["date"].as_str().unwrap().parse().unwrap();
    let header = jiff::fmt::rfc2822::parse(error.header("date")).unwrap().datetime();
    assert!(body.until(header).unwrap().get_seconds().abs() <= 60, "{body} {header}");
    sim.advance(86_400 * 2).await;
    let answer = sim.command("/_sim/clock", &json!({"advanceSeconds": 0})).await.expect(200);
    assert_eq!(hours_behind(&answer), -24 + 1, "ahead by a day, rounded");
}

#[tokio::test]
async fn made_up_methods_are_counted_as_one() {
    let sim = Sim::start().await;
    for name in ["BREW", "PROPFIND", "X1", "X2"] {
        let method = reqwest::Method::from_bytes(name.as_bytes()).unwrap();
        sim.http.request(method, sim.url("/v1.0/users")).send().await.unwrap();
    }
    let counters = sim.control("/_sim/counters").await;
    assert_eq!(counters["requests"], json!({"other /users": 4}));
}
