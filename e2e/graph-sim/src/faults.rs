//! Faults on demand: the one place that knows what is to go wrong.

use std::{sync::Mutex, time::Duration};

use serde::Deserialize;

use crate::app::lock;

/// Longest latency that can be asked for, in milliseconds.
const LONGEST_MS: u64 = 600_000;

/// A change of faults, as the control API takes it. Absent members stay as they are; 0 is off.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Change {
    latency_ms: Option<u64>,
    subscription_post_latency_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Active {
    latency: Duration,
    subscription_post_latency: Duration,
}

/// The faults that are switched on.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Active>);

impl Faults {
    /// Switches faults on and off; an error says which member is out of bounds.
    pub(crate) fn change(&self, change: Change) -> Result<(), String> {
        for (name, value) in [
            ("latencyMs", change.latency_ms),
            ("subscriptionPostLatencyMs", change.subscription_post_latency_ms),
        ] {
            if let Some(value) = value.filter(|value| *value > LONGEST_MS) {
                return Err(format!("{name} is {value}; it must be at most {LONGEST_MS}"));
            }
        }
        let mut active = lock(&self.0);
        if let Some(latency) = change.latency_ms {
            active.latency = Duration::from_millis(latency);
        }
        if let Some(latency) = change.subscription_post_latency_ms {
            active.subscription_post_latency = Duration::from_millis(latency);
        }
        Ok(())
    }

    /// How long a calendar call takes.
    pub(crate) fn calendar_latency(&self) -> Duration {
        lock(&self.0).latency
    }

    /// How long the answer to POST /subscriptions is held back once the subscription exists.
    pub(crate) fn subscription_post_latency(&self) -> Duration {
        lock(&self.0).subscription_post_latency
    }
}
