//! When an event is over for good. Occurrences are Graph's (`/instances`), so for a series this is an upper bound: an
//! event that may still have an occurrence to come counts as not over.

use jiff::{Span, Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use roomkeeper_crds::booking_record::Recurrence;

/// Days between UTC's date and that of any zone, rounded up on both sides.
const ZONE_DAYS: i64 = 2;

/// A time after the last possible end; `None` where the series has no end or its bound cannot be told.
pub(super) fn last_end(
    start: Timestamp,
    end: Timestamp,
    recurrence: Option<&Recurrence>,
) -> Option<Timestamp> {
    let Some(recurrence) = recurrence else { return Some(end) };
    let range = &recurrence.range;
    let last_day: Date = match range.type_.as_str() {
        "endDate" => range.end_date.as_deref()?.parse().ok()?,
        "numbered" => {
            let unit: i64 = match recurrence.pattern.type_.as_str() {
                "daily" => 1,
                "weekly" => 7,
                "absoluteMonthly" | "relativeMonthly" => 31,
                "absoluteYearly" | "relativeYearly" => 366,
                _ => return None,
            };
            let steps =
                i64::from(range.number_of_occurrences).checked_mul(recurrence.pattern.interval.into())?;
            let days = Span::new().try_days(steps.checked_mul(unit)?).ok()?;
            range.start_date.parse::<Date>().ok()?.checked_add(days).ok()?
        }
        _ => return None,
    };
    let after = last_day.checked_add(ZONE_DAYS.days()).ok()?;
    let after = TimeZone::UTC.to_timestamp(after.at(0, 0, 0, 0)).ok()?;
    after.checked_add(end.duration_since(start)).ok().map(|bound| bound.max(end))
}

#[cfg(test)]
mod tests {
    use roomkeeper_crds::booking_record::{RecurrencePattern, RecurrenceRange};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn series(pattern: &str, range: RecurrenceRange) -> Recurrence {
        Recurrence {
            pattern: RecurrencePattern {
                type_: pattern.to_owned(),
                interval: 2,
                month: 0,
                day_of_month: 0,
                days_of_week: Vec::new(),
                first_day_of_week: None,
                index: None,
            },
            range,
            listed_until: None,
            occurrences: Vec::new(),
            exceptions: Vec::new(),
        }
    }

    fn range(type_: &str, end_date: Option<&str>, number_of_occurrences: i32) -> RecurrenceRange {
        RecurrenceRange {
            type_: type_.to_owned(),
            start_date: "2026-01-05".to_owned(),
            end_date: end_date.map(str::to_owned),
            recurrence_time_zone: None,
            number_of_occurrences,
        }
    }

    #[test]
    fn a_single_event_is_over_at_its_end_and_a_series_not_before_its_last_day() {
        let (start, end) = (at("2026-01-05T09:00:00Z"), at("2026-01-05T10:00:00Z"));
        assert_eq!(last_end(start, end, None), Some(end));
        for (pattern, range, expected) in [
            ("weekly", range("endDate", Some("2026-03-01"), 0), Some("2026-03-03T01:00:00Z")),
            ("weekly", range("numbered", None, 3), Some("2026-02-18T01:00:00Z")),
            ("daily", range("numbered", None, 3), Some("2026-01-13T01:00:00Z")),
            ("relativeYearly", range("numbered", None, 1), Some("2028-01-09T01:00:00Z")),
            ("weekly", range("noEnd", Some("0001-01-01"), 0), None),
            ("weekly", range("endDate", Some("soon"), 0), None),
            ("lunar", range("numbered", None, 3), None),
            ("absoluteYearly", range("numbered", None, i32::MAX), None),
            ("weekly", range("endDate", Some("9999-12-31"), 0), None),
        ] {
            assert_eq!(last_end(start, end, Some(&series(pattern, range))), expected.map(at), "{pattern}");
        }
    }
}
