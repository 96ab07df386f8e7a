//! Metrics of resyncs.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts, Registry};

use super::compare::Kind;

/// How work on a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Read and compared to the end.
    Compared,
    /// Reading is not allowed: nothing, or nothing more, was read.
    Denied,
    /// There is no mailbox to read.
    Unreadable,
    /// Answered by another worker, or its CalendarSubscription is gone.
    Elsewhere,
    /// Something failed: it is tried again.
    Failed,
}

impl Ended {
    const ALL: [Self; 5] = [Self::Compared, Self::Denied, Self::Unreadable, Self::Elsewhere, Self::Failed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Compared => "compared",
            Self::Denied => "denied",
            Self::Unreadable => "unreadable",
            Self::Elsewhere => "elsewhere",
            Self::Failed => "failed",
        }
    }
}

/// Labels are closed sets: no user, no tenant, no object.
#[derive(Clone, Debug)]
pub struct ResyncMetrics {
    ended: IntCounterVec,
    differences: IntCounterVec,
    duration: Histogram,
    open: IntGauge,
}

impl ResyncMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let ended = IntCounterVec::new(
            Opts::new("roomkeeper_resyncs_total", "Calendars read again, by how that ended"),
            &["outcome"],
        )?;
        let differences = IntCounterVec::new(
            Opts::new("roomkeeper_resync_differences_total", "Events that differed from what was recorded"),
            &["kind"],
        )?;
        let duration = Histogram::with_opts(
            HistogramOpts::new(
                "roomkeeper_resync_seconds",
                "Time that reading a calendar again took to its end",
            )
            .buckets(vec![0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1_800.0]),
        )?;
        let open = IntGauge::new("roomkeeper_resyncs_open", "Calendars that wait to be read again")?;
        registry.register(Box::new(ended.clone()))?;
        registry.register(Box::new(differences.clone()))?;
        registry.register(Box::new(duration.clone()))?;
        registry.register(Box::new(open.clone()))?;
        for outcome in Ended::ALL {
            ended.with_label_values(&[outcome.as_str()]);
        }
        for kind in Kind::ALL {
            differences.with_label_values(&[kind.as_str()]);
        }
        Ok(Self { ended, differences, duration, open })
    }

    pub(super) fn ended(&self, how: Ended) {
        self.ended.with_label_values(&[how.as_str()]).inc();
    }

    pub(super) fn difference(&self, kind: Kind) {
        self.differences.with_label_values(&[kind.as_str()]).inc();
    }

    pub(super) fn took(&self, time: Duration) {
        self.duration.observe(time.as_secs_f64());
    }

    pub(super) fn open(&self, requests: usize) {
        self.open.set(i64::try_from(requests).unwrap_or(i64::MAX));
    }
}
