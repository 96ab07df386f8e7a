//! The answers of faults, in the words of graph-facts §1.6 and §5.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use http_body::{Body as HttpBody, Frame};
use serde_json::json;

use super::Kind;
use crate::{app::App, errors::GraphError, graph};

impl Kind {
    /// Whether the request is carried out all the same.
    pub(crate) fn is_carried_out(self) -> bool {
        self == Self::Timeout
    }

    /// What is answered instead of doing anything; `None`: the connection breaks.
    pub(crate) fn answer(self, app: &App, client_request_id: Option<&str>) -> Option<Response> {
        let retry_after = HeaderValue::from(app.faults.retry_after());
        let error = match self {
            Self::Throttled => GraphError::new(
                StatusCode::TOO_MANY_REQUESTS,
                "ApplicationThrottled",
                "Application is over its MailboxConcurrency limit.",
            )
            .with_header(header::RETRY_AFTER, retry_after),
            Self::Unavailable => GraphError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "serviceNotAvailable",
                "The service is temporarily unavailable.",
            ),
            Self::BadGateway => {
                GraphError::new(StatusCode::BAD_GATEWAY, "UnknownError", "The upstream server failed.")
            }
            Self::ExtensionServiceUnavailable => GraphError::extension(
                StatusCode::FORBIDDEN,
                "Create",
                "ServiceUnavailable",
                "Target resource 'mailbox' hosted on database 'database' is currently on backend 'Unknown'",
            ),
            Self::Unauthorized => GraphError::new(
                StatusCode::UNAUTHORIZED,
                "InvalidAuthenticationToken",
                "Access token has expired or is not yet valid.",
            ),
            Self::TokenThrottled => {
                let body = json!({
                    "error": "temporarily_unavailable",
                    "error_description": "AADSTS90033: A transient error has occurred. Please try again.",
                    "error_codes": [90_033],
                });
                let headers = [
                    (header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8")),
                    (header::RETRY_AFTER, retry_after),
                ];
                return Some((StatusCode::SERVICE_UNAVAILABLE, headers, body.to_string()).into_response());
            }
            Self::Timeout | Self::ConnectionReset => return None,
        };
        Some(graph::respond(app, client_request_id, Err(error)))
    }
}

/// An answer that breaks off before its end, and the connection with it.
pub(crate) fn broken() -> Response {
    Response::new(Body::new(Broken))
}

struct Broken;

impl HttpBody for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::ConnectionReset, "as asked for"))))
    }
}
