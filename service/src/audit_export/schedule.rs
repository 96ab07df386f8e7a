//! When an export is due: cron in a time zone. Pure.

use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};
use jiff::{Timestamp, tz::TimeZone};

/// Five fields of cron, and the time zone that they are of.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

/// A schedule that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not five fields, or one that cannot be.
    #[error(
        "spec.audit.export.schedule {schedule:?} is not valid: {cause}: write the five fields of cron, such as 0 2 * * *"
    )]
    Fields {
        /// As given.
        schedule: String,
        /// The parser's reason.
        cause: String,
    },
    /// A day that no year has, such as the 30th of February.
    #[error("spec.audit.export.schedule {schedule:?} names no day that ever comes: correct day and month")]
    Never {
        /// As given.
        schedule: String,
    },
    /// A time zone that the database does not have.
    #[error(
        "spec.audit.export.timeZone {zone:?} is not known: write a name of the IANA database, such as Europe/Berlin"
    )]
    Zone {
        /// As given.
        zone: String,
    },
}

impl Schedule {
    /// Reads the five fields (minute, hour, day of the month, month, day of the week) and the name of the time zone.
    ///
    /// # Errors
    /// See [`ScheduleError`].
    pub fn new(schedule: &str, zone: &str) -> Result<Self, ScheduleError> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser
            .parse(schedule)
            .map_err(|e| ScheduleError::Fields { schedule: schedule.to_owned(), cause: e.to_string() })?;
        let zone = TimeZone::get(zone).map_err(|_| ScheduleError::Zone { zone: zone.to_owned() })?;
        let this = Self { cron, zone };
        // Whether a day ever comes does not depend on where the search begins.
        match this.after(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(this),
            None => Err(ScheduleError::Never { schedule: schedule.to_owned() }),
        }
    }

    /// The first time after `last_success`, or, while there is none, after `since` (when the schedule was given). One in the
    /// past was missed and is due now: however many were missed, one export makes up for them.
    ///
    /// A time that the clocks skip comes right after the gap; one that they show twice comes once.
    pub fn due(&self, since: Timestamp, last_success: Option<Timestamp>) -> Option<Timestamp> {
        self.after(last_success.unwrap_or(since))
    }

    fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let zoned = time.to_zoned(self.zone.clone());
        self.cron.find_next_occurrence(&zoned, false).ok().map(|next| next.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn due(schedule: &str, zone: &str, after: &str) -> String {
        Schedule::new(schedule, zone).unwrap().due(time(after), None).unwrap().to_string()
    }

    #[test]
    fn the_next_time_is_in_the_zone() {
        for (schedule, zone, after, expected) in [
            ("0 2 * * *", "UTC", "2026-11-23T01:59:59Z", "2026-11-23T02:00:00Z"),
            ("0 2 * * *", "UTC", "2026-11-23T02:00:00Z", "2026-11-24T02:00:00Z"),
            ("0 2 * * *", "Europe/Berlin", "2026-11-23T01:00:00Z", "2026-11-24T01:00:00Z"),
            ("0 2 * * *", "Europe/Berlin", "2026-07-23T01:00:00Z", "2026-07-24T00:00:00Z"),
            ("*/15 8-18 * * MON-FRI", "UTC", "2026-11-20T18:45:00Z", "2026-11-23T08:00:00Z"),
            ("0 0 29 2 *", "UTC", "2026-11-20T00:00:00Z", "2028-02-29T00:00:00Z"),
            // Day of the month or day of the week, as cron has it where both are given.
            ("0 0 1 * SUN", "UTC", "2026-11-23T00:00:00Z", "2026-11-29T00:00:00Z"),
        ] {
            assert_eq!(due(schedule, zone, after), expected, "{schedule} {zone} {after}");
        }
    }

    #[test]
    fn a_time_that_the_clocks_skip_is_made_up_for_right_after() {
        // On 2026-03-29 the clocks of Berlin go from 02:00 (+01:00) to 03:00 (+02:00).
        assert_eq!(due("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z"), "2026-03-29T01:00:00Z");
        assert_eq!(due("30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z"), "2026-03-30T00:30:00Z");
        // On 2026-03-08 those of New York go from 02:00 (-05:00) to 03:00 (-04:00).
        assert_eq!(due("0 2 * * *", "America/New_York", "2026-03-07T12:00:00Z"), "2026-03-08T07:00:00Z");
    }

    #[test]
    fn a_time_that_the_clocks_show_twice_comes_once() {
        // On 2026-10-25 the clocks of Berlin go from 03:00 (+02:00) back to 02:00 (+01:00).
        let first = due("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z");
        assert_eq!(first, "2026-10-25T00:30:00Z");
        assert_eq!(due("30 2 * * *", "Europe/Berlin", &first), "2026-10-26T01:30:00Z");
    }

    #[test]
    fn what_comes_every_quarter_of_an_hour_goes_on_through_both_changes() {
        let schedule = Schedule::new("*/15 * * * *", "Europe/Berlin").unwrap();
        for from in ["2026-03-29T00:00:00Z", "2026-10-25T00:00:00Z"] {
            let mut at = time(from);
            for _ in 0..16 {
                let next = schedule.due(at, None).unwrap();
                assert_eq!(next.duration_since(at).as_secs(), 15 * 60, "after {at}");
                at = next;
            }
        }
    }

    #[test]
    fn missed_times_are_made_up_for_once() {
        let schedule = Schedule::new("0 2 * * *", "UTC").unwrap();
        let (given, last) = (time("2026-11-01T12:00:00Z"), time("2026-11-20T02:00:07Z"));
        assert_eq!(schedule.due(given, None), Some(time("2026-11-02T02:00:00Z")));
        assert_eq!(schedule.due(given, Some(last)), Some(time("2026-11-21T02:00:00Z")));
        // A pod that was away for a week exports when it is back, and then at the next time.
        assert_eq!(
            schedule.due(given, Some(time("2026-11-28T09:00:00Z"))),
            Some(time("2026-11-29T02:00:00Z"))
        );
    }

    #[test]
    fn what_means_nothing_is_refused_with_the_fix() {
        for wrong in [
            "",
            "0 2 * *",
            "0 0 2 * * *",
            "0 2 * * * 2026",
            "60 2 * * *",
            "0 24 * * *",
            "x 2 * * *",
            "0 0 30 2 *",
        ] {
            let error = Schedule::new(wrong, "UTC").unwrap_err().to_string();
            assert!(error.starts_with("spec.audit.export.schedule "), "{wrong}: {error}");
        }
        let error = Schedule::new("0 2 * * *", "Europe/Bonn").unwrap_err().to_string();
        assert!(error.contains("timeZone \"Europe/Bonn\" is not known"), "{error}");
    }
}
