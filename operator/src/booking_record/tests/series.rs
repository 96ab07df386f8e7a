//! Series: which occurrences are in which space, and that time alone leads to no call.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use roomkeeper_crds::{
    BookingRecord, BookingRecordStatus,
    booking_record::{AddInProperties, BookingState, OccurrenceException, Recurrence},
    condition::{self, Type},
};

use super::{
    super::{
        client::Answer,
        plan::{Call, Plan, World, expires_at, next_over, plan},
        status::report,
        validate::{Validated, validate},
    },
    drive, drive_at, record, told, world,
};

const URL: &str = "https://booking.contoso.example/api";

fn day(day: i64, hour: i64) -> Timestamp {
    let first: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
    first + SignedDuration::from_hours(24 * day + hour)
}

/// A series of an hour at nine on these days.
fn series(days: &[i64]) -> BookingRecord {
    let mut record = record();
    let mut recurrence: Recurrence = serde_yaml::from_str(
        "{pattern: {type: daily, interval: 1}, range: {type: noEnd, startDate: \"2026-11-24\"}}",
    )
    .unwrap();
    recurrence.occurrences = days.iter().map(|number| Time(day(*number, 9))).collect();
    record.spec.recurrence_pattern = Some(recurrence);
    record
}

fn moved(record: &mut BookingRecord, from: i64, to: (i64, i64), rooms: Option<&[&str]>) {
    let template = record.spec.single_value_extended_properties.resources[0].clone();
    let resources = |rooms: &[&str]| {
        rooms
            .iter()
            .map(|room| {
                let mut resource = template.clone();
                resource.resource_id = (*room).to_owned();
                resource
            })
            .collect()
    };
    let recurrence = record.spec.recurrence_pattern.as_mut().unwrap();
    recurrence.occurrences.retain(|start| start.0 != day(from, 9));
    recurrence.exceptions.push(OccurrenceException {
        original_start: Some(Time(day(from, 9))),
        date_time_from: Time(day(to.0, to.1)),
        date_time_to: Time(day(to.0, to.1 + 2)),
        single_value_extended_properties: rooms
            .map(|rooms| AddInProperties { invalid: None, resources: resources(rooms) }),
    });
}

/// Each space with its occurrences, in words.
fn listed(record: &BookingRecord) -> Vec<String> {
    let valid = validate(record).unwrap();
    let words = valid.resources.iter().map(|resource| {
        let times = resource.occurrences.as_ref().unwrap().iter().map(|one| {
            let was =
                one.original_start.map(|was| format!(" was {}", was.strftime("%d"))).unwrap_or_default();
            format!("{}-{}{was}", one.start.strftime("%dT%H"), one.end.strftime("%H"))
        });
        format!("{}: {}", resource.id, times.collect::<Vec<_>>().join(", "))
    });
    words.collect()
}

#[test]
fn each_occurrence_is_in_the_spaces_that_it_names() {
    let mut record = series(&[0, 1, 2, 3, 4]);
    moved(&mut record, 1, (1, 14), None);
    moved(&mut record, 2, (2, 9), Some(&["room-7"]));
    moved(&mut record, 3, (0, 8), Some(&["room-101", "room-7"]));
    moved(&mut record, 4, (4, 9), Some(&[]));
    assert_eq!(
        listed(&record),
        ["room-101: 24T08-10 was 27, 24T09-10, 25T14-16 was 25", "room-7: 24T08-10 was 27, 26T09-11 was 26"]
    );
    let mut bookings = validate(&record).unwrap();
    let called = drive_at(&mut bookings, &world(), vec![], day(0, 0));
    assert_eq!(called.len(), 2, "one booking for each space");

    // All occurrences have left the space of the series.
    let mut gone = series(&[0]);
    moved(&mut gone, 0, (0, 9), Some(&["room-7"]));
    gone.status = Some(bookings.status);
    let called = drive_at(&mut validate(&gone).unwrap(), &world(), vec![], day(0, 0));
    assert_eq!(called[0], Call::Cancel { resource_id: "room-101".to_owned() });
    assert!(matches!(&called[1], Call::Put { resource_id, .. } if resource_id == "room-7"));
}

#[test]
fn the_product_is_told_of_the_occurrences_in_the_space_and_up_to_when_they_are_listed() {
    let mut record = series(&[0, 1, 2]);
    moved(&mut record, 1, (1, 14), Some(&["room-7"]));
    record.spec.recurrence_pattern.as_mut().unwrap().listed_until = Some(Time(day(9, 0)));
    let valid = validate(&record).unwrap();
    let room = valid.resources.iter().find(|resource| resource.id == "room-7").unwrap();
    let body = serde_json::to_value(&room.request).unwrap();
    assert_eq!(
        (body["start"].as_str(), body["end"].as_str()),
        (Some("2026-11-24T09:00:00Z"), Some("2026-11-24T10:00:00Z"))
    );
    assert_eq!(body["recurrence"]["until"], "2026-12-03T00:00:00Z");
    assert_eq!(
        body["recurrence"]["occurrences"],
        serde_json::json!([{"start": "2026-11-25T14:00:00Z", "end": "2026-11-25T16:00:00Z", "originalStart": "2026-11-25T09:00:00Z"}])
    );
    assert_eq!(body["recurrence"]["pattern"]["type"], "daily");
}

