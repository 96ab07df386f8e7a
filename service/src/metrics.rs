//! The metrics registry, and the metrics that both daemons have.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use roomkeeper_graph::{
    Purpose,
    budget::{Lane, WaitObserver},
    http::{Outcome, RequestObserver},
};

/// Makes a registry that holds `roomkeeper_build_info`.
///
/// # Errors
/// When a metric is invalid, which is a mistake in this crate.
pub fn registry() -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    let info = IntGaugeVec::new(
        Opts::new("roomkeeper_build_info", "Version of the running program; always 1"),
        &["version"],
    )?;
    info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    registry.register(Box::new(info))?;
    Ok(registry)
}

/// Requests to Graph and to the token endpoint, as `roomkeeper_graph_requests_total`,
/// `roomkeeper_graph_request_duration_seconds` and `roomkeeper_graph_budget_wait_seconds`. Labels are closed sets: no user, no tenant.
#[derive(Clone, Debug)]
pub struct GraphMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    waits: HistogramVec,
}

impl GraphMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("roomkeeper_graph_requests_total", "Requests to Microsoft Graph and Entra"),
            &["operation", "code_class", "outcome"],
        )?;
        let duration = HistogramVec::new(
            HistogramOpts::new("roomkeeper_graph_request_duration_seconds", "Time until the answer was read"),
            &["operation"],
        )?;
        let waits = HistogramVec::new(
            HistogramOpts::new(
                "roomkeeper_graph_budget_wait_seconds",
                "Time that a request waited for its place in the budget of its app and tenant",
            )
            .buckets(vec![0.001, 0.1, 1.0, 5.0, 20.0, 60.0, 300.0]),
            &["lane"],
        )?;
        for lane in Lane::ALL {
            waits.with_label_values(&[lane.as_str()]);
        }
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(duration.clone()))?;
        registry.register(Box::new(waits.clone()))?;
        Ok(Self { requests, duration, waits })
    }
}

impl WaitObserver for GraphMetrics {
    fn waited(&self, lane: Lane, time: Duration) {
        self.waits.with_label_values(&[lane.as_str()]).observe(time.as_secs_f64());
    }
}

impl RequestObserver for GraphMetrics {
    fn observe(&self, operation: Purpose, status: Option<u16>, outcome: Outcome, elapsed: Duration) {
        let class = match status {
            Some(200..=299) => "2xx",
            Some(300..=399) => "3xx",
            Some(400..=499) => "4xx",
            Some(500..=599) => "5xx",
            _ => "none",
        };
        self.requests.with_label_values(&[operation.as_str(), class, outcome.as_str()]).inc();
        self.duration.with_label_values(&[operation.as_str()]).observe(elapsed.as_secs_f64());
    }
}

/// Registers a histogram of seconds with the default buckets.
///
/// # Errors
/// When the name is invalid or taken.
pub fn seconds(registry: &Registry, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
    let histogram = Histogram::with_opts(HistogramOpts::new(name, help))?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}
