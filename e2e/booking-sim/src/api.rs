//! The booking calls.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{
        Path, Request, State,
        rejection::{BytesRejection, PathRejection},
    },
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    control::{Control, Logged},
    ledger::{Ledger, Wanted},
    oauth::OAuth,
    rate::{Bucket, Week},
    refusal::Refusal,
};

/// Header that makes a repeated PUT safe.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// For a client that begins a body and does not end it.
const BODY: Duration = Duration::from_secs(30);

/// What is asked of the calls.
pub(crate) struct Rules {
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) oauth: Option<OAuth>,
    pub(crate) per_minute: Option<NonZeroU32>,
    pub(crate) per_week: Option<NonZeroU32>,
    pub(crate) occurrences: NonZeroU32,
    pub(crate) log_bodies: bool,
}

#[derive(Clone)]
pub(crate) struct Api {
    ledger: Arc<Mutex<Ledger>>,
    rules: Arc<Rules>,
    bucket: Option<Arc<Mutex<Bucket>>>,
    week: Option<Arc<Mutex<Week>>>,
    control: Control,
    shutdown: CancellationToken,
}

/// What a PUT said, on the way from the call to the log.
#[derive(Clone)]
struct Sent(Bytes);

pub(crate) fn router(rules: Rules, control: Control, shutdown: CancellationToken) -> Router {
    let bucket = rules.per_minute.map(|limit| Arc::new(Mutex::new(Bucket::new(limit, Instant::now()))));
    let week = rules.per_week.map(|limit| Arc::new(Mutex::new(Week::new(limit))));
    let api = Api { ledger: Arc::default(), rules: Arc::new(rules), bucket, week, control, shutdown };
    Router::new()
        .route("/bookings", get(list))
        .route("/bookings/{key}", get(one).put(put).delete(delete))
        .method_not_allowed_fallback(Refusal::method)
        .layer(middleware::from_fn_with_state(api.clone(), admit))
        .with_state(api)
}

/// Header, faults and rate before each call; the log after it. A client that hangs up does not undo what it asked for: the work goes on
/// in a task of its own, and only the answer is lost.
async fn admit(State(api): State<Api>, request: Request, next: Next) -> Response {
    let work = tokio::spawn(async move {
        let mut entry = Logged::arrived(&request);
        let response = match api.check(&request) {
            Ok(()) => tokio::time::timeout(BODY, next.run(request)).await.unwrap_or_else(|_elapsed| {
                Refusal::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", "the body did not end in time")
                    .into_response()
            }),
            Err(refusal) => refusal.into_response(),
        };
        entry.status = response.status().as_u16();
        let sent = response.extensions().get::<Sent>();
        entry.body = sent.map(|Sent(body)| String::from_utf8_lossy(body).into_owned());
        let latency = api.control.latency();
        api.control.log(entry);
        if !latency.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(latency) => {}
                () = api.shutdown.cancelled() => {}
            }
        }
        response
    });
    work.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a call was not answered");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal", "the call was not finished")
            .into_response()
    })
}

impl Logged {
    fn arrived(request: &Request) -> Self {
        let path = request.uri().path().to_owned();
        let idempotency_key = request.headers().get(IDEMPOTENCY_KEY);
        Self {
            time: Timestamp::now(),
            method: request.method().to_string(),
            key: path.strip_prefix("/bookings/").map(str::to_owned),
            path,
            idempotency_key: idempotency_key.and_then(|value| value.to_str().ok()).map(str::to_owned),
            status: 0,
            body: None,
        }
    }
}

impl Api {
    fn check(&self, request: &Request) -> Result<(), Refusal> {
        for (name, value) in &self.rules.headers {
            if !request.headers().get_all(name).iter().eq([value]) {
                let message = format!("header {name} is missing or wrong");
                return Err(Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", message));
            }
        }
        let now = Instant::now();
        if let Some(oauth) = &self.rules.oauth {
            oauth.admit(request.headers(), now)?;
        }
        if let Some(refusal) = self.control.next_fault() {
            return Err(refusal);
        }
        let too_many = |seconds, limit| {
            let message = format!("too many calls per {limit}: wait {seconds} s");
            let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
            refusal.retry_after = Some(seconds);
            refusal
        };
        let mut week = self.week.as_ref().map(|week| week.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(week) = &mut week {
            week.fits(now).map_err(|seconds| too_many(seconds, "week"))?;
        }
        if let Some(bucket) = &self.bucket {
            let taken = bucket.lock().unwrap_or_else(PoisonError::into_inner).take(now);
            taken.map_err(|seconds| too_many(seconds, "minute"))?;
        }
        if let Some(week) = &mut week {
            week.spend(now);
        }
        if request.uri().query().is_some() {
            return Err(Refusal::bad_request("the booking calls take no query parameters: leave them out"));
        }
        Ok(())
    }

    fn book(
        &self,
        key: Result<Path<String>, PathRejection>,
        headers: &HeaderMap,
        body: Result<Bytes, BytesRejection>,
    ) -> Result<(StatusCode, Value), Refusal> {
        let key = checked(key)?;
        if !is_json(headers) {
            let message = "Content-Type must be application/json";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message));
        }
        let idempotency = idempotency_key(headers)?;
        let wanted = Wanted::read(&body?, self.rules.occurrences)?;
        self.ledger().put(&key, idempotency, wanted, Timestamp::now())
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn list(State(api): State<Api>) -> Json<Value> {
    Json(json!({"value": api.ledger().list()}))
}

async fn one(
    State(api): State<Api>,
    key: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, Refusal> {
    let key = checked(key)?;
    api.ledger().get(&key).map(Json).ok_or_else(not_found)
}

async fn put(
    State(api): State<Api>,
    key: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let sent = body.as_ref().ok().filter(|_| api.rules.log_bodies).cloned();
    let mut response = match api.book(key, &headers, body) {
        Ok((status, booking)) => (status, Json(booking)).into_response(),
        Err(refusal) => refusal.into_response(),
    };
    if let Some(body) = sent {
        response.extensions_mut().insert(Sent(body));
    }
    response
}

async fn delete(
    State(api): State<Api>,
    key: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Refusal> {
    let key = checked(key)?;
    if api.ledger().delete(&key) { Ok(StatusCode::NO_CONTENT) } else { Err(not_found()) }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

fn idempotency_key(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let value = values.next().and_then(|value| value.to_str().ok());
    value
        .filter(|value| (1..=256).contains(&value.len()) && values.next().is_none())
        .ok_or_else(|| Refusal::bad_request("one header Idempotency-Key of 1 to 256 characters is required"))
}

fn not_found() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "NotFound", "no booking has this key")
}

fn checked(key: Result<Path<String>, PathRejection>) -> Result<String, Refusal> {
    let good = |key: &str| {
        (1..=128).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    match key {
        Ok(Path(key)) if good(&key) => Ok(key),
        _ => Err(Refusal::bad_request("the key must have 1 to 128 letters, digits, '-', '_' or '.'")),
    }
}
