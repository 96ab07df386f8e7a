//! Bookings without a series, and what every call is judged by.

use reqwest::{Certificate, Client, Method};
use serde_json::{Value, json};

use crate::sim::{Sim, booking, limited};

#[tokio::test]
async fn a_booking_is_made_moved_read_and_deleted() {
    let sim = Sim::plain().await;
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
    let sim = Sim::plain().await;
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
    let sim = Sim::plain().await;
    let first: Value = sim.put("a", "1", &booking("room", 10, 11)).await.json().await.unwrap();
    let again = sim.put("a", "1", &booking("room", 10, 11)).await;
    assert_eq!(again.status(), 201);
    assert_eq!(again.json::<Value>().await.unwrap(), first);
    assert_eq!(sim.put("a", "1", &booking("room", 10, 12)).await.status(), 422);
    assert_eq!(sim.put("b", "1", &booking("room", 10, 11)).await.status(), 422);
    // The same content under a new key changes nothing.
    let same = sim.put("a", "2", &booking("room", 10, 11)).await;
    assert_eq!(same.status(), 200);
    assert_eq!(same.json::<Value>().await.unwrap(), first);
    // An old answer is repeated, not carried out again.
    assert_eq!(sim.put("a", "3", &booking("room", 10, 12)).await.status(), 200);
    let old = sim.put("a", "1", &booking("room", 10, 11)).await;
    assert_eq!(old.json::<Value>().await.unwrap(), first);
    let read: Value = sim.call(Method::GET, "/bookings/a").send().await.unwrap().json().await.unwrap();
    assert_eq!(read["end"], "2026-11-24T12:00:00Z");
    // A refusal is not remembered: the same request may succeed later.
    assert_eq!(sim.put("b", "4", &booking("room", 11, 12)).await.status(), 409);
    assert_eq!(sim.put("a", "5", &booking("room", 10, 11)).await.status(), 200);
    assert_eq!(sim.put("b", "4", &booking("room", 11, 12)).await.status(), 201);
}

/// What one wrong member is answered with: 422, and its name.
#[tokio::test]
async fn a_wrong_member_is_refused_by_its_name() {
    let sim = Sim::plain().await;
    let with = |name: &str, value: Value| {
        let mut body = booking("room", 10, 11);
        body[name] = value;
        body
    };
    let without = |name: &str| {
        let mut body = booking("room", 10, 11);
        body.as_object_mut().unwrap().remove(name);
        body
    };
    let table = [
        ("body", with("body", json!("x"))),
        ("end", with("end", json!("2026-11-24T10:00:00Z"))),
        ("end", with("end", json!("2026-11-24T09:00:00Z"))),
        ("start", with("start", json!("tomorrow"))),
        ("start", with("start", json!("2026-11-24T10:00:00+00:00"))),
        ("start", with("start", json!(1))),
        ("end", without("end")),
        ("resourceId", without("resourceId")),
        ("resourceId", with("resourceId", json!(""))),
        ("resourceId", with("resourceId", json!("r".repeat(129)))),
        ("resourceId", with("resourceId", json!("room\n1"))),
        ("iCalUId", without("iCalUId")),
        ("iCalUId", with("iCalUId", Value::Null)),
        ("subject", with("subject", json!("s".repeat(1025)))),
        ("organizer", with("organizer", json!(["user1@contoso.example"]))),
        ("attendees", with("attendees", json!("one"))),
        ("attendees", with("attendees", json!([null]))),
        ("attendees", with("attendees", json!(vec!["a"; 501]))),
        ("object", json!(["room", "2026-11-24T10:00:00Z", "2026-11-24T11:00:00Z", null, null, [], "0400"])),
    ];
    for (number, (named, body)) in table.into_iter().enumerate() {
        let refused = sim.put("a", &number.to_string(), &body).await;
        assert_eq!(refused.status(), 422, "{body}");
        // That the end is after the start is nothing that a schema can say.
        let by_schema = named != "end" || body.get("end").is_none();
        assert_eq!(sim.contract.request_body(&body).is_err(), by_schema, "{body}");
        let refused: Value = refused.json().await.unwrap();
        assert_eq!(refused["error"]["code"], "Invalid");
        assert!(refused["error"]["message"].as_str().unwrap().contains(named), "{named}: {refused}");
    }
    let twice = booking("room", 10, 11).to_string().replacen('{', "{\"resourceId\":\"other\",", 1);
    let refused = sim.put_raw("a", twice).await;
    assert_eq!(refused.status(), 422);
    assert!(refused.text().await.unwrap().contains("resourceId is there twice"));
    let all: Value = sim.call(Method::GET, "/bookings").send().await.unwrap().json().await.unwrap();
    assert_eq!(all["value"], json!([]));
}

