//! The queue's figures, read when they are scraped.

use crate::queue::{DeadReason, Health, Queue, Stats};
use jiff::Timestamp;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Error, Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use std::sync::{Arc, Mutex, PoisonError};

/// Registers the queue's metrics; fails where they are registered already.
pub fn register(registry: &Registry, queue: Arc<dyn Queue>) -> Result<(), Error> {
    registry.register(Box::new(QueueCollector::new(queue)?))
}

struct QueueCollector {
    queue: Arc<dyn Queue>,
    depth: IntGauge,
    leased: IntGauge,
    dead: IntGauge,
    healthy: IntGauge,
    oldest: Gauge,
    redeliveries: IntCounter,
    coalesced: IntCounter,
    commits: IntCounter,
    storage_errors: IntCounter,
    died: IntCounterVec,
    /// Totals at the last scrape: the counters are moved by the difference.
    seen: Mutex<Stats>,
}

impl QueueCollector {
    fn new(queue: Arc<dyn Queue>) -> Result<Self, Error> {
        let died = IntCounterVec::new(
            Opts::new("roomkeeper_queue_dead_lettered_total", "Items given up, by reason"),
            &["reason"],
        )?;
        for reason in DeadReason::ALL {
            died.with_label_values(&[reason.as_str()]);
        }
        Ok(Self {
            queue,
            depth: IntGauge::new("roomkeeper_queue_depth", "Items stored and not settled")?,
            leased: IntGauge::new("roomkeeper_queue_leased", "Items being worked")?,
            dead: IntGauge::new("roomkeeper_dead_letters", "Items given up and stored for a person to see")?,
            healthy: IntGauge::new("roomkeeper_queue_healthy", "1 while the queue takes writes")?,
            oldest: Gauge::new(
                "roomkeeper_queue_oldest_seconds",
                "Age of the oldest notification not settled",
            )?,
            redeliveries: IntCounter::new(
                "roomkeeper_queue_redeliveries_total",
                "Items handed out for the second time or more",
            )?,
            coalesced: IntCounter::new(
                "roomkeeper_queue_coalesced_total",
                "Notifications that a stored item already stood for",
            )?,
            commits: IntCounter::new("roomkeeper_queue_commits_total", "Commits to the disk")?,
            storage_errors: IntCounter::new("roomkeeper_queue_storage_errors_total", "Failures of the disk")?,
            died,
            seen: Mutex::new(Stats::default()),
        })
    }

    fn all(&self) -> [&dyn Collector; 10] {
        [
            &self.depth,
            &self.leased,
            &self.dead,
            &self.healthy,
            &self.oldest,
            &self.redeliveries,
            &self.coalesced,
            &self.commits,
            &self.storage_errors,
            &self.died,
        ]
    }
}

impl Collector for QueueCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let stats = self.queue.stats();
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.depth.set(gauge(stats.depth));
        self.leased.set(gauge(stats.leased));
        self.dead.set(gauge(stats.dead));
        self.healthy.set(i64::from(self.queue.health() == Health::Serving));
        let age = stats.oldest_received.map(|at| Timestamp::now().duration_since(at).as_secs_f64());
        self.oldest.set(age.unwrap_or(0.0).max(0.0));

        let moved = |counter: &IntCounter, now: u64, before: u64| counter.inc_by(now.saturating_sub(before));
        moved(&self.redeliveries, stats.redeliveries_total, seen.redeliveries_total);
        moved(&self.coalesced, stats.coalesced_total, seen.coalesced_total);
        moved(&self.commits, stats.commits_total, seen.commits_total);
        moved(&self.storage_errors, stats.storage_errors_total, seen.storage_errors_total);
        for (reason, now, before) in [
            (DeadReason::AttemptsExhausted, stats.exhausted_total, seen.exhausted_total),
            (DeadReason::Undecodable, stats.undecodable_total, seen.undecodable_total),
        ] {
            moved(&self.died.with_label_values(&[reason.as_str()]), now, before);
        }
        *seen = stats;
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}
