//! A life that comes to every place: subscriptions that are made, adopted, renewed, replaced and ended, bookings that are made
//! and cancelled, a record that expires, and the end of the scope.

use jiff::{SignedDuration, Timestamp};
use kube::{ResourceExt as _, api::DeleteParams};
use roomkeeper_crds::{
    AccessScope, BookingRecord, CalendarSubscription, ConsentRecord,
    calendar_subscription::ResyncReason,
    condition::{self, Type},
    name,
};
use roomkeeper_operator::failpoint::Place;
use roomkeeper_service::client_state::{KeyRing, SECRET_NAME};
use serde_json::json;

use crate::{
    site::until,
    stage::{NOBODY, Stage, USERS},
    world::{GROUP, PLAIN_GROUP, TENANT, consent, subscription, user},
};

const HOUR: i64 = 3_600;
/// Later than every renewal of a life of seven days, and before its end.
const UNTIL_RENEWAL: i64 = 131 * HOUR;

/// Users by what becomes of them. The first one's object follows from the consent, the second's is written by a person.
const MADE: usize = 1;
const WRITTEN: usize = 2;
const WITHOUT_MAILBOX: usize = 3;
const SIGHTED: usize = 4;
const WITHDRAWN: usize = 5;
/// One is enough unless a crash has the first sweep see what was meant to be in the way.
const CONFLICTING: std::ops::RangeInclusive<usize> = 6..=8;

/// Further sweeps at most, until one was survived up to the place where the operator is to die.
const SWEEPS: usize = 4;

pub async fn play(stage: &Stage) {
    let uid = stage.scope().await;
    let made = name::calendar_subscription(&uid, &user(MADE));
    begin(stage, &uid, &made).await;
    adopt(stage, &uid).await;
    let conflicting = replace_what_is_in_the_way(stage, &uid).await;
    withdraw(stage).await;
    book(stage).await;
    ask_and_authorise(stage).await;
    rotate(stage).await;
    renew(stage, &made).await;
    find_a_gap(stage).await;
    stage.time.lock().await.as_the_api_server();

    stage.site().api::<CalendarSubscription>().delete(&made, &DeleteParams::default()).await.unwrap();
    stage.gone::<CalendarSubscription>(&made).await;
    let withdrawn = stage.site().api::<ConsentRecord>().get("consent-1").await.unwrap().spec.withdrawn;
    assert!(withdrawn.is_some(), "the deletion withdraws the consent: {}", stage.crashes_in_words());

    let without_mailbox = name::calendar_subscription(&uid, &user(WITHOUT_MAILBOX));
    let mut known = vec![
        (WRITTEN, "written".to_owned()),
        (SIGHTED, "sighted".to_owned()),
        (WITHOUT_MAILBOX, without_mailbox),
    ];
    known.extend(
        conflicting.iter().map(|number| (*number, name::calendar_subscription(&uid, &user(*number)))),
    );
    for number in 1..=USERS {
        let expected = known.iter().find(|(one, _)| *one == number);
        let living = stage.connected.living(&user(number), usize::from(expected.is_some())).await;
        if let Some((_, name)) = expected {
            let object = stage.ready(name, "Succeeded").await;
            let status = object.status.unwrap().subscription.unwrap();
            let id = living[0]["id"].as_str();
            assert_eq!(id, Some(status.id.as_str()), "{name}: {}", stage.crashes_in_words());
        }
    }
    let bookings = stage.product.bookings().await;
    assert_eq!(bookings.len(), 2, "kept, and over: {bookings:?}");
    end(stage).await;
}

