//! `POST /api/scopes/{namespace}/{name}/consent`: a user's consent, proven by the user's own token.
//!
//! It creates a ConsentRecord and nothing else. A token is refused before anything outside is asked wherever that is
//! possible; an unknown scope answers like a bad token, so that nobody learns which scopes exist.

mod answer;
mod keys;
mod register;
mod token;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, header},
    response::{IntoResponse as _, Response},
    routing::post,
};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use jiff::Timestamp;
use kube::Client;
use prometheus::{IntCounterVec, Opts, Registry};
use roomkeeper_graph::{UserId, audit::AuditSink, http::Http};
use roomkeeper_service::scope_access::AllowedHosts;
use serde::Deserialize;
use tokio::{sync::Semaphore, time::timeout};

use self::{
    answer::Answer,
    keys::{NoKey, TenantKeys},
    register::{Grant, Register, RegisterError},
    token::{Expected, Presented, Refused, User},
};

/// Largest body, in bytes.
const MAX_BODY: usize = 4 * 1024;
/// For a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests at a time; a consent is a rare thing.
const MAX_IN_FLIGHT: usize = 64;
/// Consents of one user at once, and then per minute.
const BURST: NonZeroU32 = NonZeroU32::new(10).unwrap();
const PER_MINUTE: NonZeroU32 = NonZeroU32::new(20).unwrap();
/// Users remembered for the rate before those at rest are forgotten.
const USERS_KEPT: usize = 10_000;
/// Longest version that a record can hold, in characters.
const MAX_VERSION: usize = 64;

/// Requests by outcome.
#[derive(Clone, Debug)]
pub struct ConsentMetrics {
    requests: IntCounterVec,
}

impl ConsentMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("roomkeeper_consent_requests_total", "Requests to the consent endpoint"),
            &["outcome"],
        )?;
        for label in Answer::LABELS {
            requests.with_label_values(&[label]);
        }
        registry.register(Box::new(requests.clone()))?;
        Ok(Self { requests })
    }
}

/// All that the endpoint needs; clones share it.
#[derive(Clone)]
pub struct ConsentState(Arc<Inner>);

struct Inner {
    keys: TenantKeys,
    register: Register,
    metrics: ConsentMetrics,
    rate: DefaultKeyedRateLimiter<UserId>,
    in_flight: Semaphore,
}

impl ConsentState {
    /// The endpoint over the API server behind `client`; signing keys are read through `http`.
    pub fn new(
        client: Client,
        http: Http,
        audit: Arc<dyn AuditSink>,
        allowed_hosts: AllowedHosts,
        metrics: ConsentMetrics,
    ) -> Self {
        Self(Arc::new(Inner {
            keys: TenantKeys::new(http, Arc::clone(&audit), allowed_hosts),
            register: Register::new(client, audit),
            metrics,
            rate: RateLimiter::keyed(Quota::per_minute(PER_MINUTE).allow_burst(BURST)),
            in_flight: Semaphore::new(MAX_IN_FLIGHT),
        }))
    }
}

/// What the page sends.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Ticked {
    notice_version: String,
    #[serde(default)]
    add_in_version: Option<String>,
}

/// The route of the endpoint, without any prefix of the public URL.
pub fn router(state: ConsentState) -> Router {
    Router::new().route("/api/scopes/{namespace}/{name}/consent", post(consent)).with_state(state)
}

