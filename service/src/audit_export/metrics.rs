//! Figures of the exports.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// What is counted of exports.
#[derive(Clone, Debug)]
pub(super) struct ExportMetrics {
    exports: IntCounterVec,
    lines: IntCounter,
    failing: IntGauge,
}

impl ExportMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When they are registered already.
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let exports = IntCounterVec::new(
            Opts::new(
                "roomkeeper_audit_exports_total",
                "Exports of the audit by outcome, exported or failed; what failed is tried again",
            ),
            &["outcome"],
        )?;
        for outcome in ["exported", "failed"] {
            exports.with_label_values(&[outcome]);
        }
        let lines = IntCounter::new(
            "roomkeeper_audit_exported_lines_total",
            "Lines of the audit that were exported",
        )?;
        let failing =
            IntGauge::new("roomkeeper_audit_exports_failing", "Logs of this pod whose last export failed")?;
        registry.register(Box::new(exports.clone()))?;
        registry.register(Box::new(lines.clone()))?;
        registry.register(Box::new(failing.clone()))?;
        Ok(Self { exports, lines, failing })
    }

    pub(super) fn exported(&self, lines: u64) {
        self.exports.with_label_values(&["exported"]).inc();
        self.lines.inc_by(lines);
    }

    pub(super) fn failed(&self) {
        self.exports.with_label_values(&["failed"]).inc();
    }

    pub(super) fn failing(&self, logs: usize) {
        self.failing.set(i64::try_from(logs).unwrap_or(i64::MAX));
    }
}
