//! Plans and conclusions as values, from a YAML fixture.

mod purge;
mod series;
mod write_back;

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use roomkeeper_crds::{
    BookingRecord,
    access_scope::{Booking as Product, BookingQuota, PrivateSubject, WriteBack},
    booking_record::{BookingState, ProductState},
    condition::{self, Delivered, Type},
};

use super::{
    apply::{Trouble, Wait, conclude},
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
    World { product: Some(product), ..World::default() }
}

fn put(record: &Validated) -> Call {
    let content = record.resources[0].content("https://booking.contoso.example/api").mark(now());
    Call::Put { resource_id: "room-101".to_owned(), content }
}

fn told(record: &Validated, type_: Type) -> String {
    let condition = condition::get(&record.status.conditions, type_).unwrap();
    format!("{}/{}", condition.status, condition.reason)
}

/// Plans and carries out until nothing is planned; the product gives these answers, then accepts. Returns what was called.
fn drive(record: &mut Validated, world: &World, answers: Vec<Answer>) -> Vec<Call> {
    drive_at(record, world, answers, now())
}

fn drive_at(record: &mut Validated, world: &World, mut answers: Vec<Answer>, now: Timestamp) -> Vec<Call> {
    let mut called = Vec::new();
    for _ in 0..10 {
        match plan(record, world, now) {
            Plan::Announce(bookings) => record.status = report(record, world, bookings, None, now),
            Plan::Call { calls, mut bookings } => {
                for call in calls {
                    let accepted = match call {
                        Call::Put { .. } => Answer::Booked { booking_id: Some("b1".to_owned()) },
                        Call::Cancel { .. } => Answer::Cancelled,
                    };
                    let answer = if answers.is_empty() { accepted } else { answers.remove(0) };
                    assert_eq!(conclude(&mut bookings, &call, answer), None);
                    called.push(call);
                }
                record.status = report(record, world, bookings, None, now);
            }
            Plan::Rest(bookings) => {
                let status = report(record, world, bookings, None, now);
                record.status = status.clone();
                assert_eq!(plan(record, world, now), Plan::Rest(status.bookings.clone()));
                assert_eq!(report(record, world, status.bookings.clone(), None, now), status);
                return called;
            }
            Plan::Expire | Plan::Purge(_) => panic!("it is to stay"),
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
    let refusal = Answer::Conflict("Overlap: room-101 is taken".to_owned());
    assert_eq!(drive(&mut record, &world(), vec![refusal.clone()]).len(), 1);
    assert_eq!(
        (told(&record, Type::Delivered), told(&record, Type::Stalled)),
        ("False/Rejected".to_owned(), "True/Rejected".to_owned())
    );
    let message = &condition::get(&record.status.conditions, Type::Delivered).unwrap().message;
    assert!(message.contains("Overlap: room-101 is taken"), "{message}");
    let retry = World { retry_conflicts: true, ..world() };
    assert!(matches!(plan(&record, &retry, now()), Plan::Call { calls, .. } if calls.len() == 1));
}

#[test]
fn what_the_product_never_takes_is_tried_again_only_when_the_event_changes_or_a_person_asks() {
    let mut record = valid();
    let refusal = Answer::Refused("TooManyOccurrences: at most 400".to_owned());
    drive(&mut record, &world(), vec![refusal]);
    assert_eq!(told(&record, Type::Delivered), "False/Rejected");
    let message = &condition::get(&record.status.conditions, Type::Delivered).unwrap().message;
    assert!(message.contains("TooManyOccurrences: at most 400"), "{message}");
    let rest = Plan::Rest(record.status.bookings.clone());
    assert_eq!(plan(&record, &World { retry_conflicts: true, ..world() }, now()), rest);
    let asked = World { asked: true, ..world() };
    assert!(matches!(plan(&record, &asked, now()), Plan::Call { .. }));
    let mut moved = self::record();
    moved.spec.date_time_from.0 = "2026-11-24T09:30:00Z".parse().unwrap();
    moved.status = Some(record.status);
    assert_eq!(drive(&mut validate(&moved).unwrap(), &world(), vec![]).len(), 1);
}

#[test]
fn trouble_at_the_product_is_told_apart() {
    let record = valid();
    let call = put(&record);
    let mut bookings = Vec::new();
    let wait = conclude(&mut bookings, &call, Answer::Later(Duration::from_secs(7))).unwrap();
    assert_eq!(wait.wait, Some(Wait::All(Duration::from_secs(7))));
    let down = Trouble {
        reason: Delivered::BackendUnavailable,
        message: "no answer in time".to_owned(),
        stalled: false,
        wait: None,
    };
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
fn nothing_is_booked_by_a_property_that_is_not_understood() {
    let mut record = valid();
    drive(&mut record, &world(), vec![]);
    let mut changed = self::record();
    changed.spec.single_value_extended_properties.invalid = Some("resources is no list".to_owned());
    changed.status = Some(record.status);
    let mut changed = validate(&changed).unwrap();
    assert_eq!(drive(&mut changed, &world(), vec![]), [Call::Cancel { resource_id: "room-101".to_owned() }]);
    assert_eq!(
        (told(&changed, Type::Delivered), told(&changed, Type::Stalled)),
        ("False/Rejected".to_owned(), "True/InvalidProperty".to_owned())
    );
    let message = &condition::get(&changed.status.conditions, Type::Ready).unwrap().message;
    assert!(message.contains("resources is no list") && message.contains("add-in"), "{message}");
}

#[test]
fn an_event_of_whole_days_is_over_when_it_is_over_everywhere() {
    let mut record = record();
    record.spec.is_all_day = true;
    record.spec.date_time_from.0 = "2026-11-24T00:00:00Z".parse().unwrap();
    record.spec.date_time_to.0 = "2026-11-25T00:00:00Z".parse().unwrap();
    let valid = validate(&record).unwrap();
    assert_eq!(expires_at(&valid, &world()).unwrap().to_string(), "2026-11-25T12:00:00Z");
    let body = serde_json::to_value(&valid.resources[0].request).unwrap();
    assert_eq!(body["allDay"], true);
    record.spec.is_all_day = false;
    let body = serde_json::to_value(&validate(&record).unwrap().resources[0].request).unwrap();
    assert!(body.get("allDay").is_none(), "{body}");
}

#[test]
fn nothing_is_sent_about_an_event_that_is_over() {
    let mut record = valid();
    drive(&mut record, &world(), vec![Answer::Conflict("Overlap".to_owned())]);
    let kept = World { retention: Duration::from_hours(24), retry_conflicts: true, asked: true, ..world() };
    let end: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
    assert_eq!(plan(&record, &kept, end), Plan::Rest(record.status.bookings.clone()));
    let status = report(&record, &kept, record.status.bookings.clone(), None, end);
    assert!(condition::get(&status.conditions, Type::Delivered).unwrap().message.ends_with("over by now"));
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
        prop_assert_eq!(plan(&record, &world(), now()), Plan::Rest(record.status.bookings.clone()));
        if refused == 0 {
            let has: std::collections::BTreeSet<_> = record.status.bookings.iter().map(|booking| booking.resource_id.clone()).collect();
            prop_assert_eq!(has, if cancelled { std::collections::BTreeSet::default() } else { rooms });
        }
    }
}
