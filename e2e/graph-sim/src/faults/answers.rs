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
use uuid::Uuid;

use super::{Kind, Target};
use crate::{app::App, errors::GraphError, graph, login::LoginError};

impl Kind {
    /// Whether the request is carried out all the same.
    pub(crate) fn is_carried_out(self) -> bool {
        self == Self::Timeout
    }

    /// What is answered instead of doing anything; `None`: the connection breaks.
    pub(crate) fn answer(
        self,
        app: &App,
        target: &Target,
        client_request_id: Option<&str>,
    ) -> Option<Response> {
        let retry_after = HeaderValue::from(app.faults.retry_after());
        let unavailable = || {
            let message = "The service is temporarily unavailable.";
            GraphError::new(StatusCode::SERVICE_UNAVAILABLE, "serviceNotAvailable", message)
        };
        let operation = match target {
            Target::Subscriptions(operation) => operation,
            _ => "Read",
        };
        let error = match self {
            Self::Throttled => throttled(target).with_header(header::RETRY_AFTER, retry_after),
            Self::Unavailable => unavailable(),
            Self::UnavailableRetryAfter => unavailable().with_header(header::RETRY_AFTER, retry_after),
            Self::InternalServerError => failed(StatusCode::INTERNAL_SERVER_ERROR),
            Self::BadGateway => failed(StatusCode::BAD_GATEWAY),
            Self::GatewayTimeout => failed(StatusCode::GATEWAY_TIMEOUT),
            Self::ExtensionServiceUnavailable => GraphError::extension(
                StatusCode::FORBIDDEN,
                operation,
                "ServiceUnavailable",
                "Target resource 'mailbox' hosted on database 'database' is currently on backend 'Unknown'",
            ),
            Self::ExtensionUnauthorized => GraphError::extension(
                StatusCode::UNAUTHORIZED,
                operation,
                "Unauthorized",
                "Authentication failed",
            ),
            Self::InsufficientClaims => GraphError::new(
                StatusCode::FORBIDDEN,
                "insufficient_claims",
                "Access has been blocked by Conditional Access policies.",
            )
            .with_header(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"\", error=\"insufficient_claims\""),
            ),
            Self::Unauthorized => GraphError::new(
                StatusCode::UNAUTHORIZED,
                "InvalidAuthenticationToken",
                "Access token has expired or is not yet valid.",
            ),
            Self::TokenThrottled => {
                let correlation = client_request_id.and_then(|id| Uuid::try_parse(id).ok());
                let error = LoginError::transient();
                let body = error.body(app.clock.now(), correlation).to_string();
                let headers = [
                    (header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8")),
                    (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-cache")),
                    (header::RETRY_AFTER, retry_after),
                ];
                return Some((error.status, headers, body).into_response());
            }
            Self::Timeout | Self::ConnectionReset => return None,
        };
        Some(graph::respond(app, client_request_id, Err(error)))
    }
}

/// Only mailboxes have that limit by name; the other bodies are unconfirmed (graph-facts §5).
fn throttled(target: &Target) -> GraphError {
    let (code, message) = match target {
        Target::Mailbox => ("ApplicationThrottled", "Application is over its MailboxConcurrency limit."),
        _ => ("TooManyRequests", "Too many requests."),
    };
    GraphError::new(StatusCode::TOO_MANY_REQUESTS, code, message)
}

fn failed(status: StatusCode) -> GraphError {
    GraphError::new(status, "UnknownError", "The upstream server failed.")
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
