//! What each call does to the rows and to the index, within one write transaction.

use super::engine::{EngineError, Tables, database};
use super::index::{Index, Millis, Phase, RowState, Slot, Waiting};
use super::row::{self, Head};
use crate::queue::{
    AppendError, DeadLetter, DeadReason, Failure, Key, Lease, LeaseError, Leased, Retried, is_lifecycle,
    merged_flags,
};
use redb::ReadableTable;
use std::collections::HashSet;

/// Dead letters that one call to lease may make, so that one commit stays bounded.
const BURIED_AT_ONCE: usize = 1024;

/// The limits that the calls go by. Durations are milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_rows: usize,
    pub(super) max_attempts: u16,
    pub(super) debounce: Millis,
    pub(super) max_debounce: Millis,
}

/// An item on its way into the queue.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) head: Head,
    pub(super) bytes: Vec<u8>,
    pub(super) debounced: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) redeliveries: u64,
    pub(super) coalesced: u64,
    pub(super) exhausted: u64,
    pub(super) undecodable: u64,
}

#[derive(Debug)]
pub(super) struct State {
    limits: Limits,
    pub(super) index: Index,
    pub(super) dead: usize,
    pub(super) totals: Totals,
    /// Whether the transaction holds anything to commit.
    pub(super) dirty: bool,
    next_seq: u64,
    next_dead: u64,
    next_token: u64,
}

