//! Figures about the life of subscriptions. Labels are closed sets.

use prometheus::{IntCounter, IntGaugeVec, Opts, Registry};

/// All of them. Clones share the figures.
#[derive(Clone, Debug)]
pub struct LifeMetrics {
    /// Subscriptions that ran out before they could be renewed.
    pub expired: IntCounter,
    /// Subscriptions by the key that signs their clientState: `current` or `other`.
    pub key_holders: IntGaugeVec,
    /// 1 for the id of the key that is signed with. After a rotation began, `key_holders` tells of it once its id is here.
    pub current_key: IntGaugeVec,
    /// Subscriptions that the last sweep of each scope saw: `ours`, `dead` (ours, and nobody's any more) or `foreign`.
    pub swept: IntGaugeVec,
}

impl LifeMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            expired: IntCounter::new(
                "roomkeeper_subscriptions_expired_total",
                "Graph subscriptions that ran out before they could be renewed",
            )?,
            key_holders: IntGaugeVec::new(
                Opts::new(
                    "roomkeeper_client_state_key_holders",
                    "Graph subscriptions by the key that signs their clientState",
                ),
                &["key"],
            )?,
            current_key: IntGaugeVec::new(
                Opts::new(
                    "roomkeeper_client_state_current_key",
                    "1 for the id of the key that new Graph subscriptions are signed with",
                ),
                &["key_id"],
            )?,
            swept: IntGaugeVec::new(
                Opts::new(
                    "roomkeeper_sweep_subscriptions",
                    "Graph subscriptions that the last sweep of each scope saw",
                ),
                &["state"],
            )?,
        };
        registry.register(Box::new(metrics.expired.clone()))?;
        registry.register(Box::new(metrics.key_holders.clone()))?;
        registry.register(Box::new(metrics.current_key.clone()))?;
        registry.register(Box::new(metrics.swept.clone()))?;
        Ok(metrics)
    }
}
