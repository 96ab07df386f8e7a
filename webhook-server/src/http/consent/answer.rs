//! What the endpoint says: JSON, and never more than the page needs.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{register::Standing, status::time, token::Refused};

/// Every answer, and every value of the metric's label.
#[derive(Debug)]
pub(super) enum Answer {
    Created(Standing),
    Standing(Standing),
    /// How it stands.
    Status(Value),
    Withdrawn,
    /// The scope leaves withdrawals to support.
    NotAllowed,
    Refused(Refused),
    /// The body is not what is documented: the member and what is wrong with it.
    BadRequest(&'static str),
    TooLarge,
    MediaType,
    Timeout,
    /// The user read another notice than the one in force.
    NoticeOutdated {
        current: String,
    },
    /// For so long.
    RateLimited(Duration),
    Overloaded,
    /// API server, authority or audit do not answer.
    Unavailable,
}

impl Answer {
    pub(super) const LABELS: [&'static str; 15] = [
        "created",
        "standing",
        "status",
        "withdrawn",
        "not_allowed",
        "unauthorized",
        "forbidden",
        "bad_request",
        "too_large",
        "media_type",
        "timeout",
        "notice_outdated",
        "rate_limited",
        "overloaded",
        "unavailable",
    ];

    /// Label of the metric.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Created(_) => "created",
            Self::Standing(_) => "standing",
            Self::Status(_) => "status",
            Self::Withdrawn => "withdrawn",
            Self::NotAllowed => "not_allowed",
            Self::Refused(Refused::AppOnly) => "forbidden",
            Self::Refused(_) => "unauthorized",
            Self::BadRequest(_) => "bad_request",
            Self::TooLarge => "too_large",
            Self::MediaType => "media_type",
            Self::Timeout => "timeout",
            Self::NoticeOutdated { .. } => "notice_outdated",
            Self::RateLimited(_) => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = match self {
            Self::Created(standing) => (StatusCode::CREATED, Json(body(&standing))).into_response(),
            Self::Standing(standing) => (StatusCode::OK, Json(body(&standing))).into_response(),
            Self::Status(status) => Json(status).into_response(),
            Self::Withdrawn => StatusCode::NO_CONTENT.into_response(),
            Self::NotAllowed => {
                error(StatusCode::FORBIDDEN, "NotAllowed", "in this organisation support withdraws consents")
            }
            Self::Refused(Refused::AppOnly) => error(
                StatusCode::FORBIDDEN,
                "Forbidden",
                "the token must be a user's, with a delegated permission",
            ),
            Self::Refused(reason) => {
                let mut response =
                    error(StatusCode::UNAUTHORIZED, "Unauthorized", "a valid bearer token is required");
                // RFC 6750 §3.1: no error code where no token was sent.
                let challenge = if reason == Refused::Missing {
                    HeaderValue::from_static("Bearer")
                } else {
                    HeaderValue::from_static("Bearer error=\"invalid_token\"")
                };
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                response
            }
            Self::BadRequest(what) => error(StatusCode::BAD_REQUEST, "BadRequest", what),
            Self::TooLarge => {
                error(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", "the body must not exceed 4096 bytes")
            }
            Self::MediaType => {
                error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "MediaType", "the body must be application/json")
            }
            Self::Timeout => error(StatusCode::REQUEST_TIMEOUT, "Timeout", "the body did not arrive in time"),
            Self::NoticeOutdated { current } => {
                let error = json!({"code": "NoticeOutdated", "message": "the notice has changed: show the current one"});
                let body = json!({"error": error, "noticeVersion": current});
                (StatusCode::CONFLICT, Json(body)).into_response()
            }
            Self::RateLimited(wait) => {
                let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
                later(StatusCode::TOO_MANY_REQUESTS, "RateLimited", seconds)
            }
            Self::Overloaded => later(StatusCode::SERVICE_UNAVAILABLE, "Overloaded", 2),
            Self::Unavailable => later(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", 5),
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

fn body(standing: &Standing) -> serde_json::Value {
    json!({"consent": standing.name, "grantedAt": time(standing.granted_at)})
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": message}}))).into_response()
}

fn later(status: StatusCode, code: &str, seconds: u64) -> Response {
    let mut response = error(status, code, "try again later");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}