impl State {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            index: Index::default(),
            dead: 0,
            totals: Totals::default(),
            dirty: false,
            next_seq: 1,
            next_dead: 1,
            // Random, so that a lease of an earlier opening never passes for one of this.
            next_token: rand::random(),
        }
    }

    /// Forgets all rows, in order to take them in anew. Tokens and totals go on.
    pub(super) fn clear(&mut self) {
        self.index = Index::default();
        self.dead = 0;
        self.dirty = false;
    }

    pub(super) fn load_item(&mut self, seq: u64, head: &Head) {
        self.next_seq = self.next_seq.max(seq.saturating_add(1));
        self.index.load(seq, head);
    }

    pub(super) fn load_dead(&mut self, id: u64) {
        self.next_dead = self.next_dead.max(id.saturating_add(1));
        self.dead += 1;
    }

    pub(super) fn append(
        &mut self,
        tables: &mut Tables<'_>,
        arrivals: Vec<Arrival>,
    ) -> Result<Result<(), AppendError>, EngineError> {
        let room = self.limits.max_rows.saturating_sub(self.index.rows() + self.dead);
        if arrivals.len() > room && self.rows_needed(&arrivals) > room {
            return Ok(Err(AppendError::Full));
        }
        for arrival in arrivals {
            let now = arrival.head.first_received;
            self.arrive(tables, arrival, now)?;
        }
        Ok(Ok(()))
    }

    fn rows_needed(&self, arrivals: &[Arrival]) -> usize {
        let needs_row = |key: &Key| match self.index.get(key) {
            None => true,
            Some(slot) => matches!(slot.phase, Phase::Leased { .. }) && slot.next.is_none(),
        };
        let keys: HashSet<Key> = arrivals.iter().map(|arrival| arrival.head.key).filter(needs_row).collect();
        keys.len()
    }

    fn arrive(
        &mut self,
        tables: &mut Tables<'_>,
        mut arrival: Arrival,
        now: Millis,
    ) -> Result<(), EngineError> {
        let key = arrival.head.key;
        let debounce = if arrival.debounced { self.limits.debounce } else { 0 };
        let slot = match self.index.get(&key) {
            None => {
                let waiting = self.store(tables, &mut arrival, now.saturating_add(debounce))?;
                Slot { row: waiting.row, phase: Phase::Ready { due: waiting.due }, next: None }
            }
            Some(Slot { row, phase: Phase::Ready { due }, next }) => {
                let row = self.merge(tables, row, &mut arrival)?;
                // A row in back-off has its own time.
                let due =
                    if row.attempts == 0 && arrival.debounced { self.put_off(due, now, &row) } else { due };
                Slot { row, phase: Phase::Ready { due }, next }
            }
            Some(slot @ Slot { next: None, .. }) => {
                let waiting = self.store(tables, &mut arrival, now.saturating_add(debounce))?;
                Slot { next: Some(waiting), ..slot }
            }
            Some(slot @ Slot { next: Some(Waiting { row, due }), .. }) => {
                let row = self.merge(tables, row, &mut arrival)?;
                let due = if arrival.debounced { self.put_off(due, now, &row) } else { due };
                Slot { next: Some(Waiting { row, due }), ..slot }
            }
        };
        self.index.set(key, Some(slot));
        Ok(())
    }

    fn store(
        &mut self,
        tables: &mut Tables<'_>,
        arrival: &mut Arrival,
        due: Millis,
    ) -> Result<Waiting, EngineError> {
        let seq = self.next_seq;
        self.next_seq += 1;
        arrival.head.not_before = due;
        arrival.head.patch(&mut arrival.bytes);
        self.write(tables, seq, &arrival.bytes)?;
        Ok(Waiting { row: RowState::of(seq, &arrival.head), due })
    }

    /// Lets a stored row stand for an arrival too. Nothing is written where the row says it all already: the row is
    /// durable, or becomes so in this transaction. Of lifecycle notifications the newest one's time counts, so that each
    /// writes.
    fn merge(
        &mut self,
        tables: &mut Tables<'_>,
        row: RowState,
        arrival: &mut Arrival,
    ) -> Result<RowState, EngineError> {
        let same_origin = arrival.head.origin == row.origin;
        let flags = merged_flags(row.flags, arrival.head.flags, same_origin);
        self.totals.coalesced += 1;
        if flags == row.flags && same_origin && !is_lifecycle(flags) {
            return Ok(row);
        }
        let Some(mut bytes) = read(tables, row.seq)? else { return Ok(row) };
        let Ok(stored) = Head::read(&bytes) else { return Ok(row) };
        let replaces = if is_lifecycle(flags) { is_newer(&arrival.bytes, &bytes) } else { !same_origin };
        let origin = if replaces { arrival.head.origin } else { stored.origin };
        let merged = Head { flags, origin, ..stored };
        if replaces {
            bytes.clone_from(&arrival.bytes);
        }
        merged.patch(&mut bytes);
        self.write(tables, row.seq, &bytes)?;
        Ok(RowState::of(row.seq, &merged))
    }

    /// A burst is waited out, but not for ever.
    fn put_off(&self, due: Millis, now: Millis, row: &RowState) -> Millis {
        let latest = row.first_received.saturating_add(self.limits.max_debounce);
        due.max(now.saturating_add(self.limits.debounce).min(latest))
    }

    pub(super) fn lease(
        &mut self,
        tables: &mut Tables<'_>,
        now: Millis,
        max: usize,
        visibility: Millis,
    ) -> Result<Vec<Leased>, EngineError> {
        while let Some(key) = self.index.run_out(now) {
            let slot = self.index.get(&key).map(|slot| Slot { phase: Phase::Ready { due: now }, ..slot });
            self.index.set(key, slot);
        }
        let (mut out, mut buried) = (Vec::new(), 0);
        while out.len() < max && buried < BURIED_AT_ONCE {
            let Some((key, slot)) = self.index.due(now).and_then(|key| Some((key, self.index.get(&key)?)))
            else {
                break;
            };
            if slot.row.attempts >= self.limits.max_attempts {
                self.bury(tables, key, slot, DeadReason::AttemptsExhausted, None)?;
                buried += 1;
                continue;
            }
            let slot = self.fold(tables, slot)?;
            let bytes = read(tables, slot.row.seq)?.unwrap_or_default();
            let (Ok(head), Ok(item)) = (Head::read(&bytes), row::decode(&bytes)) else {
                self.bury(tables, key, slot, DeadReason::Undecodable, None)?;
                buried += 1;
                continue;
            };
            let token = self.next_token;
            self.next_token = self.next_token.wrapping_add(1);
            let head = Head { attempts: head.attempts.saturating_add(1), ..head };
            self.rewrite(tables, slot.row.seq, &head, bytes)?;
            self.totals.redeliveries += u64::from(head.attempts > 1);
            let phase = Phase::Leased { token, deadline: now.saturating_add(visibility) };
            let row = RowState::of(slot.row.seq, &head);
            self.index.set(key, Some(Slot { row, phase, next: None }));
            out.push(Leased { lease: Lease { key, token }, item, attempt: u32::from(head.attempts) });
        }
        Ok(out)
    }

    fn leased(&self, lease: &Lease) -> Result<Slot, LeaseError> {
        self.index
            .get(&lease.key)
            .filter(|slot| matches!(slot.phase, Phase::Leased { token, .. } if token == lease.token))
            .ok_or(LeaseError::NotHeld)
    }

    pub(super) fn ack(
        &mut self,
        tables: &mut Tables<'_>,
        lease: &Lease,
    ) -> Result<Result<(), LeaseError>, EngineError> {
        let slot = match self.leased(lease) {
            Ok(slot) => slot,
            Err(error) => return Ok(Err(error)),
        };
        self.dirty = true;
        tables.items.remove(slot.row.seq).map_err(database("remove a row"))?;
        self.promote(lease.key, slot);
        Ok(Ok(()))
    }

    pub(super) fn retry(
        &mut self,
        tables: &mut Tables<'_>,
        lease: &Lease,
        not_before: Millis,
        failure: Failure,
    ) -> Result<Result<Retried, LeaseError>, EngineError> {
        let slot = match self.leased(lease) {
            Ok(slot) => slot,
            Err(error) => return Ok(Err(error)),
        };
        let environment = failure.is_environment();
        if !environment && slot.row.attempts >= self.limits.max_attempts {
            self.bury(tables, lease.key, slot, DeadReason::AttemptsExhausted, Some(failure))?;
            return Ok(Ok(Retried::Dead));
        }
        let slot = self.fold(tables, slot)?;
        let bytes = read(tables, slot.row.seq)?.unwrap_or_default();
        let Ok(head) = Head::read(&bytes) else {
            self.bury(tables, lease.key, slot, DeadReason::Undecodable, Some(failure))?;
            return Ok(Ok(Retried::Dead));
        };
        let attempts = head.attempts.saturating_sub(u16::from(environment));
        let head = Head { attempts, failure: failure.code(), not_before, ..head };
        self.rewrite(tables, slot.row.seq, &head, bytes)?;
        let row = RowState::of(slot.row.seq, &head);
        self.index.set(lease.key, Some(Slot { row, phase: Phase::Ready { due: not_before }, next: None }));
        Ok(Ok(Retried::Again))
    }

    pub(super) fn extend(&mut self, lease: &Lease, until: Millis) -> Result<(), LeaseError> {
        let slot = self.leased(lease)?;
        let phase = Phase::Leased { token: lease.token, deadline: until };
        self.index.set(lease.key, Some(Slot { phase, ..slot }));
        Ok(())
    }

    /// Makes one row of two: the newer body, all flags, the attempts of the row that was worked.
    fn fold(&mut self, tables: &mut Tables<'_>, slot: Slot) -> Result<Slot, EngineError> {
        let Some(waiting) = slot.next else { return Ok(slot) };
        let single = Slot { next: None, ..slot };
        let (older, newer) = (read(tables, slot.row.seq)?, read(tables, waiting.row.seq)?);
        let (Some(older), Some(mut newer)) = (older, newer) else { return Ok(single) };
        let (Ok(old), Ok(new)) = (Head::read(&older), Head::read(&newer)) else { return Ok(single) };
        // What waits can be a dead letter that came back, and then is the older one.
        let stays = is_lifecycle(new.flags) && !is_newer(&newer, &older);
        let head = Head {
            flags: merged_flags(old.flags, new.flags, old.origin == new.origin),
            first_received: old.first_received.min(new.first_received),
            origin: if stays { old.origin } else { new.origin },
            ..old
        };
        if stays {
            newer = older;
        }
        head.patch(&mut newer);
        self.write(tables, slot.row.seq, &newer)?;
        tables.items.remove(waiting.row.seq).map_err(database("remove a row"))?;
        Ok(Slot { row: RowState::of(slot.row.seq, &head), ..single })
    }

    /// The worked row is gone: what waited behind it takes its place.
    fn promote(&mut self, key: Key, slot: Slot) {
        let next =
            slot.next.map(|Waiting { row, due }| Slot { row, phase: Phase::Ready { due }, next: None });
        self.index.set(key, next);
    }

    fn bury(
        &mut self,
        tables: &mut Tables<'_>,
        key: Key,
        slot: Slot,
        reason: DeadReason,
        failure: Option<Failure>,
    ) -> Result<(), EngineError> {
        self.bury_row(tables, slot.row.seq, reason, failure)?;
        self.promote(key, slot);
        Ok(())
    }

    /// Moves a row to the dead letters; also one whose key is not known.
    pub(super) fn bury_row(
        &mut self,
        tables: &mut Tables<'_>,
        seq: u64,
        reason: DeadReason,
        failure: Option<Failure>,
    ) -> Result<(), EngineError> {
        self.dirty = true;
        let mut bytes = read(tables, seq)?.unwrap_or_default();
        if let (Some(failure), Ok(head)) = (failure, Head::read(&bytes)) {
            Head { failure: failure.code(), ..head }.patch(&mut bytes);
        }
        bytes.insert(0, reason_code(reason));
        tables.items.remove(seq).map_err(database("remove a row"))?;
        tables.dead.insert(self.next_dead, bytes.as_slice()).map_err(database("write a dead letter"))?;
        self.next_dead += 1;
        self.dead += 1;
        match reason {
            DeadReason::AttemptsExhausted => self.totals.exhausted += 1,
            DeadReason::Undecodable => self.totals.undecodable += 1,
        }
        Ok(())
    }

    pub(super) fn redrive(
        &mut self,
        tables: &mut Tables<'_>,
        ids: &[u64],
        now: Millis,
    ) -> Result<usize, EngineError> {
        let mut found = 0;
        for id in ids {
            let Some(bytes) = read_dead(tables, *id)? else { continue };
            let Some((_, bytes)) = bytes.split_first() else { continue };
            // A row whose head cannot be read has no key: it stays, for a program that knows its version.
            let Ok(head) = Head::read(bytes) else { continue };
            let head = Head { attempts: 0, failure: 0, not_before: now, ..head };
            self.dirty = true;
            tables.dead.remove(*id).map_err(database("remove a dead letter"))?;
            self.dead -= 1;
            self.arrive(tables, Arrival { head, bytes: bytes.to_vec(), debounced: false }, now)?;
            found += 1;
        }
        Ok(found)
    }

    pub(super) fn purge(&mut self, tables: &mut Tables<'_>, ids: &[u64]) -> Result<usize, EngineError> {
        let mut found = 0;
        for id in ids {
            if tables.dead.remove(*id).map_err(database("remove a dead letter"))?.is_some() {
                self.dirty = true;
                self.dead -= 1;
                found += 1;
            }
        }
        Ok(found)
    }

    fn rewrite(
        &mut self,
        tables: &mut Tables<'_>,
        seq: u64,
        head: &Head,
        mut bytes: Vec<u8>,
    ) -> Result<(), EngineError> {
        head.patch(&mut bytes);
        self.write(tables, seq, &bytes)
    }

    fn write(&mut self, tables: &mut Tables<'_>, seq: u64, bytes: &[u8]) -> Result<(), EngineError> {
        self.dirty = true;
        tables.items.insert(seq, bytes).map_err(database("write a row"))?;
        Ok(())
    }
}

