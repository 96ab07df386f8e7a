//! Plans and conclusions as values, from a YAML fixture.

use std::{fmt::Write as _, time::Duration};

use jiff::Timestamp;
use proptest::prelude::*;
use roomkeeper_crds::{
    CalendarSubscription, CalendarSubscriptionStatus,
    calendar_subscription::{Delivery, Lifecycle, LifecycleEvent, LifecycleNotice, ResyncReason},
    condition::{self, Type},
};
use roomkeeper_graph::{
    Decision, GoneReason, GraphError, Purpose, Reason, Refusal, Subscription, SubscriptionId, UserId,
};
use uuid::Uuid;

use super::{
    plan::{Action, Consent, Denial, Finding, Grant, Plan, Scope, Verdict, World, plan},
    renewal::Calendar,
    sightings::Sighting,
    status::{How, Outcome, Settled, Then},
    validate::{Validated, validate},
    watched::Answered,
};
use crate::key::Key;

mod life;

const USER: &str = "2189c720-90d5-44ff-818b-fe585706ee90";

fn now() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn id(number: u128) -> SubscriptionId {
    Uuid::from_u128(number).into()
}

/// The fixture with this status, as YAML.
fn object(status: &str) -> Validated {
    let mut object: CalendarSubscription =
        serde_yaml::from_str(include_str!("../../fixtures/calendar_subscription.yaml")).unwrap();
    object.status = Some(serde_yaml::from_str(status).unwrap());
    validate(&object).unwrap()
}

fn resolved() -> Validated {
    object(&format!("{{userId: {USER}}}"))
}

fn subscribed(expires: &str, renew: &str) -> Validated {
    object(&format!(
        "{{userId: {USER}, subscription: {{id: {}, expiresAt: \"{expires}\", renewAt: \"{renew}\", createdAt: \"2026-11-23T09:35:00Z\"}}}}",
        id(1)
    ))
}

fn living() -> Validated {
    subscribed("2026-11-30T09:45:00Z", "2026-11-28T09:45:00Z")
}

fn consent(name: &str, withdrawn: bool) -> Consent {
    let granted_at = "2026-11-23T09:30:00Z".parse().unwrap();
    Consent { name: name.to_owned(), granted_at, notice: "2026-01".to_owned(), withdrawn }
}

fn grant() -> Grant {
    Grant { consent: "consent-1".to_owned(), granted_at: "2026-11-23T09:30:00Z".parse().unwrap() }
}

/// A world in which everything allows the subscription.
fn world() -> World {
    World {
        scope: Scope::Serving { within: Some(true) },
        required_notice: None,
        consents: vec![consent("consent-1", false)],
        elder: None,
        sightings: None,
        lifecycle_answered: Answered::default(),
        authorized_at: None,
        outdated: false,
        replace: true,
        silence: Duration::from_hours(24),
        periodic: None,
        listed_until: None,
        horizon: Duration::from_hours(24 * 365),
    }
}

fn planned(object: &Validated, world: &World) -> (Verdict, Action) {
    let Plan { verdict, action, .. } = plan(object, world, now());
    (verdict, action)
}

fn action(object: &Validated, world: &World) -> Action {
    planned(object, world).1
}

fn graph_subscription(number: u128, expires: &str) -> Subscription {
    Subscription {
        id: id(number),
        resource: format!("users/{USER}/events"),
        notification_url: Some("https://rooms.example/notifications/k/u".to_owned()),
        lifecycle_notification_url: None,
        expiration: expires.parse().unwrap(),
        application_id: None,
        change_type: "created,updated,deleted".to_owned(),
    }
}

fn refused(purpose: Purpose, status: u16, decision: Decision) -> GraphError {
    GraphError::Refused(Box::new(Refusal {
        purpose,
        status,
        code: "Code".to_owned(),
        inner_status: None,
        request_id: None,
        client_request_id: Uuid::nil(),
        decision,
    }))
}

