//! Client credentials: `POST /oauth2/token` (RFC 6749 section 4.4), and the tokens that booking calls then need (RFC 6750).

mod client;
mod form;

use std::{
    collections::HashMap,
    fmt,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Request, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use self::{client::Attempt, form::Form};
use crate::{OAuthClient, refusal::Refusal};

/// Tokens that are good at a time; beyond, the one that ends first is dropped.
const TOKENS: usize = 10_000;

#[derive(Default)]
struct Issued {
    /// When each ends.
    ends: HashMap<String, Instant>,
    requests: u64,
    good_answers: u64,
}

/// Shared by its clones.
#[derive(Clone)]
pub(crate) struct OAuth {
    client: OAuthClient,
    scope: Option<String>,
    lifetime: NonZeroU32,
    issued: Arc<Mutex<Issued>>,
}

/// Never shows the secret.
impl fmt::Debug for OAuthClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OAuthClient").field("id", &self.id).finish_non_exhaustive()
    }
}

/// An error of the token endpoint.
struct Denied {
    error: &'static str,
    description: &'static str,
}

impl OAuth {
    pub(crate) fn new(client: OAuthClient, scope: Option<String>, lifetime: NonZeroU32) -> Self {
        Self { client, scope, lifetime, issued: Arc::default() }
    }

    /// Whether a booking call has a token that is good now.
    pub(crate) fn admit(&self, headers: &HeaderMap, now: Instant) -> Result<(), Refusal> {
        let refuse = |challenge: &'static str, message: &str| {
            let mut refusal = Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized", message);
            refusal.challenge = Some(challenge);
            Err(refusal)
        };
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return refuse("Bearer", "one header Authorization with a Bearer token is required");
        };
        let token = value.to_str().ok().and_then(|text| text.split_once(' '));
        let Some((_, token)) = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer")) else {
            return refuse("Bearer", "Authorization must be 'Bearer TOKEN'");
        };
        match self.lock().ends.get(token) {
            Some(end) if *end > now => Ok(()),
            _ => refuse(
                "Bearer error=\"invalid_token\"",
                "the token is unknown or past its time: get a new one",
            ),
        }
    }

    fn issue(&self, headers: &HeaderMap, query: bool, body: &[u8], now: Instant) -> Result<Value, Denied> {
        let invalid = |description| Denied { error: "invalid_request", description };
        if query {
            return Err(invalid("parameters belong in the body"));
        }
        let form = Form::read(headers, body).map_err(invalid)?;
        let attempt = Attempt::read(headers, &form)?;
        if !attempt.is(&self.client) {
            return Err(Denied { error: "invalid_client", description: "unknown client or wrong secret" });
        }
        match form.get("grant_type") {
            Some("client_credentials") => {}
            Some(_) => {
                let description = "only client_credentials is known";
                return Err(Denied { error: "unsupported_grant_type", description });
            }
            None => return Err(invalid("grant_type is missing")),
        }
        let mut known = self.scope.iter().flat_map(|scope| scope.split(' '));
        let wanted = form.get("scope").map(|scope| scope.split(' ').collect::<Vec<_>>());
        let good = match &wanted {
            Some(wanted) => wanted.iter().all(|one| known.clone().any(|scope| scope == *one)),
            None => known.next().is_none(),
        };
        if !good {
            return Err(Denied { error: "invalid_scope", description: "the scope is missing or unknown" });
        }
        let token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let mut issued = self.lock();
        issued.good_answers += 1;
        issued.ends.retain(|_, end| *end > now);
        if issued.ends.len() >= TOKENS {
            let first = issued.ends.iter().min_by_key(|(_, end)| **end).map(|(token, _)| token.clone());
            first.and_then(|first| issued.ends.remove(&first));
        }
        let lifetime = self.lifetime.get();
        issued.ends.insert(token.clone(), now + Duration::from_secs(lifetime.into()));
        let mut answer = json!({"access_token": token, "token_type": "Bearer", "expires_in": lifetime});
        if let (Some(wanted), Some(answer)) = (wanted, answer.as_object_mut()) {
            answer.insert("scope".to_owned(), json!(wanted.join(" ")));
        }
        Ok(answer)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Issued> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Denied {
    fn into_response(self, basic: bool) -> Response {
        let status =
            if self.error == "invalid_client" { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
        let body = json!({"error": self.error, "error_description": self.description});
        let mut response = (status, Json(body)).into_response();
        if basic && status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"booking-sim\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

pub(crate) fn router(oauth: OAuth) -> Router {
    let tokens = Router::new().route("/oauth2/token", post(token)).layer(middleware::from_fn(not_stored));
    Router::new()
        .merge(tokens)
        .route("/_sim/tokens", get(counts))
        .route("/_sim/tokens/expire", post(expire))
        .method_not_allowed_fallback(Refusal::method)
        .with_state(oauth)
}

/// Nothing between us and the client may keep a token.
async fn not_stored(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

async fn token(
    State(oauth): State<OAuth>,
    uri: axum::http::Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    oauth.lock().requests += 1;
    let issued = oauth.issue(&headers, uri.query().is_some(), &body?, Instant::now());
    let basic = headers.contains_key(header::AUTHORIZATION);
    Ok(issued.map_or_else(|denied| denied.into_response(basic), |answer| Json(answer).into_response()))
}

async fn counts(State(oauth): State<OAuth>) -> Json<Value> {
    let (issued, now) = (oauth.lock(), Instant::now());
    let good = issued.ends.values().filter(|end| **end > now).count();
    Json(json!({"requests": issued.requests, "issued": issued.good_answers, "good": good}))
}

async fn expire(State(oauth): State<OAuth>) -> StatusCode {
    oauth.lock().ends.clear();
    StatusCode::NO_CONTENT
}
