//! `$batch`: requests like any other, in one body.

use serde_json::{Value, json};

use crate::support::{Answer, App, NO_MAILBOX, SECOND_CLIENT, Sim, USER, USER_2, meeting, until};

async fn batch(app: &App<'_>, requests: Value) -> Answer {
    app.post("/v1.0/$batch", &json!({"requests": requests})).await
}

/// The response to one request of a batch.
fn of<'a>(answer: &'a Answer, id: &str) -> &'a Value {
    let all = answer.body["responses"].as_array().unwrap();
    let found: Vec<&Value> = all.iter().filter(|one| one["id"] == id).collect();
    assert_eq!(found.len(), 1, "{id}: {:?}", answer.body);
    found[0]
}

#[tokio::test]
async fn each_request_is_answered_and_counted_by_itself() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let answer = batch(
        &app,
        json!([
            {"id": "a", "method": "GET", "url": format!("/users/{USER}?$select=id")},
            {"id": "b", "method": "get", "url": format!("users/{NO_MAILBOX}/events?$select=id"), "headers": {"Prefer": "outlook.timezone=\"UTC\""}},
            {"id": "c", "method": "POST", "url": format!("/users/{USER}/events"), "headers": {"content-type": "application/json"}, "body": meeting()},
            {"id": "d", "method": "GET", "url": "/nothing"},
            {"id": "e", "method": "GET", "url": format!("/users/{USER_2}/events?$select=id"), "headers": {"Prefer": "IdType=\"Other\""}},
            {"id": "f", "method": "POST", "url": "/$batch", "headers": {"content-type": "application/json"}, "body": {"requests": []}},
        ]),
    )
    .await
    .expect(200);
    assert_eq!(answer.body["responses"].as_array().unwrap().len(), 6);
    for (id, status, code) in [
        ("a", 200, Value::Null),
        ("b", 404, "MailboxNotEnabledForRESTAPI".into()),
        ("c", 201, Value::Null),
        ("d", 400, "BadRequest".into()),
        ("e", 400, "BadRequest".into()),
        ("f", 400, "BadRequest".into()),
    ] {
        let one = of(&answer, id);
        assert_eq!((&one["status"], &one["body"]["error"]["code"]), (&json!(status), &code), "{one}");
        assert_ne!(one["headers"]["request-id"], Value::Null);
    }
    assert_eq!(of(&answer, "a")["body"]["id"], USER);
    let id = of(&answer, "c")["body"]["id"].as_str().unwrap();
    app.get(&format!("/v1.0/users/{USER}/events/{id}?$select=id")).await.expect(200);
    let gone = json!([{"id": "1", "method": "DELETE", "url": format!("/users/{USER}/events/{id}")}]);
    let gone = batch(&app, gone).await.expect(200);
    let one = of(&gone, "1");
    assert_eq!((&one["status"], one.get("body")), (&json!(204), None));
    let counters = sim.control("/_sim/counters").await;
    for (template, count) in [
        ("POST /$batch", 2),
        ("GET /users/{id}", 1),
        ("GET /users/{id}/events", 2),
        ("POST /users/{id}/events", 1),
        ("DELETE /users/{id}/events/{id}", 1),
    ] {
        assert_eq!(counters["requests"][template], count, "{template}: {counters}");
    }
    let log = sim.control("/_sim/requests").await;
    let path = format!("/v1.0/users/{USER}?$select=id");
    assert!(log.as_array().unwrap().iter().any(|one| one["path"] == path.as_str() && one["status"] == 200));
}

#[tokio::test]
async fn dependencies_order_a_batch_and_fail_together() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let good = format!("/users/{USER}?$select=id");
    let get = |id: &str, url: &str, after: &[&str]| json!({"id": id, "method": "GET", "url": url, "dependsOn": after});
    let statuses = |answer: &Answer| -> Vec<(String, u64)> {
        let all = answer.body["responses"].as_array().unwrap();
        all.iter()
            .map(|one| (one["id"].as_str().unwrap().to_owned(), one["status"].as_u64().unwrap()))
            .collect()
    };
    let named = |all: &[(&str, u64)]| -> Vec<(String, u64)> {
        all.iter().map(|(id, status)| ((*id).to_owned(), *status)).collect()
    };
    let serial = batch(
        &app,
        json!([
            get("1", &good, &[]),
            get("2", "/nothing", &["1"]),
            get("3", &good, &["2"]),
            get("4", &good, &["3"])
        ]),
    );
    let serial = serial.await.expect(200);
    assert_eq!(statuses(&serial), named(&[("1", 200), ("2", 400), ("3", 424), ("4", 424)]));
    assert_eq!(of(&serial, "3")["body"]["error"]["code"], "FailedDependency");
    let same =
        batch(&app, json!([get("1", "/nothing", &[]), get("2", &good, &["1"]), get("3", &good, &["1"])]));
    let mut same = statuses(&same.await.expect(200));
    same.sort();
    assert_eq!(same, named(&[("1", 400), ("2", 424), ("3", 424)]));
    // What depends on a write sees it.
    let post = json!({"id": "1", "method": "POST", "url": format!("/users/{USER}/events"), "headers": {"Content-Type": "application/json"}, "body": meeting()});
    let list = get("2", &format!("/users/{USER}/events?$select=subject"), &["1"]);
    let answer = batch(&app, json!([post, list])).await.expect(200);
    assert_eq!(of(&answer, "2")["body"]["value"][0]["subject"], "Planning");
}

