//! What this process remembers of items that are to be tried again: the queue counts attempts only where the item itself
//! is to blame, yet waits have to grow in any case.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::queue::Key;

/// Items remembered. Beyond it the memory starts afresh: items are looked at a few times more.
const KEPT: usize = 100_000;

/// How often something went wrong in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tries {
    /// Failures of any kind.
    pub(super) failed: u32,
    /// Times that the event was not found.
    pub(super) missing: u32,
    /// Times that the CalendarSubscription was not known or not set up.
    pub(super) unsettled: u32,
}

/// The memory of all items.
#[derive(Debug, Default)]
pub(super) struct Memory {
    all: Mutex<HashMap<Key, Tries>>,
}

impl Memory {
    pub(super) fn of(&self, key: Key) -> Tries {
        self.all().get(&key).copied().unwrap_or_default()
    }

    pub(super) fn keep(&self, key: Key, tries: Tries) {
        let mut all = self.all();
        if all.len() >= KEPT && !all.contains_key(&key) {
            all.clear();
        }
        all.insert(key, tries);
    }

    pub(super) fn forget(&self, key: Key) {
        self.all().remove(&key);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Key, Tries>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
