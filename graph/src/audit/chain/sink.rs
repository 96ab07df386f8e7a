//! The sink: one thread, one log for each scope.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Folder, Head, LogName, segment::ScopeLog};
use crate::audit::{
    AuditEntry, AuditError, AuditSink,
    commit::{self, Commit, Waiting},
    is_writer_name,
};

type Heads = Arc<Mutex<BTreeMap<LogName, Head>>>;

/// Tamper-evident logs below `<dir>/<writer>/`, one for each scope and one for what belongs to none.
///
/// Exactly one open `ChainedAudit` may use a folder: each writer has a name of its own.
#[derive(Debug)]
pub struct ChainedAudit {
    queue: mpsc::Sender<Waiting<AuditEntry>>,
    root: PathBuf,
    heads: Heads,
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
        let heads = Heads::default();
        let mut logs = Logs {
            root: root.clone(),
            writer: writer.into(),
            full,
            open: HashMap::new(),
            heads: heads.clone(),
        };
        for folder in fs::read_dir(&root).map_err(failed)? {
            let folder = folder.map_err(failed)?;
            if let Some(name) = folder.file_name().to_str().and_then(LogName::of_folder) {
                // Entries of this log are refused until it can be read; those of the others need not wait for it.
                if let Err(error) = logs.log(&name) {
                    tracing::error!(%error, log = %name, "audit log cannot be continued");
                }
            }
        }
        let queue = commit::start(logs).map_err(failed)?;
        Ok(Self { queue, root, heads })
    }

    /// The logs and their last durable lines: what a checkpoint is made from.
    pub fn heads(&self) -> BTreeMap<LogName, Head> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The folder of a log, for export and retention.
    pub fn folder(&self, log: &LogName) -> Folder {
        Folder::new(self.root.join(log.folder()))
    }
}

#[async_trait]
impl AuditSink for ChainedAudit {
    async fn record(&self, entry: AuditEntry) -> Result<(), AuditError> {
        commit::submit(&self.queue, entry).await
    }
}

struct Logs {
    root: PathBuf,
    writer: String,
    full: u64,
    open: HashMap<LogName, ScopeLog<Folder>>,
    heads: Heads,
}

impl Logs {
    fn log(&mut self, name: &LogName) -> io::Result<&mut ScopeLog<Folder>> {
        if !self.open.contains_key(name) {
            let folder = Folder::new(self.root.join(name.folder()));
            let log = ScopeLog::recover(folder, &self.writer, name.clone(), self.full)?;
            self.publish(name, log.head());
            self.open.insert(name.clone(), log);
        }
        self.open.get_mut(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn publish(&self, name: &LogName, head: Head) {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), head);
    }

    fn append(&mut self, name: &LogName, entries: &[&AuditEntry]) -> Result<(), AuditError> {
        let log = self.log(name).map_err(|e| AuditError::Write { cause: e.to_string() })?;
        log.append(entries)?;
        let head = log.head();
        self.publish(name, head);
        Ok(())
    }
}

impl Commit for Logs {
    type Item = AuditEntry;

    fn commit(&mut self, batch: &[AuditEntry]) -> Vec<Result<(), AuditError>> {
        let names: Vec<_> = batch.iter().map(|entry| LogName::of_scope(entry.scope())).collect();
        let mut by_log: BTreeMap<&LogName, Vec<&AuditEntry>> = BTreeMap::new();
        for (name, entry) in names.iter().zip(batch) {
            if let Some(name) = name {
                by_log.entry(name).or_default().push(entry);
            }
        }
        let answers: BTreeMap<_, _> =
            by_log.into_iter().map(|(name, entries)| (name, self.append(name, &entries))).collect();
        let no_log = |entry: &AuditEntry| AuditError::Encode {
            cause: format!("scope {:?} is not namespace/name", entry.scope()),
        };
        names
            .iter()
            .zip(batch)
            .map(|(name, entry)| {
                name.as_ref()
                    .and_then(|name| answers.get(name).cloned())
                    .unwrap_or_else(|| Err(no_log(entry)))
            })
            .collect()
    }
}
