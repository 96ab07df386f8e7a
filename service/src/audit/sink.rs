//! The sink that a daemon hands to its parts.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use roomkeeper_graph::audit::{AuditEntry, AuditError, AuditSink, Failing, chain::ChainedAudit};

/// The logs, and what follows when they cannot be written.
#[derive(Debug)]
pub struct GuardedAudit {
    logs: Arc<ChainedAudit>,
    fail_closed: bool,
    lost: AtomicU64,
}

impl GuardedAudit {
    /// Unless `fail_closed`, an entry that cannot be written is counted as lost, and what it announces is done.
    pub fn new(logs: Arc<ChainedAudit>, fail_closed: bool) -> Self {
        Self { logs, fail_closed, lost: AtomicU64::new(0) }
    }

    /// The logs.
    pub fn logs(&self) -> &Arc<ChainedAudit> {
        &self.logs
    }

    /// Entries that will never be in the logs, although what they tell of was done.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed).saturating_add(self.logs.lost())
    }
}

#[async_trait]
impl AuditSink for GuardedAudit {
    async fn record(&self, entry: AuditEntry) -> Result<(), AuditError> {
        match self.logs.record(entry).await {
            Err(error) if !self.fail_closed => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "an entry is lost to the audit; what it announces is done all the same");
                Ok(())
            }
            result => result,
        }
    }

    fn follow_up(&self, entry: AuditEntry) {
        self.logs.follow_up(entry);
    }

    async fn check(&self, scope: &str) -> Result<(), AuditError> {
        self.logs.check(scope).await
    }

    fn failing(&self) -> Vec<Failing> {
        self.logs.failing()
    }
}

#[cfg(test)]
mod tests {
    use roomkeeper_graph::Cause;

    use super::*;

    fn note() -> AuditEntry {
        AuditEntry::Note {
            time: "2026-11-23T10:00:00Z".parse().unwrap(),
            scope: "rooms/contoso".into(),
            caused_by: Cause::new("Test/rooms/a"),
            text: "x".into(),
        }
    }

    #[tokio::test]
    async fn what_cannot_be_entered_is_refused_or_counted() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Arc::new(ChainedAudit::open(dir.path(), "w", 1_000).unwrap());
        let folder = dir.path().join("w/rooms_contoso");
        std::fs::write(&folder, b"").unwrap();
        let closed = GuardedAudit::new(Arc::clone(&logs), true);
        closed.record(note()).await.unwrap_err();
        assert_eq!((closed.lost(), closed.failing().len()), (0, 1));
        let open = GuardedAudit::new(logs, false);
        open.record(note()).await.unwrap();
        assert_eq!((open.lost(), open.failing().len()), (1, 1));
        open.check("rooms/contoso").await.unwrap_err();
        std::fs::remove_file(&folder).unwrap();
        closed.record(note()).await.unwrap();
        assert_eq!((open.lost(), open.failing().len()), (1, 0));
    }
}
