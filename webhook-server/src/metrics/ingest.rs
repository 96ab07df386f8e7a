//! What arrives on the public listener.

use axum::http::StatusCode;
use prometheus::{Error, Histogram, HistogramOpts, IntCounterVec, Opts, Registry, exponential_buckets};
use std::time::Duration;

/// Why a request was answered as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Everything in it is stored.
    Ok,
    /// Some of it is stored, the rest dropped for good.
    PartlyDropped,
    /// Nothing in it was worth storing.
    NothingValid,
    /// The validation handshake.
    Validation,
    /// A validation token that cannot be read back.
    BadValidation,
    /// Not JSON by its content type.
    MediaType,
    /// Body or list too large.
    TooLarge,
    /// The body did not arrive in time.
    Timeout,
    /// Not the JSON of a notification.
    Malformed,
    /// More requests in flight than are served.
    Overloaded,
    /// The keys of clientState are not loaded.
    NoKeys,
    /// The queue is full.
    QueueFull,
    /// The queue's storage failed or took too long.
    Storage,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::PartlyDropped => "partly_dropped",
            Self::NothingValid => "nothing_valid",
            Self::Validation => "validation",
            Self::BadValidation => "bad_validation",
            Self::MediaType => "media_type",
            Self::TooLarge => "too_large",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
            Self::Overloaded => "overloaded",
            Self::NoKeys => "no_keys",
            Self::QueueFull => "queue_full",
            Self::Storage => "storage",
        }
    }
}

/// Why one notification of a request was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// A member is missing or of the wrong type.
    Malformed,
    /// Its clientState is missing, malformed or forged.
    BadClientState,
    /// Its clientState was made with a key that is not in force.
    UnknownKey,
    /// Neither created, updated nor deleted.
    BadChangeType,
    /// Its resource is not an event of a user of that tenant.
    BadResource,
    /// A lifecycle event that is not known.
    UnknownLifecycleEvent,
}

impl Dropped {
    fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::BadClientState => "bad_client_state",
            Self::UnknownKey => "unknown_key",
            Self::BadChangeType => "bad_change_type",
            Self::BadResource => "bad_resource",
            Self::UnknownLifecycleEvent => "unknown_lifecycle_event",
        }
    }
}

/// Metrics of the ingest.
#[derive(Clone, Debug)]
pub struct IngestMetrics {
    requests: IntCounterVec,
    duration: Histogram,
    body: Histogram,
    dropped: IntCounterVec,
}

impl IngestMetrics {
    /// Registers the metrics; fails where they are registered already.
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        let requests = IntCounterVec::new(
            Opts::new("roomkeeper_webhook_requests_total", "Requests from Graph by answer and reason"),
            &["code", "reason"],
        )?;
        let duration = Histogram::with_opts(
            HistogramOpts::new(
                "roomkeeper_webhook_request_duration_seconds",
                "Time from a request's headers to its answer; Graph waits for three seconds",
            )
            .buckets(vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0]),
        )?;
        let body = Histogram::with_opts(
            HistogramOpts::new("roomkeeper_webhook_body_bytes", "Size of notification bodies")
                .buckets(exponential_buckets(256.0, 4.0, 7)?),
        )?;
        let dropped = IntCounterVec::new(
            Opts::new(
                "roomkeeper_webhook_items_dropped_total",
                "Notifications that were not stored, by reason; bad_client_state is an attack or drift",
            ),
            &["reason"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(duration.clone()))?;
        registry.register(Box::new(body.clone()))?;
        registry.register(Box::new(dropped.clone()))?;
        Ok(Self { requests, duration, body, dropped })
    }

    pub(crate) fn answered(&self, code: StatusCode, reason: Reason, elapsed: Duration) {
        self.requests.with_label_values(&[code.as_str(), reason.as_str()]).inc();
        self.duration.observe(elapsed.as_secs_f64());
    }

    pub(crate) fn body(&self, bytes: usize) {
        self.body.observe(f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)));
    }

    pub(crate) fn dropped(&self, reason: Dropped) {
        self.dropped.with_label_values(&[reason.as_str()]).inc();
    }
}
