//! Metrics of the worker.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};

use super::outcome::Outcome;
use crate::queue::Failure;

/// Labels are closed sets: no user, no tenant, no object.
#[derive(Clone, Debug)]
pub struct WorkerMetrics {
    items: IntCounterVec,
    failures: IntCounterVec,
    to_record: Histogram,
    in_hand: IntGauge,
}

impl WorkerMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let items = IntCounterVec::new(
            Opts::new("roomkeeper_worker_items_total", "Queue items that the worker is done with"),
            &["outcome"],
        )?;
        let failures = IntCounterVec::new(
            Opts::new("roomkeeper_worker_retries_total", "Queue items given back to be tried again"),
            &["failure"],
        )?;
        let to_record = Histogram::with_opts(
            HistogramOpts::new(
                "roomkeeper_notification_to_record_seconds",
                "Time from the arrival of a notification to the written BookingRecord, debounce included",
            )
            .buckets(vec![0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 14_400.0]),
        )?;
        let in_hand = IntGauge::new("roomkeeper_worker_in_hand", "Queue items in the hands of the worker")?;
        registry.register(Box::new(items.clone()))?;
        registry.register(Box::new(failures.clone()))?;
        registry.register(Box::new(to_record.clone()))?;
        registry.register(Box::new(in_hand.clone()))?;
        for outcome in Outcome::ALL {
            items.with_label_values(&[outcome.as_str()]);
        }
        for label in Failure::ALL.map(Failure::as_str).into_iter().chain(["missing", "unsettled"]) {
            failures.with_label_values(&[label]);
        }
        Ok(Self { items, failures, to_record, in_hand })
    }

    pub(super) fn done(&self, outcome: Outcome) {
        self.items.with_label_values(&[outcome.as_str()]).inc();
    }

    pub(super) fn again(&self, why: &str) {
        self.failures.with_label_values(&[why]).inc();
    }

    pub(super) fn recorded(&self, after: Duration) {
        self.to_record.observe(after.as_secs_f64());
    }

    pub(super) fn in_hand(&self, items: usize) {
        self.in_hand.set(i64::try_from(items).unwrap_or(i64::MAX));
    }
}