/// At the limits of the members, and with those left out that may be.
#[tokio::test]
async fn what_fits_is_taken() {
    let sim = Sim::plain().await;
    let mut largest = booking(&"é".repeat(128), 10, 11);
    largest["subject"] = json!("é".repeat(1024));
    largest["organizer"] = json!("o".repeat(320));
    largest["attendees"] = json!(vec!["a"; 500]);
    largest["iCalUId"] = json!("0".repeat(1024));
    assert_eq!(sim.put(&"k".repeat(128), "1", &largest).await.status(), 201);
    let least = json!({"resourceId": "r", "start": "2026-11-24T10:00:00Z", "end": "2026-11-24T10:00:00.1Z", "iCalUId": "0"});
    let made = sim.put("k", "2", &least).await;
    assert_eq!(made.status(), 201);
    let made: Value = made.json().await.unwrap();
    assert_eq!((&made["subject"], &made["attendees"]), (&Value::Null, &json!([])));
}

/// Every error has the one form, also those that no handler makes.
#[tokio::test]
async fn what_the_contract_does_not_name_is_refused() {
    let sim = Sim::plain().await;
    let good = booking("room", 10, 11).to_string();
    let put = || sim.call(Method::PUT, "/bookings/a").body(good.clone());
    let json = || put().header("Content-Type", "application/json");
    let long = format!("/bookings/{}", "k".repeat(129));
    let large = format!("{{\"subject\":\"{}\"}}", "x".repeat(300_000));
    let table = [
        (json(), 400, "BadRequest", "no Idempotency-Key"),
        (json().header("Idempotency-Key", ""), 400, "BadRequest", "an empty one"),
        (json().header("Idempotency-Key", "k".repeat(257)), 400, "BadRequest", "a long one"),
        (
            json().header("Idempotency-Key", "1").header("Idempotency-Key", "2"),
            400,
            "BadRequest",
            "two of them",
        ),
        (put().header("Idempotency-Key", "1"), 415, "UnsupportedMediaType", "no content type"),
        (
            put().header("Idempotency-Key", "1").header("Content-Type", "text/plain"),
            415,
            "UnsupportedMediaType",
            "another one",
        ),
        (json().header("Idempotency-Key", "1").body("{"), 400, "BadRequest", "no JSON"),
        (
            json().header("Idempotency-Key", "1").body(format!("{good} x")),
            400,
            "BadRequest",
            "more than JSON",
        ),
        (json().header("Idempotency-Key", "1").body(large), 413, "PayloadTooLarge", "a large body"),
        (sim.call(Method::GET, &long), 400, "BadRequest", "a long key"),
        (sim.call(Method::DELETE, "/bookings/a%20b"), 400, "BadRequest", "a key with a space"),
        (sim.call(Method::GET, "/bookings/%ff"), 400, "BadRequest", "a key that is no text"),
        (sim.call(Method::GET, "/bookings?top=1"), 400, "BadRequest", "a query"),
        (sim.call(Method::POST, "/bookings/a"), 405, "MethodNotAllowed", "POST of one"),
        (sim.call(Method::POST, "/bookings"), 405, "MethodNotAllowed", "POST of all"),
        (sim.call(Method::DELETE, "/_sim/requests"), 405, "MethodNotAllowed", "DELETE of the log"),
        (sim.call(Method::GET, "/bookings/"), 404, "NotFound", "no key"),
        (sim.call(Method::GET, "/rooms"), 404, "NotFound", "another path"),
    ];
    for (request, status, code, what) in table {
        let refused = request.send().await.unwrap();
        assert_eq!(refused.status(), status, "{what}");
        let refused: Value = refused.json().await.unwrap();
        assert_eq!(refused["error"]["code"], code, "{what}");
        assert!(refused["error"]["message"].is_string(), "{what}");
    }
    let all: Value = sim.call(Method::GET, "/bookings").send().await.unwrap().json().await.unwrap();
    assert_eq!(all["value"], json!([]));
}

#[tokio::test]
async fn header_and_rate_guard_every_call() {
    let sim = Sim::start(limited(&[("x-api-key", "secret")], Some(2))).await;
    assert_eq!(sim.call(Method::GET, "/bookings").send().await.unwrap().status(), 401);
    let call = |value: &'static str| sim.call(Method::GET, "/bookings").header("X-Api-Key", value);
    assert_eq!(call("wrong").send().await.unwrap().status(), 401);
    assert_eq!(sim.call(Method::POST, "/bookings").send().await.unwrap().status(), 401, "before the method");
    let both = call("secret").header("X-Api-Key", "wrong").send().await.unwrap();
    assert_eq!(both.status(), 401, "a second value beside the right one");
    assert_eq!(call("secret").send().await.unwrap().status(), 200);
    assert_eq!(call("secret").send().await.unwrap().status(), 200);
    let limited = call("secret").send().await.unwrap();
    assert_eq!(limited.status(), 429);
    let seconds: u64 = limited.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&seconds), "{seconds}");
    assert!(!sim.log().await.is_empty(), "control needs neither header nor rate");
}

