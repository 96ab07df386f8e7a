//! Readiness as a set of named gates: ready when every gate is.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Gates of one process. Cheap to clone; clones share the gates.
#[derive(Clone, Debug, Default)]
pub struct Health {
    gates: Arc<Mutex<BTreeMap<&'static str, Option<String>>>>,
}

/// One condition for readiness.
#[derive(Clone, Debug)]
pub struct Gate {
    name: &'static str,
    health: Health,
}

impl Health {
    /// Without gates, which means ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a gate that is not ready yet.
    pub fn gate(&self, name: &'static str) -> Gate {
        let gate = Gate { name, health: self.clone() };
        gate.not_ready("starting");
        gate
    }

    /// The gates that are not ready, each with the reason; empty when the process is ready.
    pub fn report(&self) -> Vec<(&'static str, String)> {
        let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.iter().filter_map(|(name, why)| why.clone().map(|why| (*name, why))).collect()
    }

    fn put(&self, name: &'static str, why: Option<String>) {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner).insert(name, why);
    }
}

impl Gate {
    /// The condition holds.
    pub fn ready(&self) {
        self.health.put(self.name, None);
    }

    /// The condition does not hold, because of `why` (no personal data: it is served by `/readyz`).
    pub fn not_ready(&self, why: &str) {
        self.health.put(self.name, Some(why.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_gate_is() {
        let health = Health::new();
        assert!(health.report().is_empty());
        let (queue, keys) = (health.gate("queue"), health.gate("keys"));
        assert_eq!(health.report().len(), 2);
        queue.ready();
        keys.not_ready("Secret missing");
        assert_eq!(health.report(), vec![("keys", "Secret missing".to_owned())]);
        keys.ready();
        assert!(health.report().is_empty());
    }
}