#[test]
fn an_occurrence_with_a_property_that_is_not_understood_is_not_booked() {
    let mut record = series(&[0, 1]);
    moved(&mut record, 1, (1, 9), Some(&["room-7"]));
    let exceptions = &mut record.spec.recurrence_pattern.as_mut().unwrap().exceptions;
    exceptions[0].single_value_extended_properties.as_mut().unwrap().invalid = Some("no list".to_owned());
    assert_eq!(listed(&record), ["room-101: 24T09-10"]);
    let mut valid = validate(&record).unwrap();
    drive(&mut valid, &world(), vec![]);
    let told =
        |valid: &Validated| [Type::Ready, Type::Stalled, Type::Delivered].map(|type_| told(valid, type_));
    assert_eq!(told(&valid), ["False/InvalidProperty", "True/InvalidProperty", "False/Rejected"]);
    let message = &condition::get(&valid.status.conditions, Type::Ready).unwrap().message;
    assert!(message.contains("2026-11-25T") && message.contains("no list"), "{message}");
}

#[test]
fn a_series_ends_with_its_last_occurrence_unless_more_are_to_come() {
    let mut record = series(&[0, 1]);
    moved(&mut record, 1, (5, 9), Some(&["room-7"]));
    let ends = |record: &BookingRecord| expires_at(&validate(record).unwrap(), &world());
    assert_eq!(ends(&record), Some(day(5, 11)));
    record.spec.is_all_day = true;
    assert_eq!(ends(&record), Some(day(5, 23)));
    record.spec.state = BookingState::Cancelled;
    assert_eq!(ends(&record), Some(day(5, 23)), "cancelled or not");
    record.spec.recurrence_pattern.as_mut().unwrap().listed_until = Some(Time(day(300, 0)));
    assert_eq!(ends(&record), None);

    let without = |range: &str| {
        let mut record = series(&[]);
        record.spec.recurrence_pattern.as_mut().unwrap().range = serde_yaml::from_str(range).unwrap();
        ends(&record)
    };
    assert_eq!(
        without("{type: endDate, startDate: \"2026-11-24\", endDate: \"2026-12-01\"}"),
        Some(day(9, 0))
    );
    assert_eq!(without("{type: noEnd, startDate: \"2026-11-24\"}"), None);
    assert_eq!(
        without("{type: numbered, startDate: \"2026-11-24\", numberOfOccurrences: 3}"),
        Some(day(0, 10))
    );
}

#[test]
fn what_is_listed_up_to_is_no_difference_and_what_is_listed_is() {
    let mut record = series(&[0, 1]);
    let mut booked = validate(&record).unwrap();
    drive_at(&mut booked, &world(), vec![], day(0, 0));
    record.status = Some(booked.status);
    record.spec.recurrence_pattern.as_mut().unwrap().listed_until = Some(Time(day(2, 0)));
    assert_eq!(drive_at(&mut validate(&record).unwrap(), &world(), vec![], day(0, 0)), []);
    record.spec.recurrence_pattern.as_mut().unwrap().occurrences.push(Time(day(2, 9)));
    assert_eq!(drive_at(&mut validate(&record).unwrap(), &world(), vec![], day(0, 0)).len(), 1);
}

#[test]
fn a_space_whose_occurrences_are_over_is_neither_cancelled_nor_booked_again() {
    let mut record = series(&[0, 1, 9]);
    moved(&mut record, 0, (0, 9), Some(&["room-7"]));
    let mut booked = validate(&record).unwrap();
    assert_eq!(drive_at(&mut booked, &world(), vec![], day(0, 0)).len(), 2);
    assert_eq!(drive_at(&mut booked, &world(), vec![], day(3, 0)), []);
    assert_eq!(booked.status.bookings.len(), 1, "nothing is left to say about room-7");
    // Read again, without what is over.
    let mut again = series(&[9]);
    again.status = Some(booked.status);
    assert_eq!(drive_at(&mut validate(&again).unwrap(), &world(), vec![], day(3, 0)), []);
}

#[test]
fn a_series_without_occurrences_to_come_is_not_booked_at_all() {
    let mut record = series(&[0, 1]);
    record.spec.recurrence_pattern.as_mut().unwrap().listed_until = Some(Time(day(300, 0)));
    assert_eq!(drive_at(&mut validate(&record).unwrap(), &world(), vec![], day(2, 0)), []);
}

/// What the operator does from `from` to `to`: it looks at each moment at which an occurrence passes.
fn wait(record: &mut Validated, world: &World, from: Timestamp, to: Timestamp) -> Vec<Call> {
    let mut called = Vec::new();
    let mut now = from;
    loop {
        called.extend(drive_at(record, world, vec![], now));
        match next_over(record, now) {
            Some(next) if next < to => now = next,
            _ => return called,
        }
    }
}

