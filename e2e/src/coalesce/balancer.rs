//! Stands where Graph calls, in front of two pods: each change that it is told of is told to the pods four times, over half a
//! minute, each time to either of them by chance.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use crate::{chance::Chance, system::System, tls_listener::TlsListener};

/// How often each change is told of.
pub(super) const TIMES: usize = 4;
/// Over how long.
pub(super) const SPREAD: Duration = Duration::from_secs(30);
/// Wait before a pod that did not take a notification is called again.
const AGAIN: Duration = Duration::from_millis(500);

struct Inner {
    http: reqwest::Client,
    /// Base URLs.
    pods: Vec<String>,
    chance: Mutex<Chance>,
    /// Resource and version of the changes known.
    changes: Mutex<HashSet<(String, String)>>,
    told: AtomicUsize,
}

/// The running balancer. Clones are the same.
#[derive(Clone)]
pub(super) struct Balancer(Arc<Inner>);

impl Balancer {
    pub(super) async fn start(system: &System, pods: Vec<String>) -> anyhow::Result<Self> {
        let balancer = Self(Arc::new(Inner {
            http: system.webhook_client()?,
            pods,
            chance: Mutex::new(Chance::new(20_261_127)),
            changes: Mutex::default(),
            told: AtomicUsize::new(0),
        }));
        let listener = TlsListener::at_public_url(system).await?;
        let app = Router::new().fallback(answer).with_state(balancer.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(balancer)
    }

    /// Changes that Graph told of.
    pub(super) fn changes(&self) -> usize {
        self.0.changes.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Notifications that a pod has taken.
    pub(super) fn told(&self) -> usize {
        self.0.told.load(Ordering::Relaxed)
    }

    fn below(&self, limit: usize) -> usize {
        self.0.chance.lock().unwrap_or_else(PoisonError::into_inner).below(limit)
    }

    /// Whether a notification tells of a change that was not known.
    fn is_news(&self, item: &Value) -> bool {
        let text = |pointer| item.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let change = (text("/resource"), text("/resourceData/@odata.etag"));
        self.0.changes.lock().unwrap_or_else(PoisonError::into_inner).insert(change)
    }

    /// Sends to either pod.
    async fn send(&self, target: &str, body: Vec<u8>) -> Result<reqwest::Response, reqwest::Error> {
        let pod = self.0.pods.get(self.below(self.0.pods.len())).cloned().unwrap_or_default();
        let request = self.0.http.post(format!("{pod}{target}"));
        request.header(header::CONTENT_TYPE, "application/json; charset=utf-8").body(body).send().await
    }

    /// Tells of a change until a pod has taken it.
    async fn tell(self, target: String, item: Value, after: Duration) {
        tokio::time::sleep(after).await;
        let body = json!({"value": [item]}).to_string().into_bytes();
        while !self.send(&target, body.clone()).await.is_ok_and(|one| one.status() == StatusCode::ACCEPTED) {
            tokio::time::sleep(AGAIN).await;
        }
        self.0.told.fetch_add(1, Ordering::Relaxed);
    }
}

async fn answer(State(balancer): State<Balancer>, uri: Uri, body: Bytes) -> Response {
    let target = uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let is_change = uri.path().starts_with("/notifications/") && uri.query().is_none();
    if !is_change {
        let Ok(answer) = balancer.send(&target, body.to_vec()).await else {
            return StatusCode::BAD_GATEWAY.into_response();
        };
        let (status, kind) = (answer.status(), answer.headers().get(header::CONTENT_TYPE).cloned());
        let Ok(text) = answer.bytes().await else { return StatusCode::BAD_GATEWAY.into_response() };
        let mut response = (status, text).into_response();
        if let Some(kind) = kind {
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        return response;
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    for item in body.get("value").and_then(Value::as_array).into_iter().flatten() {
        // What Graph itself says more than once is among the four.
        if !balancer.is_news(item) {
            continue;
        }
        for number in 0..TIMES {
            let spread = usize::try_from(SPREAD.as_millis()).unwrap_or(usize::MAX);
            let after = if number == 0 { 0 } else { balancer.below(spread) };
            let after = Duration::from_millis(u64::try_from(after).unwrap_or_default());
            let mut item = item.clone();
            if let Some(kind) = item.get_mut("changeType").filter(|_| number > 0) {
                *kind = "updated".into();
            }
            tokio::spawn(balancer.clone().tell(target.clone(), item, after));
        }
    }
    StatusCode::ACCEPTED.into_response()
}
