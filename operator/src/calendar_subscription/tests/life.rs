//! Resync requests, authorisation, outdated keys and addresses, silence, and ends that must not pass unnoticed.

use super::*;
use crate::calendar_subscription::renewal::minute_of;

/// A subscription in the middle of its life, authorised a day ago, renewed in four days.
fn settled_in(more: &str) -> Validated {
    object(&format!(
        "{{userId: {USER}, subscription: {{id: {}, expiresAt: \"2026-11-28T10:00:00Z\", renewAt: \"2026-11-27T10:00:00Z\", \
         createdAt: \"2026-11-20T10:00:00Z\", authorizedAt: \"2026-11-22T10:00:00Z\", keyId: k}}, \
         resync: {{requested: \"2026-11-23T09:00:00Z\", reason: Created}}{more}}}",
        id(1)
    ))
}

fn lifecycle_at(event: &str, at: &str) -> String {
    format!(
        ", delivery: {{resyncHandled: \"2026-11-23T09:00:00Z\", lifecycle: {{{event}: {{receivedAt: \"{at}\", subscriptionId: {}}}}}}}",
        id(1)
    )
}

fn answered(more: &str) -> String {
    format!(", delivery: {{resyncHandled: \"2026-11-23T09:00:00Z\"{more}}}")
}

fn resync(settled: &Settled) -> (ResyncReason, Timestamp) {
    let resync = settled.status.resync.as_ref().unwrap();
    (resync.reason, resync.requested.0)
}

fn allowed() -> Verdict {
    Verdict::Allowed(grant())
}

#[test]
fn what_is_new_is_read_and_what_was_known_is_not() {
    let lives = |object: &Validated, number: u128, how| {
        let subscription = graph_subscription(number, "2026-11-30T10:00:00Z");
        settle(object, &allowed(), Outcome::Lives(subscription, how), now())
    };
    assert_eq!(resync(&lives(&resolved(), 5, How::Created)), (ResyncReason::Created, now()));
    assert_eq!(resync(&lives(&resolved(), 5, How::Adopted)), (ResyncReason::Created, now()));
    assert_eq!(resync(&lives(&living(), 5, How::Created)), (ResyncReason::Recreated, now()));
    let earlier = object(&format!(
        "{{userId: {USER}, resync: {{requested: \"2026-11-20T10:00:00Z\", reason: Created}}}}"
    ));
    for how in [How::Created, How::Adopted] {
        let settled = lives(&earlier, 5, how);
        // The open request keeps nothing that is less severe.
        assert_eq!(resync(&settled), (ResyncReason::Recreated, now()));
        assert!(told(&settled.status).contains("Delivering=Unknown/Resyncing"));
    }
    for how in [How::Renewed, How::Verified, How::Adopted] {
        assert_eq!(lives(&living(), 1, how).status.resync, None, "{how:?}");
    }
    let removed = settled_in(&lifecycle_at("subscriptionRemoved", "2026-11-23T09:59:00Z"));
    assert_eq!(resync(&lives(&removed, 5, How::Created)), (ResyncReason::SubscriptionRemoved, now()));
}

#[test]
fn a_request_of_a_person_reads_the_calendar_once() {
    let mut asked = settled_in(&answered(""));
    asked.requested = Some("1".to_owned());
    assert_eq!(action(&asked, &world()), Action::Verify(id(1)));
    let alive = graph_subscription(1, "2026-11-28T10:00:00Z");
    let settled = settle(&asked, &allowed(), Outcome::Lives(alive, How::Verified), now());
    assert_eq!(resync(&settled), (ResyncReason::Requested, now()));
    assert_eq!(
        settled.status.subscription.as_ref().unwrap().renew_at,
        asked.status.subscription.unwrap().renew_at
    );
    let mut again = settled_in("").with(settled.status).unwrap();
    again.requested = Some("1".to_owned());
    assert_eq!(action(&again, &world()), Action::None);
    let rest = settle(&again, &allowed(), Outcome::Nothing, now());
    assert_eq!(rest.status, again.status, "and nothing is written again");
}

