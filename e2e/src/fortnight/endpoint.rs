//! The endpoint that Graph calls: it passes Graph's validation, most of the time, and hands on what Graph says about the life of
//! subscriptions. The webhook server itself cannot stand here, because it goes by the machine's time.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Query, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::Value;

use crate::{chance::Chance, system::System, tls_listener::TlsListener};

/// Whether the next one fails, and what has come.
#[derive(Debug)]
struct Inner {
    /// Validations that fail, in a thousand.
    fails: AtomicUsize,
    chance: Mutex<Chance>,
    failed: AtomicUsize,
    /// (subscription, lifecycle event).
    lifecycle: Mutex<Vec<(String, String)>>,
}

/// The running endpoint. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Endpoint(Arc<Inner>);

impl Endpoint {
    /// Serves where the operator tells Graph to call.
    pub(super) async fn start(system: &System, seed: u64) -> anyhow::Result<Self> {
        let endpoint = Self(Arc::new(Inner {
            fails: AtomicUsize::new(0),
            chance: Mutex::new(Chance::new(seed)),
            failed: AtomicUsize::new(0),
            lifecycle: Mutex::default(),
        }));
        let listener = TlsListener::at_public_url(system).await?;
        let app = Router::new().fallback(answer).with_state(endpoint.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(endpoint)
    }

    /// Has that many of a thousand validations fail.
    pub(super) fn fail(&self, in_a_thousand: usize) {
        self.0.fails.store(in_a_thousand, Ordering::Relaxed);
    }

    /// Validations that failed.
    pub(super) fn failed(&self) -> usize {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// What Graph said since the last call: subscription and event.
    pub(super) fn take_lifecycle(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.0.lifecycle.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn fails_now(&self) -> bool {
        let fails = self.0.fails.load(Ordering::Relaxed);
        // The first one in any case: few are asked for, and one of them is to fail.
        let first = fails > 0 && self.failed() == 0;
        let strikes = first || self.0.chance.lock().unwrap_or_else(PoisonError::into_inner).strikes(fails);
        if strikes {
            self.0.failed.fetch_add(1, Ordering::Relaxed);
        }
        strikes
    }

    fn note(&self, body: &Value) {
        let items = body.get("value").and_then(Value::as_array).into_iter().flatten();
        let text = |item: &Value, member: &str| item.get(member).and_then(Value::as_str).map(str::to_owned);
        let said = items.filter_map(|item| text(item, "subscriptionId").zip(text(item, "lifecycleEvent")));
        self.0.lifecycle.lock().unwrap_or_else(PoisonError::into_inner).extend(said);
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    validation_token: Option<String>,
}

async fn answer(State(endpoint): State<Endpoint>, Query(asked): Query<Asked>, body: Bytes) -> Response {
    match asked.validation_token {
        Some(_) if endpoint.fails_now() => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(token) => ([(header::CONTENT_TYPE, "text/plain")], token).into_response(),
        None => {
            endpoint.note(&serde_json::from_slice(&body).unwrap_or_default());
            StatusCode::ACCEPTED.into_response()
        }
    }
}
