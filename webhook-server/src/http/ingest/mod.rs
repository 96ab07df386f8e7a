//! Notifications of Graph: bounded, verified, durable, then answered.
//!
//! `POST /notifications/{key id}/{uid}` and `POST /lifecycle/{key id}/{uid}`. The answer to a valid notification is 202, and
//! it leaves only after the queue's commit; when the queue cannot store it, 503, so that Graph sends it again. Items that
//! are not ours are dropped and counted, and answered no differently: a stranger learns nothing, and Graph does not repeat
//! what would be dropped again. Neither bodies nor clientStates nor tokens nor ids are logged.

mod body;
mod envelope;
mod handshake;
mod origin;
mod resource;

use self::body::Unread;
use self::envelope::{BadEnvelope, NotTaken};
use crate::metrics::ingest::{Dropped, IngestMetrics, Reason};
use crate::queue::{AppendError, Item, Queue};
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub use self::origin::{OriginCheck, OriginError};

/// What one request, and all together, may take.
#[derive(Clone, Copy, Debug)]
pub struct IngestLimits {
    /// Bytes of a body; beyond, 413.
    pub max_body_bytes: usize,
    /// Notifications in one body; beyond, 413.
    pub max_items: usize,
    /// For a body to arrive; beyond, 408.
    pub body_timeout: Duration,
    /// For the queue to store; beyond, 503. Graph waits for three seconds at the first attempt.
    pub append_timeout: Duration,
    /// Requests being read or stored; beyond, 503.
    pub max_in_flight: usize,
}

impl Default for IngestLimits {
    fn default() -> Self {
        Self {
            max_body_bytes: 1 << 20,
            max_items: 1000,
            body_timeout: Duration::from_secs(5),
            append_timeout: Duration::from_secs(8),
            max_in_flight: 512,
        }
    }
}

/// Seconds that a refused sender is asked to wait.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");
/// Longest key id or uid in a URL.
const MAX_SEGMENT: usize = 64;

/// All that the ingest needs; clones share it.
#[derive(Clone)]
pub struct IngestState(Arc<Inner>);

struct Inner {
    queue: Arc<dyn Queue>,
    origins: Arc<dyn OriginCheck>,
    metrics: IngestMetrics,
    limits: IngestLimits,
    in_flight: Semaphore,
}

impl IngestState {
    /// The ingest into `queue` of what `origins` takes for ours.
    pub fn new(
        queue: Arc<dyn Queue>,
        origins: Arc<dyn OriginCheck>,
        metrics: IngestMetrics,
        limits: IngestLimits,
    ) -> Self {
        let in_flight = Semaphore::new(limits.max_in_flight);
        Self(Arc::new(Inner { queue, origins, metrics, limits, in_flight }))
    }
}

/// The routes of the ingest, without any prefix of the public URL.
pub fn router(state: IngestState) -> Router {
    Router::new()
        .route("/notifications/{key_id}/{uid}", post(receive))
        .route("/lifecycle/{key_id}/{uid}", post(receive))
        .with_state(state)
}

async fn receive(
    State(IngestState(state)): State<IngestState>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Response {
    let began = Instant::now();
    // Items of several subscriptions come in one POST, so the URL says nothing about them: only its form is checked.
    if !path.is_ok_and(|Path((key_id, uid))| is_segment(&key_id) && is_segment(&uid)) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let (reason, response) = match handshake::token(request.uri().query()) {
        Some(Ok(token)) => (Reason::Validation, read_back(token)),
        Some(Err(_)) => (Reason::BadValidation, StatusCode::BAD_REQUEST.into_response()),
        None => {
            let reason = match state.take(request).await {
                Ok(reason) | Err(reason) => reason,
            };
            (reason, answer(reason))
        }
    };
    state.metrics.answered(response.status(), reason, began.elapsed());
    response
}

impl Inner {
    async fn take(&self, request: Request) -> Result<Reason, Reason> {
        let _permit = self.in_flight.try_acquire().map_err(|_| Reason::Overloaded)?;
        let (parts, body) = request.into_parts();
        if !body::is_json(&parts.headers) {
            return Err(Reason::MediaType);
        }
        let IngestLimits { max_body_bytes, max_items, body_timeout, .. } = self.limits;
        let body = body::read(&parts.headers, body, max_body_bytes, body_timeout).await;
        let body = body.map_err(|unread| match unread {
            Unread::TooLarge => Reason::TooLarge,
            Unread::TooSlow => Reason::Timeout,
            Unread::Broken => Reason::Malformed,
        })?;
        self.metrics.body(body.len());
        let raw = envelope::split(&body, max_items).map_err(|bad| match bad {
            BadEnvelope::NotJson => Reason::Malformed,
            BadEnvelope::TooManyItems => Reason::TooLarge,
        })?;

        let received_at = Timestamp::now();
        let mut items = Vec::with_capacity(raw.len());
        let (mut dropped, mut looked_again) = (0_usize, false);
        for raw in raw {
            let mut item = envelope::item(raw, &*self.origins, received_at);
            if matches!(item, Err(NotTaken::Dropped(Dropped::UnknownKey))) && !looked_again {
                looked_again = self.origins.looked_again().await;
                if !looked_again {
                    return Err(Reason::NoKeys);
                }
                item = envelope::item(raw, &*self.origins, received_at);
            }
            match item {
                Ok(item) => items.push(item),
                // Nothing is stored yet, so the whole request can be sent again.
                Err(NotTaken::NoKeys) => return Err(Reason::NoKeys),
                Err(NotTaken::Dropped(reason)) => {
                    dropped += 1;
                    self.metrics.dropped(reason);
                }
            }
        }
        if dropped > 0 {
            tracing::debug!(dropped, kept = items.len(), "notifications dropped");
        }
        if items.is_empty() {
            return Ok(Reason::NothingValid);
        }
        self.store(items).await?;
        Ok(if dropped == 0 { Reason::Ok } else { Reason::PartlyDropped })
    }

    async fn store(&self, items: Vec<Item>) -> Result<(), Reason> {
        match timeout(self.limits.append_timeout, self.queue.append(items)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(AppendError::Full)) => Err(Reason::QueueFull),
            Ok(Err(AppendError::Storage)) | Err(_) => Err(Reason::Storage),
        }
    }
}

fn answer(reason: Reason) -> Response {
    let status = match reason {
        Reason::Ok | Reason::PartlyDropped | Reason::NothingValid => StatusCode::ACCEPTED,
        Reason::Validation => StatusCode::OK,
        Reason::BadValidation | Reason::Malformed => StatusCode::BAD_REQUEST,
        Reason::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Reason::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::Timeout => StatusCode::REQUEST_TIMEOUT,
        Reason::Overloaded | Reason::NoKeys | Reason::QueueFull | Reason::Storage => {
            return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, RETRY_AFTER_SECONDS)]).into_response();
        }
    };
    status.into_response()
}

/// The token as plain text and nothing else: whoever follows a crafted link must not get a page from it.
fn read_back(token: Vec<u8>) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, Body::from(token)).into_response()
}

fn is_segment(text: &str) -> bool {
    (1..=MAX_SEGMENT).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
