//! Errors of the API: a status, and `{"error":{"code","message"}}`.

use std::future::{Ready, ready};

use axum::{
    Json,
    extract::rejection::BytesRejection,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// An error answer.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// Whole seconds.
    pub(crate) retry_after: Option<u32>,
    /// Value of `WWW-Authenticate`.
    pub(crate) challenge: Option<&'static str>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None, challenge: None }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message)
    }

    /// For a method that a path does not have.
    pub(crate) fn method() -> Ready<Self> {
        let message = "this path has no such method";
        ready(Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message))
    }

    /// For a path that is not there.
    pub(crate) fn path() -> Ready<Self> {
        ready(Self::new(StatusCode::NOT_FOUND, "NotFound", "no such path"))
    }
}

impl From<BytesRejection> for Refusal {
    fn from(rejection: BytesRejection) -> Self {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Self::new(rejection.status(), "PayloadTooLarge", "the body has more than 256 KiB")
        } else {
            Self::bad_request("the body ended early")
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response =
            (self.status, Json(json!({"error": {"code": self.code, "message": self.message}})))
                .into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(challenge) = self.challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}
