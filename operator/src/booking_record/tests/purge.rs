//! Which records go when their calendar may not be read any more, and what is done before.

use std::time::Duration;

use roomkeeper_crds::CalendarSubscription;

use super::{
    super::{
        client::Answer,
        plan::{Call, Plan, World, plan},
        purge::{Purge, Why, agrees, said},
        validate::Validated,
    },
    drive, now, valid, world,
};
use crate::{
    calendar_subscription::plan::{Denial, Verdict, WaitingOn},
    key::Key,
};

fn object(metadata: &str, status: &str) -> CalendarSubscription {
    serde_yaml::from_str(&format!(
        "apiVersion: roomkeeper.dev/v1alpha1\nkind: CalendarSubscription\n\
         metadata: {{name: a, namespace: n, uid: u, generation: 2{metadata}}}\n\
         spec: {{scopeRef: {{name: s}}, user: a@contoso.example}}\nstatus: {status}\n"
    ))
    .unwrap()
}

fn condition(observed: i64, status: &str, reason: &str) -> String {
    format!(
        "{{observedGeneration: {observed}, conditions: [{{type: Allowed, status: '{status}', reason: {reason}, message: '', \
         observedGeneration: {observed}, lastTransitionTime: \"2026-11-23T10:00:00Z\"}}]}}"
    )
}

#[test]
fn only_a_withdrawal_the_policies_or_the_end_of_the_object_say_so() {
    let of =
        |observed, status: &str, reason: &str| said(Some(&object("", &condition(observed, status, reason))));
    assert_eq!(of(2, "False", "ConsentWithdrawn"), Some(Why::Withdrawn));
    assert_eq!(of(2, "False", "OutOfScope"), Some(Why::OutOfScope));
    assert_eq!(of(1, "False", "ConsentWithdrawn"), None, "of an earlier generation");
    assert_eq!(of(2, "Unknown", "OutOfScope"), None);
    for transient in [
        "AwaitingConsent",
        "PolicyDenied",
        "UserNotFound",
        "ScopeNotReady",
        "Suspended",
        "Duplicate",
        "NoticeOutdated",
    ] {
        assert_eq!(of(2, "False", transient), None, "{transient}");
    }
    assert_eq!(said(Some(&object("", "{}"))), None, "first sight");
    assert_eq!(said(None), Some(Why::Deleted));
    let going = object(", deletionTimestamp: \"2026-11-23T10:00:00Z\"", "{}");
    assert_eq!(said(Some(&going)), Some(Why::Deleted));
}

#[test]
fn a_status_that_consents_and_members_do_not_bear_out_is_not_believed() {
    let waiting = Verdict::Waiting { on: WaitingOn::Members, message: String::new() };
    let others = [
        Verdict::Undecided,
        Verdict::UserUnknown,
        waiting,
        Verdict::Denied(Denial::Suspended("its AccessScope")),
        Verdict::Denied(Denial::AwaitingConsent),
        Verdict::Denied(Denial::Duplicate(Key::new("n", "b"))),
    ];
    for other in &others {
        assert!(!agrees(Why::Withdrawn, other) && !agrees(Why::OutOfScope, other), "{other:?}");
    }
    assert!(agrees(Why::Withdrawn, &Verdict::Denied(Denial::ConsentWithdrawn)));
    assert!(agrees(Why::OutOfScope, &Verdict::Denied(Denial::OutOfScope)));
    assert!(!agrees(Why::OutOfScope, &Verdict::Denied(Denial::ConsentWithdrawn)));
}

fn purging(cancel: bool) -> World {
    World { purge: Some(Purge { why: Why::Withdrawn, cancel }), ..world() }
}

fn booked() -> Validated {
    let mut record = valid();
    drive(&mut record, &world(), vec![]);
    record
}

#[test]
fn bookings_stay_or_are_cancelled_before_the_record_goes() {
    let mut record = booked();
    assert!(matches!(plan(&record, &purging(false), now()), Plan::Purge(_)));
    let Plan::Call { calls, .. } = plan(&record, &purging(true), now()) else { panic!() };
    assert_eq!(calls, [Call::Cancel { resource_id: "room-101".to_owned() }]);
    let mut bookings = record.status.bookings.clone();
    super::super::apply::conclude(&mut bookings, &calls[0], Answer::Cancelled);
    record.status.bookings = bookings;
    assert!(matches!(plan(&record, &purging(true), now()), Plan::Purge(_)));
}

#[test]
fn what_is_over_is_not_cancelled_and_expiry_goes_first() {
    let record = booked();
    let end = record.ends_at.unwrap();
    let kept = World { retention: Duration::from_hours(1), ..purging(true) };
    assert!(matches!(plan(&record, &kept, end), Plan::Purge(_)));
    assert_eq!(plan(&record, &purging(true), end), Plan::Expire);
    let without = World { product: None, ..purging(true) };
    assert!(matches!(plan(&record, &without, now()), Plan::Purge(_)));
}
