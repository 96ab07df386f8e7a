//! A series: how it repeats, for display, and its occurrences, which are what is booked.

use std::num::NonZeroU32;

use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;

use crate::{members::Members, refusal::Refusal};

/// Graph's own numbers are of this size.
const WHOLE: u32 = i32::MAX.unsigned_abs();

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Recurrence {
    pattern: Pattern,
    range: Range,
    until: Option<Timestamp>,
    pub(crate) occurrences: Vec<Occurrence>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Pattern {
    #[serde(rename = "type")]
    kind: String,
    interval: u32,
    month: u32,
    day_of_month: u32,
    days_of_week: Vec<String>,
    first_day_of_week: Option<String>,
    index: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Range {
    #[serde(rename = "type")]
    kind: String,
    start_date: String,
    end_date: Option<String>,
    recurrence_time_zone: Option<String>,
    number_of_occurrences: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Occurrence {
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    original_start: Option<Timestamp>,
}

impl Recurrence {
    /// Reads the member `recurrence` with at most that many occurrences.
    pub(crate) fn read(mut members: Members, most: NonZeroU32) -> Result<Self, Refusal> {
        let pattern = members.object("pattern")?;
        let pattern = Pattern::read(pattern.ok_or_else(|| members.refuse("pattern", "is missing"))?)?;
        let range = members.object("range")?;
        let range = Range::read(range.ok_or_else(|| members.refuse("range", "is missing"))?)?;
        if !members.has("until") {
            return Err(members.refuse("until", "is missing: give a UTC time, or null where these are all"));
        }
        let until = members.optional_time("until")?;
        let list = members.objects("occurrences")?;
        if u32::try_from(list.len()).map_or(true, |length| length > most.get()) {
            let message =
                format!("a series may have at most {most} occurrences, but there are {}", list.len());
            return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "TooManyOccurrences", message));
        }
        if list.is_empty() {
            return Err(members.refuse("occurrences", "is empty: cancel a booking without any by DELETE"));
        }
        let mut occurrences: Vec<Occurrence> = Vec::with_capacity(list.len());
        for one in list {
            let before = occurrences.last().map(|one| one.start);
            occurrences.push(Occurrence::read(one, before)?);
        }
        members.end("pattern, range, until, occurrences")?;
        Ok(Self { pattern, range, until, occurrences })
    }
}

impl Occurrence {
    fn read(mut members: Members, before: Option<Timestamp>) -> Result<Self, Refusal> {
        let (start, end) = (members.time("start")?, members.time("end")?);
        let original_start =
            if members.has("originalStart") { Some(members.time("originalStart")?) } else { None };
        if end <= start {
            return Err(
                members.refuse("end", format_args!("must be after start, but {end} is not after {start}"))
            );
        }
        if before.is_some_and(|before| start <= before) {
            return Err(members.refuse(
                "start",
                "must be after that of the occurrence before: list them in order, none twice",
            ));
        }
        members.end("start, end, originalStart")?;
        Ok(Self { start, end, original_start })
    }
}

impl Pattern {
    fn read(mut members: Members) -> Result<Self, Refusal> {
        let pattern = Self {
            kind: members.identifier("type", 32)?,
            interval: members
                .number("interval", 0, WHOLE)?
                .ok_or_else(|| members.refuse("interval", "is missing"))?,
            month: members.number("month", 0, 12)?.unwrap_or_default(),
            day_of_month: members.number("dayOfMonth", 0, 31)?.unwrap_or_default(),
            days_of_week: members.texts("daysOfWeek", 7, 16)?,
            first_day_of_week: members.optional_text("firstDayOfWeek", 16)?,
            index: members.optional_text("index", 16)?,
        };
        members.end("type, interval, month, dayOfMonth, daysOfWeek, firstDayOfWeek, index")?;
        Ok(pattern)
    }
}

impl Range {
    fn read(mut members: Members) -> Result<Self, Refusal> {
        let range = Self {
            kind: members.identifier("type", 16)?,
            start_date: members.identifier("startDate", 10)?,
            end_date: members.optional_text("endDate", 10)?,
            recurrence_time_zone: members.optional_text("recurrenceTimeZone", 128)?,
            number_of_occurrences: members.number("numberOfOccurrences", 0, WHOLE)?.unwrap_or_default(),
        };
        members.end("type, startDate, endDate, recurrenceTimeZone, numberOfOccurrences")?;
        Ok(range)
    }
}
