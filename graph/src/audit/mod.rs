//! The audit hook: the announcement of a request is durable before it leaves, and its outcome before the next one does.

pub mod chain;
mod commit;
mod entry;
mod memory;

use async_trait::async_trait;
use jiff::Timestamp;

pub use self::{
    entry::{AuditEntry, CallFault, Cause, Purpose},
    memory::MemoryAudit,
};

/// Where audit entries go.
#[async_trait]
pub trait AuditSink: Send + Sync {
    /// Returns only once the entry is durable.
    ///
    /// # Errors
    /// The entry is not durable; whatever it announces must not be done.
    async fn record(&self, entry: AuditEntry) -> Result<(), AuditError>;

    /// Takes an entry about something that has happened already, and does not wait for it. It stands in its log before
    /// every entry that is handed over later: what cannot be written is kept, and nothing else is accepted before it.
    fn follow_up(&self, entry: AuditEntry);

    /// Whether entries of this scope (`namespace/name`; empty for none) can be written. Where the last could not, it is tried.
    ///
    /// # Errors
    /// They cannot.
    async fn check(&self, scope: &str) -> Result<(), AuditError> {
        let _ = scope;
        Ok(())
    }

    /// The logs whose last entries could not be written.
    fn failing(&self) -> Vec<Failing> {
        Vec::new()
    }
}

/// A log that could not be written the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// `namespace/name` of the `AccessScope`; empty for what belongs to none.
    pub scope: String,
    /// Since when.
    pub since: Timestamp,
    /// What was said the last time.
    pub error: AuditError,
}

/// Whether a writer can have this name: it names a file or a folder.
fn is_writer_name(writer: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !writer.is_empty() && writer.len() <= 128 && !writer.starts_with('.') && writer.bytes().all(known)
}

/// An audit entry could not be made durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// The log's folder or file cannot be made or opened.
    #[error("cannot open the audit log {path}: {cause}")]
    Open {
        /// The folder or file.
        path: String,
        /// The operating system's reason.
        cause: String,
    },
    /// The name of the writer cannot be a file name.
    #[error("audit writer {writer:?} is not valid: expected 1 to 128 of letters, digits, - _ .")]
    WriterName {
        /// The name as given.
        writer: String,
    },
    /// Writing or syncing failed; the entries of that batch are refused.
    #[error("cannot write the audit log: {cause}")]
    Write {
        /// The operating system's reason.
        cause: String,
    },
    /// The entry could not be written as JSON.
    #[error("cannot encode an audit entry: {cause}")]
    Encode {
        /// The encoder's reason.
        cause: String,
    },
    /// The log was closed while the entry waited.
    #[error("the audit log is closed")]
    Closed,
}
