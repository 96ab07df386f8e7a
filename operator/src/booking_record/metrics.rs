//! Figures about BookingRecords and calls to the booking products. Labels are closed sets.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

/// All of them. Clones share the figures.
#[derive(Clone, Debug)]
pub struct BookingMetrics {
    /// BookingRecords deleted because they had expired.
    pub expired: IntCounter,
    /// Time between the moment at which a record was to be deleted and its deletion.
    pub expiry_lag: Histogram,
    /// BookingRecords deleted because their calendar may not be read any more.
    pub purged: IntCounter,
    /// Calls left, by window; of several scopes the least.
    pub quota_left: IntGaugeVec,
    /// Calls that were put off because a quota was used up, by window.
    pub put_off: IntCounterVec,
    /// Writes of bookings onto their events, by outcome.
    pub write_backs: IntCounterVec,
}

impl BookingMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let lag = HistogramOpts::new(
            "roomkeeper_record_expiry_lag_seconds",
            "Time between the moment at which a BookingRecord was to be deleted and its deletion",
        )
        .buckets(vec![0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 600.0, 3600.0]);
        let metrics = Self {
            expired: IntCounter::new(
                "roomkeeper_bookingrecords_expired_total",
                "BookingRecords deleted because they had expired",
            )?,
            expiry_lag: Histogram::with_opts(lag)?,
            purged: IntCounter::new(
                "roomkeeper_records_purged_total",
                "BookingRecords deleted because their calendar may not be read any more",
            )?,
            quota_left: IntGaugeVec::new(
                Opts::new(
                    "roomkeeper_booking_quota_remaining",
                    "Calls to the booking product that are left, by window; of several scopes the least",
                ),
                &["window"],
            )?,
            put_off: IntCounterVec::new(
                Opts::new(
                    "roomkeeper_booking_calls_put_off_total",
                    "Calls to the booking product that were put off because a quota was used up, by window",
                ),
                &["window"],
            )?,
            write_backs: IntCounterVec::new(
                Opts::new(
                    "roomkeeper_booking_write_backs_total",
                    "Writes of bookings onto their events, by outcome",
                ),
                &["outcome"],
            )?,
        };
        registry.register(Box::new(metrics.write_backs.clone()))?;
        for outcome in ["written", "gone", "failed"] {
            metrics.write_backs.with_label_values(&[outcome]);
        }
        registry.register(Box::new(metrics.expired.clone()))?;
        registry.register(Box::new(metrics.expiry_lag.clone()))?;
        registry.register(Box::new(metrics.purged.clone()))?;
        registry.register(Box::new(metrics.quota_left.clone()))?;
        registry.register(Box::new(metrics.put_off.clone()))?;
        Ok(metrics)
    }

    /// A write onto an event came to this.
    pub fn written_back(&self, outcome: &str) {
        self.write_backs.with_label_values(&[outcome]).inc();
    }
}
