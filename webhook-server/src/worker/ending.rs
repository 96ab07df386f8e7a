//! When there can be nothing more of an event: pure.

use jiff::{Span, Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use roomkeeper_crds::{booking_record::Recurrence, ending::over_at};

/// Days between UTC's date and that of any zone, rounded up on both sides.
const ZONE_DAYS: i64 = 2;

/// A time after the last possible end, by pattern and range alone; `None` where the series has no end or its bound cannot be
/// told. Which days there are is Graph's to say (`/instances`): this only tells whether there can be any after a time.
pub(super) fn latest_end(
    start: Timestamp,
    end: Timestamp,
    is_all_day: bool,
    recurrence: Option<&Recurrence>,
) -> Option<Timestamp> {
    let Some(recurrence) = recurrence else {
        return Some(over_at(end, is_all_day));
    };
    let range = &recurrence.range;
    let last_day: Date = match range.type_.as_str() {
        "endDate" => range.end_date.as_deref()?.parse().ok()?,
        "numbered" => {
            let first: Date = range.start_date.parse().ok()?;
            first.checked_add(numbered(recurrence)?).ok()?
        }
        _ => return None,
    };
    let after = last_day.checked_add(ZONE_DAYS.days()).ok()?;
    let after = TimeZone::UTC.to_timestamp(after.at(0, 0, 0, 0)).ok()?;
    after.checked_add(end.duration_since(start)).ok().map(|bound| bound.max(end))
}

/// Time that so many occurrences take at most, from the first day on.
fn numbered(recurrence: &Recurrence) -> Option<Span> {
    let pattern = &recurrence.pattern;
    let count = i64::from(recurrence.range.number_of_occurrences);
    let of = |count: i64| count.checked_mul(pattern.interval.into());
    match pattern.type_.as_str() {
        "daily" => Span::new().try_days(of(count)?).ok(),
        "weekly" => {
            let a_week = i64::try_from(pattern.days_of_week.len()).ok()?.max(1);
            // One more, as the first week need not have all of its days.
            let weeks = count.checked_add(a_week - 1)?.checked_div(a_week)?.checked_add(1)?;
            Span::new().try_weeks(of(weeks)?).ok()
        }
        "absoluteMonthly" | "relativeMonthly" => Span::new().try_months(of(count)?).ok(),
        "absoluteYearly" | "relativeYearly" => Span::new().try_years(of(count)?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use roomkeeper_crds::booking_record::{RecurrencePattern, RecurrenceRange};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn series(pattern: &str, days: &[&str], range: RecurrenceRange) -> Recurrence {
        Recurrence {
            pattern: RecurrencePattern {
                type_: pattern.to_owned(),
                interval: 2,
                month: 0,
                day_of_month: 0,
                days_of_week: days.iter().map(|day| (*day).to_owned()).collect(),
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
    fn pattern_and_range_tell_when_there_can_be_no_more() {
        let (start, end) = (at("2026-01-05T09:00:00Z"), at("2026-01-05T10:00:00Z"));
        assert_eq!(latest_end(start, end, false, None), Some(end));
        assert_eq!(latest_end(start, end, true, None), Some(at("2026-01-05T22:00:00Z")));
        let week = ["monday", "wednesday", "friday"];
        for (pattern, days, range, expected) in [
            ("weekly", &week[..1], range("endDate", Some("2026-03-01"), 0), Some("2026-03-03T01:00:00Z")),
            ("weekly", &week[..1], range("numbered", None, 3), Some("2026-03-04T01:00:00Z")),
            ("weekly", &week, range("numbered", None, 6), Some("2026-02-18T01:00:00Z")),
            ("daily", &[], range("numbered", None, 3), Some("2026-01-13T01:00:00Z")),
            ("absoluteMonthly", &[], range("numbered", None, 3), Some("2026-07-07T01:00:00Z")),
            ("relativeYearly", &[], range("numbered", None, 1), Some("2028-01-07T01:00:00Z")),
            ("weekly", &[], range("noEnd", Some("0001-01-01"), 0), None),
            ("weekly", &[], range("endDate", Some("soon"), 0), None),
            ("lunar", &[], range("numbered", None, 3), None),
            ("absoluteYearly", &[], range("numbered", None, i32::MAX), None),
            ("weekly", &[], range("endDate", Some("9999-12-31"), 0), None),
        ] {
            let told = latest_end(start, end, false, Some(&series(pattern, days, range)));
            assert_eq!(told, expected.map(at), "{pattern}");
        }
    }
}
