//! `azure_identity`'s way to the network: through [`Sender`], so that token requests are audited like any other.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use azure_core::{
    error::{Error, ErrorKind},
    http::{
        AsyncRawResponse, Body, HttpClient, Method, Request as AzureRequest, StatusCode, headers::Headers,
    },
};
use uuid::Uuid;

use crate::{
    audit::{Cause, Purpose},
    catalogue,
    error::{ArgumentError, GraphError},
    request::Request,
    send::{Attempt, Sender},
};

/// Carries one acquisition. The typed error is kept aside, since the library would turn it into text.
pub(super) struct AuditedTransport {
    sender: Arc<Sender>,
    cause: Cause,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: u32,
    client_request_id: Option<Uuid>,
    error: Option<GraphError>,
}

impl AuditedTransport {
    pub(super) fn new(sender: Arc<Sender>, cause: Cause) -> Arc<Self> {
        Arc::new(Self { sender, cause, seen: Mutex::default() })
    }

    pub(super) fn take_error(&self) -> Option<GraphError> {
        self.seen().error.take()
    }

    pub(super) fn client_request_id(&self) -> Option<Uuid> {
        self.seen().client_request_id
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self, error: GraphError) -> Error {
        self.seen().error = Some(error);
        Error::with_message(ErrorKind::Other, "no token")
    }
}

impl fmt::Debug for AuditedTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditedTransport")
    }
}

#[async_trait]
impl HttpClient for AuditedTransport {
    async fn execute_request(&self, request: &AzureRequest) -> azure_core::Result<AsyncRawResponse> {
        let Body::Bytes(form) = request.body() else {
            return Err(self.stop(unknown("a token request has a body in memory")));
        };
        if request.method() != Method::Post {
            return Err(self.stop(unknown("a token request is a POST")));
        }
        let number = {
            let mut seen = self.seen();
            seen.requests += 1;
            seen.requests
        };
        let attempt = Attempt { cause: &self.cause, number };
        let answer = self
            .sender
            .send(&Request::token(request.url().clone(), form.clone()), None, attempt)
            .await
            .map_err(|error| self.stop(error))?;
        self.seen().client_request_id = Some(answer.client_request_id);
        if !answer.is_success() {
            return Err(self.stop(GraphError::Token(Box::new(catalogue::token_refusal(&answer.error())))));
        }
        Ok(AsyncRawResponse::from_bytes(StatusCode::from(answer.status), Headers::new(), answer.body))
    }
}

fn unknown(rule: &'static str) -> GraphError {
    ArgumentError::Field { field: Purpose::Token.as_str(), rule }.into()
}
