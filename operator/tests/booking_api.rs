//! The client of booking products against the simulator over TLS. What it sends is judged by `docs/booking-api.yaml`.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests stand in for people and for other programs"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    missing_docs,
    unreachable_pub
)]

#[path = "../../e2e/booking-sim/tests/contract/contract.rs"]
mod contract;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use booking_sim::{OAuthClient, Options, Running};
use contract::Contract;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use prometheus::Registry;
use roomkeeper_crds::{
    access_scope::{Booking, BookingOAuth, BookingQuota, PrivateSubject, WriteBack},
    booking_record::{RecurrencePattern, RecurrenceRange},
};
use roomkeeper_graph::http::SendGate;
use roomkeeper_operator::{
    booking_record::client::{Answer, BookingClient, Occurrence, Product, Request, Series},
    metrics::Metrics,
};
use roomkeeper_service::{scope_access::AllowedHosts, tls};
use serde_json::{Value, json};

const HEADERS: [(&str, &str); 2] = [("X-Api-Key", "canary-key"), ("X-Tenant", "contoso")];
const SECRET: &str = "canary-secret +%";

struct Open;

impl SendGate for Open {
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

struct Site {
    sim: Running,
    http: reqwest::Client,
    client: BookingClient,
    contract: Contract,
    _folder: tempfile::TempDir,
}

fn oauth() -> Options {
    let client = OAuthClient { id: "roomkeeper".to_owned(), secret: SECRET.to_owned() };
    Options { oauth_client: Some(client), oauth_scope: Some("bookings".to_owned()), ..Options::default() }
}

impl Site {
    async fn start(options: Options) -> Self {
        tls::install_provider();
        let folder = tempfile::tempdir().unwrap();
        let headers = HEADERS.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let options = Options {
            tls_dir: folder.path().to_owned(),
            require_headers: headers.to_vec(),
            log_bodies: true,
            ..options
        };
        let sim = booking_sim::start(options).await.unwrap();
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let client = BookingClient::gated(Some(sim.ca_pem.as_bytes()), Arc::new(Open), metrics).unwrap();
        let ca = reqwest::Certificate::from_pem(sim.ca_pem.as_bytes()).unwrap();
        let http = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().build().unwrap();
        Self { sim, http, client, contract: Contract::load(), _folder: folder }
    }

    /// The product with these headers, and, for a secret, with a client.
    fn product(&self, headers: &[(&str, &str)], secret: Option<&str>) -> Product {
        self.asking(headers, secret, Some("bookings"))
    }

    fn asking(&self, headers: &[(&str, &str)], secret: Option<&str>, scope: Option<&str>) -> Product {
        let oauth = secret.map(|_| BookingOAuth {
            token_url: format!("{}/oauth2/token", self.sim.origin),
            scope: scope.map(str::to_owned),
            secret_name: "login".to_owned(),
        });
        let booking = Booking {
            url: self.sim.origin.clone(),
            secret_name: Some("headers".to_owned()),
            oauth,
            quota: BookingQuota::default(),
            write_back: WriteBack::default(),
            private_subject: PrivateSubject::default(),
        };
        let allowed = AllowedHosts::new([self.sim.origin.strip_prefix("https://").unwrap()]).unwrap();
        let client = secret.map(|secret| data(&[("clientId", "roomkeeper"), ("clientSecret", secret)]));
        Product::from_secrets(&allowed, &booking, Some(data(headers)), client).unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        self.http.get(format!("{}{path}", self.sim.origin)).send().await.unwrap().json().await.unwrap()
    }

    async fn post(&self, path: &str, body: &Value) {
        let request = self.http.post(format!("{}{path}", self.sim.origin)).json(body);
        assert_eq!(request.send().await.unwrap().status(), 204);
    }

