//! Writing to a single occurrence.

use std::sync::Arc;

use http::StatusCode;
use jiff::civil::Date;
use serde_json::{Map, Value};

use super::{
    occurrence::occurrence,
    slots::{Slot, Timetable, moved},
};
use crate::{
    errors::GraphError,
    events::{
        content::{Event, Shared},
        write,
    },
    odata::PropertyId,
};

/// Members that an occurrence may have of its own and that the organiser decides.
const SHARED: &[&str] = &[
    "subject",
    "body",
    "isAllDay",
    "responseRequested",
    "allowNewTimeProposals",
    "hideAttendees",
    "importance",
    "sensitivity",
    "location",
    "locations",
];
/// Members that belong to one copy.
const PRIVATE: &[&str] = &["showAs", "isReminderOn", "reminderMinutesBeforeStart", "categories", EXTENDED];
const EXTENDED: &str = "singleValueExtendedProperties";

fn refused(code: &'static str, message: &str) -> GraphError {
    GraphError::new(StatusCode::BAD_REQUEST, code, message)
}

/// Makes an exception of an occurrence, or changes it further.
pub(in crate::events) fn update(master: &mut Event, slot: &Slot, body: &Value) -> Result<(), GraphError> {
    let given = body.as_object();
    if given.and_then(|body| body.get("recurrence")).is_some_and(|recurrence| !recurrence.is_null()) {
        return Err(refused(
            "ErrorPropertyValidationFailure",
            "At least one property failed validation. recurrence: an occurrence has no recurrence of its own.",
        ));
    }
    let before = occurrence(master, slot);
    let (mut shared, mut private) = (before.shared.clone(), before.private.clone());
    write::update(body, &mut shared, &mut private)?;
    if shared.attendees != before.shared.attendees {
        return Err(GraphError::not_simulated("other attendees of one occurrence than of its series"));
    }
    let is_moved = super::is_retimed(&before.shared, &shared);
    if is_moved {
        between_its_neighbours(&master.shared, slot, &shared)?;
    }
    let pick = |names: &[&str]| -> Map<String, Value> {
        let all = given.into_iter().flatten();
        all.filter(|(name, _)| names.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    let (of_all, own) = (pick(SHARED), pick(PRIVATE));
    if is_moved || !of_all.is_empty() {
        let exception = Arc::make_mut(&mut master.shared.changes).exceptions.entry(slot.date).or_default();
        if is_moved {
            exception.times = Some((shared.start, shared.end));
        }
        merge(&mut exception.members, of_all);
    }
    if !own.is_empty() {
        merge(Arc::make_mut(&mut master.private.changes).entry(slot.date).or_default(), own);
    }
    Ok(())
}

/// Takes an occurrence out of its series.
pub(in crate::events) fn cancel(master: &mut Event, date: Date) {
    let changes = Arc::make_mut(&mut master.shared.changes);
    changes.exceptions.remove(&date);
    changes.cancelled.insert(date);
    Arc::make_mut(&mut master.private.changes).remove(&date);
}

/// An occurrence stays after the one before it and before the one after it, and on a day of its own.
fn between_its_neighbours(series: &Shared, slot: &Slot, new: &Shared) -> Result<(), GraphError> {
    let Some(timetable) = Timetable::of(series) else { return Ok(()) };
    let (before, after) = timetable.around(slot.date, |date| !series.changes.cancelled.contains(&date));
    let (start, end) = (new.start.instant(), new.end.instant());
    let day = timetable.date_of(start);
    let crosses_before = before
        .map(|before| moved(series, before))
        .is_some_and(|before| day <= timetable.date_of(before.start) || start < before.end);
    let after = after.map(|after| moved(series, after));
    if crosses_before || after.is_some_and(|after| day >= timetable.date_of(after.start)) {
        return Err(refused(
            "ErrorOccurrenceCrossingBoundary",
            "Modified occurrence is crossing or overlapping adjacent occurrence.",
        ));
    }
    if after.is_some_and(|after| end > after.start) {
        return Err(refused(
            "ErrorOccurrenceTimeSpanTooBig",
            "The occurrence ends after the next one begins.",
        ));
    }
    Ok(())
}

/// Later members replace earlier ones; extended properties do so one by one.
fn merge(members: &mut Map<String, Value>, new: Map<String, Value>) {
    for (name, value) in new {
        match name.as_str() {
            // They replace each other (graph-facts §6.1).
            "location" => drop(members.remove("locations")),
            "locations" => drop(members.remove("location")),
            _ => {}
        }
        let value = if name == EXTENDED { extended(members.remove(&name), value) } else { value };
        members.insert(name, value);
    }
}

fn extended(old: Option<Value>, new: Value) -> Value {
    let id = |property: &Value| PropertyId::parse(property.get("id")?.as_str()?).ok();
    let Value::Array(new) = new else { return old.unwrap_or(new) };
    let replaced: Vec<PropertyId> = new.iter().filter_map(id).collect();
    let old = old.and_then(|old| old.as_array().cloned()).unwrap_or_default();
    let kept = old.into_iter().filter(|property| id(property).is_none_or(|id| !replaced.contains(&id)));
    Value::Array(kept.chain(new.iter().cloned()).collect())
}
