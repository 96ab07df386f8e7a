//! Checkpoints: how far a log had come, signed. They leave the pod, so that nobody can put back an older log.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Hash, Head, LogName, Signed, SigningKey, Start,
    envelope::{SignError, Statement},
};

/// What a writer states of one of its logs. The checkpoints of a log are a chain of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Who wrote the log.
    pub writer: String,
    /// `namespace/name` of the `AccessScope`, or `system`.
    pub scope: String,
    /// 1 for the first checkpoint of the log; each next one is one more.
    pub sequence: u64,
    /// Hash of the payload of the checkpoint before; zeros for the first.
    pub previous: Hash,
    /// When it was made.
    pub time: Timestamp,
    /// The last line; 0 if there is none.
    pub number: u64,
    /// Its hash; zeros if there is none.
    pub hash: Hash,
    /// Retention dropped what is before this line.
    pub start: Start,
    /// The last line that an export has carried away; 0 if none has.
    pub exported: u64,
}

impl Statement for Checkpoint {
    const TYPE: &'static str = "application/vnd.roomkeeper.audit.checkpoint.v1+json";
}

/// The chain of checkpoints of one log: makes each next one.
#[derive(Debug, Clone)]
pub struct CheckpointChain {
    writer: String,
    log: LogName,
    last: Option<Signed<Checkpoint>>,
}

/// Why a log must not be continued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotContinued {
    /// The checkpoint is of another log.
    #[error("the checkpoint is of the log of {writer} for {scope}")]
    Foreign {
        /// Its writer.
        writer: String,
        /// Its scope.
        scope: String,
    },
    /// The log is older than its checkpoint, or another one.
    #[error(
        "the log ends at line {found} and its last checkpoint was at line {stated}: it is an older or other copy"
    )]
    Behind {
        /// Last line of the log.
        found: u64,
        /// Line of the checkpoint.
        stated: u64,
    },
}

impl CheckpointChain {
    /// Continues after the last known checkpoint of the log, whose end is `head`.
    ///
    /// # Errors
    /// The log does not reach the checkpoint: an old copy was put back. The writer then takes a new name.
    pub fn resume(
        writer: &str,
        log: LogName,
        last: Option<Signed<Checkpoint>>,
        head: Head,
    ) -> Result<Self, NotContinued> {
        if let Some(Signed { statement: last, .. }) = &last {
            if last.writer != writer || last.scope != log.as_str() {
                let (writer, scope) = (last.writer.clone(), last.scope.clone());
                return Err(NotContinued::Foreign { writer, scope });
            }
            if head.number < last.number || (head.number == last.number && head.hash != last.hash) {
                return Err(NotContinued::Behind { found: head.number, stated: last.number });
            }
        }
        Ok(Self { writer: writer.to_owned(), log, last })
    }

    /// The last checkpoint.
    pub fn last(&self) -> Option<&Signed<Checkpoint>> {
        self.last.as_ref()
    }

    /// Makes and signs the next checkpoint.
    ///
    /// # Errors
    /// It cannot be signed; the chain is as before.
    pub fn next(
        &mut self,
        head: Head,
        start: Start,
        exported: u64,
        time: Timestamp,
        key: &SigningKey,
    ) -> Result<&Signed<Checkpoint>, SignError> {
        let (sequence, previous) = match &self.last {
            Some(last) => (last.statement.sequence.saturating_add(1), last.hash),
            None => (1, Hash::ZERO),
        };
        let statement = Checkpoint {
            writer: self.writer.clone(),
            scope: self.log.as_str().to_owned(),
            sequence,
            previous,
            time,
            number: head.number,
            hash: head.hash,
            start,
            exported,
        };
        Ok(self.last.insert(Signed::new(statement, key)?))
    }
}
