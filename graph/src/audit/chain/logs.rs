//! What the writing thread owns: the open logs, what could not be written yet, and who is told of it.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use super::{Folder, Head, LogName, SYSTEM, segment::ScopeLog};
use crate::audit::{AuditEntry, AuditError, Cause, commit::Commit};

/// Outcomes that are kept for a log that cannot be written. More come only where calls are made in spite of that.
const OWED: usize = 10_000;

/// What is known outside of the thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Known>>);

/// How the logs are.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Last durable lines.
    pub(super) heads: BTreeMap<LogName, Head>,
    /// Logs whose last entries could not be written.
    pub(super) failing: BTreeMap<LogName, Failure>,
    /// Entries that could not be written at once, ever.
    pub(super) failures: u64,
    /// Entries that were given up.
    pub(super) lost: u64,
}

/// A log that cannot be written.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub(super) since: Timestamp,
    /// Entries that were refused.
    refused: u64,
    pub(super) error: AuditError,
}

impl Shared {
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is handed to the thread.
#[derive(Debug)]
pub(super) enum Item {
    /// Its caller does nothing unless it is written.
    Record(AuditEntry),
    /// Of something that has happened.
    FollowUp(AuditEntry),
    /// Nothing, but what is owed to the log of that scope.
    Check(String),
}

impl Item {
    fn scope(&self) -> &str {
        match self {
            Self::Record(entry) | Self::FollowUp(entry) => entry.scope(),
            Self::Check(scope) => scope,
        }
    }

    fn entry(&self) -> Option<&AuditEntry> {
        match self {
            Self::Record(entry) | Self::FollowUp(entry) => Some(entry),
            Self::Check(_) => None,
        }
    }
}

/// The logs below a folder.
pub(super) struct Logs {
    root: PathBuf,
    writer: String,
    full: u64,
    open: HashMap<LogName, ScopeLog<Folder>>,
    /// Follow-ups that could not be written: they come before whatever is written next.
    owed: HashMap<LogName, Vec<AuditEntry>>,
    shared: Shared,
}

impl Logs {
    pub(super) fn new(root: PathBuf, writer: &str, full: u64, shared: Shared) -> Self {
        let (open, owed) = (HashMap::new(), HashMap::new());
        Self { root, writer: writer.to_owned(), full, open, owed, shared }
    }

    /// Finds the end of a log, so that its head is known. Entries of one that cannot be read are refused until it can be; those
    /// of the others need not wait for it.
    pub(super) fn find(&mut self, name: &LogName) {
        if let Err(error) = self.log(name) {
            tracing::error!(%error, log = %name, "audit log cannot be continued");
            self.failed(name, &AuditError::Write { cause: error.to_string() }, 0);
        }
    }

    fn log(&mut self, name: &LogName) -> io::Result<&mut ScopeLog<Folder>> {
        if !self.open.contains_key(name) {
            let folder = Folder::new(self.root.join(name.folder()));
            let log = ScopeLog::recover(folder, &self.writer, name.clone(), self.full)?;
            self.shared.known().heads.insert(name.clone(), log.head());
            self.open.insert(name.clone(), log);
        }
        self.open.get_mut(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Writes what is owed to the log, a note of that, and the entries: all of it or nothing.
    fn write(&mut self, name: &LogName, items: &[&Item]) -> Result<(), AuditError> {
        let failure = self.shared.known().failing.get(name).cloned();
        let note = failure.as_ref().map(|failure| recovered(name, failure));
        let mut owed = self.owed.remove(name).unwrap_or_default();
        let new: Vec<&AuditEntry> = items.iter().filter_map(|item| item.entry()).collect();
        let entries: Vec<&AuditEntry> = owed.iter().chain(&note).chain(new.iter().copied()).collect();
        if entries.is_empty() {
            return Ok(());
        }
        match self.append(name, &entries) {
            Ok(head) => {
                let mut known = self.shared.known();
                known.heads.insert(name.clone(), head);
                known.failing.remove(name);
                if failure.is_some() {
                    tracing::info!(log = %name, "the audit log can be written again");
                }
                Ok(())
            }
            Err(error) => {
                let follow_ups = items.iter().filter_map(|item| match item {
                    Item::FollowUp(entry) => Some(entry.clone()),
                    Item::Record(_) | Item::Check(_) => None,
                });
                owed.extend(follow_ups);
                let lost = owed.len().saturating_sub(OWED);
                if lost > 0 {
                    tracing::error!(log = %name, lost, "outcomes of calls are lost to the audit");
                    owed.drain(..lost);
                    self.shared.known().lost += u64::try_from(lost).unwrap_or(u64::MAX);
                }
                self.owed.insert(name.clone(), owed);
                self.failed(name, &error, u64::try_from(new.len()).unwrap_or(u64::MAX));
                Err(error)
            }
        }
    }

    fn append(&mut self, name: &LogName, entries: &[&AuditEntry]) -> Result<Head, AuditError> {
        let log = self.log(name).map_err(|e| AuditError::Write { cause: e.to_string() })?;
        log.append(entries)?;
        Ok(log.head())
    }

    fn failed(&self, name: &LogName, error: &AuditError, entries: u64) {
        let mut known = self.shared.known();
        known.failures = known.failures.saturating_add(entries);
        let failure = known.failing.entry(name.clone()).or_insert_with(|| Failure {
            since: Timestamp::now(),
            refused: 0,
            error: error.clone(),
        });
        failure.refused = failure.refused.saturating_add(entries);
        failure.error = error.clone();
    }
}

/// Says in the log itself that it has a hole, so that nobody takes the silence for peace.
fn recovered(name: &LogName, failure: &Failure) -> AuditEntry {
    let scope = if name.as_str() == SYSTEM { "" } else { name.as_str() };
    AuditEntry::Note {
        time: Timestamp::now(),
        scope: scope.to_owned(),
        caused_by: Cause::new("audit"),
        text: format!(
            "this log could not be written since {}: {} entries were refused; {}",
            failure.since, failure.refused, failure.error
        ),
    }
}

impl Commit for Logs {
    type Item = Item;

    fn commit(&mut self, batch: &[Item]) -> Vec<Result<(), AuditError>> {
        let names: Vec<_> = batch.iter().map(|item| LogName::of_scope(item.scope())).collect();
        let mut by_log: BTreeMap<&LogName, Vec<&Item>> = BTreeMap::new();
        for (name, item) in names.iter().zip(batch) {
            if let Some(name) = name {
                by_log.entry(name).or_default().push(item);
            }
        }
        let answers: BTreeMap<_, _> =
            by_log.into_iter().map(|(name, items)| (name, self.write(name, &items))).collect();
        let no_log = |item: &Item| AuditError::Encode {
            cause: format!("scope {:?} is not namespace/name", item.scope()),
        };
        names
            .iter()
            .zip(batch)
            .map(|(name, item)| {
                name.as_ref().and_then(|name| answers.get(name).cloned()).unwrap_or_else(|| Err(no_log(item)))
            })
            .collect()
    }
}
