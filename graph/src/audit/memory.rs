//! A sink that keeps entries in memory, for tests of code that uses this crate.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::{AuditEntry, AuditError, AuditSink};

/// Keeps every entry; can be told to refuse.
#[derive(Debug, Default)]
pub struct MemoryAudit {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<AuditEntry>,
    /// What could not be refused while everything else was.
    owed: Vec<AuditEntry>,
    refuse: Option<AuditError>,
}

impl MemoryAudit {
    /// An empty sink.
    pub fn new() -> Self {
        Self::default()
    }

    /// The entries so far, oldest first.
    pub fn entries(&self) -> Vec<AuditEntry> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).entries.clone()
    }

    /// From now on each entry is refused with this error; `None` accepts again.
    pub fn refuse(&self, error: Option<AuditError>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).refuse = error;
    }
}

#[async_trait]
impl AuditSink for MemoryAudit {
    async fn record(&self, entry: AuditEntry) -> Result<(), AuditError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &state.refuse {
            return Err(error.clone());
        }
        let owed = std::mem::take(&mut state.owed);
        state.entries.extend(owed);
        state.entries.push(entry);
        Ok(())
    }

    fn follow_up(&self, entry: AuditEntry) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let to = if state.refuse.is_some() { &mut state.owed } else { &mut state.entries };
        to.push(entry);
    }
}
