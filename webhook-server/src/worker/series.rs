//! Occurrences of a series: which time is asked for, and how they are kept. Pure.
//!
//! There is no recurrence engine here: Graph expands the series in its own zone, whatever that is (`/instances`).

use jiff::{SignedDuration, Timestamp, ToSpan as _, tz::TimeZone};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use roomkeeper_crds::booking_record::{AddInProperties, BookedResource, OccurrenceException, Recurrence};
use roomkeeper_graph::{Event, ManifestId, Occurrence, Window};

use super::{
    add_in,
    ending::latest_end,
    spec::{SpecError, seconds},
};

/// Most occurrences that are read; the schema keeps as many.
pub(super) const MAX_OCCURRENCES: usize = 1_000;

/// Most occurrences that differ; the schema keeps as many.
const MAX_EXCEPTIONS: usize = 100;

/// How far ahead occurrences are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon(SignedDuration);

impl Horizon {
    /// So many days.
    pub fn of_days(days: u16) -> Self {
        Self(SignedDuration::from_hours(24 * i64::from(days)))
    }

    /// From the first of this month to a horizon after the first of the next one. Edges that stay for a month keep a series that
    /// is read again equal to what is recorded, and nothing that is covered now gets uncovered before the list is read anew.
    pub(super) fn window(self, now: Timestamp) -> Window {
        let first = now.to_zoned(TimeZone::UTC).date().first_of_month();
        let instant = |date: jiff::civil::Date| TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok();
        let start = instant(first).unwrap_or(now);
        let next = first.checked_add(1.month()).ok().and_then(instant).unwrap_or(now);
        Window::new(start, next.checked_add(self.0).unwrap_or(Timestamp::MAX))
    }

    /// Whether a list that ends there is to be read anew.
    pub(super) fn is_passed(self, listed_until: Timestamp, now: Timestamp) -> bool {
        now.checked_add(self.0).is_ok_and(|wanted| wanted > listed_until)
    }
}

/// Puts the occurrences of a window into a series' recurrence. `resources` are the series' own.
///
/// # Errors
/// There are more than a record holds.
pub(super) fn fill(
    recurrence: &mut Recurrence,
    event: &Event,
    (occurrences, window): (&[Occurrence], &Window),
    resources: &[BookedResource],
    manifest: &ManifestId,
) -> Result<(), SpecError> {
    recurrence.listed_until = listed_until(recurrence, event, window);
    let length = event.end.duration_since(event.start);
    for occurrence in occurrences.iter().filter(|occurrence| !occurrence.is_cancelled) {
        let moved = occurrence.original_start.is_some_and(|original| original != occurrence.start);
        let own = own_properties(occurrence, event, resources, manifest);
        if own.is_none() && !moved && occurrence.end.duration_since(occurrence.start) == length {
            recurrence.occurrences.push(seconds(occurrence.start));
        } else {
            recurrence.exceptions.push(OccurrenceException {
                original_start: occurrence.original_start.map(seconds),
                date_time_from: seconds(occurrence.start),
                date_time_to: seconds(occurrence.end),
                single_value_extended_properties: own,
            });
        }
    }
    // Pages can overlap when the series changes meanwhile, and an order is no difference.
    recurrence.occurrences.sort_unstable_by_key(|start| start.0);
    recurrence.occurrences.dedup();
    recurrence.exceptions.sort_by_key(|exception| (exception.date_time_from.0, exception.date_time_to.0));
    recurrence.exceptions.dedup();
    if recurrence.occurrences.len() > MAX_OCCURRENCES {
        return Err(SpecError::Limit("number of occurrences within the horizon"));
    }
    if recurrence.exceptions.len() > MAX_EXCEPTIONS {
        return Err(SpecError::Limit("number of changed occurrences within the horizon"));
    }
    Ok(())
}

/// As much of a series that cannot be booked as tells when its record ends: its last occurrence, whichever it is.
pub(super) fn outline(recurrence: &mut Recurrence, event: &Event, found: (&[Occurrence], &Window)) {
    let (occurrences, window) = found;
    recurrence.listed_until = listed_until(recurrence, event, window);
    recurrence.exceptions.clear();
    let last = occurrences.iter().map(|occurrence| occurrence.start).max();
    recurrence.occurrences = last.map(seconds).into_iter().collect();
}

