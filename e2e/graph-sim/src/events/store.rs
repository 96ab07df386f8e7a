//! The default calendars of all mailboxes.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Bound,
};

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    Change,
    content::Event,
    ids,
    series::{self, Slot},
};
use crate::subscriptions::ChangeType;

/// Tenant and user.
pub(super) type MailboxKey = (Uuid, Uuid);

/// Changes of a mailbox that are remembered for delta rounds; with more, older tokens have expired.
const REMEMBERED: usize = 20_000;

/// Deleted events of a mailbox that are kept.
const KEPT: usize = 1_000;

/// Default and immutable id of an event that changed.
type Ids = (String, String);

#[derive(Debug, Default)]
struct Calendar {
    next: u64,
    events: BTreeMap<u64, Event>,
    by_id: HashMap<String, u64>,
    by_i_cal_u_id: HashMap<String, u64>,
    history: VecDeque<Ids>,
    /// In the folder of deleted items, the newest last.
    deleted: VecDeque<Event>,
    /// Changes no longer remembered.
    forgotten: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Calendars(HashMap<MailboxKey, Calendar>);

/// A change of an event, to be announced.
pub(super) fn change(mailbox: MailboxKey, event: &Event, kind: ChangeType) -> Change {
    Change {
        tenant: mailbox.0,
        user: mailbox.1,
        id: event.id.clone(),
        immutable_id: event.immutable_id.clone(),
        version: event.change_key.clone(),
        kind,
    }
}

impl Calendars {
    /// An event by either of its ids.
    pub(super) fn get(&self, mailbox: MailboxKey, id: &str) -> Option<&Event> {
        let calendar = self.0.get(&mailbox)?;
        calendar.events.get(calendar.by_id.get(id)?)
    }

    /// The stored event that an id leads to: itself, or the series of an occurrence, and which one.
    pub(super) fn locate(&self, mailbox: MailboxKey, id: &str) -> Option<(&Event, Option<Slot>)> {
        if let Some(event) = self.get(mailbox, id) {
            return Some((event, None));
        }
        let (master, date) = ids::split_occurrence(id)?;
        let master = self.get(mailbox, &master)?;
        series::on(master, date).map(|slot| (master, Some(slot)))
    }

    pub(super) fn get_mut(&mut self, mailbox: MailboxKey, id: &str) -> Option<&mut Event> {
        let calendar = self.0.get_mut(&mailbox)?;
        calendar.events.get_mut(calendar.by_id.get(id)?)
    }

    /// The mailbox's copy of an event of any mailbox.
    pub(super) fn copy_mut(&mut self, mailbox: MailboxKey, i_cal_u_id: &str) -> Option<&mut Event> {
        let calendar = self.0.get_mut(&mailbox)?;
        calendar.events.get_mut(calendar.by_i_cal_u_id.get(i_cal_u_id)?)
    }

    /// All events of a mailbox, oldest first.
    pub(super) fn all(&self, mailbox: MailboxKey) -> impl Iterator<Item = &Event> {
        self.0.get(&mailbox).into_iter().flat_map(|calendar| calendar.events.values())
    }

    /// Events of a mailbox with their numbers, after that number.
    pub(super) fn numbered_after(
        &self,
        mailbox: MailboxKey,
        after: Option<u64>,
    ) -> impl Iterator<Item = (u64, &Event)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let calendar = self.0.get(&mailbox).into_iter();
        calendar
            .flat_map(move |calendar| calendar.events.range((from, Bound::Unbounded)))
            .map(|(number, event)| (*number, event))
    }

    /// Remembers changes for delta rounds.
    pub(super) fn record(&mut self, changes: &[Change]) {
        for change in changes {
            let calendar = self.0.entry((change.tenant, change.user)).or_default();
            calendar.history.push_back((change.id.clone(), change.immutable_id.clone()));
            if calendar.history.len() > REMEMBERED && calendar.history.pop_front().is_some() {
                calendar.forgotten += 1;
            }
        }
    }

    /// Number of the next change of a mailbox.
    pub(super) fn history_end(&self, mailbox: MailboxKey) -> u64 {
        self.0.get(&mailbox).map_or(0, |calendar| calendar.forgotten + calendar.history.len() as u64)
    }