    /// Statuses that the product answered, and each request as the contract wants it.
    async fn statuses(&self) -> Vec<u64> {
        let log = self.get("/_sim/requests").await;
        log.as_array()
            .unwrap()
            .iter()
            .map(|one| {
                let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
                let key = ("idempotency-key".to_owned(), text("idempotencyKey"));
                let status = one["status"].as_u64().unwrap();
                // A call that was turned away at the door has no body in the log.
                if text("method") != "PUT" || !text("body").is_empty() {
                    let judged = self.contract.request(
                        &text("method"),
                        &text("path"),
                        &[key],
                        text("body").as_bytes(),
                    );
                    assert_eq!(judged, Ok(()), "{one}");
                }
                status
            })
            .collect()
    }
}

fn data(data: &[(&str, &str)]) -> Secret {
    let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
    Secret { data: Some(data.collect::<BTreeMap<_, _>>()), ..Secret::default() }
}

fn single(resource: &str, from: u8, to: u8) -> Request {
    Request {
        resource_id: resource.to_owned(),
        start: format!("2099-01-06T{from:02}:00:00Z"),
        end: format!("2099-01-06T{to:02}:00:00Z"),
        subject: None,
        organizer: Some("user1@contoso.example".to_owned()),
        attendees: vec!["guest@fabrikam.example".to_owned()],
        i_cal_u_id: "0400".to_owned(),
        all_day: false,
        recurrence: None,
    }
}

fn series(resource: &str, days: &[u8]) -> Request {
    let occurrence = |day: &u8| Occurrence {
        start: format!("2099-01-{day:02}T10:00:00Z"),
        end: format!("2099-01-{day:02}T11:00:00Z"),
        original_start: day.is_multiple_of(2).then(|| format!("2099-01-{day:02}T09:00:00Z")),
    };
    let pattern =
        json!({"type": "weekly", "interval": 1, "daysOfWeek": ["tuesday"], "firstDayOfWeek": "monday"});
    let range = json!({"type": "noEnd", "startDate": "2099-01-06", "endDate": "0001-01-01", "recurrenceTimeZone": "UTC"});
    let recurrence = Series {
        pattern: serde_json::from_value::<RecurrencePattern>(pattern).unwrap(),
        range: serde_json::from_value::<RecurrenceRange>(range).unwrap(),
        until: Some("2099-02-01T00:00:00Z".to_owned()),
        occurrences: days.iter().map(occurrence).collect(),
    };
    Request { recurrence: Some(recurrence), ..single(resource, 10, 11) }
}

/// A call as the operator makes it: once more where the token was refused.
async fn put(site: &Site, product: &Product, key: &str, idempotency: &str, request: &Request) -> Answer {
    match site.client.put(product, key, idempotency, request).await {
        Answer::TokenRefused => site.client.put(product, key, idempotency, request).await,
        answer => answer,
    }
}

fn booked(answer: &Answer) -> String {
    match answer {
        Answer::Booked { booking_id: Some(id) } => id.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn bookings_and_series_are_told_as_the_contract_says() {
    let site = Site::start(Options::default()).await;
    let product = site.product(&HEADERS, None);
    let put = async |key: &str, idempotency: &str, request: &Request| {
        site.client.put(&product, key, idempotency, request).await
    };
    let id = booked(&put("a", "1", &series("room", &[6, 13, 20])).await);
    let mut endless = series("room", &[6, 13]);
    endless.recurrence.as_mut().unwrap().until = None;
    assert_eq!(booked(&put("a", "2", &endless).await), id);
    let taken = put("b", "3", &single("room", 10, 12)).await;
    assert!(matches!(&taken, Answer::Conflict(reason) if reason.starts_with("Overlap: ")), "{taken:?}");
    let taken = put("c", "4", &series("room", &[5, 13])).await;
    assert!(matches!(&taken, Answer::Conflict(reason) if reason.contains("2099-01-13")), "{taken:?}");
    let days: Vec<u8> = (1..=28).collect();
    assert!(matches!(put("c", "5", &single("room", 12, 11)).await, Answer::Refused(_)));
    booked(&put("d", "6", &series("other", &days)).await);
    assert_eq!(site.client.cancel(&product, "a").await, Answer::Cancelled);
    assert_eq!(site.client.cancel(&product, "a").await, Answer::Cancelled);
    booked(&put("b", "3", &single("room", 10, 12)).await);
    assert_eq!(site.statuses().await, [201, 200, 409, 409, 422, 201, 204, 404, 201]);
}

/// The largest series that the contract allows: its answer is larger than it.
#[tokio::test]
async fn a_series_of_a_thousand_is_told_and_its_answer_is_read() {
    let site = Site::start(Options { max_occurrences: 1000, ..Options::default() }).await;
    let mut long = series("room", &[]);
    let first: jiff::Timestamp = "2099-01-06T10:00:00Z".parse().unwrap();
    let occurrence = |day: i64| {
        let at = |hours| (first + Duration::from_hours(hours)).to_string();
        let hours = 24 * u64::try_from(day).unwrap();
        Occurrence { start: at(hours), end: at(hours + 1), original_start: Some(at(hours + 2)) }
    };
    long.recurrence.as_mut().unwrap().occurrences = (0..1000).map(occurrence).collect();
    booked(&site.client.put(&site.product(&HEADERS, None), "a", "1", &long).await);
    assert_eq!(site.statuses().await, [201]);
}

#[tokio::test]
async fn every_header_of_the_secret_is_sent() {
    let site = Site::start(Options::default()).await;
    let one = site.product(&HEADERS[..1], None);
    let answer = site.client.put(&one, "a", "1", &single("room", 10, 11)).await;
    assert!(
        matches!(&answer, Answer::Unavailable { stalled: true, why } if why.contains("spec.booking.secretName"))
    );
    booked(&site.client.put(&site.product(&HEADERS, None), "a", "1", &single("room", 10, 11)).await);
}

#[tokio::test]
async fn a_token_is_shared_and_replaced_once_when_the_product_refuses_it() {
    let site = Site::start(oauth()).await;
    let product = site.product(&HEADERS, Some(SECRET));
    let keys: Vec<String> = (0..10).map(|number| format!("k{number}")).collect();
    let request = single("room", 10, 11);
    let all = |round: &'static str| {
        let calls = keys.iter().enumerate().map(|(number, key)| {
            let mut request = request.clone();
            request.resource_id = format!("room-{number}");
            let (site, product) = (&site, &product);
            async move { put(site, product, key, &format!("{round}{key}"), &request).await }
        });
        futures::future::join_all(calls)
    };
    all("a").await.iter().map(booked).for_each(drop);
    assert_eq!(site.get("/_sim/tokens").await["requests"], 1, "one for all");
    assert_eq!(site.statuses().await, [201; 10]);
    site.post("/_sim/tokens/expire", &Value::Null).await;
    all("b").await.iter().map(booked).for_each(drop);
    assert_eq!(site.get("/_sim/tokens").await["requests"], 2, "one more for all");
    let statuses = site.statuses().await;
    let refused = statuses.iter().filter(|status| **status == 401).count();
    let accepted = statuses.iter().filter(|status| **status == 200).count();
    assert!((1..=10).contains(&refused) && accepted == 10, "{statuses:?}");
}

#[tokio::test]
async fn a_product_that_refuses_every_token_does_not_cost_one_for_each_call() {
    let site = Site::start(oauth()).await;
    // Without the second header it answers 401 whatever the token is.
    let product = site.product(&HEADERS[..1], Some(SECRET));
    for number in 0..4 {
        let answer = put(&site, &product, "a", &number.to_string(), &single("room", 10, 11)).await;
        let Answer::Unavailable { why, stalled: true } = answer else { panic!("{answer:?}") };
        assert!(why.contains("spec.booking.oauth") && !why.contains("canary"), "{why}");
    }
    assert_eq!(site.get("/_sim/tokens").await["requests"], 2);
    assert_eq!(site.statuses().await, [401; 5]);
}

#[tokio::test]
async fn a_token_is_replaced_before_its_end() {
    let site = Site::start(Options { token_lifetime_seconds: 1, ..oauth() }).await;
    let product = site.product(&HEADERS, Some(SECRET));
    let replaced = async {
        for number in 0.. {
            booked(&site.client.put(&product, "a", &number.to_string(), &single("room", 10, 11)).await);
            if site.get("/_sim/tokens").await["requests"] == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), replaced).await.unwrap();
    assert!(!site.statuses().await.contains(&401), "no call was refused");
}

#[tokio::test]
async fn a_wrong_secret_or_scope_waits_for_a_person_and_a_new_secret_is_tried_at_once() {
    let site = Site::start(oauth()).await;
    let wrong = site.product(&HEADERS, Some("canary-wrong"));
    for _ in 0..3 {
        let answer = site.client.put(&wrong, "a", "1", &single("room", 10, 11)).await;
        let Answer::Unavailable { why, stalled: true } = answer else { panic!("{answer:?}") };
        assert!(why.contains("invalid_client") && why.contains("Secret login"), "{why}");
        assert!(!why.contains("canary"), "{why}");
    }
    assert_eq!(site.get("/_sim/tokens").await["requests"], 1, "not asked again at once");
    for scope in [None, Some("rooms")] {
        let product = site.asking(&HEADERS, Some(SECRET), scope);
        let answer = site.client.cancel(&product, "a").await;
        let Answer::Unavailable { why, stalled: true } = answer else { panic!("{answer:?}") };
        assert!(why.contains("spec.booking.oauth.scope"), "{why}");
    }
    assert_eq!(site.statuses().await, [0_u64; 0], "no call without a token");
    booked(&site.client.put(&site.product(&HEADERS, Some(SECRET)), "a", "1", &single("room", 10, 11)).await);
    let shown = format!("{:?} {wrong:?}", site.client);
    assert!(!shown.contains("canary"), "{shown}");
}

#[tokio::test]
async fn a_wait_is_the_one_that_was_asked_for() {
    let site = Site::start(Options { per_week: Some(1), ..Options::default() }).await;
    let product = site.product(&HEADERS, None);
    booked(&site.client.put(&product, "a", "1", &single("room", 10, 11)).await);
    let Answer::Later(wait) = site.client.cancel(&product, "a").await else { panic!() };
    assert!((604_000..=604_800).contains(&wait.as_secs()), "days are not cut short: {wait:?}");
    site.post("/_sim/faults", &json!({"status": 503, "count": 1, "retryAfterSeconds": 7})).await;
    assert_eq!(site.client.cancel(&product, "a").await, Answer::Later(Duration::from_secs(7)));
    site.post("/_sim/faults", &json!({"status": 429, "count": 1})).await;
    assert!(matches!(site.client.cancel(&product, "a").await, Answer::Unavailable { stalled: false, .. }));
}