fn listed_until(recurrence: &Recurrence, event: &Event, window: &Window) -> Option<Time> {
    let ends_within = latest_end(event.start, event.end, event.is_all_day, Some(recurrence))
        .is_some_and(|end| end <= window.end);
    (!ends_within).then_some(Time(window.end))
}

/// What the add-in left on this occurrence, where that books other spaces than the series does.
fn own_properties(
    occurrence: &Occurrence,
    event: &Event,
    resources: &[BookedResource],
    manifest: &ManifestId,
) -> Option<AddInProperties> {
    let value = occurrence.add_in_value.as_deref()?;
    if Some(value) == event.head.add_in_value.as_deref() {
        return None;
    }
    match add_in::parse(value, manifest) {
        Ok(own) => (own != resources).then_some(AddInProperties { invalid: None, resources: own }),
        Err(error) => Some(AddInProperties { invalid: Some(error.to_string()), resources: Vec::new() }),
    }
}

#[cfg(test)]
mod tests {
    use roomkeeper_graph::{EventHead, EventId, EventType, Sensitivity};
    use serde_json::json;

    use super::*;
    use crate::worker::spec;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn manifest() -> ManifestId {
        ManifestId::parse("3f0c2c1e-8d0a-4b59-9a55-2f4b7c0d6e21").unwrap()
    }

    fn rooms(ids: &[&str]) -> String {
        let resources: Vec<_> = ids.iter().map(|id| json!({"id": id})).collect();
        json!({"version": 1, "resources": resources}).to_string()
    }

    fn event(range: &serde_json::Value) -> Event {
        Event {
            head: EventHead {
                id: EventId::parse("AAMk=").unwrap(),
                i_cal_u_id: "u".to_owned(),
                change_key: "k".to_owned(),
                last_modified: at("2026-11-20T08:00:00Z"),
                is_organizer: true,
                event_type: EventType::SeriesMaster,
                is_cancelled: false,
                add_in_value: Some(rooms(&["room-101"])),
            },
            subject: None,
            start: at("2026-10-05T08:00:00Z"),
            end: at("2026-10-05T09:00:00Z"),
            is_all_day: false,
            organizer: None,
            attendees: Vec::new(),
            sensitivity: Sensitivity::Normal,
            series_master_id: None,
            recurrence: Some(json!({
                "pattern": {"type": "weekly", "interval": 1, "daysOfWeek": ["monday"]},
                "range": range,
            })),
        }
    }

    fn endless() -> Event {
        event(&json!({"type": "noEnd", "startDate": "2026-10-05", "endDate": "0001-01-01"}))
    }

    fn occurrence(start: &str, end: &str) -> Occurrence {
        Occurrence {
            is_cancelled: false,
            start: at(start),
            end: at(end),
            original_start: Some(at(start)),
            add_in_value: Some(rooms(&["room-101"])),
        }
    }

    fn november() -> Window {
        Horizon::of_days(365).window(at("2026-11-23T12:00:00Z"))
    }

    fn filled(event: &Event, occurrences: &[Occurrence]) -> Result<Recurrence, SpecError> {
        let mut recurrence = spec::recurrence(event.recurrence.as_ref().unwrap()).unwrap();
        let own = add_in::parse(event.head.add_in_value.as_ref().unwrap(), &manifest()).unwrap();
        fill(&mut recurrence, event, (occurrences, &november()), &own, &manifest())?;
        Ok(recurrence)
    }

    #[test]
    fn the_window_stays_for_a_month_and_always_covers_the_horizon() {
        let horizon = Horizon::of_days(365);
        let window = november();
        assert_eq!(window, Window::new(at("2026-11-01T00:00:00Z"), at("2027-12-01T00:00:00Z")));
        for (now, passed) in [
            ("2026-11-01T00:00:00Z", false),
            ("2026-11-30T23:59:59Z", false),
            ("2026-12-01T00:00:00Z", false),
            ("2026-12-01T00:00:01Z", true),
        ] {
            assert_eq!(horizon.is_passed(window.end, at(now)), passed, "{now}");
        }
        assert_eq!(horizon.window(at("2026-12-31T23:59:59Z")).start, at("2026-12-01T00:00:00Z"));
    }

