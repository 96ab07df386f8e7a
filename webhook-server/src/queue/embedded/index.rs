//! What the engine keeps in memory: which key is where, when it is due, who works on it. Rebuilt from the rows.

use super::row::Head;
use crate::queue::Key;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Times are milliseconds since the epoch.
pub(super) type Millis = i64;

/// What is known of a row without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowState {
    pub(super) seq: u64,
    pub(super) flags: u8,
    pub(super) origin: u64,
    pub(super) attempts: u16,
    pub(super) first_received: Millis,
}

impl RowState {
    pub(super) fn of(seq: u64, head: &Head) -> Self {
        Self {
            seq,
            flags: head.flags,
            origin: head.origin,
            attempts: head.attempts,
            first_received: head.first_received,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Ready { due: Millis },
    Leased { token: u64, deadline: Millis },
}

/// A row that waits behind the one being worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) row: RowState,
    pub(super) due: Millis,
}

/// All rows of one key: at most two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) row: RowState,
    pub(super) phase: Phase,
    pub(super) next: Option<Waiting>,
}

/// A lease that must outlive a rebuild.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    key: Key,
    seq: u64,
    token: u64,
    deadline: Millis,
}

/// Slots with the orders in which they are looked for.
#[derive(Debug, Default)]
pub(super) struct Index {
    slots: HashMap<Key, Slot>,
    ready: BTreeSet<(Millis, u64, Key)>,
    leased: BTreeSet<(Millis, u64, Key)>,
    rows: usize,
    /// Leases as they were before the batch that is not committed yet; `None` where there was none.
    before: HashMap<Key, Option<Held>>,
}

impl Index {
    pub(super) fn get(&self, key: &Key) -> Option<Slot> {
        self.slots.get(key).copied()
    }

    /// Puts a slot in place of the one that the key had; `None` removes it.
    pub(super) fn set(&mut self, key: Key, slot: Option<Slot>) {
        let old = match slot {
            Some(slot) => self.slots.insert(key, slot),
            None => self.slots.remove(&key),
        };
        if let Some(old) = old {
            self.rows -= rows_of(&old);
            match old.phase {
                Phase::Ready { due } => self.ready.remove(&(due, old.row.seq, key)),
                Phase::Leased { deadline, .. } => self.leased.remove(&(deadline, old.row.seq, key)),
            };
        }
        let (held_before, held_after) =
            (old.and_then(|old| held(key, &old)), slot.and_then(|slot| held(key, &slot)));
        if held_before.is_some() || held_after.is_some() {
            self.before.entry(key).or_insert(held_before);
        }
        if let Some(slot) = slot {
            self.rows += rows_of(&slot);
            match slot.phase {
                Phase::Ready { due } => self.ready.insert((due, slot.row.seq, key)),
                Phase::Leased { deadline, .. } => self.leased.insert((deadline, slot.row.seq, key)),
            };
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn leased(&self) -> usize {
        self.leased.len()
    }

    /// The next item to hand out, if one is due.
    pub(super) fn due(&self, now: Millis) -> Option<Key> {
        self.ready.first().filter(|(due, ..)| *due <= now).map(|(_, _, key)| *key)
    }

    /// A lease that has run out, if there is one.
    pub(super) fn run_out(&self, now: Millis) -> Option<Key> {
        self.leased.first().filter(|(deadline, ..)| *deadline <= now).map(|(_, _, key)| *key)
    }

    /// When something is due or runs out next.
    pub(super) fn next_due(&self) -> Option<Millis> {
        let ready = self.ready.first().map(|(due, ..)| *due);
        let leased = self.leased.first().map(|(deadline, ..)| *deadline);
        ready.into_iter().chain(leased).min()
    }

    /// Takes in a row found on disk. A key can have two rows there: the second waits behind the first.
    pub(super) fn load(&mut self, seq: u64, head: &Head) {
        let row = RowState::of(seq, head);
        let slot = match self.get(&head.key) {
            None => Slot { row, phase: Phase::Ready { due: head.not_before }, next: None },
            Some(slot) => Slot { next: Some(Waiting { row, due: head.not_before }), ..slot },
        };
        self.set(head.key, Some(slot));
    }

    /// The batch is durable: what was before does not matter any more.
    pub(super) fn committed(&mut self) {
        self.before.clear();
    }

    /// Leases as they stood before the batch that failed.
    pub(super) fn held_before(&self) -> Vec<Held> {
        let unchanged = self
            .leased
            .iter()
            .filter(|(_, _, key)| !self.before.contains_key(key))
            .filter_map(|(_, _, key)| self.slots.get(key).and_then(|slot| held(*key, slot)));
        self.before.values().flatten().copied().chain(unchanged).collect()
    }

    /// Marks rows as leased that were so before a rebuild; leases whose row is gone are void.
    pub(super) fn restore(&mut self, leases: &[Held]) {
        let mut seen = HashSet::new();
        for lease in leases {
            let Some(slot) = self.get(&lease.key).filter(|slot| slot.row.seq == lease.seq) else { continue };
            if seen.insert(lease.key) {
                let phase = Phase::Leased { token: lease.token, deadline: lease.deadline };
                self.set(lease.key, Some(Slot { phase, ..slot }));
            }
        }
        self.before.clear();
    }
}

fn rows_of(slot: &Slot) -> usize {
    1 + usize::from(slot.next.is_some())
}

fn held(key: Key, slot: &Slot) -> Option<Held> {
    match slot.phase {
        Phase::Ready { .. } => None,
        Phase::Leased { token, deadline } => Some(Held { key, seq: slot.row.seq, token, deadline }),
    }
}
