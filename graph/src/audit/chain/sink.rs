//! The sink: one thread, one log for each scope.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use async_trait::async_trait;

use super::{
    Folder, Head, LogName, SYSTEM,
    logs::{Item, Logs, Shared},
};
use crate::audit::{
    AuditEntry, AuditError, AuditSink, Failing,
    commit::{self, Queue},
    is_writer_name,
};

/// Tamper-evident logs below `<dir>/<writer>/`, one for each scope and one for what belongs to none.
///
/// Exactly one open `ChainedAudit` may use a folder: each writer has a name of its own. A log that could not be written is
/// opened anew with each further entry, so that it recovers as soon as the disk does, and then begins with a note of that.
#[derive(Debug)]
pub struct ChainedAudit {
    queue: Queue<Item>,
    writer: String,
    root: PathBuf,
    shared: Shared,
}

impl ChainedAudit {
    /// Finds the ends of all logs; one that cannot be read refuses its entries and is tried again with each. A segment of `full` bytes or more is followed by a new one.
    ///
    /// # Errors
    /// The writer's name is not fit for a folder, or that cannot be made and read.
    pub fn open(dir: &Path, writer: &str, full: u64) -> Result<Self, AuditError> {
        if !is_writer_name(writer) {
            return Err(AuditError::WriterName { writer: writer.chars().take(128).collect() });
        }
        let root = dir.join(writer);
        let failed =
            |e: io::Error| AuditError::Open { path: root.display().to_string(), cause: e.to_string() };
        fs::create_dir_all(&root).map_err(failed)?;
        let shared = Shared::default();
        let mut logs = Logs::new(root.clone(), writer, full, shared.clone());
        for folder in fs::read_dir(&root).map_err(failed)? {
            let folder = folder.map_err(failed)?;
            if let Some(name) = folder.file_name().to_str().and_then(LogName::of_folder) {
                logs.find(&name);
            }
        }
        let queue = commit::start(logs).map_err(failed)?;
        Ok(Self { queue, writer: writer.to_owned(), root, shared })
    }

    /// Who writes here.
    pub fn writer(&self) -> &str {
        &self.writer
    }

    /// The logs and their last durable lines: what a checkpoint is made from.
    pub fn heads(&self) -> BTreeMap<LogName, Head> {
        self.shared.known().heads.clone()
    }

    /// The folder of a log, for export and retention.
    pub fn folder(&self, log: &LogName) -> Folder {
        Folder::new(self.root.join(log.folder()))
    }

    /// Entries that could not be written when they were handed over, since the start. What was a follow-up may be written by now.
    pub fn failures(&self) -> u64 {
        self.shared.known().failures
    }

    /// Follow-ups that were given up, since the start.
    pub fn lost(&self) -> u64 {
        self.shared.known().lost
    }
}

#[async_trait]
impl AuditSink for ChainedAudit {
    async fn record(&self, entry: AuditEntry) -> Result<(), AuditError> {
        commit::submit(&self.queue, Item::Record(entry)).await
    }

    fn follow_up(&self, entry: AuditEntry) {
        if let Err(error) = commit::hand_over(&self.queue, Item::FollowUp(entry)) {
            tracing::error!(%error, "an entry is lost to the audit");
            self.shared.known().lost += 1;
        }
    }

    async fn check(&self, scope: &str) -> Result<(), AuditError> {
        let failing =
            LogName::of_scope(scope).is_some_and(|log| self.shared.known().failing.contains_key(&log));
        if !failing {
            return Ok(());
        }
        commit::submit(&self.queue, Item::Check(scope.to_owned())).await
    }

    fn failing(&self) -> Vec<Failing> {
        let known = self.shared.known();
        let failing = known.failing.iter().map(|(log, failure)| Failing {
            scope: if log.as_str() == SYSTEM { String::new() } else { log.as_str().to_owned() },
            since: failure.since,
            error: failure.error.clone(),
        });
        failing.collect()
    }
}