    /// The changes from that one on; `None` when some of them are forgotten.
    pub(super) fn history(&self, mailbox: MailboxKey, since: u64) -> Option<Vec<&Ids>> {
        let Some(calendar) = self.0.get(&mailbox) else { return Some(Vec::new()) };
        let skip = usize::try_from(since.checked_sub(calendar.forgotten)?).ok()?;
        Some(calendar.history.iter().skip(skip).collect())
    }

    pub(super) fn add(&mut self, mailbox: MailboxKey, event: Event) -> Change {
        let change = change(mailbox, &event, ChangeType::Created);
        let calendar = self.0.entry(mailbox).or_default();
        let number = calendar.next;
        calendar.next += 1;
        calendar.by_id.insert(event.id.clone(), number);
        calendar.by_id.insert(event.immutable_id.clone(), number);
        calendar.by_i_cal_u_id.insert(event.i_cal_u_id.clone(), number);
        calendar.events.insert(number, event);
        change
    }

    /// The mailbox of a user, if anything ever was in its calendar.
    pub(super) fn mailbox_of(&self, user: Uuid) -> Option<MailboxKey> {
        self.0.keys().find(|(_, owner)| *owner == user).copied()
    }

    /// Gives an event another default id; all else stays. Returns the changes: one under each id.
    pub(super) fn relocate(&mut self, mailbox: MailboxKey, id: &str, now: Timestamp) -> Option<[Change; 2]> {
        let calendar = self.0.get_mut(&mailbox)?;
        let number = *calendar.by_id.get(id)?;
        let event = calendar.events.get_mut(&number)?;
        let left = change(mailbox, event, ChangeType::Deleted);
        event.relocate(now);
        calendar.by_id.remove(&left.id);
        calendar.by_id.insert(event.id.clone(), number);
        Some([left, change(mailbox, event, ChangeType::Updated)])
    }

    pub(super) fn remove(&mut self, mailbox: MailboxKey, id: &str) -> Option<(Event, Change)> {
        let calendar = self.0.get_mut(&mailbox)?;
        let event = calendar.events.remove(calendar.by_id.get(id)?)?;
        calendar.by_id.remove(&event.id);
        calendar.by_id.remove(&event.immutable_id);
        calendar.by_i_cal_u_id.remove(&event.i_cal_u_id);
        let change = change(mailbox, &event, ChangeType::Deleted);
        Some((event, change))
    }
}

impl Calendars {
    /// Puts an event that was deleted into the folder of deleted items: as with every move, its default id is another then.
    pub(super) fn bury(&mut self, mailbox: MailboxKey, mut event: Event, now: Timestamp) {
        let deleted = &mut self.0.entry(mailbox).or_default().deleted;
        event.relocate(now);
        deleted.push_back(event);
        if deleted.len() > KEPT {
            deleted.pop_front();
        }
    }

    /// A deleted event by either of its ids.
    pub(super) fn deleted(&self, mailbox: MailboxKey, id: &str) -> Option<&Event> {
        let mut deleted = self.0.get(&mailbox)?.deleted.iter();
        deleted.find(|event| event.id == id || event.immutable_id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_changes_are_remembered() {
        let mailbox = (Uuid::from_u128(1), Uuid::from_u128(2));
        let change = |number: usize| Change {
            tenant: mailbox.0,
            user: mailbox.1,
            id: number.to_string(),
            immutable_id: String::new(),
            version: String::new(),
            kind: ChangeType::Updated,
        };
        let mut calendars = Calendars::default();
        assert_eq!((calendars.history_end(mailbox), calendars.history(mailbox, 0)), (0, Some(Vec::new())));
        calendars.record(&(0..REMEMBERED + 2).map(change).collect::<Vec<_>>());
        let end = calendars.history_end(mailbox);
        assert_eq!(end, REMEMBERED as u64 + 2);
        assert_eq!(calendars.history(mailbox, 1), None, "the second one is forgotten");
        let all = calendars.history(mailbox, 2).unwrap();
        assert_eq!((all.len(), all[0].0.as_str()), (REMEMBERED, "2"));
        assert_eq!(calendars.history(mailbox, end), Some(Vec::new()));
    }
}
