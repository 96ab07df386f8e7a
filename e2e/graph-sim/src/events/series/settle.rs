//! What a series must be when it is written.

use http::StatusCode;

use super::slots::Timetable;
use crate::{errors::GraphError, events::content::Shared};

/// Occurrences whose distance from each other is looked at: patterns repeat themselves.
const LOOKED_AT: usize = 100;

fn refused(code: &'static str, message: &str) -> GraphError {
    GraphError::new(StatusCode::BAD_REQUEST, code, message)
}

/// Checks a series and moves its start to its first occurrence. `follows`: the date that its range starts on is that of the
/// event's start, else both must be the same.
pub(in crate::events) fn settle(shared: &mut Shared, follows: bool) -> Result<(), GraphError> {
    let Some(date) = Timetable::of(shared).map(|timetable| timetable.date()) else { return Ok(()) };
    if let Some(rule) = shared.recurrence.as_mut().filter(|rule| rule.start != date) {
        if !follows {
            return Err(refused(
                "ErrorPropertyValidationFailure",
                "At least one property failed validation. recurrence: the range's startDate must be the date of the event's start.",
            ));
        }
        rule.start = date;
    }
    let Some(timetable) = Timetable::of(shared) else { return Ok(()) };
    let dates: Vec<_> = timetable.rule.dates_from(date).take(LOOKED_AT).collect();
    let Some(first) = dates.first().copied() else {
        return Err(refused(
            "ErrorRecurrenceHasNoOccurrence",
            "The specified recurrence has no valid occurrences.",
        ));
    };
    let distance = dates.iter().zip(dates.iter().skip(1)).map(|(one, next)| next.duration_since(*one)).min();
    if distance.is_some_and(|distance| timetable.length > distance) {
        return Err(refused(
            "ErrorOccurrenceTimeSpanTooBig",
            "The duration of an occurrence is longer than the time between two of them.",
        ));
    }
    if first != date {
        let moved = timetable.moments(first, shared);
        (shared.start, shared.end) = moved;
        if let Some(rule) = shared.recurrence.as_mut() {
            rule.start = first;
        }
    }
    Ok(())
}

/// Whether occurrences are at other times than before: then nothing is left of what became of single ones, as in Outlook.
pub(in crate::events) fn is_retimed(before: &Shared, after: &Shared) -> bool {
    let times = |shared: &Shared| (shared.start.instant(), shared.end.instant(), shared.is_all_day);
    times(before) != times(after) || before.recurrence != after.recurrence
}
