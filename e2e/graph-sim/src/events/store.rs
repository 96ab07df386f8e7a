//! The default calendars of all mailboxes.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::{Change, content::Event};
use crate::subscriptions::ChangeType;

/// Tenant and user.
pub(super) type MailboxKey = (Uuid, Uuid);

#[derive(Debug, Default)]
struct Calendar {
    next: u64,
    events: BTreeMap<u64, Event>,
    by_id: HashMap<String, u64>,
    by_i_cal_u_id: HashMap<String, u64>,
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
