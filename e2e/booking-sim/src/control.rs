//! What the product has no call for: the log of requests, and faults on demand.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;

/// Requests that the log keeps; older ones are dropped.
const LOG_LIMIT: usize = 200_000;

/// One booking call.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Logged {
    pub(crate) time: Timestamp,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) key: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) status: u16,
}

/// Faults to inject. Absent members stay as they are.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Faults {
    status: Option<u16>,
    count: Option<u32>,
    retry_after_seconds: Option<u64>,
    latency_ms: Option<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    log: Vec<Logged>,
    answers_left: u32,
    answer: Option<(StatusCode, Option<u64>)>,
    latency: Duration,
}

/// The control state. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Control(Arc<Mutex<Inner>>);

impl Control {
    pub(crate) fn log(&self, entry: Logged) {
        let mut inner = self.lock();
        if inner.log.len() >= LOG_LIMIT {
            inner.log.remove(0);
        }
        inner.log.push(entry);
    }

    pub(crate) fn latency(&self) -> Duration {
        self.lock().latency
    }

    /// The fault that the next booking call is answered with, if one is due.
    pub(crate) fn next_fault(&self) -> Option<Refusal> {
        let mut inner = self.lock();
        let (status, retry_after) = inner.answer?;
        inner.answers_left = inner.answers_left.checked_sub(1)?;
        let mut refusal = Refusal::new(status, "Injected", "injected by the control API");
        refusal.retry_after = retry_after;
        Some(refusal)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn router(control: Control) -> Router {
    Router::new()
        .route("/_sim/requests", get(async |State(control): State<Control>| Json(control.lock().log.clone())))
        .route("/_sim/faults", post(faults))
        .with_state(control)
}

async fn faults(State(control): State<Control>, body: Bytes) -> Result<StatusCode, Refusal> {
    let faults: Faults =
        serde_json::from_slice(&body).map_err(|error| Refusal::bad_request(error.to_string()))?;
    let mut inner = control.lock();
    if let Some(latency) = faults.latency_ms {
        inner.latency = Duration::from_millis(latency);
    }
    match (faults.status, faults.count) {
        (Some(status), Some(count)) => {
            let status = StatusCode::from_u16(status)
                .map_err(|_| Refusal::bad_request(format!("status {status} is no HTTP status")))?;
            inner.answer = Some((status, faults.retry_after_seconds));
            inner.answers_left = count;
        }
        (None, None) => {}
        _ => return Err(Refusal::bad_request("status and count go together")),
    }
    Ok(StatusCode::NO_CONTENT)
}
