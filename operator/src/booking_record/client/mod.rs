//! Client of a room-booking product's API: https only, allowed hosts only, no redirects, everything bounded.

mod answer;
mod product;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use reqwest::{Method, Response, header};
use roomkeeper_graph::http::ConnectionGate;
use serde::Serialize;

pub use self::{
    answer::Answer,
    product::{Product, ProductError, Products},
};
use crate::{lease::LeaderDeadline, metrics::Metrics};

/// Most bytes of an answer that are read.
const BODY_LIMIT: usize = 64 * 1024;
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

/// A booking as the product is told of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Id of the space at the product.
    pub resource_id: String,
    /// Start, RFC 3339 in UTC.
    pub start: String,
    /// End, RFC 3339 in UTC.
    pub end: String,
    /// Whether it lasts whole days: midnights of the place of the space, written as if in UTC.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all_day: bool,
    /// Subject; null where it is masked.
    pub subject: Option<String>,
    /// Address of the organizer.
    pub organizer: Option<String>,
    /// Addresses of the attendees.
    pub attendees: Vec<String>,
    /// Id of the event that is the same in every calendar.
    #[serde(rename = "iCalUId")]
    pub i_cal_u_id: String,
}

/// Sends requests to booking products.
#[derive(Clone, Debug)]
pub struct BookingClient {
    http: reqwest::Client,
    deadline: LeaderDeadline,
    metrics: Metrics,
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
        let mut builder = reqwest::Client::builder()
            .tls_backend_rustls()
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .connector_layer(ConnectionGate::new(Arc::new(deadline.clone())))
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
        Ok(Self { http: builder.build().map_err(ClientError::Setup)?, deadline, metrics })
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
        self.send(product, Method::PUT, key, Some((idempotency_key, body))).await
    }

    /// Cancels a booking; one that was never there counts as cancelled.
    pub async fn cancel(&self, product: &Product, key: &str) -> Answer {
        self.send(product, Method::DELETE, key, None).await
    }

    async fn send(
        &self,
        product: &Product,
        method: Method,
        key: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Answer {
        let Some(url) = product.booking(key) else {
            return Answer::Unavailable { why: "spec.booking.url takes no path".to_owned(), stalled: true };
        };
        let mut request = self.http.request(method.clone(), url).headers(product.headers().clone());
        if let Some((idempotency_key, body)) = body {
            request = request
                .header("Idempotency-Key", idempotency_key)
                .header(header::CONTENT_TYPE, "application/json")
                .body(body);
        }
        if self.deadline.check().is_err() {
            return Answer::Unavailable { why: "this replica is not the leader".to_owned(), stalled: false };
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                self.metrics.backend_request(None);
                return Answer::Unavailable { why: fault(&error).to_owned(), stalled: false };
            }
        };
        let status = response.status().as_u16();
        self.metrics.backend_request(Some(status));
        let retry_after = retry_after(&response);
        match read(response).await {
            Ok(body) => answer::read(&method, status, retry_after, &body),
            Err(why) => Answer::Unavailable { why: why.to_owned(), stalled: false },
        }
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

async fn read(mut response: Response) -> Result<Vec<u8>, &'static str> {
    let mut body = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|_| "the connection broke before the answer was complete")?
    {
        if body.len() + chunk.len() > BODY_LIMIT {
            return Err("the answer is larger than 64 KiB");
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn retry_after(response: &Response) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_hours(24);
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            httpdate::parse_http_date(value).ok()?.duration_since(SystemTime::now()).unwrap_or_default()
        }
    };
    Some(wait.min(LONGEST))
}
