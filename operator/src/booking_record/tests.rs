//! Plans and conclusions as values, from a YAML fixture.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use roomkeeper_crds::{
    BookingRecord,
    access_scope::{Booking as Product, BookingQuota, PrivateSubject, WriteBack},
    booking_record::{BookingState, ProductState, Recurrence},
    condition::{self, Type},
};

use super::{
    apply::{Trouble, conclude},
    client::Answer,
    plan::{Call, Plan, World, expires_at, plan},
    status::report,
    validate::{ValidateError, Validated, validate},
};

fn now() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn record() -> BookingRecord {
    serde_yaml::from_str(include_str!("../fixtures/booking_record.yaml")).unwrap()
}

fn valid() -> Validated {
    validate(&record()).unwrap()
}

fn world() -> World {
    let product = Product {
        url: "https://booking.contoso.example/api".to_owned(),
        secret_name: None,
        oauth: None,
        quota: BookingQuota::default(),
        write_back: WriteBack::None,
        private_subject: PrivateSubject::Mask,
    };
    World { product: Some(product), retention: Duration::ZERO, retry_refused: false }
}

fn put(record: &Validated) -> Call {
    let content = record.resources[0].content("https://booking.contoso.example/api");
    Call::Put { resource_id: "room-101".to_owned(), content }
}

fn told(record: &Validated, type_: Type) -> String {
    let condition = condition::get(&record.status.conditions, type_).unwrap();
    format!("{}/{}", condition.status, condition.reason)
}

/// Plans and carries out until nothing is planned; the product gives these answers, then accepts. Returns what was called.
fn drive(record: &mut Validated, world: &World, mut answers: Vec<Answer>) -> Vec<Call> {
    let mut called = Vec::new();
    for _ in 0..10 {
        match plan(record, world, now()) {
            Plan::Announce(bookings) => record.status = report(record, world, bookings, None, now()),
            Plan::Call(calls) => {
                let mut bookings = record.status.bookings.clone();
                for call in calls {
                    let accepted = match call {
                        Call::Put { .. } => Answer::Booked { booking_id: Some("b1".to_owned()) },
                        Call::Cancel { .. } => Answer::Cancelled,
                    };
                    let answer = if answers.is_empty() { accepted } else { answers.remove(0) };
                    assert_eq!(conclude(&mut bookings, &call, answer), None);
                    called.push(call);
                }
                record.status = report(record, world, bookings, None, now());
            }
            Plan::Rest => {
                let bookings = record.status.bookings.clone();
                let status = report(record, world, bookings, None, now());
                record.status = status.clone();
                assert_eq!(report(record, world, status.bookings.clone(), None, now()), status);
                return called;
            }
            Plan::Expire => panic!("not over yet"),
        }
    }
    panic!("still planning after {called:?}");
}

#[test]
fn a_booking_is_announced_then_made_then_left_alone() {
    let mut record = valid();
    let Plan::Announce(announced) = plan(&record, &world(), now()) else { panic!() };
    assert_eq!((announced[0].resource_id.as_str(), announced[0].state), ("room-101", ProductState::Pending));
    let expected = put(&record);
    assert_eq!(drive(&mut record, &world(), vec![]), [expected]);
    assert_eq!(
        (told(&record, Type::Delivered), told(&record, Type::Ready)),
        ("True/Accepted".to_owned(), "True/Succeeded".to_owned())
    );
    assert_eq!(record.status.bookings[0].booking_id.as_deref(), Some("b1"));
    assert_eq!(record.status.expires_at.as_ref().unwrap().0.to_string(), "2026-11-24T10:00:00Z");
    assert_eq!(drive(&mut record, &world(), vec![]), [], "the product has it already");
}

