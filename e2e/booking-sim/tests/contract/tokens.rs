//! OAuth 2 client credentials: the token endpoint to the letter of RFC 6749, and calls that need a token.

use booking_sim::{OAuthClient, Options};
use reqwest::{Method, Response};
use serde_json::Value;

use crate::sim::{Sim, limited};

const FORM: &str = "application/x-www-form-urlencoded";
const GOOD: &str =
    "grant_type=client_credentials&client_id=roomkeeper&client_secret=s%3Acret%20%2B&scope=bookings";

fn options() -> Options {
    let client = OAuthClient { id: "roomkeeper".to_owned(), secret: "s:cret +".to_owned() };
    Options {
        oauth_client: Some(client),
        oauth_scope: Some("bookings rooms".to_owned()),
        ..Options::default()
    }
}

async fn ask(sim: &Sim, body: &str, basic: Option<&str>) -> Response {
    let mut call = sim.call(Method::POST, "/oauth2/token").header("Content-Type", FORM).body(body.to_owned());
    if let Some(credentials) = basic {
        let encoded = data_encoding::BASE64.encode(credentials.as_bytes());
        call = call.header("Authorization", format!("Basic {encoded}"));
    }
    call.send().await.unwrap()
}

async fn token(sim: &Sim) -> String {
    let answer: Value = ask(sim, GOOD, None).await.json().await.unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

async fn list(sim: &Sim, authorization: &str) -> Response {
    sim.call(Method::GET, "/bookings").header("Authorization", authorization).send().await.unwrap()
}

#[tokio::test]
async fn a_token_is_given_for_either_way_of_authentication() {
    let sim = Sim::start(options()).await;
    let posted = ask(&sim, GOOD, None).await;
    assert_eq!(posted.status(), 200);
    assert_eq!(
        (&posted.headers()["cache-control"], &posted.headers()["pragma"]),
        (&"no-store".parse().unwrap(), &"no-cache".parse().unwrap())
    );
    let posted: Value = posted.json().await.unwrap();
    assert_eq!((posted["token_type"].as_str(), posted["expires_in"].as_u64()), (Some("Bearer"), Some(3600)));
    assert_eq!(posted["scope"], "bookings");
    let form = "grant_type=client_credentials&scope=rooms+bookings&unknown=1&empty=";
    let basic: Value = ask(&sim, form, Some("roomkeeper:s%3Acret+%2B")).await.json().await.unwrap();
    for answer in [&posted, &basic] {
        let bearer = format!("bearer {}", answer["access_token"].as_str().unwrap());
        assert_eq!(list(&sim, &bearer).await.status(), 200);
    }
    let counts = sim.read("/_sim/tokens").await;
    assert_eq!(counts, serde_json::json!({"requests": 2, "issued": 2, "good": 2}));
}

#[tokio::test]
async fn every_error_of_the_token_endpoint_has_its_name() {
    let sim = Sim::start(options()).await;
    let post = "client_id=roomkeeper&client_secret=s%3Acret+%2B";
    let with = |rest: &str| format!("{post}&{rest}");
    let basic = Some("roomkeeper:s%3Acret+%2B");
    let table = [
        (GOOD.replace("cret", "CRET"), None, 401, "invalid_client"),
        (GOOD.replace("roomkeeper", "other"), None, 401, "invalid_client"),
        ("grant_type=client_credentials".to_owned(), None, 401, "invalid_client"),
        (
            "grant_type=client_credentials&client_id=roomkeeper&client_secret=".to_owned(),
            None,
            401,
            "invalid_client",
        ),
        ("grant_type=client_credentials".to_owned(), Some("roomkeeper:wrong"), 401, "invalid_client"),
        ("grant_type=client_credentials".to_owned(), Some("roomkeeper"), 401, "invalid_client"),
        (GOOD.to_owned(), basic, 400, "invalid_request"),
        ("grant_type=client_credentials&client_id=other".to_owned(), basic, 400, "invalid_request"),
        (with("scope=bookings"), None, 400, "invalid_request"),
        (with("grant_type=&scope=bookings"), None, 400, "invalid_request"),
        (with("grant_type=client_credentials&grant_type=client_credentials"), None, 400, "invalid_request"),
        (with("grant_type=password&scope=bookings"), None, 400, "unsupported_grant_type"),
        (with("grant_type=client_credentials"), None, 400, "invalid_scope"),
        (with("grant_type=client_credentials&scope=other"), None, 400, "invalid_scope"),
        (with("grant_type=client_credentials&scope=bookings+other"), None, 400, "invalid_scope"),
    ];
    for (body, basic, status, error) in table {
        let refused = ask(&sim, &body, basic).await;
        assert_eq!(refused.status(), status, "{body}");
        assert_eq!(refused.headers()["cache-control"], "no-store");
        let challenged = refused.headers().contains_key("www-authenticate");
        assert_eq!(challenged, status == 401 && basic.is_some(), "{body}");
        let refused: Value = refused.json().await.unwrap();
        assert_eq!(refused["error"], error, "{body}");
    }
    let plain = sim.call(Method::POST, "/oauth2/token").body(GOOD).send().await.unwrap();
    assert_eq!(plain.json::<Value>().await.unwrap()["error"], "invalid_request", "another content type");
    let query = sim.call(Method::POST, "/oauth2/token?a=b").header("Content-Type", FORM).body(GOOD);
    assert_eq!(query.send().await.unwrap().status(), 400);
    assert_eq!(sim.call(Method::GET, "/oauth2/token").send().await.unwrap().status(), 405);
    // Without any scope there, none may be asked for.
    let sim = Sim::start(Options { oauth_scope: None, ..options() }).await;
    assert_eq!(ask(&sim, GOOD, None).await.json::<Value>().await.unwrap()["error"], "invalid_scope");
    assert_eq!(ask(&sim, &with("grant_type=client_credentials"), None).await.status(), 200);
}

#[tokio::test]
async fn calls_need_a_token_that_is_not_past_its_time() {
    let sim = Sim::start(options()).await;
    let bearer = format!("Bearer {}", token(&sim).await);
    for (authorization, challenge) in
        [("Basic eDp5", "Bearer"), ("Bearer", "Bearer"), ("Bearer unknown", "Bearer error=\"invalid_token\"")]
    {
        let refused = list(&sim, authorization).await;
        assert_eq!(refused.status(), 401);
        assert_eq!(refused.headers()["www-authenticate"], challenge);
    }
    let none = sim.call(Method::GET, "/bookings").send().await.unwrap();
    assert_eq!(
        (none.status().as_u16(), none.headers()["www-authenticate"].to_str().unwrap()),
        (401, "Bearer")
    );
    assert_eq!(list(&sim, &bearer).await.status(), 200);
    assert_eq!(sim.call(Method::POST, "/_sim/tokens/expire").send().await.unwrap().status(), 204);
    assert_eq!(list(&sim, &bearer).await.status(), 401);
    let short = Sim::start(Options { token_lifetime_seconds: 1, ..options() }).await;
    let bearer = format!("Bearer {}", token(&short).await);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while list(&short, &bearer).await.status() == 200 {
        assert!(tokio::time::Instant::now() < deadline, "it never ends");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_token_and_a_header_may_both_be_needed() {
    let sim = Sim::start(Options {
        require_headers: limited(&[("x-api-key", "k")], None).require_headers,
        ..options()
    })
    .await;
    let bearer = format!("Bearer {}", token(&sim).await);
    assert_eq!(list(&sim, &bearer).await.status(), 401);
    let both = sim.call(Method::GET, "/bookings").header("Authorization", &bearer).header("X-Api-Key", "k");
    assert_eq!(both.send().await.unwrap().status(), 200);
}