async fn consent(
    State(ConsentState(state)): State<ConsentState>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Response {
    let answer = match state.in_flight.try_acquire() {
        Ok(_permit) => state.take(path.ok(), request).await.unwrap_or_else(|answer| answer),
        Err(_) => Answer::Overloaded,
    };
    if let Answer::Refused(reason) = &answer {
        tracing::warn!(reason = reason.as_str(), "a consent was refused");
    }
    state.metrics.requests.with_label_values(&[answer.label()]).inc();
    answer.into_response()
}

impl Inner {
    async fn take(&self, path: Option<Path<(String, String)>>, request: Request) -> Result<Answer, Answer> {
        let (parts, body) = request.into_parts();
        let token = bearer(&parts.headers).map_err(Answer::Refused)?;
        let presented = Presented::read(token).map_err(Answer::Refused)?;
        let Some(Path((namespace, name))) =
            path.filter(|Path((namespace, name))| is_name(namespace) && is_name(name))
        else {
            return Err(Answer::Refused(Refused::UnknownScope));
        };
        let scope = self.register.scope(&namespace, &name).await.map_err(|error| unavailable(&error))?;
        let scope = scope.ok_or(Answer::Refused(Refused::UnknownScope))?;
        let expected = Expected { tenant_id: &scope.spec.tenant_id, audience: &scope.spec.add_in.audience };
        let user = self.user(&presented, &scope, expected).await?;
        self.within_rate(user.id)?;

        let ticked = read(&parts.headers, body).await?;
        if ticked.notice_version != scope.spec.consent.notice_version {
            return Err(Answer::NoticeOutdated { current: scope.spec.consent.notice_version.clone() });
        }
        let grant =
            Grant { user, notice_version: ticked.notice_version, add_in_version: ticked.add_in_version };
        let standing = self
            .register
            .grant(&namespace, &scope, &grant, Timestamp::now())
            .await
            .map_err(|error| unavailable(&error))?;
        if standing.created {
            tracing::info!(user = grant.user.id.as_str(), consent = standing.name, "consent granted");
            Ok(Answer::Created(standing))
        } else {
            Ok(Answer::Standing(standing))
        }
    }

    async fn user(
        &self,
        presented: &Presented<'_>,
        scope: &roomkeeper_crds::AccessScope,
        expected: Expected<'_>,
    ) -> Result<User, Answer> {
        presented.plausible(expected, Timestamp::now()).map_err(Answer::Refused)?;
        let found = self.keys.key(scope, &presented.kid).await.map_err(|none| match none {
            NoKey::Unknown => Answer::Refused(Refused::UnknownKey),
            NoKey::Unavailable => Answer::Unavailable,
        })?;
        presented.verify(expected, &found.issuer, &found.key, Timestamp::now()).map_err(Answer::Refused)
    }

    fn within_rate(&self, user: UserId) -> Result<(), Answer> {
        if self.rate.len() > USERS_KEPT {
            self.rate.retain_recent();
        }
        self.rate.check_key(&user).map_err(|_| Answer::RateLimited)
    }
}

fn unavailable(error: &RegisterError) -> Answer {
    tracing::warn!(%error, "a consent could not be taken");
    Answer::Unavailable
}

/// The one bearer token of the request.
fn bearer(headers: &HeaderMap) -> Result<&str, Refused> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return Err(Refused::Missing) };
    let value = value.to_str().map_err(|_| Refused::Malformed)?;
    let (scheme, token) = value.split_once(' ').ok_or(Refused::Missing)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(Refused::Missing) }
}

/// Only what can be the name of an object reaches a URL of the API server.
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    (1..=253).contains(&text.len())
        && text.bytes().all(plain)
        && !text.starts_with('.')
        && !text.contains("..")
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Ticked, Answer> {
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Answer::MediaType);
    }
    let bytes = match timeout(BODY_TIMEOUT, axum::body::to_bytes(body, MAX_BODY)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => return Err(Answer::TooLarge),
        Err(_elapsed) => return Err(Answer::Timeout),
    };
    let ticked: Ticked = serde_json::from_slice(&bytes).map_err(|_| {
        Answer::BadRequest(
            "the body must be {\"noticeVersion\": text, \"addInVersion\": text} without other members",
        )
    })?;
    if let Some(version) = &ticked.add_in_version
        && (version.is_empty()
            || version.chars().count() > MAX_VERSION
            || version.chars().any(char::is_control))
    {
        return Err(Answer::BadRequest("addInVersion must have 1 to 64 characters"));
    }
    Ok(ticked)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn exactly_one_bearer_token_is_taken() {
        assert_eq!(bearer(&headers(&["Bearer a.b.c"])), Ok("a.b.c"));
        assert_eq!(bearer(&headers(&["bearer a.b.c"])), Ok("a.b.c"));
        for none in [&[][..], &["Bearer"], &["Basic dTpw"], &["Bearer a", "Bearer b"]] {
            assert_eq!(bearer(&headers(none)), Err(Refused::Missing), "{none:?}");
        }
    }

    #[test]
    fn only_names_of_objects_reach_the_api_server() {
        for name in ["contoso", "a-1", "a.b"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "..", ".", "A", "a/b", "a%2fb", "a b", "a..b", &"a".repeat(254)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[tokio::test]
    async fn only_the_documented_body_is_taken() {
        let mut json = HeaderMap::new();
        json.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        let taken = read(&json, Body::from(r#"{"noticeVersion":"2026-01"}"#)).await.ok().unwrap();
        assert_eq!((taken.notice_version.as_str(), taken.add_in_version), ("2026-01", None));
        for (body, label) in [
            (String::new(), "bad_request"),
            ("[]".to_owned(), "bad_request"),
            (r#"{"addInVersion":"1"}"#.to_owned(), "bad_request"),
            (r#"{"noticeVersion":1}"#.to_owned(), "bad_request"),
            (r#"{"noticeVersion":"1","userId":"x"}"#.to_owned(), "bad_request"),
            (r#"{"noticeVersion":"1","addInVersion":""}"#.to_owned(), "bad_request"),
            (format!(r#"{{"noticeVersion":"1","addInVersion":"{}"}}"#, "1".repeat(65)), "bad_request"),
            (" ".repeat(MAX_BODY + 1), "too_large"),
        ] {
            let answer = read(&json, Body::from(body.clone())).await.err().unwrap();
            assert_eq!(answer.label(), label, "{body}");
        }
        let answer = read(&HeaderMap::new(), Body::from("{}")).await.err().unwrap();
        assert_eq!(answer.label(), "media_type");
    }
}
