//! The metrics registry, and the metrics that both daemons have.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use roomkeeper_graph::{
    MemberClass, Purpose,
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
/// `roomkeeper_graph_request_duration_seconds`, `roomkeeper_graph_budget_wait_seconds` and
/// `roomkeeper_graph_unrequested_members_total`. Labels are closed sets: no user, no tenant, no name from an answer.
#[derive(Clone, Debug)]
pub struct GraphMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
    waits: HistogramVec,
    unrequested: IntCounterVec,
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
        let unrequested = IntCounterVec::new(
            Opts::new(
                "roomkeeper_graph_unrequested_members_total",
                "Members of answers that were not asked for and were stripped; more than 0 is a violation by the server",
            ),
            &["class"],
        )?;
        // The first one must show as an increase, which a counter that begins at 1 does not.
        for class in MemberClass::ALL {
            unrequested.with_label_values(&[class.as_str()]);
        }
        registry.register(Box::new(unrequested.clone()))?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(duration.clone()))?;
        registry.register(Box::new(waits.clone()))?;
        Ok(Self { requests, duration, waits, unrequested })
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

    fn unrequested(&self, _operation: Purpose, class: MemberClass, count: u64) {
        self.unrequested.with_label_values(&[class.as_str()]).inc_by(count);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_were_not_asked_for_start_at_zero_and_are_counted_by_class() {
        let registry = Registry::new();
        let metrics = GraphMetrics::new(&registry).unwrap();
        let values = || {
            let families = registry.gather();
            let family =
                families.iter().find(|one| one.name() == "roomkeeper_graph_unrequested_members_total");
            let value = |metric: &prometheus::proto::Metric| {
                (metric.get_label()[0].value().to_owned(), metric.get_counter().get_value())
            };
            family
                .unwrap()
                .get_metric()
                .iter()
                .map(value)
                .filter(|(_, count)| *count > 0.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(values(), []);
        metrics.unrequested(Purpose::EventMinimalRead, MemberClass::Body, 2);
        assert_eq!(values(), [("body".to_owned(), 2.0)]);
    }
}