#[test]
fn an_authorisation_answers_what_is_asked_shortly_after_it() {
    let asked = |authorized: &str, received: &str, renew: &str, expires: &str| {
        let mut object = settled_in(&lifecycle_at("reauthorizationRequired", received));
        let known = object.status.subscription.as_mut().unwrap();
        known.authorized_at.as_mut().unwrap().0 = authorized.parse().unwrap();
        known.renew_at.0 = renew.parse().unwrap();
        known.expires_at.0 = expires.parse().unwrap();
        let status = object.status.clone();
        action(&object.with(status).unwrap(), &world())
    };
    let (far, end) = ("2026-11-27T10:00:00Z", "2026-11-28T10:00:00Z");
    let received = "2026-11-23T09:59:00Z";
    assert_eq!(asked("2026-11-22T10:00:00Z", received, far, end), Action::Reauthorize(id(1)));
    assert_eq!(asked("2026-11-23T09:50:00Z", received, far, end), Action::None, "9 minutes before");
    assert_eq!(asked("2026-11-23T09:49:00Z", received, far, end), Action::Reauthorize(id(1)));
    assert_eq!(asked("2026-11-23T09:59:30Z", received, far, end), Action::None, "since then");
    let (day, soon) = ("2026-11-24T09:00:00Z", "2026-11-23T10:05:00Z");
    assert_eq!(
        asked("2026-11-22T10:00:00Z", received, "2026-11-24T08:00:00Z", day),
        Action::Renew(id(1)),
        "its end is near"
    );
    assert_eq!(
        asked("2026-11-22T10:00:00Z", received, soon, end),
        Action::Renew(id(1)),
        "the renewal comes anyway"
    );
    // A renewal that falls due right after an authorisation waits for the ten minutes.
    assert_eq!(asked("2026-11-23T09:55:00Z", received, "2026-11-23T10:00:00Z", end), Action::None);
    assert_eq!(
        asked("2026-11-23T09:55:00Z", received, "2026-11-23T10:00:00Z", "2026-11-23T10:06:00Z"),
        Action::Renew(id(1)),
        "unless the end is too near"
    );
    // What this leadership did counts before the status tells of it.
    let lags = World { authorized_at: "2026-11-23T09:59:30Z".parse().ok(), ..world() };
    let asked = settled_in(&lifecycle_at("reauthorizationRequired", received));
    assert_eq!(action(&asked, &lags), Action::None);
    let due = subscribed("2026-11-30T09:45:00Z", "2026-11-23T10:00:00Z");
    assert_eq!(action(&due, &lags), Action::None);
}

#[test]
fn an_authorisation_is_noted_and_its_failure_named() {
    let object = settled_in(&lifecycle_at("reauthorizationRequired", "2026-11-23T09:59:00Z"));
    let settled = settle(&object, &allowed(), Outcome::Reauthorized, now());
    let known = settled.status.subscription.clone().unwrap();
    assert_eq!(known.authorized_at.unwrap().0, now());
    assert_eq!(known.expires_at.0, object.remote.unwrap().expires_at, "it moves no end");
    assert_eq!(action(&object.clone().with(settled.status).unwrap(), &world()), Action::None);
    let error = refused(Purpose::RenewSubscription, 503, Decision::Retry);
    let failed = settle(&object, &allowed(), Outcome::NotReauthorized(error), now());
    assert!(
        told(&failed.status).contains("Subscribed=True/ReauthorizationRequired"),
        "{}",
        told(&failed.status)
    );
    assert_eq!(failed.then, Then::BackOff);
}

#[test]
fn an_end_is_told_before_it_is_mended() {
    let expired = subscribed("2026-11-23T10:00:00Z", "2026-11-22T10:00:00Z");
    assert_eq!(action(&expired, &world()), Action::Tell(Finding::Expired));
    let settled = settle(&expired, &allowed(), Outcome::Told(Finding::Expired), now());
    assert_eq!(
        told(&settled.status),
        "Allowed=True/ConsentGranted Subscribed=False/Expired Ready=False/Expired Reconciling=True/Expired"
    );
    assert_eq!(settled.then, Then::Echo);
    let object = expired.with(settled.status).unwrap();
    assert_eq!(action(&object, &world()), Action::Create { grant: grant(), replace: vec![] });
}

#[test]
fn an_answer_that_ended_already_is_not_repeated_at_once() {
    let past = graph_subscription(5, "2026-11-23T10:00:00Z");
    let settled = settle(&resolved(), &allowed(), Outcome::Lives(past, How::Created), now());
    assert_eq!(settled.then, Then::BackOff);
    assert!(told(&settled.status).contains("Subscribed=False/Expired"));
}

#[test]
fn an_answer_that_extends_nothing_is_not_followed_at_seven_tenths_of_nothing() {
    let near = subscribed("2026-11-23T10:12:00Z", "2026-11-23T10:00:00Z");
    let same = graph_subscription(1, "2026-11-23T10:12:00Z");
    let settled = settle(&near, &allowed(), Outcome::Lives(same, How::Renewed), now());
    let renew_at = settled.status.subscription.unwrap().renew_at.0;
    assert_eq!(renew_at.duration_since(now()).as_mins(), 10);
}

