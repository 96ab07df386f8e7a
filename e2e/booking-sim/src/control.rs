//! What the product has no call for: the log of requests, and faults on demand.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::StatusCode,
    routing::{get, post},
};
use jiff::Timestamp;
use serde::Serialize;

use crate::{members::Members, refusal::Refusal};

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
    /// What a PUT said, where bodies are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
}

/// Answers to give in place of the real ones.
#[derive(Clone, Copy, Debug)]
struct Fault {
    status: StatusCode,
    left: u32,
    retry_after: Option<u32>,
}

#[derive(Debug, Default)]
struct Inner {
    log: VecDeque<Logged>,
    fault: Option<Fault>,
    latency: Duration,
}

/// The control state. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Control(Arc<Mutex<Inner>>);

impl Control {
    pub(crate) fn log(&self, entry: Logged) {
        let mut inner = self.lock();
        if inner.log.len() >= LOG_LIMIT {
            inner.log.pop_front();
        }
        inner.log.push_back(entry);
    }

    pub(crate) fn latency(&self) -> Duration {
        self.lock().latency
    }

    /// The fault that the next booking call is answered with, if one is due.
    pub(crate) fn next_fault(&self) -> Option<Refusal> {
        let mut inner = self.lock();
        let fault = inner.fault.as_mut()?;
        fault.left = fault.left.checked_sub(1)?;
        let mut refusal = Refusal::new(fault.status, "Injected", "injected by the control API");
        refusal.retry_after = fault.retry_after;
        Some(refusal)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn router(control: Control) -> Router {
    Router::new()
        .route("/_sim/requests", get(requests))
        .route("/_sim/faults", post(faults))
        .method_not_allowed_fallback(Refusal::method)
        .with_state(control)
}

async fn requests(State(control): State<Control>) -> Json<VecDeque<Logged>> {
    Json(control.lock().log.clone())
}

/// Sets all that the body names, or nothing.
async fn faults(
    State(control): State<Control>,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Refusal> {
    let mut members = Members::read(&body?, StatusCode::BAD_REQUEST)?;
    let status = members.number("status", 400, 599)?;
    let count = members.number("count", 0, 1_000_000)?;
    let retry_after = members.number("retryAfterSeconds", 0, 86_400)?;
    let latency = members.number("latencyMs", 0, 600_000)?;
    members.end("status, count, retryAfterSeconds, latencyMs")?;
    let fault = match (status, count) {
        (Some(status), Some(left)) => {
            let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
            let status = status.ok_or_else(|| Refusal::bad_request("status is no HTTP status"))?;
            Some(Fault { status, left, retry_after })
        }
        (None, None) if retry_after.is_none() => None,
        (None, None) => return Err(Refusal::bad_request("retryAfterSeconds goes with status and count")),
        _ => return Err(Refusal::bad_request("status and count go together")),
    };
    if fault.is_none() && latency.is_none() {
        return Err(Refusal::bad_request("nothing is asked for: give status and count, or latencyMs"));
    }
    let mut inner = control.lock();
    if fault.is_some() {
        inner.fault = fault;
    }
    if let Some(latency) = latency {
        inner.latency = Duration::from_millis(latency.into());
    }
    Ok(StatusCode::NO_CONTENT)
}