    #[test]
    fn regular_occurrences_are_starts_and_all_others_are_told_in_full() {
        let moved = Occurrence {
            original_start: Some(at("2026-11-09T09:00:00Z")),
            ..occurrence("2026-11-10T13:00:00Z", "2026-11-10T14:00:00Z")
        };
        let elsewhere = Occurrence {
            add_in_value: Some(rooms(&["room-202"])),
            ..occurrence("2026-11-16T09:00:00Z", "2026-11-16T10:00:00Z")
        };
        let renamed = occurrence("2026-11-23T09:00:00Z", "2026-11-23T10:00:00Z");
        let longer = occurrence("2026-11-30T09:00:00Z", "2026-11-30T11:00:00Z");
        let unread = Occurrence {
            add_in_value: Some("{\"version\":9}".to_owned()),
            ..occurrence("2026-12-07T09:00:00Z", "2026-12-07T10:00:00Z")
        };
        let cancelled =
            Occurrence { is_cancelled: true, ..occurrence("2026-12-14T09:00:00Z", "2026-12-14T10:00:00Z") };
        let silent =
            Occurrence { add_in_value: None, ..occurrence("2026-11-02T09:00:00Z", "2026-11-02T10:00:00Z") };
        let all = [renamed.clone(), moved, elsewhere, longer, unread, cancelled, silent, renamed];
        let recurrence = filled(&endless(), &all).unwrap();
        let starts: Vec<_> = recurrence.occurrences.iter().map(|start| start.0).collect();
        assert_eq!(starts, [at("2026-11-02T09:00:00Z"), at("2026-11-23T09:00:00Z")]);
        let told: Vec<_> = recurrence
            .exceptions
            .iter()
            .map(|one| {
                let rooms = one.single_value_extended_properties.as_ref().map(|own| match &own.invalid {
                    Some(_) => "invalid".to_owned(),
                    None => own.resources.iter().map(|room| room.resource_id.as_str()).collect(),
                });
                (one.date_time_from.0.to_string(), rooms)
            })
            .collect();
        let expected = [
            ("2026-11-10T13:00:00Z", None),
            ("2026-11-16T09:00:00Z", Some("room-202")),
            ("2026-11-30T09:00:00Z", None),
            ("2026-12-07T09:00:00Z", Some("invalid")),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(start, rooms)| ((*start).to_owned(), rooms.map(str::to_owned))).collect();
        assert_eq!(told, expected);
        assert_eq!(recurrence.exceptions[0].original_start, Some(Time(at("2026-11-09T09:00:00Z"))));
    }

    #[test]
    fn the_list_is_complete_where_the_series_ends_within_the_horizon() {
        let range = json!({"type": "endDate", "startDate": "2026-10-05", "endDate": "2026-12-28"});
        assert_eq!(filled(&event(&range), &[]).unwrap().listed_until, None);
        assert_eq!(filled(&endless(), &[]).unwrap().listed_until, Some(Time(november().end)));
    }

    #[test]
    fn more_than_a_record_holds_is_refused_and_leaves_an_outline() {
        let day =
            |number: i64| at("2026-11-01T09:00:00Z").checked_add(SignedDuration::from_hours(number)).unwrap();
        let many: Vec<_> = (0..101)
            .map(|number| Occurrence {
                original_start: Some(at("2026-01-01T00:00:00Z")),
                start: day(number),
                end: day(number),
                ..occurrence("2026-11-01T09:00:00Z", "2026-11-01T09:00:00Z")
            })
            .collect();
        assert!(filled(&endless(), &many[1..]).is_ok());
        assert_eq!(
            filled(&endless(), &many),
            Err(SpecError::Limit("number of changed occurrences within the horizon"))
        );
        let mut recurrence = spec::recurrence(endless().recurrence.as_ref().unwrap()).unwrap();
        outline(&mut recurrence, &endless(), (&many, &november()));
        assert_eq!(recurrence.occurrences, [Time(day(100))]);
        assert_eq!((recurrence.exceptions.len(), recurrence.listed_until), (0, Some(Time(november().end))));
    }
}
