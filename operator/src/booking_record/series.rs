//! The occurrences of a series, by the space that they are booked in. Pure.

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use roomkeeper_crds::{
    BookingRecordSpec,
    booking_record::{BookedResource, OccurrenceException, Recurrence},
    ending::{LastEnd, over_at},
};

use super::client;

/// One occurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Occurrence {
    /// Start.
    pub start: Timestamp,
    /// End.
    pub end: Timestamp,
    /// Start that the series would give it, where it was moved from there.
    pub original_start: Option<Timestamp>,
}

impl Occurrence {
    /// As the product is told of it.
    pub fn told(&self) -> client::Occurrence {
        client::Occurrence {
            start: self.start.to_string(),
            end: self.end.to_string(),
            original_start: self.original_start.map(|start| start.to_string()),
        }
    }
}

/// The spaces of a series, each with its occurrences in order of start; none without any. An occurrence with spaces of its own is
/// in theirs, and not in those of the series.
pub fn by_resource<'a>(
    spec: &'a BookingRecordSpec,
    recurrence: &'a Recurrence,
) -> BTreeMap<&'a str, (&'a BookedResource, Vec<Occurrence>)> {
    let mut own: Vec<Occurrence> = Vec::new();
    let lasts = spec.date_time_to.0.duration_since(spec.date_time_from.0);
    for start in &recurrence.occurrences {
        let end = start.0.checked_add(lasts).unwrap_or(Timestamp::MAX);
        own.push(Occurrence { start: start.0, end, original_start: None });
    }
    let mut all: BTreeMap<&str, (&BookedResource, Vec<Occurrence>)> = BTreeMap::new();
    let series = &spec.single_value_extended_properties;
    for exception in &recurrence.exceptions {
        let occurrence = Occurrence {
            start: exception.date_time_from.0,
            end: exception.date_time_to.0,
            original_start: exception.original_start.as_ref().map(|start| start.0),
        };
        match &exception.single_value_extended_properties {
            None => own.push(occurrence),
            Some(properties) if properties.invalid.is_some() => {}
            Some(properties) => {
                for resource in &properties.resources {
                    // What the series says of a space goes before what one occurrence says.
                    let said = series.resources.iter().find(|one| one.resource_id == resource.resource_id);
                    let entry = all.entry(&resource.resource_id);
                    entry.or_insert_with(|| (said.unwrap_or(resource), Vec::new())).1.push(occurrence);
                }
            }
        }
    }
    for resource in &series.resources {
        let entry = all.entry(&resource.resource_id);
        entry.or_insert_with(|| (resource, Vec::new())).1.extend(&own);
    }
    for (_, occurrences) in all.values_mut() {
        occurrences.sort_unstable_by_key(|one| (one.start, one.end, one.original_start));
        occurrences.dedup_by_key(|one| one.start);
    }
    all.retain(|_, (_, occurrences)| !occurrences.is_empty());
    all
}

/// Occurrences whose own property is not understood: when each ends, and why.
pub fn invalid(recurrence: &Recurrence) -> Vec<(Timestamp, String)> {
    let reason = |one: &OccurrenceException| one.single_value_extended_properties.as_ref()?.invalid.clone();
    recurrence.exceptions.iter().filter_map(|one| Some((one.date_time_to.0, reason(one)?))).collect()
}

/// When the event, or its last occurrence, has surely ended; `None`: never, or not known yet.
pub fn ends_at(spec: &BookingRecordSpec) -> Option<Timestamp> {
    match spec.last_end() {
        LastEnd::At(end) => Some(end),
        LastEnd::Open => None,
        LastEnd::NoOccurrence => without_occurrences(spec, spec.recurrence_pattern.as_ref()?),
    }
}

/// Without any occurrence only the range tells: one day after its last day it is over in every time zone.
fn without_occurrences(spec: &BookingRecordSpec, recurrence: &Recurrence) -> Option<Timestamp> {
    match recurrence.range.type_.as_str() {
        "noEnd" => None,
        "endDate" => {
            let last: Date = recurrence.range.end_date.as_ref()?.parse().ok()?;
            let after = last.checked_add(2.days()).ok()?;
            after.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
        }
        _ => Some(over_at(spec.date_time_to.0, spec.is_all_day)),
    }
}
