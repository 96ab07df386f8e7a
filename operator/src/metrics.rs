//! The operator's own metrics. Labels are closed sets: no object, no user, no tenant.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::{booking_record::metrics::BookingMetrics, calendar_subscription::metrics::LifeMetrics};

/// All of them. Clones share the figures.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// 1 while this replica leads.
    pub leader: IntGauge,
    /// CalendarSubscriptions by state.
    pub subscriptions: IntGaugeVec,
    /// Objects by kind that this leadership began with and has not looked at yet; absent before the lists are complete.
    pub unseen: IntGaugeVec,
    /// About BookingRecords and calls to the booking products.
    pub bookings: BookingMetrics,
    /// About the life of subscriptions.
    pub life: LifeMetrics,
    reconciles: IntCounterVec,
    reconcile_duration: HistogramVec,
    backend_requests: IntCounterVec,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            leader: IntGauge::new("roomkeeper_leader", "1 while this replica holds the lease")?,
            subscriptions: IntGaugeVec::new(
                Opts::new("roomkeeper_subscriptions", "CalendarSubscriptions by state"),
                &["state"],
            )?,
            unseen: IntGaugeVec::new(
                Opts::new(
                    "roomkeeper_objects_unseen",
                    "Objects that this leadership began with and has not looked at yet",
                ),
                &["kind"],
            )?,
            bookings: BookingMetrics::new(registry)?,
            life: LifeMetrics::new(registry)?,
            reconciles: IntCounterVec::new(
                Opts::new("roomkeeper_reconcile_total", "Reconciliations"),
                &["kind", "result"],
            )?,
            reconcile_duration: HistogramVec::new(
                HistogramOpts::new("roomkeeper_reconcile_duration_seconds", "Time of a reconciliation"),
                &["kind"],
            )?,
            backend_requests: IntCounterVec::new(
                Opts::new("roomkeeper_backend_requests_total", "Requests to booking products"),
                &["code_class"],
            )?,
        };
        registry.register(Box::new(metrics.leader.clone()))?;
        registry.register(Box::new(metrics.subscriptions.clone()))?;
        registry.register(Box::new(metrics.unseen.clone()))?;
        registry.register(Box::new(metrics.reconciles.clone()))?;
        registry.register(Box::new(metrics.reconcile_duration.clone()))?;
        registry.register(Box::new(metrics.backend_requests.clone()))?;
        Ok(metrics)
    }

    /// A reconciliation ended.
    pub fn reconciled(&self, kind: &str, result: &str, elapsed: Duration) {
        self.reconciles.with_label_values(&[kind, result]).inc();
        self.reconcile_duration.with_label_values(&[kind]).observe(elapsed.as_secs_f64());
    }

    /// A request to a booking product ended; `None` without an answer.
    pub fn backend_request(&self, status: Option<u16>) {
        let class = match status {
            Some(200..=299) => "2xx",
            Some(300..=399) => "3xx",
            Some(400..=499) => "4xx",
            Some(500..=599) => "5xx",
            _ => "none",
        };
        self.backend_requests.with_label_values(&[class]).inc();
    }
}
