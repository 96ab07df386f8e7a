//! The audit hook: an entry is durable before the request that it tells of leaves.

pub mod chain;
mod commit;
mod entry;
mod file;
mod memory;

use async_trait::async_trait;

pub use self::{
    entry::{AuditEntry, Cause, Purpose},
    file::FileAudit,
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
