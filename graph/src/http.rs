//! Settings of the HTTP client, and what a daemon hangs onto it: an observer for metrics, a gate before each send.

use std::{fmt, sync::Arc, time::Duration};

pub use crate::gate::{ConnectionGate, SendGate};
use crate::{audit::Purpose, budget::Budgets, unrequested::MemberClass};

/// How connections are made.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Certificate authorities in PEM, trusted besides the platform's own.
    pub extra_ca_pem: Option<Vec<u8>>,
    /// Limit for name resolution, TCP and TLS together.
    pub connect_timeout: Duration,
    /// Limit from the first byte sent to the last byte of the answer, connecting included.
    pub request_timeout: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            extra_ca_pem: None,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_mins(1),
        }
    }
}

/// The HTTP client cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// `extra_ca_pem` holds no certificate, or one that cannot be read.
    #[error("the extra CA file is not valid: expected one or more certificates in PEM ({cause})")]
    ExtraCa {
        /// What the parser said.
        cause: String,
    },
    /// TLS cannot be set up.
    #[error("the HTTP client cannot be set up: {cause}")]
    Setup {
        /// What the library said.
        cause: String,
    },
}

/// How a request ended, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// A success status and a complete body.
    Success,
    /// An error status.
    Refused,
    /// No complete answer.
    Failed,
    /// Not sent: the audit entry is not durable.
    AuditRefused,
    /// Not sent: the gate was shut.
    Held,
}

impl Outcome {
    /// Stable name, fit for a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::AuditRefused => "auditRefused",
            Self::Held => "held",
        }
    }
}

/// Sees each request once, when it has ended, and what an answer held beside what was asked for.
pub trait RequestObserver: Send + Sync {
    /// `status` is absent when there was no answer; `elapsed` counts from before the audit entry.
    fn observe(&self, operation: Purpose, status: Option<u16>, outcome: Outcome, elapsed: Duration);

    /// `count` members of that class were in an answer that nobody asked for; they were stripped. Anything but none is a violation
    /// of the promise of least data by the server.
    fn unrequested(&self, operation: Purpose, class: MemberClass, count: u64);
}

/// The HTTP client that all requests to Graph and to token endpoints share: TLS only, redirects refused.
#[expect(clippy::disallowed_types, reason = "the one place that sends to Graph, and to the token endpoints")]
#[derive(Clone)]
pub struct Http {
    pub(crate) client: reqwest::Client,
    pub(crate) request_timeout: Duration,
    pub(crate) observer: Option<Arc<dyn RequestObserver>>,
    pub(crate) gate: Option<Arc<dyn SendGate>>,
    pub(crate) budgets: Option<Arc<Budgets>>,
}

impl Http {
    /// Makes the client.
    ///
    /// # Errors
    /// The extra CA file is malformed, or TLS cannot be set up.
    pub fn new(settings: &HttpSettings) -> Result<Self, HttpError> {
        Self::build(settings, None)
    }

    /// Makes a client that asks `gate` before each send, and again when a connection was made for it.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn gated(settings: &HttpSettings, gate: Arc<dyn SendGate>) -> Result<Self, HttpError> {
        Self::build(settings, Some(gate))
    }

    #[expect(
        clippy::disallowed_types,
        reason = "the one place that sends to Graph, and to the token endpoints"
    )]
    fn build(settings: &HttpSettings, gate: Option<Arc<dyn SendGate>>) -> Result<Self, HttpError> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_rustls()
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            // What is sent again must pass audit and gate again.
            .retry(reqwest::retry::never())
            .connect_timeout(settings.connect_timeout)
            .pool_idle_timeout(Duration::from_secs(90))
            .user_agent(concat!("roomkeeper/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = &settings.extra_ca_pem {
            let certificates = reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|e| HttpError::ExtraCa { cause: e.to_string() })?;
            if certificates.is_empty() {
                return Err(HttpError::ExtraCa { cause: "no certificate found".to_owned() });
            }
            builder = builder.tls_certs_merge(certificates);
        }
        if let Some(gate) = &gate {
            builder = builder.connector_layer(ConnectionGate::new(Arc::clone(gate)));
        }
        let client = builder.build().map_err(|e| HttpError::Setup { cause: e.to_string() })?;
        Ok(Self { client, request_timeout: settings.request_timeout, observer: None, gate, budgets: None })
    }

    /// Reports each request to `observer`.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn RequestObserver>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Keeps to these budgets; without them, nothing is held back.
    #[must_use]
    pub fn with_budgets(mut self, budgets: Arc<Budgets>) -> Self {
        self.budgets = Some(budgets);
        self
    }

    /// Asks `gate` before each send, but not about connections: they may be made by whoever comes first for whoever comes next,
    /// so that a gate which asks who sends cannot answer.
    #[must_use]
    pub fn with_gate(mut self, gate: Arc<dyn SendGate>) -> Self {
        self.gate = Some(gate);
        self
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("request_timeout", &self.request_timeout).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_without_certificates_is_refused() {
        for pem in [&b""[..], b"not a certificate"] {
            let settings = HttpSettings { extra_ca_pem: Some(pem.to_vec()), ..HttpSettings::default() };
            let error = Http::new(&settings).unwrap_err();
            assert!(error.to_string().contains("expected one or more certificates in PEM"), "{error}");
        }
    }
}