async fn begin(stage: &Stage, uid: &str, made: &str) {
    let site = stage.site();
    stage.connected.graph.control("users", &json!({"userId": user(WITHOUT_MAILBOX), "mailbox": false})).await;
    site.apply(&consent("consent-1", uid, MADE)).await;
    site.apply(&subscription("written", "user2@contoso.example")).await;
    site.apply(&consent("consent-2", uid, WRITTEN)).await;
    site.apply(&consent("consent-3", uid, WITHOUT_MAILBOX)).await;
    stage.ready(made, "Succeeded").await;
    stage.ready("written", "Succeeded").await;
    let without = name::calendar_subscription(uid, &user(WITHOUT_MAILBOX));
    site.condition::<CalendarSubscription>(&without, Type::Subscribed, "False/MailboxUnavailable").await;
    stage.connected.graph.control("users", &json!({"userId": user(WITHOUT_MAILBOX), "mailbox": true})).await;
    let ask = json!({"metadata": {"annotations": {"roomkeeper.dev/reconcile-requested-at": "1"}}});
    stage.merge::<CalendarSubscription>(&without, ask).await;
    stage.ready(&without, "Succeeded").await;
    // Of nobody's, and planted before the first sweep.
    stage.connected.living(&user(NOBODY), 0).await;
    // Who died elsewhere while that was deleted did not come to what follows the deletion, and Graph lists it no more.
    for _ in 0..SWEEPS {
        if !stage.awaits(&[Place::DeleteSwept]) {
            break;
        }
        stage.plant(NOBODY, "gone", "nobody").await;
        stage.phoenix.kill().await;
        stage.connected.living(&user(NOBODY), 0).await;
    }
}

/// Two subscriptions that no status knows of: one is found by a sweep while the groups are not known, and one by the conflict
/// that it leads to.
async fn adopt(stage: &Stage, uid: &str) {
    let site = stage.site();
    let policy = |group: &str| json!({"spec": {"policies": [{"mode": "RestrictAccess", "groupId": group}]}});
    let (_, ring) = stage.keys().await;
    for (number, name) in [(SIGHTED, "sighted"), (WITHDRAWN, "withdrawn")] {
        site.apply(&subscription(name, &format!("user{number}@contoso.example"))).await;
        stage.ready(name, "AwaitingConsent").await;
    }
    stage.merge::<AccessScope>("contoso", policy(PLAIN_GROUP)).await;
    site.condition::<AccessScope>("contoso", Type::MembersResolved, "False/GroupNotEligible").await;
    let sighted = stage.subscription("sighted").await.uid().unwrap();
    let id = stage.plant(SIGHTED, ring.current_id(), &sighted).await;
    site.apply(&consent("consent-4", uid, SIGHTED)).await;
    // Another leader sweeps first of all.
    stage.phoenix.kill().await;
    until("the adoption", async || {
        let known = stage.subscription("sighted").await.status.and_then(|status| status.subscription);
        if known.as_ref().is_some_and(|known| known.id == id) { Ok(()) } else { Err(format!("{known:?}")) }
    })
    .await;
    stage.merge::<AccessScope>("contoso", policy(GROUP)).await;
    stage.ready("sighted", "Succeeded").await;

    let conflicting = stage.subscription("withdrawn").await.uid().unwrap();
    stage.plant(WITHDRAWN, ring.current_id(), &conflicting).await;
    site.apply(&consent("consent-5", uid, WITHDRAWN)).await;
    stage.ready("withdrawn", "Succeeded").await;
    stage.connected.living(&user(WITHDRAWN), 1).await;
}

/// A subscription of nobody's is in the way of a new one. Returns whose calendars were subscribed.
async fn replace_what_is_in_the_way(stage: &Stage, uid: &str) -> Vec<usize> {
    let mut subscribed = Vec::new();
    for number in CONFLICTING {
        let id = stage.plant(number, "gone", "nobody").await;
        stage.site().apply(&consent(&format!("consent-{number}"), uid, number)).await;
        stage.ready(&name::calendar_subscription(uid, &user(number)), "Succeeded").await;
        let living = stage.connected.living(&user(number), 1).await;
        assert_ne!(living[0]["id"].as_str(), Some(id.as_str()));
        subscribed.push(number);
        if !stage.awaits(&[Place::ReadConflicting, Place::DeleteConflicting]) {
            break;
        }
    }
    subscribed
}

