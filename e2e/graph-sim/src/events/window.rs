//! `startDateTime` and `endDateTime`: the window of a calendar view.

use http::StatusCode;
use jiff::{Timestamp, tz::TimeZone};

use super::content::Event;
use crate::{
    errors::GraphError,
    odata::{Query, date, with_offset, without_offset},
};

/// Longest window, in days.
const LONGEST: i64 = 1_825;

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
        if window.end.duration_since(window.start).as_secs() > LONGEST * 86_400 {
            return Err(GraphError::new(
                StatusCode::BAD_REQUEST,
                "ErrorInvalidRequest",
                format!(
                    "Your request can't be completed. The range between the start and end dates is greater than the allowed range. Maximum number of days: {LONGEST}"
                ),
            ));
        }
        Ok(window)
    }

    /// Whether something lies in it, at least in part.
    pub(super) fn holds(&self, start: Timestamp, end: Timestamp) -> bool {
        start < self.end && (end > self.start || start >= self.start)
    }

    /// Whether a single event lies in it. Series are not in a calendar view, only their occurrences are.
    pub(super) fn holds_event(&self, event: &Event) -> bool {
        let shared = &event.shared;
        shared.recurrence.is_none() && self.holds(shared.start.instant(), shared.end.instant())
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
        let five_years = "startDateTime=2026-01-01&endDateTime=2030-12-31";
        assert!(read(five_years).is_ok(), "1,825 days");
        assert_eq!(read(&five_years.replace("12-31", "12-31T00:00:01")).unwrap_err(), "ErrorInvalidRequest");
        for bad in [
            "startDateTime=2026-12-01&endDateTime=2026-12-01",
            "startDateTime=soon&endDateTime=2026-12-01",
            "startDateTime=2026-12-01&endDateTime=2026-13-01",
        ] {
            assert_eq!(read(bad).unwrap_err(), "ErrorInvalidParameter", "{bad}");
        }
    }
}