#[test]
fn what_another_key_signed_is_made_anew_at_its_turn() {
    let object = settled_in(&answered(""));
    let outdated = World { outdated: true, replace: false, ..world() };
    assert_eq!(action(&object, &outdated), Action::None, "others come first");
    let turn = World { replace: true, ..outdated.clone() };
    let anew = Action::Create { grant: grant(), replace: vec![id(1)] };
    assert_eq!(action(&object, &turn), anew);
    let due = subscribed("2026-11-30T09:45:00Z", "2026-11-23T10:00:00Z");
    assert_eq!(action(&due, &outdated), Action::Renew(id(1)), "it is kept alive until then");
    let seen = Some(vec![Sighting { id: id(1), current: false }]);
    let elsewhere = World { sightings: seen, outdated: false, ..outdated };
    assert_eq!(action(&object, &elsewhere), Action::None, "the same for another public URL");
    assert_eq!(action(&object, &World { replace: true, ..elsewhere }), anew);
}

#[test]
fn what_was_deleted_for_another_is_not_said_to_live() {
    let error = refused(Purpose::CreateSubscription, 503, Decision::Retry);
    let settled = settle(&living(), &allowed(), Outcome::Unmade(error), now());
    assert_eq!(settled.status.subscription, None);
    assert!(told(&settled.status).contains("Subscribed=False/RemoteError"), "{}", told(&settled.status));
    assert_eq!(settled.then, Then::BackOff);
}

#[test]
fn the_key_is_read_off_the_address() {
    let url = |text: &str| Subscription {
        notification_url: Some(text.replace("UID", &resolved().uid)),
        ..graph_subscription(5, "2026-11-30T10:00:00Z")
    };
    let key = |object: &Validated, subscription, how| {
        let settled = settle(object, &allowed(), Outcome::Lives(subscription, how), now());
        settled.status.subscription.unwrap().key_id
    };
    let ours = url("https://rooms.example/notifications/k7/UID");
    assert_eq!(key(&resolved(), ours, How::Created).as_deref(), Some("k7"));
    let unknown = Subscription { id: id(1), ..url("https://elsewhere.example/hook") };
    assert_eq!(key(&settled_in(""), unknown, How::Renewed).as_deref(), Some("k"), "as before");
}

#[test]
fn each_of_what_graph_tells_is_answered() {
    let told = |resync: &str| {
        let at =
            |time: &str| format!("{{receivedAt: \"2026-11-23T09:{time}:00Z\", subscriptionId: {}}}", id(1));
        settled_in(&format!(
            ", delivery: {{resyncHandled: \"{resync}\", lifecycle: {{missed: {}, subscriptionRemoved: {}, reauthorizationRequired: {}}}}}",
            at("50"),
            at("40"),
            at("55"),
        ))
    };
    let object = told("2026-11-23T09:00:00Z");
    assert_eq!(action(&object, &world()), Action::Verify(id(1)));
    let mut world = world();
    world
        .lifecycle_answered
        .note(LifecycleEvent::SubscriptionRemoved, "2026-11-23T09:40:00Z".parse().unwrap());
    let lost = ResyncReason::SubscriptionRemoved;
    assert_eq!(action(&object, &world), Action::RequestResync(lost));
    let settled = settle(&object, &allowed(), Outcome::ResyncDue(lost), now());
    let object = object.with(settled.status).unwrap();
    assert_eq!(action(&object, &world), Action::Reauthorize(id(1)));
    world
        .lifecycle_answered
        .note(LifecycleEvent::ReauthorizationRequired, "2026-11-23T09:55:00Z".parse().unwrap());
    assert_eq!(action(&object, &world), Action::None);
}

#[test]
fn a_calendar_that_is_heard_of_is_read_again_in_the_end_too() {
    let heard = settled_in(&answered(", lastReceivedAt: \"2026-11-23T09:59:00Z\""));
    let every = |time| World { periodic: Some(time), ..world() };
    assert_eq!(action(&heard, &every(Duration::from_hours(2))), Action::None);
    let looked = plan(&heard, &every(Duration::from_hours(2)), now()).next;
    assert!(looked <= Duration::from_hours(1), "{looked:?}: looked at when it is time");
    let ask = Action::RequestResync(ResyncReason::Periodic);
    assert_eq!(action(&heard, &every(Duration::from_hours(1))), ask);
    let settled = settle(&heard, &allowed(), Outcome::ResyncDue(ResyncReason::Periodic), now());
    let open = heard.with(settled.status).unwrap();
    assert_eq!(action(&open, &every(Duration::from_hours(1))), Action::None, "until it is answered");
}

#[test]
fn series_are_listed_further_as_the_horizon_moves_on() {
    let heard = settled_in(&answered(", lastReceivedAt: \"2026-11-23T09:59:00Z\""));
    let listed = |until: &str| World {
        listed_until: Some(until.parse().unwrap()),
        horizon: Duration::from_hours(24 * 365),
        ..world()
    };
    let a_day_later = "2026-11-24T09:00:00Z".parse().unwrap();
    let ask = Action::RequestResync(ResyncReason::Periodic);
    assert_eq!(plan(&heard, &listed("2027-11-23T09:00:00Z"), a_day_later).action, ask);
    assert_eq!(plan(&heard, &listed("2027-11-23T09:00:01Z"), a_day_later).action, Action::None);
    assert_eq!(action(&heard, &listed("2026-12-01T00:00:00Z")), Action::None, "read within the last day");
    let next = plan(&heard, &listed("2026-12-01T00:00:00Z"), now()).next;
    assert!(next <= Duration::from_hours(23), "{next:?}: looked at when it is time");
}

