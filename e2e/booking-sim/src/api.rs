//! The booking calls.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    control::{Control, Logged},
    ledger::{Ledger, Wanted},
    refusal::Refusal,
};

/// Header that makes a repeated PUT safe.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

#[derive(Clone)]
pub(crate) struct Api {
    ledger: Arc<Mutex<Ledger>>,
    bucket: Option<Arc<Mutex<Bucket>>>,
    required: Option<(HeaderName, HeaderValue)>,
    control: Control,
}

/// Token bucket that holds a minute's worth.
struct Bucket {
    per_minute: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn take(&mut self, now: Instant) -> Result<(), u64> {
        let grown = now.duration_since(self.filled).as_secs_f64() * self.per_minute / 60.0;
        self.tokens = (self.tokens + grown).min(self.per_minute);
        self.filled = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let seconds = ((1.0 - self.tokens) * 60.0 / self.per_minute).ceil();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most 60, never negative"
        )]
        Err(seconds.clamp(1.0, 60.0) as u64)
    }
}

pub(crate) fn router(
    required: Option<(HeaderName, HeaderValue)>,
    per_minute: Option<u32>,
    control: Control,
) -> Router {
    let bucket = per_minute.map(|per_minute| {
        let per_minute = f64::from(per_minute.max(1));
        Arc::new(Mutex::new(Bucket { per_minute, tokens: per_minute, filled: Instant::now() }))
    });
    let api = Api { ledger: Arc::default(), bucket, required, control };
    Router::new()
        .route("/bookings", get(list))
        .route("/bookings/{key}", get(one).put(put).delete(delete))
        .layer(middleware::from_fn_with_state(api.clone(), admit))
        .with_state(api)
}

/// Header, rate and faults before each call; the log after it.
async fn admit(State(api): State<Api>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut entry = Logged {
        time: Timestamp::now(),
        method: request.method().to_string(),
        key: path.strip_prefix("/bookings/").map(str::to_owned),
        path,
        idempotency_key: request
            .headers()
            .get(IDEMPOTENCY_KEY)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned),
        status: 0,
    };
    let latency = api.control.latency();
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let response = match api.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    entry.status = response.status().as_u16();
    api.control.log(entry);
    response
}

impl Api {
    fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if let Some((name, value)) = &self.required
            && headers.get(name) != Some(value)
        {
            let message = format!("header {name} is missing or wrong");
            return Err(Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", message));
        }
        if let Some(refusal) = self.control.next_fault() {
            return Err(refusal);
        }
        if let Some(bucket) = &self.bucket {
            bucket.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()).map_err(
                |seconds| {
                    let mut refusal = Refusal::new(
                        StatusCode::TOO_MANY_REQUESTS,
                        "TooManyRequests",
                        "too many calls per minute",
                    );
                    refusal.retry_after = Some(seconds);
                    refusal
                },
            )?;
        }
        Ok(())
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn list(State(api): State<Api>) -> Json<Value> {
    Json(json!({"value": api.ledger().list()}))
}

async fn one(State(api): State<Api>, Path(key): Path<String>) -> Result<Json<Value>, Refusal> {
    api.ledger().get(&key).map(Json).ok_or_else(not_found)
}

async fn put(
    State(api): State<Api>,
    Path(key): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    check_key(&key)?;
    let json = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
    });
    if !json {
        let message = "Content-Type must be application/json";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message));
    }
    let idempotency = headers
        .get(IDEMPOTENCY_KEY)
        .and_then(|value| value.to_str().ok())
        .filter(|value| (1..=256).contains(&value.len()))
        .ok_or_else(|| Refusal::bad_request("header Idempotency-Key of 1 to 256 characters is required"))?;
    let value: Value =
        serde_json::from_slice(&body).map_err(|_| Refusal::bad_request("the body is no JSON"))?;
    let wanted: Wanted =
        serde_json::from_value(value).map_err(|error| Refusal::invalid(error.to_string()))?;
    wanted.check()?;
    let (status, body) = api.ledger().put(&key, idempotency, wanted)?;
    Ok((status, Json(body)))
}

async fn delete(State(api): State<Api>, Path(key): Path<String>) -> Result<StatusCode, Refusal> {
    if api.ledger().delete(&key) { Ok(StatusCode::NO_CONTENT) } else { Err(not_found()) }
}

fn not_found() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "NotFound", "no booking has this key")
}

fn check_key(key: &str) -> Result<(), Refusal> {
    let good = (1..=128).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if good {
        Ok(())
    } else {
        Err(Refusal::bad_request("the key must have 1 to 128 letters, digits, '-', '_' or '.'"))
    }
}