#[tokio::test]
async fn faults_come_as_often_as_asked_and_the_log_has_every_call() {
    let mut sim = Sim::plain().await;
    assert_eq!(sim.faults(json!({"status": 503, "count": 1, "retryAfterSeconds": 7})).await, 204);
    let failed = sim.put("a", "1", &booking("room", 10, 11)).await;
    assert_eq!((failed.status().as_u16(), failed.headers()["retry-after"].to_str().unwrap()), (503, "7"));
    assert_eq!(sim.put("a", "1", &booking("room", 10, 11)).await.status(), 201);
    assert_eq!(sim.call(Method::POST, "/bookings").send().await.unwrap().status(), 405);
    let log = sim.log().await;
    let seen: Vec<(&str, &str, u64)> = log
        .iter()
        .map(|one| {
            let text = |name: &str| one[name].as_str().unwrap();
            assert!(text("time").ends_with('Z'));
            (text("method"), text("path"), one["status"].as_u64().unwrap())
        })
        .collect();
    let expected = [("PUT", "/bookings/a", 503), ("PUT", "/bookings/a", 201), ("POST", "/bookings", 405)];
    assert_eq!(seen, expected);
    assert_eq!((&log[1]["idempotencyKey"], &log[1]["key"]), (&json!("1"), &json!("a")));
    assert_eq!((&log[2]["idempotencyKey"], &log[2]["key"]), (&Value::Null, &Value::Null));
    sim.running.shutdown.cancel();
    (&mut sim.running.task).await.unwrap();
}

/// A wrong wish is refused as a whole: none of its parts takes effect.
#[tokio::test]
async fn a_fault_that_is_not_understood_is_refused_and_nothing_of_it_happens() {
    let sim = Sim::plain().await;
    for wrong in [
        json!({"colour": "red"}),
        json!({"latencyMs": 600_000, "colour": "red"}),
        json!({"latencyMs": 600_000, "status": 503}),
        json!({"status": 503, "count": 1, "colour": "red"}),
        json!({"status": 200, "count": 1}),
        json!({"status": 503, "count": -1}),
        json!({"status": "503", "count": 1}),
        json!({"retryAfterSeconds": 1}),
        json!({"latencyMs": 600_001}),
        json!({"latencyMs": null}),
        json!([503, 1, null, null]),
        json!({}),
    ] {
        assert_eq!(sim.faults(wrong.clone()).await, 400, "{wrong}");
    }
    assert_eq!(sim.put("a", "1", &booking("room", 10, 11)).await.status(), 201);
}

/// The call is carried out and only its answer is late: a client that no longer waits finds it done.
#[tokio::test]
async fn a_late_answer_is_an_answer_to_a_call_that_happened() {
    let sim = Sim::plain().await;
    assert_eq!(sim.faults(json!({"latencyMs": 600_000})).await, 204);
    let wanted = booking("room", 10, 11);
    let put = sim.put("a", "1", &wanted);
    let done = async {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
        while sim.log().await.is_empty() {
            assert!(tokio::time::Instant::now() < deadline, "the call is not in the log");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        early = put => panic!("answered at once: {early:?}"),
        () = done => {}
    }
    assert_eq!(sim.faults(json!({"latencyMs": 0})).await, 204);
    let again = sim.put("a", "1", &booking("room", 10, 11)).await;
    assert_eq!(again.status(), 201, "the answer that was lost");
    assert_eq!(sim.log().await.len(), 2);
}

/// Both protocols that TLS offers.
#[tokio::test]
async fn http_1_and_2_are_served() {
    let sim = Sim::plain().await;
    let two = sim.call(Method::GET, "/bookings").send().await.unwrap();
    assert_eq!(two.version(), reqwest::Version::HTTP_2);
    let ca = Certificate::from_pem(sim.running.ca_pem.as_bytes()).unwrap();
    let plain = Client::builder().tls_certs_only([ca]).no_proxy().http1_only().build().unwrap();
    let one = plain.get(format!("{}/bookings", sim.running.origin)).send().await.unwrap();
    assert_eq!((one.version(), one.status().as_u16()), (reqwest::Version::HTTP_11, 200));
}

#[tokio::test]
async fn dropping_it_ends_it() {
    let sim = Sim::plain().await;
    let shutdown = sim.running.shutdown.clone();
    drop(sim);
    assert!(shutdown.is_cancelled());
}
