//! Client of a room-booking product's API: https only, allowed hosts only, no redirects, everything bounded.

mod answer;
mod oauth;
mod product;
mod request;
mod secrets;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use reqwest::{Method, Response, header};
use roomkeeper_graph::http::{ConnectionGate, SendGate};

use self::oauth::{Token, TokenError, Tokens};
pub use self::{
    answer::Answer,
    product::{Product, ProductError, Products},
    request::{Occurrence, Request, Series},
    secrets::SecretField,
};
use crate::{lease::LeaderDeadline, metrics::Metrics};

/// Most bytes of an answer that are read: it repeats the booking, and a series is long.
const BODY_LIMIT: usize = 1024 * 1024;
/// Limit for name resolution, TCP and TLS together.
const CONNECT: Duration = Duration::from_secs(5);
/// Limit for a whole request.
const WHOLE: Duration = Duration::from_secs(30);

/// The client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The CA file holds no certificate.
    #[error("expected one or more certificates in PEM")]
    Ca,
    /// TLS cannot be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Setup(reqwest::Error),
}

/// Sends requests to booking products.
#[expect(clippy::disallowed_types, reason = "the booking product is called here, and no host of Microsoft")]
#[derive(Clone)]
pub struct BookingClient {
    http: reqwest::Client,
    gate: Arc<dyn SendGate>,
    metrics: Metrics,
    tokens: Tokens,
}

/// One call, as often as it is sent.
struct Call<'a> {
    method: Method,
    key: &'a str,
    /// Idempotency-Key and body.
    put: Option<(&'a str, Vec<u8>)>,
}

impl BookingClient {
    /// Makes the client; `extra_ca` is PEM that is trusted besides the platform's own authorities.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn new(
        extra_ca: Option<&[u8]>,
        deadline: LeaderDeadline,
        metrics: Metrics,
    ) -> Result<Self, ClientError> {
        Self::gated(extra_ca, Arc::new(deadline), metrics)
    }

    /// The same, with a gate of its own.
    ///
    /// # Errors
    /// See [`ClientError`].
    #[expect(
        clippy::disallowed_types,
        reason = "the booking product is called here, and no host of Microsoft"
    )]
    pub fn gated(
        extra_ca: Option<&[u8]>,
        gate: Arc<dyn SendGate>,
        metrics: Metrics,
    ) -> Result<Self, ClientError> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_rustls()
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .connector_layer(ConnectionGate::new(Arc::clone(&gate)))
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .user_agent(concat!("roomkeeper/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = extra_ca {
            let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| ClientError::Ca)?;
            if certificates.is_empty() {
                return Err(ClientError::Ca);
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder.build().map_err(ClientError::Setup)?;
        Ok(Self { http, gate, metrics, tokens: Tokens::default() })
    }

    /// Makes or changes a booking.
    pub async fn put(
        &self,
        product: &Product,
        key: &str,
        idempotency_key: &str,
        request: &Request,
    ) -> Answer {
        let body = serde_json::to_vec(request).unwrap_or_default();
        self.call(product, &Call { method: Method::PUT, key, put: Some((idempotency_key, body)) }).await
    }

    /// Cancels a booking; one that was never there counts as cancelled.
    pub async fn cancel(&self, product: &Product, key: &str) -> Answer {
        self.call(product, &Call { method: Method::DELETE, key, put: None }).await
    }

    /// Calls once, with a token where the product wants one. A token that it refuses is dropped, so that the next call gets
    /// another: every call that is sent counts in the quota, and this one was.
    async fn call(&self, product: &Product, call: &Call<'_>) -> Answer {
        let Some(login) = product.login() else { return self.send(product, call, None).await.1 };
        let token = match self.tokens.get(&self.http, &*self.gate, login).await {
            Ok(token) => token,
            Err(error) => return no_token(&error),
        };
        let (status, answer) = self.send(product, call, Some(&token)).await;
        let dropped = status == Some(401) && self.tokens.refused(login, &token).await;
        if dropped { Answer::TokenRefused } else { answer }
    }

    /// Sends once. The status is that of the product, if it answered.
    async fn send(&self, product: &Product, call: &Call<'_>, token: Option<&Token>) -> (Option<u16>, Answer) {
        let unavailable = |why: &str, stalled| Answer::Unavailable { why: why.to_owned(), stalled };
        let Some(url) = product.booking(call.key) else {
            return (None, unavailable("spec.booking.url takes no path", true));
        };
        let mut request = self.http.request(call.method.clone(), url).headers(product.headers().clone());
        match token.map(Token::authorization) {
            None => {}
            Some(Ok(value)) => request = request.header(header::AUTHORIZATION, value),
            Some(Err(_)) => return (None, unavailable("the token cannot be sent in a header", true)),
        }
        if let Some((idempotency_key, body)) = &call.put {
            request = request
                .header("Idempotency-Key", *idempotency_key)
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        if let Err(why) = self.gate.check() {
            return (None, unavailable(why, false));
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                self.metrics.backend_request(None);
                return (None, unavailable(fault(&error), false));
            }
        };
        let status = response.status().as_u16();
        self.metrics.backend_request(Some(status));
        let retry_after = retry_after(&response);
        let answer = match read(response, BODY_LIMIT).await {
            Ok(body) => answer::read(&call.method, status, retry_after, &body, token.is_some()),
            Err(why) => unavailable(why, false),
        };
        (Some(status), answer)
    }
}

impl std::fmt::Debug for BookingClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("BookingClient").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

fn no_token(error: &TokenError) -> Answer {
    match error {
        TokenError::Wait(wait) => Answer::Later(*wait),
        error => Answer::Unavailable { why: error.to_string(), stalled: error.is_stalled() },
    }
}

/// What went wrong, without the URL and anything else that the error quotes.
fn fault(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection to the server, or its certificate is not trusted"
    } else {
        "the request could not be sent"
    }
}

async fn read(mut response: Response, limit: usize) -> Result<Vec<u8>, &'static str> {
    let mut body = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|_| "the connection broke before the answer was complete")?
    {
        if body.len() + chunk.len() > limit {
            return Err("the answer is too large");
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn retry_after(response: &Response) -> Option<Duration> {
    // Longer than any limit per week or month asks for; what asks for more is taken for a mistake.
    const LONGEST: Duration = Duration::from_hours(31 * 24);
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            httpdate::parse_http_date(value).ok()?.duration_since(SystemTime::now()).unwrap_or_default()
        }
    };
    Some(wait.min(LONGEST))
}