/// With no other subscription to renew.
fn settle(object: &Validated, verdict: &Verdict, outcome: Outcome, now: Timestamp) -> Settled {
    super::status::settle(object, verdict, outcome, &Calendar::default(), now)
}

/// `Type=Status/Reason` of each condition, in one line.
fn told(status: &CalendarSubscriptionStatus) -> String {
    let mut text = String::new();
    for type_ in
        [Type::Allowed, Type::Subscribed, Type::Delivering, Type::Ready, Type::Reconciling, Type::Stalled]
    {
        if let Some(condition) = condition::get(&status.conditions, type_) {
            write!(text, "{type_}={}/{} ", condition.status, condition.reason).unwrap();
        }
    }
    text.trim_end().to_owned()
}

#[test]
fn nothing_is_made_before_the_finalizer_stands_for_it() {
    let mut object = resolved();
    object.has_finalizer = false;
    assert_eq!(action(&object, &world()), Action::AddFinalizer);
    let settled = settle(&object, &Verdict::Undecided, Outcome::FinalizerAdded, now());
    assert_eq!(settled.then, Then::Echo);
    assert_eq!(told(&settled.status), "Ready=Unknown/Pending Reconciling=True/Pending");
}

#[test]
fn the_user_is_looked_up_once_and_then_subscribed() {
    let object = object("{}");
    let unknown = World { scope: Scope::Serving { within: None }, consents: Vec::new(), ..world() };
    assert_eq!(planned(&object, &unknown), (Verdict::UserUnknown, Action::ResolveUser));
    let user = UserId::parse(USER).unwrap();
    let settled = settle(&object, &Verdict::UserUnknown, Outcome::User(user), now());
    assert_eq!((settled.status.user_id.as_deref(), settled.then), (Some(USER), Then::Again));
    let object = object.with(settled.status).unwrap();
    let create = Action::Create { grant: grant(), replace: vec![] };
    assert_eq!(planned(&object, &world()), (Verdict::Allowed(grant()), create));
}

#[test]
fn each_no_has_its_reason_and_ends_what_lives() {
    let denied = |world: World| {
        let (Verdict::Denied(denial), action) = planned(&living(), &world) else {
            panic!("allowed: {world:?}")
        };
        assert_eq!(action, Action::Remove(vec![id(1)]), "{denial:?}");
        assert_eq!(
            planned(&resolved(), &world).1,
            Action::None,
            "{denial:?}: nothing lives, nothing is sent"
        );
        let settled = settle(&resolved(), &Verdict::Denied(denial), Outcome::Nothing, now());
        told(&settled.status)
    };
    let scope = |scope| World { scope, ..world() };
    let no = "Subscribed=False/NotAllowed";
    let ready = |reason: &str| format!("Allowed=False/{reason} {no} Ready=True/{reason}");
    assert_eq!(denied(scope(Scope::Suspended)), ready("Suspended"));
    assert_eq!(denied(scope(Scope::Serving { within: Some(false) })), ready("OutOfScope"));
    assert_eq!(denied(World { consents: vec![], ..world() }), ready("AwaitingConsent"));
    let withdrawn = World { consents: vec![consent("consent-1", true)], ..world() };
    assert_eq!(denied(withdrawn), ready("ConsentWithdrawn"));
    let later = |withdrawn| Consent {
        granted_at: "2026-11-24T09:30:00Z".parse().unwrap(),
        notice: "2027-01".to_owned(),
        ..consent("consent-2", withdrawn)
    };
    let ended = World { consents: vec![consent("consent-1", false), later(true)], ..world() };
    assert_eq!(denied(ended), ready("ConsentWithdrawn"), "an older consent is not revived");
    let again = World { consents: vec![consent("consent-1", true), later(false)], ..world() };
    assert!(
        matches!(super::plan::verdict(&resolved(), &again), Verdict::Allowed(grant) if grant.consent == "consent-2")
    );
    let outdated = World { required_notice: Some("2027-01".to_owned()), ..world() };
    assert_eq!(denied(outdated), ready("NoticeOutdated"));
    let elder = World { elder: Some(Key::new("rooms", "older")), ..world() };
    assert_eq!(
        denied(elder),
        format!("Allowed=False/Duplicate {no} Ready=False/Duplicate Stalled=True/Duplicate")
    );
    for ends in [Scope::Terminating, Scope::Duplicate] {
        assert_eq!(
            denied(scope(ends)),
            format!(
                "Allowed=False/ScopeNotReady {no} Ready=False/ScopeNotReady Reconciling=True/ScopeNotReady"
            )
        );
    }
    let mut suspended = living();
    suspended.suspend = true;
    assert_eq!(action(&suspended, &world()), Action::Remove(vec![id(1)]));
}

