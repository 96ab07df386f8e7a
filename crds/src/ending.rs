//! When a booking is over, by what its record lists. Pure.

use jiff::{SignedDuration, Timestamp};

use crate::BookingRecordSpec;

/// Times of an event that lasts whole days are midnights of the place of the space, written as if in UTC. No zone is further west than
/// UTC−12: by then it is over wherever the place is.
const WESTERNMOST: SignedDuration = SignedDuration::from_hours(12);

/// When what ends then is surely over.
pub fn over_at(end: Timestamp, is_all_day: bool) -> Timestamp {
    let later = if is_all_day { WESTERNMOST } else { SignedDuration::ZERO };
    end.checked_add(later).unwrap_or(Timestamp::MAX)
}

/// The end of a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastEnd {
    /// Then the event, or its last occurrence, is surely over.
    At(Timestamp),
    /// More occurrences may follow than are listed.
    Open,
    /// A series without any occurrence.
    NoOccurrence,
}

impl BookingRecordSpec {
    /// When the last of what the record lists is over.
    pub fn last_end(&self) -> LastEnd {
        let over = |end: Timestamp| LastEnd::At(over_at(end, self.is_all_day));
        let Some(recurrence) = &self.recurrence_pattern else { return over(self.date_time_to.0) };
        if recurrence.listed_until.is_some() {
            return LastEnd::Open;
        }
        let lasts = self.date_time_to.0.duration_since(self.date_time_from.0);
        let regular = recurrence.occurrences.iter().filter_map(|start| start.0.checked_add(lasts).ok());
        let different = recurrence.exceptions.iter().map(|exception| exception.date_time_to.0);
        regular.chain(different).max().map_or(LastEnd::NoOccurrence, over)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::booking_record::{OccurrenceException, Recurrence};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn spec(from: &str, to: &str) -> BookingRecordSpec {
        serde_json::from_value(serde_json::json!({
            "iCalUId": "u", "changeKey": "k", "dateTimeFrom": from, "dateTimeTo": to, "eventId": "AAMk=",
            "lastModifiedDateTime": from, "sensitivity": "normal", "singleValueExtendedProperties": {"resources": []},
            "state": "Booked", "subscriptionRef": {"name": "user1"},
        }))
        .unwrap()
    }

    #[test]
    fn a_series_is_over_with_its_last_listed_occurrence_and_not_while_more_can_follow() {
        let time = |text: &str| Time(at(text));
        let mut spec = spec("2026-01-05T09:00:00Z", "2026-01-05T10:00:00Z");
        assert_eq!(spec.last_end(), LastEnd::At(at("2026-01-05T10:00:00Z")));
        let mut recurrence: Recurrence = serde_json::from_value(serde_json::json!({
            "pattern": {"type": "weekly", "interval": 2},
            "range": {"type": "endDate", "startDate": "2026-01-05", "endDate": "2026-03-01"},
        }))
        .unwrap();
        spec.recurrence_pattern = Some(recurrence.clone());
        assert_eq!(spec.last_end(), LastEnd::NoOccurrence, "all of them were cancelled");
        recurrence.occurrences = vec![time("2026-01-05T09:00:00Z"), time("2026-02-16T09:00:00Z")];
        recurrence.exceptions = vec![OccurrenceException {
            original_start: Some(time("2026-02-02T09:00:00Z")),
            date_time_from: time("2026-02-20T09:00:00Z"),
            date_time_to: time("2026-02-20T12:00:00Z"),
            single_value_extended_properties: None,
        }];
        spec.recurrence_pattern = Some(recurrence.clone());
        assert_eq!(spec.last_end(), LastEnd::At(at("2026-02-20T12:00:00Z")));
        recurrence.exceptions.clear();
        spec.recurrence_pattern = Some(recurrence.clone());
        assert_eq!(spec.last_end(), LastEnd::At(at("2026-02-16T10:00:00Z")));
        recurrence.listed_until = Some(time("2026-12-01T00:00:00Z"));
        spec.recurrence_pattern = Some(recurrence);
        assert_eq!(spec.last_end(), LastEnd::Open);
    }

    #[test]
    fn a_whole_day_ends_when_it_has_ended_everywhere() {
        let spec =
            BookingRecordSpec { is_all_day: true, ..spec("2026-01-05T00:00:00Z", "2026-01-06T00:00:00Z") };
        assert_eq!(spec.last_end(), LastEnd::At(at("2026-01-06T12:00:00Z")));
    }
}