/// Dead letters after an id, at most `max`.
pub(super) fn dead_letters(
    tables: &Tables<'_>,
    after: Option<u64>,
    max: usize,
) -> Result<Vec<DeadLetter>, EngineError> {
    let start = after.map_or(0, |last| last.saturating_add(1));
    let mut out = Vec::new();
    for row in tables.dead.range(start..).map_err(database("read dead letters"))?.take(max) {
        let (id, value) = row.map_err(database("read a dead letter"))?;
        let (reason, bytes) = match value.value().split_first() {
            Some((code, bytes)) => (reason_of(*code), bytes),
            None => (DeadReason::Undecodable, value.value()),
        };
        let head = Head::read(bytes).ok();
        out.push(DeadLetter {
            id: id.value(),
            reason,
            failure: head.as_ref().and_then(Head::failure),
            attempts: head.map_or(0, |head| u32::from(head.attempts)),
            item: row::decode(bytes).ok(),
        });
    }
    Ok(out)
}

/// Whether what one row tells of arrived no earlier than what another tells of.
fn is_newer(row: &[u8], than: &[u8]) -> bool {
    row::received_at(row) >= row::received_at(than)
}

fn read(tables: &Tables<'_>, seq: u64) -> Result<Option<Vec<u8>>, EngineError> {
    Ok(tables.items.get(seq).map_err(database("read a row"))?.map(|row| row.value().to_vec()))
}

fn read_dead(tables: &Tables<'_>, id: u64) -> Result<Option<Vec<u8>>, EngineError> {
    Ok(tables.dead.get(id).map_err(database("read a dead letter"))?.map(|row| row.value().to_vec()))
}

fn reason_code(reason: DeadReason) -> u8 {
    match reason {
        DeadReason::AttemptsExhausted => 1,
        DeadReason::Undecodable => 2,
    }
}

fn reason_of(code: u8) -> DeadReason {
    if code == reason_code(DeadReason::AttemptsExhausted) {
        DeadReason::AttemptsExhausted
    } else {
        DeadReason::Undecodable
    }
}
