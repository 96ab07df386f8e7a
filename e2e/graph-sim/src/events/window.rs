//! `startDateTime` and `endDateTime`: the window of a calendar view.

use http::StatusCode;
use jiff::{Span, Timestamp, civil::Date, tz::TimeZone};

use super::content::Event;
use crate::{
    errors::GraphError,
    odata::{Query, date, with_offset, without_offset},
};

/// From the start (included) to the end (not included).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
}

impl Window {
    pub(super) fn read(query: &Query) -> Result<Self, GraphError> {
        let (Some(start), Some(end)) = (query.get("startDateTime"), query.get("endDateTime")) else {
            return Err(GraphError::new(
                StatusCode::BAD_REQUEST,
                "ErrorInvalidRequest",
                "This request requires a time window specified by the query string parameters StartDateTime and EndDateTime.",
            ));
        };
        let read = |name: &str, text: &str| {
            moment(text)
                .ok_or_else(|| invalid(&format!("The value '{text}' of parameter '{name}' is invalid.")))
        };
        let window = Self { start: read("startDateTime", start)?, end: read("endDateTime", end)? };
        if window.end <= window.start {
            return Err(invalid("The end of the time window must be later than its start."));
        }
        Ok(window)
    }

    /// Whether a single event lies in it, at least in part.
    pub(super) fn holds(&self, event: &Event) -> bool {
        let (start, end) = (event.shared.start.instant(), event.shared.end.instant());
        start < self.end && (end > self.start || start >= self.start)
    }

    /// Whether an occurrence of a series could lie in it: its occurrences are not simulated.
    fn may_hold_occurrence(&self, event: &Event) -> bool {
        let Some(recurrence) = &event.shared.recurrence else { return false };
        let last = recurrence
            .pointer("/range/endDate")
            .and_then(|date| date.as_str()?.parse::<Date>().ok())
            .filter(|date| date.year() > 1)
            .and_then(|date| date.to_zoned(TimeZone::UTC).ok());
        // Two days more than the last date: zones, and the length of an occurrence.
        let length = event.shared.end.instant() - event.shared.start.instant();
        let over = last.and_then(|last| last.checked_add(Span::new().days(2)).ok()?.checked_add(length).ok());
        event.shared.start.instant() < self.end && over.is_none_or(|over| over.timestamp() > self.start)
    }

    /// Refuses a window that a series may have occurrences in.
    pub(super) fn without_series<'a>(
        &self,
        mut events: impl Iterator<Item = &'a Event>,
    ) -> Result<(), GraphError> {
        if events.any(|event| self.may_hold_occurrence(event)) {
            return Err(GraphError::not_simulated(
                "the occurrences of a series, and one may lie in this window",
            ));
        }
        Ok(())
    }
}

/// With an offset, or in UTC; a date is its midnight.
fn moment(text: &str) -> Option<Timestamp> {
    let utc = || without_offset(text).and_then(|local| TimeZone::UTC.to_timestamp(local).ok());
    let midnight = || Some(date(text)?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    with_offset(text).or_else(utc).or_else(midnight)
}

fn invalid(message: &str) -> GraphError {
    GraphError::new(StatusCode::BAD_REQUEST, "ErrorInvalidParameter", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_strictly() {
        let read = |query: &str| Window::read(&Query::parse(query).unwrap()).map_err(|error| error.code);
        let day = Window {
            start: "2026-12-01T00:00:00Z".parse().unwrap(),
            end: "2026-12-02T00:00:00Z".parse().unwrap(),
        };
        for good in [
            "startDateTime=2026-12-01T00:00:00Z&endDateTime=2026-12-02T00:00:00.0000000Z",
            "startDateTime=2026-12-01T01:00:00%2B01:00&endDateTime=2026-12-02T00:00:00",
            "startDateTime=2026-12-01&endDateTime=2026-12-02",
        ] {
            assert_eq!(read(good), Ok(day), "{good}");
        }
        for bad in ["", "startDateTime=2026-12-01", "endDateTime=2026-12-01"] {
            assert_eq!(read(bad).unwrap_err(), "ErrorInvalidRequest", "{bad}");
        }
        for bad in [
            "startDateTime=2026-12-01&endDateTime=2026-12-01",
            "startDateTime=soon&endDateTime=2026-12-01",
            "startDateTime=2026-12-01&endDateTime=2026-13-01",
        ] {
            assert_eq!(read(bad).unwrap_err(), "ErrorInvalidParameter", "{bad}");
        }
    }
}