async fn withdraw(stage: &Stage) {
    let withdrawn =
        json!({"spec": {"withdrawn": {"at": "2026-11-23T12:00:00Z", "by": "support", "reason": "ticket 1"}}});
    let api = stage.site().api::<ConsentRecord>();
    let patch = kube::api::Patch::Merge(&withdrawn);
    api.patch("consent-5", &kube::api::PatchParams::default(), &patch).await.unwrap();
    stage.ready("withdrawn", "ConsentWithdrawn").await;
    stage.connected.living(&user(WITHDRAWN), 0).await;
}

/// A BookingRecord that ends that many hours from now.
fn record(name: &str, hours: i64) -> String {
    let from = Timestamp::from_second(Timestamp::now().as_second() + (hours - 1) * HOUR).unwrap();
    let to = from + SignedDuration::from_hours(1);
    format!(
        "apiVersion: roomkeeper.dev/v1alpha1
kind: BookingRecord
metadata: {{name: {name}, namespace: NAMESPACE, labels: {{roomkeeper.dev/scope: contoso}}}}
spec:
  attendees: []
  iCalUId: uid-{name}
  changeKey: ck1
  dateTimeFrom: \"{from}\"
  dateTimeTo: \"{to}\"
  eventId: {name}
  lastModifiedDateTime: \"2026-11-23T09:40:00Z\"
  organizer: user2@contoso.example
  sensitivity: normal
  state: Booked
  subscriptionRef: {{name: written}}
  singleValueExtendedProperties:
    resources:
    - {{resourceId: room-{name}, propertyId: p, manifestId: 3f0c2c1e-8d0a-4b59-9a55-2f4b7c0d6e21}}
"
    )
}

async fn book(stage: &Stage) {
    for (name, hours) in [("kept", 1_000), ("cancelled", 1_000), ("over", 3)] {
        stage.site().apply(&record(name, hours)).await;
    }
    for name in ["kept", "cancelled", "over"] {
        stage.site().condition::<BookingRecord>(name, Type::Delivered, "True/Accepted").await;
    }
    stage.merge::<BookingRecord>("cancelled", json!({"spec": {"state": "Cancelled"}})).await;
    stage.site().condition::<BookingRecord>("cancelled", Type::Delivered, "True/Cancelled").await;
}

async fn ask_and_authorise(stage: &Stage) {
    let ask = json!({"metadata": {"annotations": {"roomkeeper.dev/reconcile-requested-at": "1"}}});
    stage.merge::<CalendarSubscription>("written", ask).await;
    until("the answer to the request", async || {
        let handled = stage.subscription("written").await.status.unwrap().last_handled_reconcile_at;
        if handled.as_deref() == Some("1") { Ok(()) } else { Err(format!("{handled:?}")) }
    })
    .await;
    stage.time.lock().await.pass(stage.connected, HOUR).await;
    let id = stage.subscription("written").await.status.unwrap().subscription.unwrap().id;
    let at = stage.time.lock().await.now().to_string();
    let lifecycle = json!({"reauthorizationRequired": {"receivedAt": at, "subscriptionId": id}});
    stage.report("written", json!({"lifecycle": lifecycle})).await;
    // By Graph's own word: the operator may note it by the time that it knew before the hour had passed.
    until("the authorisation", async || {
        let sent = stage.connected.graph.requests("POST", "/reauthorize").await;
        if sent.iter().any(|one| one["status"] == 204) { Ok(()) } else { Err(format!("{sent:?}")) }
    })
    .await;
}