#[test]
fn a_withdrawal_counts_while_the_scope_cannot_tell() {
    for scope in [Scope::NotReady("no groups".to_owned()), Scope::Unproven] {
        let world = World { scope, consents: vec![consent("consent-1", true)], ..world() };
        assert_eq!(
            planned(&living(), &world),
            (Verdict::Denied(Denial::ConsentWithdrawn), Action::Remove(vec![id(1)]))
        );
    }
}

#[test]
fn a_scope_that_cannot_tell_neither_begins_nor_ends_anything() {
    let world = World { scope: Scope::NotReady("no groups".to_owned()), ..world() };
    assert_eq!(action(&resolved(), &world), Action::None);
    assert_eq!(action(&living(), &world), Action::None);
    let due = subscribed("2026-11-30T09:45:00Z", "2026-11-23T09:59:00Z");
    assert_eq!(action(&due, &world), Action::Renew(id(1)), "what lives is kept alive");
    let (verdict, _) = planned(&living(), &world);
    let settled = settle(&living(), &verdict, Outcome::Nothing, now());
    assert_eq!(
        told(&settled.status),
        "Allowed=Unknown/ScopeNotReady Subscribed=True/Renewed Delivering=Unknown/NoTrafficYet Ready=False/ScopeNotReady Reconciling=True/ScopeNotReady"
    );
    let outdated = World { sightings: Some(vec![Sighting { id: id(1), current: false }]), ..world.clone() };
    assert_eq!(action(&living(), &outdated), Action::None, "what cannot be made anew serves as it is");
    assert_eq!(action(&due, &outdated), Action::Renew(id(1)));
    let expired = subscribed("2026-11-23T10:00:00Z", "2026-11-22T10:00:00Z");
    assert_eq!(action(&expired, &world), Action::Tell(Finding::Expired));
    let missing = World { scope: Scope::Missing, ..world };
    let locked = World { scope: Scope::Locked("AuthFailed".to_owned()), ..missing.clone() };
    for world in [&missing, &locked] {
        let plan = plan(&due, world, now());
        assert_eq!(plan.action, Action::None, "without a credential nothing can be sent");
        assert!(plan.next >= Duration::from_mins(1), "and no looking at it in a loop");
        assert_eq!(action(&expired, world), Action::Tell(Finding::Expired), "which passes no end unnoticed");
    }
    let (verdict, _) = planned(&expired, &missing);
    let settled = settle(&expired, &verdict, Outcome::Nothing, now());
    assert_eq!(
        told(&settled.status),
        "Allowed=Unknown/ScopeNotReady Subscribed=False/NotAllowed Ready=False/ReferenceNotFound Reconciling=True/ReferenceNotFound"
    );
}

#[test]
fn a_new_leader_changes_nothing_before_it_knows_the_members() {
    let before = living();
    let world = World { scope: Scope::Unproven, ..world() };
    let (verdict, action) = planned(&before, &world);
    assert_eq!((&verdict, action), (&Verdict::Undecided, Action::None));
    let mut conditioned = before.clone();
    conditioned.status = settle(&before, &Verdict::Allowed(grant()), Outcome::Nothing, now()).status;
    assert_eq!(settle(&conditioned, &verdict, Outcome::Nothing, now()).status, conditioned.status);
}

