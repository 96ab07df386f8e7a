//! The audit's figures, read when they are scraped.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{
    IntCounter, IntGauge, Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use roomkeeper_graph::audit::AuditSink as _;

use super::{Checkpoints, GuardedAudit};

/// Why the metrics cannot be registered.
pub type MetricsError = prometheus::Error;

struct AuditCollector {
    audit: Arc<GuardedAudit>,
    checkpoints: Arc<Checkpoints>,
    writable: IntGauge,
    failures: IntCounter,
    lost: IntCounter,
    checkpoint_failures: IntCounter,
    checkpoint_time: IntGauge,
    /// Counters are moved by the difference, one scrape at a time.
    scrape: Mutex<()>,
}

/// Registers the audit's metrics.
///
/// # Errors
/// When they are registered already.
pub(super) fn register(
    registry: &Registry,
    audit: Arc<GuardedAudit>,
    checkpoints: Arc<Checkpoints>,
) -> Result<(), MetricsError> {
    registry.register(Box::new(AuditCollector {
        audit,
        checkpoints,
        writable: IntGauge::new("roomkeeper_audit_writable", "1 while every audit log can be written")?,
        failures: IntCounter::new(
            "roomkeeper_audit_write_failures_total",
            "Audit entries that could not be made durable at once; unless the audit is told to fail open, what they announced was not done",
        )?,
        lost: IntCounter::new(
            "roomkeeper_audit_lost_total",
            "Audit entries that will never be written, although what they tell of was done",
        )?,
        checkpoint_failures: IntCounter::new(
            "roomkeeper_audit_checkpoint_failures_total",
            "Times that checkpoints of the audit could not be signed or kept at the API server; tried again",
        )?,
        checkpoint_time: IntGauge::new(
            "roomkeeper_audit_checkpoint_timestamp_seconds",
            "When the API server last had checkpoints of all that the audit held, in seconds since 1970; 0 before",
        )?,
        scrape: Mutex::new(()),
    }))
}

impl AuditCollector {
    fn all(&self) -> [&dyn Collector; 5] {
        [&self.writable, &self.failures, &self.lost, &self.checkpoint_failures, &self.checkpoint_time]
    }
}

impl Collector for AuditCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _one = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.writable.set(i64::from(self.audit.failing().is_empty()));
        for (counter, now) in [
            (&self.failures, self.audit.logs().failures()),
            (&self.lost, self.audit.lost()),
            (&self.checkpoint_failures, self.checkpoints.failures()),
        ] {
            counter.inc_by(now.saturating_sub(counter.get()));
        }
        self.checkpoint_time.set(self.checkpoints.last_kept());
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}