#[tokio::test]
async fn a_batch_is_no_way_around_a_limit_or_a_role() {
    let sim = Sim::start().await;
    let app = sim.app_as(SECOND_CLIENT).await;
    let post = json!([{"id": "1", "method": "POST", "url": format!("/users/{USER}/events"), "headers": {"Content-Type": "application/json"}, "body": meeting()}]);
    let answer = batch(&app, post).await.expect(200);
    assert_eq!(of(&answer, "1")["status"], 403);
    // Four at a time for one mailbox: beside three others, one of a batch's four finds a place.
    sim.command("/_sim/faults", &json!({"latencyMs": 3_000})).await.expect(200);
    let path = format!("/v1.0/users/{USER}/events?$select=id");
    let four: Vec<Value> = (0..4)
        .map(|id| json!({"id": id.to_string(), "method": "GET", "url": format!("/users/{USER}/events?$select=id")}))
        .collect();
    let under_way = async || {
        let requests = sim.control("/_sim/requests").await;
        let open = |one: &&Value| one["path"] == path.as_str() && one["status"].is_null();
        requests.as_array().unwrap().iter().filter(open).count()
    };
    let others = async { tokio::join!(app.get(&path), app.get(&path), app.get(&path)) };
    let among_them = async {
        until("three requests under way", async || (under_way().await == 3).then_some(())).await;
        batch(&app, json!(four)).await
    };
    let (others, answer) = tokio::join!(others, among_them);
    for other in [others.0, others.1, others.2] {
        other.expect(200);
    }
    let answer = answer.expect(200);
    let responses = answer.body["responses"].as_array().unwrap();
    assert_eq!(responses.iter().filter(|one| one["status"] == 200).count(), 1, "{:?}", answer.body);
    for one in responses.iter().filter(|one| one["status"] != 200) {
        assert_eq!(
            (&one["status"], &one["body"]["error"]["code"]),
            (&json!(429), &json!("ApplicationThrottled"))
        );
        assert_ne!(one["headers"]["retry-after"], Value::Null, "{one}");
    }
}

#[tokio::test]
async fn what_is_no_batch_is_refused() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let get = |id: &str| json!({"id": id, "method": "GET", "url": "/users?$select=id"});
    let with = |name: &str, value: Value| {
        let mut step = get("2");
        step[name] = value;
        json!([get("1"), step])
    };
    let many: Vec<Value> = (0..21).map(|id| get(&id.to_string())).collect();
    batch(&app, json!(many)).await.refused(400, "MaximumValueExceeded");
    for (what, requests) in [
        ("none", json!([])),
        ("no list", json!({})),
        ("the same id twice", json!([get("1"), get("1")])),
        ("no id", with("id", Value::Null)),
        ("an empty id", with("id", "".into())),
        ("an unknown method", with("method", "FETCH".into())),
        ("an absolute URL", with("url", "https://graph.microsoft.com/v1.0/users".into())),
        ("another host", with("url", "//graph.microsoft.com/users".into())),
        ("no URL", with("url", "".into())),
        ("an unknown member", with("verb", "GET".into())),
        ("a header that is none", with("headers", json!({"a b": "c"}))),
        ("a body without its type", with("body", json!({}))),
        ("an unknown dependency", with("dependsOn", json!(["9"]))),
        ("a dependency on itself", with("dependsOn", json!(["2"]))),
        (
            "a dependency that comes later",
            json!([{"id": "1", "method": "GET", "url": "/users", "dependsOn": ["2"]}, get("2")]),
        ),
        (
            "neither parallel nor serial",
            json!([get("1"), get("2"), {"id": "3", "method": "GET", "url": "/users", "dependsOn": ["1"]}]),
        ),
    ] {
        let answer = batch(&app, requests).await;
        assert_eq!((answer.status, answer.code()), (400, "BadRequest"), "{what}: {:?}", answer.body);
    }
    app.post("/v1.0/$batch?$select=id", &json!({"requests": [get("1")]})).await.refused(400, "BadRequest");
    app.get("/v1.0/$batch").await.expect(405);
    let nobody = App { sim: &sim, token: "x".to_owned() };
    batch(&nobody, json!([get("1")])).await.refused(401, "InvalidAuthenticationToken");
    let counters = sim.control("/_sim/counters").await;
    assert_eq!(counters["requests"].get("GET /users"), None, "nothing of a refused batch is carried out");
}