#[test]
fn silence_is_asked_about_once_and_a_gap_told_before_it_is_mended() {
    let heard = settled_in(&answered(", lastReceivedAt: \"2026-11-23T08:00:00Z\""));
    let quiet = World { silence: Duration::from_mins(30), ..world() };
    assert_eq!(action(&heard, &world()), Action::None);
    let looked = plan(&heard, &world(), now()).next;
    assert!(looked <= Duration::from_hours(26), "{looked:?}: looked at when the silence gets too long");
    let ask = Action::RequestResync(ResyncReason::Silence);
    assert_eq!(action(&heard, &quiet), ask);
    let settled = settle(&heard, &allowed(), Outcome::ResyncDue(ResyncReason::Silence), now());
    assert_eq!((resync(&settled), settled.then), ((ResyncReason::Silence, now()), Then::Again));
    let open = heard.with(settled.status).unwrap();
    assert_eq!(action(&open, &quiet), Action::None, "until it is answered");

    let answer = |changes: u32| {
        let mut status = open.status.clone();
        let delivery = status.delivery.as_mut().unwrap();
        delivery.resync_handled = status.resync.as_ref().map(|resync| resync.requested.clone());
        delivery.unnotified_changes = Some(changes);
        open.clone().with(status).unwrap()
    };
    assert_eq!(action(&answer(0), &quiet), Action::None, "nothing was missed, and it was just read");
    let gap = answer(3);
    assert_eq!(action(&gap, &quiet), Action::Tell(Finding::Gap));
    let told_gap = settle(&gap, &allowed(), Outcome::Told(Finding::Gap), now());
    assert!(told(&told_gap.status).contains("Delivering=False/Gap"), "{}", told(&told_gap.status));
    let gap = gap.with(told_gap.status).unwrap();
    assert_eq!(action(&gap, &quiet), Action::Create { grant: grant(), replace: vec![id(1)] });
    let made = graph_subscription(2, "2026-11-30T10:00:00Z");
    let later = now() + Duration::from_secs(1);
    let settled = settle(&gap, &allowed(), Outcome::Lives(made, How::Created), later);
    assert_eq!(resync(&settled), (ResyncReason::Recreated, later));
    assert!(told(&settled.status).contains("Delivering=Unknown/Resyncing"));
}

#[test]
fn nothing_is_sent_while_the_credential_does_not_work() {
    let locked = World { scope: Scope::Locked("AuthFailed".to_owned()), ..world() };
    let asked = settled_in(&lifecycle_at("subscriptionRemoved", "2026-11-23T09:59:00Z"));
    assert_eq!(action(&asked, &locked), Action::None);
    assert_eq!(action(&object("{}"), &locked), Action::None, "nobody is looked up");
    assert_eq!(action(&resolved(), &locked), Action::None);
    // A withdrawal stands, and says that its subscription could not be ended yet.
    let withdrawn = World { consents: vec![consent("consent-1", true)], ..locked };
    let (verdict, action) = planned(&living(), &withdrawn);
    assert_eq!(action, Action::Withhold("AuthFailed".to_owned()));
    let settled = settle(&living(), &verdict, Outcome::NoAccess("AuthFailed".to_owned()), now());
    assert_eq!(settled.then, Then::BackOff);
    assert_eq!(
        told(&settled.status),
        "Allowed=False/ConsentWithdrawn Subscribed=Unknown/RemoteError Delivering=Unknown/NoTrafficYet Ready=False/RemoteError Reconciling=True/RemoteError"
    );
    assert_eq!(planned(&resolved(), &withdrawn).1, Action::None);
}

#[test]
fn subscriptions_made_together_are_renewed_apart() {
    let mut calendar = Calendar::default();
    // One uid for all, the unluckiest of hashes: each has a minute of its own, because there are more minutes than renewals.
    let mut minutes = std::collections::HashSet::new();
    for _ in 0..200 {
        let made = graph_subscription(5, "2026-11-30T10:00:00Z");
        let outcome = Outcome::Lives(made, How::Created);
        let settled = super::super::status::settle(&resolved(), &allowed(), outcome, &calendar, now());
        let minute = minute_of(settled.status.subscription.unwrap().renew_at.0);
        calendar.add(minute);
        assert!(minutes.insert(minute), "two in one minute");
    }
}
