//! An occurrence as an event of its own.

use std::{borrow::Cow, sync::Arc};

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::slots::{Slot, Timetable, on};
use crate::events::{
    content::{Event, PartOf, Private, Shared},
    ids, write,
};

/// A line of a list: an event, or an occurrence that is not an event yet.
#[derive(Clone, Copy)]
pub(in crate::events) enum Entry<'a> {
    Whole(&'a Event),
    Occurrence(&'a Event, Slot),
}

impl<'a> Entry<'a> {
    pub(in crate::events) fn start(&self) -> Timestamp {
        match self {
            Self::Whole(event) => event.shared.start.instant(),
            Self::Occurrence(_, slot) => slot.start,
        }
    }

    pub(in crate::events) fn event(&self) -> Cow<'a, Event> {
        match self {
            Self::Whole(event) => Cow::Borrowed(*event),
            Self::Occurrence(master, slot) => Cow::Owned(occurrence(master, slot)),
        }
    }
}

/// The series' content at another time, with what was written to this occurrence put over it. It shares the series' version:
/// Exchange keeps all of a series in one item.
pub(in crate::events) fn occurrence(master: &Event, slot: &Slot) -> Event {
    let date = slot.date;
    let mut shared = Shared { recurrence: None, changes: Arc::default(), ..master.shared.clone() };
    if let Some(timetable) = Timetable::of(&master.shared) {
        (shared.start, shared.end) = timetable.moments(date, &master.shared);
    }
    let mut private = Private { transaction_id: None, changes: Arc::default(), ..master.private.clone() };
    let of_all = master.shared.changes.exceptions.get(&date);
    let own = master.private.changes.get(&date);
    if let Some((start, end)) = of_all.and_then(|exception| exception.times.clone()) {
        (shared.start, shared.end) = (start, end);
    }
    let members = of_all.map(|exception| &exception.members).into_iter().chain(own).flatten();
    let members: Map<String, Value> = members.map(|(name, value)| (name.clone(), value.clone())).collect();
    let (untouched, own_content) = ((shared.clone(), private.clone()), !members.is_empty());
    // They were checked when they were written; the series around them may have changed since.
    if own_content && write::update(&Value::Object(members), &mut shared, &mut private).is_err() {
        (shared, private) = untouched;
    }
    Event {
        id: ids::of_occurrence(&master.id, date),
        immutable_id: ids::of_occurrence(&master.immutable_id, date),
        i_cal_u_id: ids::i_cal_u_id_of_occurrence(&master.i_cal_u_id, date),
        part_of: Some(PartOf {
            master_id: master.id.clone(),
            master_immutable_id: master.immutable_id.clone(),
            original_start: slot.original,
            is_exception: of_all.is_some() || own.is_some(),
        }),
        change_key: master.change_key.clone(),
        created: master.created,
        modified: master.modified,
        organizer_id: master.organizer_id,
        organizer: master.organizer.clone(),
        is_organizer: master.is_organizer,
        is_cancelled: master.is_cancelled,
        shared,
        private,
    }
}

/// The exceptions of a series, in the order of their dates in it.
pub(in crate::events) fn exceptions(master: &Event) -> Vec<Event> {
    let mut dates: Vec<_> =
        master.shared.changes.exceptions.keys().chain(master.private.changes.keys()).collect();
    dates.sort_unstable();
    dates.dedup();
    dates.into_iter().filter_map(|date| Some(occurrence(master, &on(master, *date)?))).collect()
}