#[test]
fn what_lives_is_renewed_verified_or_made_anew() {
    let due = subscribed("2026-11-30T09:45:00Z", "2026-11-23T10:00:00Z");
    let expired = subscribed("2026-11-23T10:00:00Z", "2026-11-22T10:00:00Z");
    assert_eq!(action(&living(), &world()), Action::None);
    assert_eq!(action(&due, &world()), Action::Renew(id(1)));
    assert_eq!(action(&expired, &world()), Action::Tell(Finding::Expired));

    let with = |event, about: u128| {
        let mut object = living();
        let received_at = "2026-11-23T09:50:00Z".parse().unwrap();
        let notice = LifecycleNotice {
            received_at: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(received_at),
            subscription_id: id(about).to_string(),
        };
        let mut lifecycle = Lifecycle::default();
        lifecycle.note(event, &notice);
        object.status.delivery = Some(Delivery { lifecycle: Some(lifecycle), ..Delivery::default() });
        object
    };
    let removed = with(LifecycleEvent::SubscriptionRemoved, 1);
    assert_eq!(action(&removed, &world()), Action::Verify(id(1)));
    let mut lifecycle_answered = Answered::default();
    lifecycle_answered.note(LifecycleEvent::SubscriptionRemoved, "2026-11-23T09:50:00Z".parse().unwrap());
    let answered = World { lifecycle_answered, ..world() };
    let again = Action::RequestResync(ResyncReason::SubscriptionRemoved);
    assert_eq!(action(&removed, &answered), again, "it lives, and still something was lost");
    assert_eq!(
        action(&with(LifecycleEvent::SubscriptionRemoved, 9), &world()),
        again,
        "about an earlier one: there is nothing to ask after"
    );
    let missed = Action::RequestResync(ResyncReason::Missed);
    assert_eq!(action(&with(LifecycleEvent::Missed, 1), &world()), missed);

    let mut asked = living();
    asked.requested = Some("now".to_owned());
    assert_eq!(action(&asked, &world()), Action::Verify(id(1)));
}

#[test]
fn a_person_who_asks_for_a_renewal_is_answered_once() {
    let mut asked = living();
    asked.renew_requested = Some("1".to_owned());
    assert_eq!(action(&asked, &world()), Action::Renew(id(1)), "nobody knows when it was authorised");
    let verdict = Verdict::Allowed(grant());
    let error = refused(Purpose::RenewSubscription, 503, Decision::Retry);
    let failed = settle(&asked, &verdict, Outcome::Failed(error), now()).status;
    assert_eq!(failed.last_handled_renew_at, None, "tried again");
    let renewed = Outcome::Lives(graph_subscription(1, "2026-11-30T10:00:00Z"), How::Renewed);
    let renewed = settle(&asked, &verdict, renewed, now()).status;
    assert_eq!(renewed.last_handled_renew_at.as_deref(), Some("1"));
    let mut after = asked.clone().with(renewed).unwrap();
    assert_eq!(action(&after, &world()), Action::None);

    after.renew_requested = Some("2".to_owned());
    assert_eq!(action(&after, &world()), Action::None, "authorised just now: Graph wants no second one");
    let covered = settle(&after, &verdict, Outcome::Nothing, now()).status;
    assert_eq!(covered.last_handled_renew_at.as_deref(), Some("2"), "the authorisation before answers it");
    let later = now() + Duration::from_mins(10);
    assert_eq!(plan(&after, &world(), later).action, Action::Renew(id(1)));

    let mut without = resolved();
    without.renew_requested = Some("3".to_owned());
    let denied = Verdict::Denied(Denial::AwaitingConsent);
    let nothing = settle(&without, &denied, Outcome::Nothing, now()).status;
    assert_eq!(nothing.last_handled_renew_at.as_deref(), Some("3"), "there is nothing to renew");
}

