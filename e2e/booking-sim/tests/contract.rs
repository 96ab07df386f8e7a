//! The contract of the README, over TLS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use booking_sim::{Options, Running};
use reqwest::{Certificate, Client, Method, Response};
use serde_json::{Value, json};

struct Sim {
    running: Running,
    http: Client,
    _folder: tempfile::TempDir,
}

impl Sim {
    async fn start(required: Option<(&'static str, &'static str)>, rate_per_minute: Option<u32>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let required = required.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let options = Options {
            listen: "127.0.0.1:0".parse().unwrap(),
            tls_dir: folder.path().to_owned(),
            require_header: required,
            rate_per_minute,
        };
        let running = booking_sim::start(options).await.unwrap();
        let ca = Certificate::from_pem(&std::fs::read(folder.path().join("ca.crt")).unwrap()).unwrap();
        let http = Client::builder().add_root_certificate(ca).build().unwrap();
        Self { running, http, _folder: folder }
    }

    fn call(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.running.origin))
    }

    async fn put(&self, key: &str, idempotency: &str, body: &Value) -> Response {
        self.call(Method::PUT, &format!("/bookings/{key}"))
            .header("Idempotency-Key", idempotency)
            .json(body)
            .send()
            .await
            .unwrap()
    }

    async fn faults(&self, body: Value) -> u16 {
        self.call(Method::POST, "/_sim/faults").json(&body).send().await.unwrap().status().as_u16()
    }
}

fn booking(resource: &str, from: u8, to: u8) -> Value {
    json!({
        "resourceId": resource, "start": format!("2026-11-24T{from:02}:00:00Z"), "end": format!("2026-11-24T{to:02}:00:00Z"),
        "subject": "Planning", "organizer": null, "attendees": [], "iCalUId": "0400",
    })
}

#[tokio::test]
async fn a_booking_is_made_moved_read_and_deleted() {
    let sim = Sim::start(None, None).await;
    let made = sim.put("a", "1", &booking("room", 10, 11)).await;
    assert_eq!(made.status(), 201);
    let made: Value = made.json().await.unwrap();
    assert_eq!((made["state"].as_str(), made["key"].as_str()), (Some("Booked"), Some("a")));
    let moved = sim.put("a", "2", &booking("room", 10, 12)).await;
    assert_eq!(moved.status(), 200, "its own time is no overlap");
    let moved: Value = moved.json().await.unwrap();
    assert_eq!(moved["bookingId"], made["bookingId"]);
    let read: Value = sim.call(Method::GET, "/bookings/a").send().await.unwrap().json().await.unwrap();
    assert_eq!(read, moved);
    assert_eq!(sim.call(Method::DELETE, "/bookings/a").send().await.unwrap().status(), 204);
    assert_eq!(sim.call(Method::DELETE, "/bookings/a").send().await.unwrap().status(), 404);
    assert_eq!(sim.call(Method::GET, "/bookings/a").send().await.unwrap().status(), 404);
    assert_eq!(
        sim.put("a", "2", &booking("room", 10, 12)).await.status(),
        201,
        "an old answer does not come back"
    );
}