#[test]
fn only_a_relevant_change_is_sent() {
    let mut record = valid();
    drive(&mut record, &world(), vec![]);
    let mut echo = self::record();
    echo.spec.change_key = "ck2".to_owned();
    echo.status = Some(record.status.clone());
    assert_eq!(
        drive(&mut validate(&echo).unwrap(), &world(), vec![]),
        [],
        "another version of the same booking"
    );
    let mut moved = echo;
    moved.spec.date_time_from.0 = "2026-11-24T09:30:00Z".parse().unwrap();
    let mut moved = validate(&moved).unwrap();
    let expected = put(&moved);
    assert_eq!(drive(&mut moved, &world(), vec![]), [expected]);
}

#[test]
fn a_space_that_was_taken_out_is_cancelled_before_the_others_are_sent() {
    let mut record = valid();
    drive(&mut record, &world(), vec![]);
    let mut changed = self::record();
    changed.spec.single_value_extended_properties.resources[0].resource_id = "room-202".to_owned();
    changed.status = Some(record.status);
    let mut changed = validate(&changed).unwrap();
    let called = drive(&mut changed, &world(), vec![]);
    assert_eq!(called[0], Call::Cancel { resource_id: "room-101".to_owned() });
    assert!(matches!(&called[1], Call::Put { resource_id, .. } if resource_id == "room-202"));
    assert_eq!(changed.status.bookings.len(), 1);
}

#[test]
fn a_cancelled_record_cancels_what_was_announced() {
    let mut record = valid();
    let Plan::Announce(announced) = plan(&record, &world(), now()) else { panic!() };
    // As if the process had died between the announcement and its note of the answer.
    record.status.bookings = announced;
    record.state = BookingState::Cancelled;
    assert_eq!(drive(&mut record, &world(), vec![]), [Call::Cancel { resource_id: "room-101".to_owned() }]);
    assert_eq!(told(&record, Type::Delivered), "True/Cancelled");
    assert!(record.status.bookings.is_empty());
}

#[test]
fn a_refusal_says_the_products_reason_and_waits() {
    let mut record = valid();
    let refusal = Answer::Refused("Overlap: room-101 is taken".to_owned());
    assert_eq!(drive(&mut record, &world(), vec![refusal.clone()]).len(), 1);
    assert_eq!(
        (told(&record, Type::Delivered), told(&record, Type::Stalled)),
        ("False/Rejected".to_owned(), "True/Rejected".to_owned())
    );
    let message = &condition::get(&record.status.conditions, Type::Delivered).unwrap().message;
    assert!(message.contains("Overlap: room-101 is taken"), "{message}");
    let retry = World { retry_refused: true, ..world() };
    assert!(matches!(plan(&record, &retry, now()), Plan::Call(calls) if calls.len() == 1));
}

#[test]
fn trouble_at_the_product_is_told_apart() {
    let record = valid();
    let call = put(&record);
    let mut bookings = Vec::new();
    let wait = conclude(&mut bookings, &call, Answer::Later(Duration::from_secs(7))).unwrap();
    assert_eq!(wait.wait, Some(Duration::from_secs(7)));
    let down = Trouble { message: "no answer in time".to_owned(), stalled: false, wait: None };
    let status = report(&record, &world(), vec![], Some(&down), now());
    let reasons: Vec<_> =
        status.conditions.iter().map(|one| format!("{}={}", one.type_, one.reason)).collect();
    assert!(reasons.contains(&"Delivered=BackendUnavailable".to_owned()), "{reasons:?}");
    assert!(reasons.contains(&"Reconciling=BackendUnavailable".to_owned()), "{reasons:?}");
}

#[test]
fn a_scope_without_a_product_is_no_trouble() {
    let mut record = valid();
    let world = World { product: None, ..world() };
    assert_eq!(drive(&mut record, &world, vec![]), []);
    assert_eq!(
        (told(&record, Type::Delivered), told(&record, Type::Ready)),
        ("False/Pending".to_owned(), "True/Pending".to_owned())
    );
}