fn reread(record: &BookingRecord, status: &BookingRecordStatus, now: Timestamp) -> Validated {
    let mut again = record.clone();
    let recurrence = again.spec.recurrence_pattern.as_mut().unwrap();
    recurrence.occurrences.retain(|start| start.0 + SignedDuration::from_hours(1) > now);
    recurrence.exceptions.retain(|exception| exception.date_time_to.0 > now);
    again.status = Some(status.clone());
    again.metadata.generation = again.metadata.generation.map(|generation| generation + 1);
    validate(&again).unwrap()
}

#[derive(Clone, Debug)]
struct Case {
    record: BookingRecord,
    first: Timestamp,
    later: Timestamp,
}

fn case() -> impl Strategy<Value = Case> {
    let days = proptest::collection::btree_set(0_i64..30, 1..12);
    let moves = proptest::collection::vec((0_usize..12, 0_i64..30, 0_i64..22, 0_usize..4), 0..4);
    (days, moves, 0_i64..30, 0_i64..24, 0_i64..20, 0_i64..24).prop_map(
        |(days, moves, first, hour, later, later_hour)| {
            let days: Vec<i64> = days.into_iter().collect();
            let mut record = series(&days);
            // As long as more are to come it does not expire.
            record.spec.recurrence_pattern.as_mut().unwrap().listed_until = Some(Time(day(300, 0)));
            let mut left = days;
            for (at, to, hour, which) in moves {
                if left.is_empty() {
                    break;
                }
                let from = left.remove(at % left.len());
                let rooms: [Option<&[&str]>; 4] =
                    [None, Some(&["room-7"]), Some(&["room-7", "room-101"]), Some(&[])];
                moved(&mut record, from, (to, hour), rooms[which]);
            }
            let first = day(first, hour);
            Case { record, first, later: first + SignedDuration::from_hours(24 * later + later_hour) }
        },
    )
}

proptest! {
    /// The same record at another time leads to no call, whether the operator looked in between or was away.
    #[test]
    fn time_alone_leads_to_no_call(case in case(), away: bool) {
        let mut valid = validate(&case.record).unwrap();
        drive_at(&mut valid, &world(), vec![], case.first);
        let called = if away { vec![] } else { wait(&mut valid, &world(), case.first, case.later) };
        prop_assert_eq!(called, vec![]);
        prop_assert_eq!(drive_at(&mut valid, &world(), vec![], case.later), vec![]);
    }

    /// Nor does reading it again, which leaves out what is over. The operator may not have looked since up to two passed.
    #[test]
    fn reading_again_leads_to_no_call(case in case(), missed in 0_usize..=2) {
        let mut valid = validate(&case.record).unwrap();
        drive_at(&mut valid, &world(), vec![], case.first);
        let mut passing = vec![case.first];
        while let Some(next) = next_over(&valid, *passing.last().unwrap()).filter(|next| *next <= case.later) {
            passing.push(next);
        }
        let looked = passing[passing.len().saturating_sub(1 + missed)];
        prop_assert_eq!(wait(&mut valid, &world(), case.first, looked + Duration::from_secs(1)), vec![]);
        let mut again = reread(&case.record, &valid.status, case.later);
        prop_assert_eq!(drive_at(&mut again, &world(), vec![], case.later), vec![]);
    }

    /// An occurrence to come that is taken out leads to a call, at whatever time and after however long an absence.
    #[test]
    fn a_difference_to_come_leads_to_a_call(case in case(), at in 0_usize..12, read_again: bool) {
        let mut valid = validate(&case.record).unwrap();
        drive_at(&mut valid, &world(), vec![], case.first);
        let mut changed = case.record.clone();
        let recurrence = changed.spec.recurrence_pattern.as_mut().unwrap();
        let to_come: Vec<Time> = recurrence.occurrences.iter().filter(|start| start.0 > case.later).cloned().collect();
        prop_assume!(!to_come.is_empty());
        let gone = &to_come[at % to_come.len()];
        recurrence.occurrences.retain(|start| start != gone);
        let mut now = if read_again {
            reread(&changed, &valid.status, case.later)
        } else {
            changed.status = Some(valid.status);
            validate(&changed).unwrap()
        };
        prop_assert!(!drive_at(&mut now, &world(), vec![], case.later).is_empty());
    }
}

#[test]
fn a_refused_series_is_tried_again_only_as_a_conflict() {
    let mut valid = validate(&series(&[0, 1, 2])).unwrap();
    let refusal = Answer::Conflict("Overlap: room-101 is taken at 2026-11-25".to_owned());
    drive_at(&mut valid, &world(), vec![refusal], day(0, 0));
    let rest = Plan::Rest(valid.status.bookings.clone());
    assert_eq!(plan(&valid, &world(), day(0, 12)), rest, "an occurrence that passed is no other wish");
    let retry = World { retry_conflicts: true, ..world() };
    assert!(matches!(plan(&valid, &retry, day(0, 12)), Plan::Call { .. }));
    let status = report(&valid, &world(), valid.status.bookings.clone(), None, day(0, 12));
    assert!(status.bookings[0].sent.as_ref().unwrap().len() <= 64);
    assert!(valid.resources[0].content(URL).mark(day(0, 0)).len() <= 63);
}
