//! Several headers, the limit per week, bodies in the log, and the examples of the contract.

use booking_sim::Options;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    contract::Contract,
    sim::{Sim, booking, limited},
};

#[tokio::test]
async fn each_of_several_headers_is_required() {
    let sim = Sim::start(limited(&[("x-api-key", "secret"), ("x-tenant", "contoso")], None)).await;
    let call = || sim.call(Method::GET, "/bookings");
    assert_eq!(call().header("X-Api-Key", "secret").send().await.unwrap().status(), 401);
    let wrong = call().header("X-Api-Key", "secret").header("X-Tenant", "other").send().await.unwrap();
    assert_eq!(wrong.status(), 401);
    assert!(wrong.text().await.unwrap().contains("x-tenant"));
    let both = call().header("X-Api-Key", "secret").header("X-Tenant", "contoso").send().await.unwrap();
    assert_eq!(both.status(), 200);
}

#[tokio::test]
async fn a_spent_week_refuses_until_its_oldest_call_is_a_week_old() {
    let sim = Sim::start(Options { per_week: Some(2), ..Options::default() }).await;
    for _ in 0..2 {
        assert_eq!(sim.call(Method::GET, "/bookings").send().await.unwrap().status(), 200);
    }
    let refused = sim.put("a", "1", &booking("room", 10, 11)).await;
    assert_eq!(refused.status(), 429);
    let seconds: u32 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((604_000..=604_800).contains(&seconds), "{seconds}");
    let log = sim.log().await;
    assert_eq!(log.iter().filter(|one| one["status"] == 429).count(), 1, "overspending shows");
}

#[tokio::test]
async fn the_log_keeps_bodies_on_demand() {
    let wanted = booking("room", 10, 11);
    let plain = Sim::plain().await;
    plain.put("a", "1", &wanted).await;
    assert_eq!(plain.log().await[0].get("body"), None);
    let sim = Sim::start(Options { log_bodies: true, ..Options::default() }).await;
    sim.put("a", "1", &wanted).await;
    sim.put("b", "2", &wanted).await;
    sim.call(Method::GET, "/bookings").send().await.unwrap();
    let log = sim.log().await;
    for refused_or_not in &log[..2] {
        let body: Value = serde_json::from_str(refused_or_not["body"].as_str().unwrap()).unwrap();
        assert_eq!(body, wanted);
    }
    assert_eq!(log[2].get("body"), None);
}

#[tokio::test]
async fn what_makes_no_limit_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let options = || Options { tls_dir: folder.path().to_owned(), ..Options::default() };
    for (options, named) in [
        (Options { rate_per_minute: Some(0), ..options() }, "rate per minute"),
        (Options { per_week: Some(0), ..options() }, "per week"),
        (Options { max_occurrences: 0, ..options() }, "occurrences"),
        (Options { token_lifetime_seconds: 0, ..options() }, "lifetime"),
    ] {
        let said = booking_sim::start(options).await.unwrap_err().to_string();
        assert!(said.contains(named), "{said}");
    }
}

/// An implementer copies the examples; the requests among them are taken as they are.
#[tokio::test]
async fn the_examples_of_the_contract_hold() {
    let contract = Contract::load();
    let examples = contract.examples();
    assert!(examples.len() >= 8, "{}", examples.len());
    for (schema, example) in &examples {
        assert_eq!(contract.example(schema, example), Ok(()), "{example}");
    }
    let sim = Sim::plain().await;
    let request = json!({"$ref": "#/components/schemas/BookingRequest"});
    let requests: Vec<_> = examples.iter().filter(|(schema, _)| **schema == request).collect();
    assert_eq!(requests.len(), 2);
    for (number, (_, example)) in requests.into_iter().enumerate() {
        let mut example = (*example).clone();
        // Both are at the same time.
        example["resourceId"] = json!(format!("room-{number}"));
        assert_eq!(sim.put(&number.to_string(), &number.to_string(), &example).await.status(), 201);
    }
}