#[test]
fn a_record_goes_when_its_booking_is_over() {
    let record = valid();
    let end: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
    assert!(!matches!(plan(&record, &world(), end - Duration::from_millis(1)), Plan::Expire));
    assert_eq!(plan(&record, &world(), end), Plan::Expire);
    let kept = World { retention: Duration::from_hours(1), ..world() };
    assert!(!matches!(plan(&record, &kept, end), Plan::Expire));
    assert_eq!(plan(&record, &kept, end + Duration::from_hours(1)), Plan::Expire);
    assert_eq!(plan(&record, &World { product: None, ..world() }, end), Plan::Expire);
}

#[test]
fn a_series_is_not_booked_yet_and_ends_a_day_after_its_last() {
    let series = |range: &str| {
        let mut record = record();
        let text = format!("{{pattern: {{type: daily, interval: 1}}, range: {range}}}");
        record.spec.recurrence_pattern = Some(serde_yaml::from_str::<Recurrence>(&text).unwrap());
        validate(&record).unwrap()
    };
    let mut ending = series("{type: endDate, startDate: \"2026-11-24\", endDate: \"2026-12-01\"}");
    assert_eq!(expires_at(&ending, &world()).unwrap().to_string(), "2026-12-03T00:00:00Z");
    assert_eq!(drive(&mut ending, &world(), vec![]), []);
    assert_eq!(
        (told(&ending, Type::Delivered), told(&ending, Type::Stalled)),
        ("False/Rejected".to_owned(), "True/Rejected".to_owned())
    );
    for endless in [
        "{type: noEnd, startDate: \"2026-11-24\", endDate: \"0001-01-01\"}",
        "{type: numbered, startDate: \"2026-11-24\", endDate: \"0001-01-01\", numberOfOccurrences: 3}",
    ] {
        assert_eq!(expires_at(&series(endless), &world()), None);
    }
}

#[test]
fn two_spaces_of_one_id_are_refused() {
    let mut record = record();
    let twice = record.spec.single_value_extended_properties.resources[0].clone();
    record.spec.single_value_extended_properties.resources.push(twice);
    assert_eq!(validate(&record).unwrap_err(), ValidateError::Twice("room-101".to_owned()));
}

proptest! {
    /// Whatever the product answers, the calls come to an end, and nothing is planned on what they leave.
    #[test]
    fn planning_on_the_state_that_a_plan_leaves_is_empty(
        rooms in proptest::collection::btree_set("[a-d]", 0..4),
        earlier in proptest::collection::btree_set("[a-d]", 0..4),
        cancelled: bool,
        refusals in proptest::collection::vec(any::<bool>(), 0..6),
    ) {
        let with = |rooms: &std::collections::BTreeSet<String>| {
            let mut record = record();
            let template = record.spec.single_value_extended_properties.resources[0].clone();
            record.spec.single_value_extended_properties.resources = rooms
                .iter()
                .map(|room| roomkeeper_crds::booking_record::BookedResource { resource_id: room.clone(), ..template.clone() })
                .collect();
            record
        };
        let mut before = validate(&with(&earlier)).unwrap();
        drive(&mut before, &world(), vec![]);
        let mut record = with(&rooms);
        record.status = Some(before.status);
        let mut record = validate(&record).unwrap();
        if cancelled {
            record.state = BookingState::Cancelled;
        }
        let answers = refusals.iter().map(|refused| if *refused { Answer::Refused("no".to_owned()) } else { Answer::Later(Duration::ZERO) });
        // Only refusals: a request to wait ends a round and is tested apart.
        let answers: Vec<_> = answers.filter(|answer| matches!(answer, Answer::Refused(_))).collect();
        let refused = answers.len();
        drive(&mut record, &world(), answers);
        prop_assert_eq!(plan(&record, &world(), now()), Plan::Rest);
        if refused == 0 {
            let has: std::collections::BTreeSet<_> = record.status.bookings.iter().map(|booking| booking.resource_id.clone()).collect();
            prop_assert_eq!(has, if cancelled { std::collections::BTreeSet::default() } else { rooms });
        }
    }
}