/// Another key signs from now on: everything is deleted and made again.
async fn rotate(stage: &Stage) {
    let (mut secret, _) = stage.keys().await;
    secret.data.as_mut().unwrap().extend(KeyRing::generate().unwrap());
    let ring = KeyRing::from_secret(&secret).unwrap();
    let secrets = stage.site().api();
    secrets.replace(SECRET_NAME, &kube::api::PostParams::default(), &secret).await.unwrap();
    // One that starts reads the keys at once, one that runs within ten seconds.
    stage.phoenix.kill().await;
    let (objects, params) = (stage.site().api::<CalendarSubscription>(), kube::api::ListParams::default());
    until("everything signed with the new key", async || {
        for object in objects.list(&params).await.unwrap().items {
            let Some(known) = object.status.as_ref().and_then(|status| status.subscription.as_ref()) else {
                continue;
            };
            if known.key_id.as_deref() != Some(ring.current_id()) {
                return Err(format!("{}: {known:?}", object.name_any()));
            }
        }
        for number in 1..=USERS {
            for one in stage.connected.graph.subscriptions_of(&user(number)).await {
                let verified = ring.verify(one["clientState"].as_str().unwrap(), TENANT);
                if !verified.is_ok_and(|verified| verified.key_id == ring.current_id()) {
                    return Err(one.to_string());
                }
            }
        }
        Ok(())
    })
    .await;
    stage.ready("written", "Succeeded").await;
}

async fn renew(stage: &Stage, made: &str) {
    // Silence counts only where no earlier request is open.
    let asked = stage.subscription("written").await.status.unwrap().resync.unwrap().requested.0.to_string();
    stage.report("written", json!({"state": "Receiving", "resyncHandled": asked})).await;
    let expires = async |name: &str| {
        stage.subscription(name).await.status?.subscription.map(|known| known.expires_at.0)
    };
    let before = [expires(made).await, expires("written").await];
    stage.time.lock().await.pass(stage.connected, UNTIL_RENEWAL).await;
    for (name, before) in [made, "written"].into_iter().zip(before) {
        until("the renewal", async || {
            let now = expires(name).await;
            if now > before { Ok(()) } else { Err(format!("{name}: {now:?}")) }
        })
        .await;
    }
    stage.gone::<BookingRecord>("over").await;
    until("the withdrawn consent to leave the register", async || {
        match stage.site().api::<ConsentRecord>().get_opt("consent-5").await.unwrap() {
            None => Ok(()),
            Some(record) => Err(format!("{:?}", record.spec.withdrawn)),
        }
    })
    .await;
}

/// Reading after the silence of so many hours finds what was never notified: the subscription is deleted and made again.
async fn find_a_gap(stage: &Stage) {
    let resync = async |reason: ResyncReason| {
        until(&format!("a resync request: {reason:?}"), async || {
            let status = stage.subscription("written").await.status.unwrap();
            match &status.resync {
                Some(resync) if resync.reason == reason => Ok(resync.requested.0.to_string()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    };
    let asked = resync(ResyncReason::Silence).await;
    let id = async || stage.subscription("written").await.status.unwrap().subscription.map(|known| known.id);
    let before = id().await;
    stage
        .report("written", json!({"state": "Receiving", "resyncHandled": asked, "unnotifiedChanges": 3}))
        .await;
    let asked = resync(ResyncReason::Recreated).await;
    until("another subscription", async || {
        let now = id().await;
        if now.is_some() && now != before { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
    stage.report("written", json!({"state": "Receiving", "resyncHandled": asked})).await;
}

/// The end of the scope takes everything at Graph with it, also what nobody knows of.
async fn end(stage: &Stage) {
    stage.plant(NOBODY, "gone", "nobody").await;
    stage.site().api::<AccessScope>().delete("contoso", &DeleteParams::default()).await.unwrap();
    stage.gone::<AccessScope>("contoso").await;
    for number in 1..=USERS {
        stage.connected.living(&user(number), 0).await;
    }
    let written = stage.subscription("written").await.status.unwrap();
    assert!(!condition::is_true(&written.conditions, Type::Subscribed), "{:?}", written.conditions);
}