#[test]
fn a_finalizer_taken_off_under_a_suspended_scope_stays_off_until_there_is_something_to_end() {
    let bare = |mut object: Validated| {
        object.has_finalizer = false;
        object
    };
    let suspended = World { scope: Scope::Suspended, ..world() };
    assert_eq!(action(&bare(resolved()), &suspended), Action::None);
    assert_eq!(action(&bare(living()), &suspended), Action::AddFinalizer);
    let seen = World { sightings: Some(vec![Sighting { id: id(2), current: true }]), ..suspended };
    assert_eq!(action(&bare(resolved()), &seen), Action::AddFinalizer);
    assert_eq!(action(&bare(resolved()), &world()), Action::AddFinalizer, "it goes on");
    let mut alone = bare(resolved());
    alone.suspend = true;
    assert_eq!(action(&alone, &world()), Action::AddFinalizer, "only where the whole scope rests");
}

#[test]
fn what_a_sweep_saw_leads_to_exactly_one() {
    let seen = |list: &[(u128, bool)]| World {
        sightings: Some(
            list.iter().map(|(number, current)| Sighting { id: id(*number), current: *current }).collect(),
        ),
        ..world()
    };
    let create = |replace| Action::Create { grant: grant(), replace };
    assert_eq!(action(&living(), &seen(&[])), Action::Verify(id(1)));
    assert_eq!(action(&living(), &seen(&[(1, true), (2, true)])), Action::Remove(vec![id(2)]));
    assert_eq!(action(&living(), &seen(&[(1, false)])), create(vec![id(1)]), "another URL or key");
    assert_eq!(action(&resolved(), &seen(&[(2, true)])), Action::Adopt(id(2)));
    assert_eq!(action(&resolved(), &seen(&[(2, false)])), create(vec![id(2)]));
    let denied = World { consents: vec![], ..seen(&[(1, true), (2, false)]) };
    assert_eq!(action(&living(), &denied), Action::Remove(vec![id(1), id(2)]));
    assert_eq!(action(&resolved(), &denied), Action::Remove(vec![id(1), id(2)]));
}

#[test]
fn a_new_subscription_is_ready_and_renewed_at_seven_tenths() {
    let created = graph_subscription(5, "2026-11-30T10:00:00Z");
    let settled =
        settle(&resolved(), &Verdict::Allowed(grant()), Outcome::Lives(created, How::Created), now());
    assert_eq!(
        told(&settled.status),
        "Allowed=True/ConsentGranted Subscribed=True/Created Delivering=Unknown/Resyncing Ready=True/Succeeded"
    );
    let subscription = settled.status.subscription.unwrap();
    assert_eq!(subscription.id, id(5).to_string());
    assert_eq!(subscription.created_at.0, now());
    let share = subscription.renew_at.0.duration_since(now()).as_hours();
    assert!((109..=126).contains(&share), "{share} of 168 hours");
    assert_eq!(settled.status.consent.unwrap().name, "consent-1");
}