#[tokio::test]
async fn an_overlap_is_refused_and_a_neighbour_is_not() {
    let sim = Sim::start(None, None).await;
    assert_eq!(sim.put("a", "1", &booking("room", 10, 11)).await.status(), 201);
    let refused = sim.put("b", "2", &booking("room", 10, 12)).await;
    assert_eq!(refused.status(), 409);
    assert_eq!(refused.json::<Value>().await.unwrap()["error"]["code"], "Overlap");
    assert_eq!(sim.put("b", "3", &booking("room", 11, 12)).await.status(), 201);
    assert_eq!(sim.put("c", "4", &booking("other", 10, 12)).await.status(), 201);
    let all: Value = sim.call(Method::GET, "/bookings").send().await.unwrap().json().await.unwrap();
    assert_eq!(all["value"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn an_idempotency_key_repeats_its_answer_and_no_other() {
    let sim = Sim::start(None, None).await;
    let first: Value = sim.put("a", "1", &booking("room", 10, 11)).await.json().await.unwrap();
    let again = sim.put("a", "1", &booking("room", 10, 11)).await;
    assert_eq!(again.status(), 201);
    assert_eq!(again.json::<Value>().await.unwrap(), first);
    assert_eq!(sim.put("a", "1", &booking("room", 10, 12)).await.status(), 422);
    assert_eq!(sim.put("b", "1", &booking("room", 10, 11)).await.status(), 422);
}

#[tokio::test]
async fn what_the_contract_does_not_name_is_refused() {
    let sim = Sim::start(None, None).await;
    let with = |key: &str, value: Value| {
        let mut body = booking("room", 10, 11);
        body[key] = value;
        body
    };
    let table = [
        (with("body", json!("x")), 422),
        (with("end", json!("2026-11-24T10:00:00Z")), 422),
        (with("start", json!("tomorrow")), 422),
        (with("resourceId", json!("")), 422),
        (with("attendees", json!("one")), 422),
        (json!([]), 422),
    ];
    for (number, (body, status)) in table.into_iter().enumerate() {
        assert_eq!(sim.put("a", &number.to_string(), &body).await.status(), status, "{body}");
    }
    let good = booking("room", 10, 11).to_string();
    let put = || sim.call(Method::PUT, "/bookings/a").body(good.clone());
    assert_eq!(
        put().header("Content-Type", "application/json").send().await.unwrap().status(),
        400,
        "no Idempotency-Key"
    );
    assert_eq!(put().header("Idempotency-Key", "1").send().await.unwrap().status(), 415);
    let broken = sim
        .call(Method::PUT, "/bookings/a")
        .header("Idempotency-Key", "1")
        .header("Content-Type", "application/json");
    assert_eq!(broken.body("{").send().await.unwrap().status(), 400);
    assert_eq!(sim.put(&"k".repeat(129), "2", &booking("room", 10, 11)).await.status(), 400);
    assert_eq!(sim.call(Method::POST, "/bookings/a").send().await.unwrap().status(), 405);
    assert_eq!(sim.call(Method::GET, "/rooms").send().await.unwrap().status(), 404);
    let large = with("subject", json!("x".repeat(70_000)));
    assert_eq!(sim.put("a", "3", &large).await.status(), 413);
    let all: Value = sim.call(Method::GET, "/bookings").send().await.unwrap().json().await.unwrap();
    assert_eq!(all["value"], json!([]));
}

#[tokio::test]
async fn header_and_rate_guard_every_call() {
    let sim = Sim::start(Some(("x-api-key", "secret")), Some(2)).await;
    assert_eq!(sim.call(Method::GET, "/bookings").send().await.unwrap().status(), 401);
    let call = |value: &'static str| sim.call(Method::GET, "/bookings").header("X-Api-Key", value);
    assert_eq!(call("wrong").send().await.unwrap().status(), 401);
    assert_eq!(call("secret").send().await.unwrap().status(), 200);
    assert_eq!(call("secret").send().await.unwrap().status(), 200);
    let limited = call("secret").send().await.unwrap();
    assert_eq!(limited.status(), 429);
    let seconds: u64 = limited.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn faults_come_as_often_as_asked_and_the_log_has_every_call() {
    let sim = Sim::start(None, None).await;
    assert_eq!(sim.faults(json!({"status": 503, "count": 1, "retryAfterSeconds": 7})).await, 204);
    let failed = sim.put("a", "1", &booking("room", 10, 11)).await;
    assert_eq!((failed.status().as_u16(), failed.headers()["retry-after"].to_str().unwrap()), (503, "7"));
    assert_eq!(sim.put("a", "1", &booking("room", 10, 11)).await.status(), 201);
    assert_eq!(sim.faults(json!({"colour": "red"})).await, 400);
    assert_eq!(sim.faults(json!({"status": 503})).await, 400);
    let log: Value = sim.call(Method::GET, "/_sim/requests").send().await.unwrap().json().await.unwrap();
    let statuses: Vec<u64> =
        log.as_array().unwrap().iter().map(|one| one["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [503, 201]);
    assert_eq!(log[1]["idempotencyKey"], "1");
    sim.running.shutdown.cancel();
    sim.running.task.await.unwrap();
}
