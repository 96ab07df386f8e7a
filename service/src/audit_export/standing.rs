//! How exports are, for whoever tells of them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use roomkeeper_crds::condition::AuditExported;
use roomkeeper_graph::audit::chain::LogName;

/// How the exports of one log are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// When the last whole one was made.
    pub last: Option<Timestamp>,
    /// When the next is due.
    pub next: Option<Timestamp>,
    /// Why the last try failed.
    pub trouble: Option<(AuditExported, String)>,
}

/// What else is remembered of a log.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    pub(super) standing: Standing,
    /// Whether `last` was read from beside the log, and nothing was left half done there.
    pub(super) settled: bool,
    /// Since the last success.
    pub(super) failures: u32,
    /// When to try again after a failure.
    pub(super) again: Option<Timestamp>,
    /// Generation of the AccessScope that was looked at: what was corrected is tried at once.
    pub(super) generation: Option<i64>,
}

/// How the exports of all logs of one daemon are.
#[derive(Debug, Default)]
pub struct Standings(Mutex<BTreeMap<LogName, Memory>>);

impl Standings {
    /// Of a scope (`namespace/name`), as far as this daemon's log of it goes; `None` before the first look.
    pub fn of(&self, scope: &str) -> Option<Standing> {
        self.known().get(&LogName::of_scope(scope)?).map(|memory| memory.standing.clone())
    }

    /// Of all scopes, by `namespace/name`.
    pub fn all(&self) -> BTreeMap<String, Standing> {
        self.known().iter().map(|(log, memory)| (log.as_str().to_owned(), memory.standing.clone())).collect()
    }

    pub(super) fn known(&self) -> MutexGuard<'_, BTreeMap<LogName, Memory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
