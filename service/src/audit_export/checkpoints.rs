//! What an export needs of whoever makes and keeps checkpoints.

use async_trait::async_trait;
use roomkeeper_graph::audit::chain::{Checkpoint, Known, LogName, Signed};

/// Makes the checkpoints of this writer's logs and keeps them outside the pod, and knows those of the other writers.
#[async_trait]
pub trait Checkpoints: Send + Sync {
    /// The last checkpoint of the log that is kept; `None` if there is none yet.
    ///
    /// # Errors
    /// It cannot be read.
    async fn last(&self, log: &LogName) -> Result<Option<Signed<Checkpoint>>, CheckpointError>;

    /// States how far the log is now, and that its lines up to `exported` were carried away. Returns only once the checkpoint is
    /// kept outside the pod.
    ///
    /// # Errors
    /// It is not certain that it is kept. A later call states the same again, or more.
    async fn state(&self, log: &LogName, exported: u64) -> Result<Signed<Checkpoint>, CheckpointError>;

    /// Every other writer that is known for the log's scope, with its last checkpoints.
    ///
    /// # Errors
    /// They cannot be read: without them the manifest would keep quiet about a writer.
    async fn others(&self, log: &LogName) -> Result<Vec<Known>, CheckpointError>;
}

/// A checkpoint could not be made, kept or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("checkpoints of the audit: {cause}")]
pub struct CheckpointError {
    /// What went wrong, without secrets and personal data.
    pub cause: String,
}
