//! Attendees of the same tenant get their copy of a meeting, and hear of its changes.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    Change,
    content::Event,
    series::is_retimed,
    store::{Calendars, change},
};
use crate::{directory::Directory, subscriptions::ChangeType};

/// The mailboxes of this tenant among the attendees.
fn mailboxes(directory: &Directory, tenant: Uuid, event: &Event) -> BTreeSet<Uuid> {
    let found = |address: &str| directory.mailbox_at(tenant, address).map(|user| user.id);
    event
        .shared
        .attendees
        .iter()
        .filter_map(|attendee| found(&attendee.person.address))
        .filter(|id| *id != event.organizer_id)
        .collect()
}

/// After the organiser made or changed the event: copies are made, follow, or are cancelled.
/// `before` is the event as it was.
pub(super) fn follow(
    calendars: &mut Calendars,
    directory: &Directory,
    tenant: Uuid,
    before: Option<&Event>,
    after: &Event,
    now: Timestamp,
) -> Vec<Change> {
    if !after.is_organizer || before.is_some_and(|before| before.shared == after.shared) {
        return Vec::new();
    }
    let invited = mailboxes(directory, tenant, after);
    let mut changes = Vec::new();
    for user in &invited {
        let mailbox = (tenant, *user);
        match calendars.copy_mut(mailbox, &after.i_cal_u_id) {
            Some(copy) => {
                // What the attendee made of occurrences that are no more is gone with them.
                if is_retimed(&copy.shared, &after.shared) {
                    copy.private.changes = Arc::default();
                }
                copy.shared = after.shared.clone();
                copy.is_cancelled = false;
                copy.touch(now);
                changes.push(change(mailbox, copy, ChangeType::Updated));
            }
            // Whoever deleted their copy gets it back with the next update, as a new item.
            None => changes.push(calendars.add(mailbox, after.copy_for_attendee(now))),
        }
    }
    let uninvited = before.map(|before| mailboxes(directory, tenant, before)).unwrap_or_default();
    changes.extend(cancel(calendars, tenant, uninvited.difference(&invited), after, now));
    changes
}

/// After the organiser deleted the event.
pub(super) fn end(
    calendars: &mut Calendars,
    directory: &Directory,
    tenant: Uuid,
    event: &Event,
    now: Timestamp,
) -> Vec<Change> {
    if !event.is_organizer {
        return Vec::new();
    }
    let invited = mailboxes(directory, tenant, event);
    cancel(calendars, tenant, invited.iter(), event, now)
}

/// A cancelled meeting stays in the attendee's calendar until the attendee removes it.
fn cancel<'a>(
    calendars: &mut Calendars,
    tenant: Uuid,
    users: impl Iterator<Item = &'a Uuid>,
    event: &Event,
    now: Timestamp,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for user in users {
        let mailbox = (tenant, *user);
        let Some(copy) = calendars.copy_mut(mailbox, &event.i_cal_u_id).filter(|copy| !copy.is_cancelled)
        else {
            continue;
        };
        copy.is_cancelled = true;
        let subject = copy.shared.subject.take().unwrap_or_default();
        copy.shared.subject = Some(format!("Canceled: {subject}"));
        copy.touch(now);
        changes.push(change(mailbox, copy, ChangeType::Updated));
    }
    changes
}