#[test]
fn each_failure_says_what_it_is_and_who_must_act() {
    let failed = |object: &Validated, decision| {
        let error = refused(Purpose::CreateSubscription, 400, decision);
        let Settled { status, then, doubt_scope } =
            settle(object, &Verdict::Allowed(grant()), Outcome::Failed(error), now());
        (told(&status), then, doubt_scope)
    };
    let slow = Then::Wait(Duration::from_mins(30));
    let yes = "Allowed=True/ConsentGranted";
    for (decision, expected, then, doubt) in [
        (
            Decision::Retry,
            "Subscribed=False/RemoteError Ready=False/RemoteError Reconciling=True/RemoteError",
            Then::BackOff,
            false,
        ),
        (
            Decision::Wait(Duration::from_secs(7)),
            "Subscribed=False/Throttled Ready=False/Throttled Reconciling=True/Throttled",
            Then::Throttled(Duration::from_secs(7)),
            false,
        ),
        (
            Decision::TokenRejected,
            "Subscribed=False/RemoteError Ready=False/RemoteError Reconciling=True/RemoteError",
            Then::BackOff,
            true,
        ),
        (
            Decision::UserMustAct(Reason::QuotaExceeded),
            "Subscribed=False/QuotaExceeded Ready=False/QuotaExceeded Stalled=True/QuotaExceeded",
            slow,
            false,
        ),
        (
            Decision::UserMustAct(Reason::EndpointValidationFailed),
            "Subscribed=False/EndpointValidationFailed Ready=False/EndpointValidationFailed Stalled=True/EndpointValidationFailed",
            Then::BackOff,
            false,
        ),
        (
            Decision::Gone(GoneReason::MailboxUnavailable),
            "Subscribed=False/MailboxUnavailable Ready=False/MailboxUnavailable Stalled=True/MailboxUnavailable",
            slow,
            false,
        ),
    ] {
        assert_eq!(failed(&resolved(), decision), (format!("{yes} {expected}"), then, doubt), "{decision:?}");
    }
    for (decision, reason) in [
        (Decision::UserMustAct(Reason::PolicyDenied), "PolicyDenied"),
        (Decision::Gone(GoneReason::UserNotFound), "UserNotFound"),
    ] {
        let expected = format!(
            "Allowed=False/{reason} Subscribed=False/NotAllowed Ready=False/{reason} Stalled=True/{reason}"
        );
        assert_eq!(failed(&resolved(), decision), (expected, slow, false));
    }
    let (text, then, _) = failed(&living(), Decision::Retry);
    assert_eq!(then, Then::BackOff);
    assert_eq!(
        text,
        "Allowed=True/ConsentGranted Subscribed=True/RenewalFailed Delivering=Unknown/NoTrafficYet Ready=True/Succeeded",
        "a renewal that failed does not end what lives"
    );
}

#[test]
fn a_deletion_that_failed_keeps_the_id_and_is_not_ready() {
    let verdict = Verdict::Denied(Denial::ConsentWithdrawn);
    let error = refused(Purpose::DeleteSubscription, 503, Decision::Retry);
    let settled = settle(&living(), &verdict, Outcome::Failed(error), now());
    assert_eq!(
        told(&settled.status),
        "Allowed=False/ConsentWithdrawn Subscribed=Unknown/RemoteError Delivering=Unknown/NoTrafficYet Ready=False/RemoteError Reconciling=True/RemoteError"
    );
    assert!(settled.status.subscription.is_some());
}

#[test]
fn a_foreign_subscription_is_named_and_left_alone() {
    let settled = settle(&resolved(), &Verdict::Allowed(grant()), Outcome::Foreign(id(9)), now());
    assert_eq!(
        told(&settled.status),
        "Allowed=True/ConsentGranted Subscribed=False/ForeignSubscription Ready=False/ForeignSubscription Stalled=True/ForeignSubscription"
    );
    assert!(
        condition::get(&settled.status.conditions, Type::Ready).unwrap().message.contains(&id(9).to_string())
    );
}

/// Graph as far as the actions see it: carries one out the way Graph does when nothing fails.
fn carry_out(action: &Action, world: &mut World) -> Outcome {
    let expires = "2026-11-30T10:00:00Z";
    world.sightings = None;
    for event in LifecycleEvent::ALL {
        world.lifecycle_answered.note(event, now());
    }
    match action {
        Action::None => Outcome::Nothing,
        Action::AddFinalizer => Outcome::FinalizerAdded,
        Action::ResolveUser => Outcome::User(UserId::parse(USER).unwrap()),
        Action::Create { .. } => Outcome::Lives(graph_subscription(77, expires), How::Created),
        Action::Adopt(id) => {
            Outcome::Lives(Subscription { id: *id, ..graph_subscription(0, expires) }, How::Adopted)
        }
        Action::Verify(id) => {
            Outcome::Lives(Subscription { id: *id, ..graph_subscription(0, expires) }, How::Verified)
        }
        Action::Renew(id) => {
            Outcome::Lives(Subscription { id: *id, ..graph_subscription(0, expires) }, How::Renewed)
        }
        Action::Reauthorize(_) => Outcome::Reauthorized,
        Action::RequestResync(reason) => Outcome::ResyncDue(*reason),
        Action::Tell(finding) => Outcome::Told(*finding),
        Action::Withhold(message) => Outcome::NoAccess(message.clone()),
        Action::Remove(ids) => Outcome::Removed(ids.clone()),
    }
}

fn any_world() -> impl Strategy<Value = World> {
    let scope = prop_oneof![
        Just(Scope::Missing),
        Just(Scope::Terminating),
        Just(Scope::Duplicate),
        Just(Scope::Suspended),
        Just(Scope::NotReady("why".to_owned())),
        Just(Scope::Unproven),
        any::<bool>().prop_map(|within| Scope::Serving { within: Some(within) }),
    ];
    let consents = proptest::collection::vec(any::<bool>(), 0..3).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(at, withdrawn)| consent(&format!("consent-{at}"), withdrawn))
            .collect::<Vec<_>>()
    });
    let sightings = proptest::option::of(proptest::collection::vec((1_u128..4, any::<bool>()), 0..3))
        .prop_map(|seen| {
            let mut seen: Vec<_> =
                seen?.into_iter().map(|(number, current)| Sighting { id: id(number), current }).collect();
            seen.dedup_by_key(|one| one.id);
            Some(seen)
        });
    let notice = proptest::option::of(prop_oneof![Just("2026-01".to_owned()), Just("2027-01".to_owned())]);
    (scope, consents, sightings, notice, any::<bool>()).prop_map(
        |(scope, consents, sightings, required_notice, elder)| World {
            scope,
            required_notice,
            consents,
            elder: elder.then(|| Key::new("rooms", "older")),
            sightings,
            lifecycle_answered: Answered::default(),
            authorized_at: None,
            outdated: false,
            replace: true,
            silence: Duration::from_hours(24),
            periodic: Some(Duration::from_hours(7 * 24)),
            listed_until: None,
            horizon: Duration::from_hours(24 * 365),
        },
    )
}

proptest! {
    /// Whatever the world, a few steps lead to a state that nothing is planned on, and looking at it again changes nothing.
    #[test]
    fn planning_on_the_state_that_a_plan_leaves_is_empty(
        mut world in any_world(),
        start in 0_usize..5,
        suspend: bool,
        asked: bool,
    ) {
        let mut object = match start {
            0 => object("{}"),
            1 => resolved(),
            2 => living(),
            3 => subscribed("2026-11-30T09:45:00Z", "2026-11-23T09:00:00Z"),
            _ => subscribed("2026-11-23T09:45:00Z", "2026-11-22T09:00:00Z"),
        };
        object.suspend = suspend;
        object.requested = asked.then(|| "now".to_owned());
        let mut steps = 0;
        loop {
            let plan = plan(&object, &world, now());
            let outcome = carry_out(&plan.action, &mut world);
            let settled = settle(&object, &plan.verdict, outcome, now());
            object = object.with(settled.status).unwrap();
            if plan.action == Action::None {
                break;
            }
            steps += 1;
            prop_assert!(steps < 6, "still planning {:?}", plan.action);
        }
        let again = plan(&object, &world, now());
        prop_assert_eq!(&again.action, &Action::None);
        prop_assert!(again.next >= Duration::from_secs(1), "an object is never looked at in a loop");
        let settled = settle(&object, &again.verdict, Outcome::Nothing, now());
        prop_assert_eq!(&settled.status, &object.status, "nothing is written when nothing changed");
        let subscribed = object.remote.is_some();
        if !matches!(again.verdict, Verdict::Denied(_)) {
            return Ok(());
        }
        prop_assert!(!subscribed, "nothing lives without leave");
    }
}
