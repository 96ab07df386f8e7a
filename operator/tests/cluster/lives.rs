//! Lives that are shorter than what is asked for: refused with the longest that Graph takes, or answered and not extended.

use jiff::{SignedDuration, Timestamp};
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use roomkeeper_crds::{
    CalendarSubscription, annotation,
    condition::{Type, get},
};
use serde_json::json;

use crate::{
    graph::Connected,
    site::{Operator, until},
    subscriptions::{merge, subscribed},
    world::{self, USER, consent, user},
};

/// Longest life in minutes that this Graph takes: of another resource, or of a change to come at Microsoft.
const LONGEST: i64 = 4_230;

async fn expires_at(connected: &Connected) -> Timestamp {
    connected.living(USER, 1).await[0]["expirationDateTime"].as_str().unwrap().parse().unwrap()
}

/// Starts a leader for whom the renewal of the known subscription is due. The one before is dead, because what was authorised
/// a moment ago is not renewed, and it would know.
async fn leader_with_a_renewal_due(connected: &Connected, before: &Operator, name: &str) -> Operator {
    before.process.kill().unwrap();
    let api = connected.site.api::<CalendarSubscription>();
    let mut status = serde_json::to_value(api.get(name).await.unwrap().status.unwrap()).unwrap();
    let hour_ago = (Timestamp::now() - SignedDuration::from_hours(1)).to_string();
    status["subscription"]["renewAt"] = json!(hour_ago);
    status["subscription"]["authorizedAt"] = json!(hour_ago);
    let body = json!({
        "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "CalendarSubscription", "metadata": {"name": name},
        "status": status,
    });
    let params = PatchParams::apply(annotation::MANAGER_OPERATOR).force();
    api.patch_status(name, &params, &Patch::Apply(&body)).await.unwrap();
    connected.operator("b").await
}

/// Answers to requests of that method on subscriptions, oldest first.
async fn answers(connected: &Connected, method: &str) -> Vec<u64> {
    let all = connected.graph.requests(method, "/v1.0/subscriptions").await;
    all.iter().filter_map(|one| one["status"].as_u64()).collect()
}

#[tokio::test]
async fn the_longest_life_is_learnt_from_the_refusal_of_a_creation_and_of_a_renewal() {
    let mut world = world::tenant(2);
    world["subscriptionMaxMinutes"] = json!(LONGEST);
    let connected = Connected::to(&world).await;
    let (operator, scope_uid, object) = subscribed(&connected).await;
    let name = object.name_any();
    assert_eq!(answers(&connected, "POST").await, [400, 201], "one refusal, and never another");
    let left = expires_at(&connected).await.duration_since(Timestamp::now()).as_mins();
    assert!((LONGEST - 10..=LONGEST).contains(&left), "{left}");
    let known = object.status.unwrap().subscription.unwrap();
    assert_eq!(known.expires_at.0.as_second(), expires_at(&connected).await.as_second());
    let share = known.renew_at.0.duration_since(known.created_at.0).as_secs_f64()
        / known.expires_at.0.duration_since(known.created_at.0).as_secs_f64();
    assert!(
        (0.6..0.8).contains(&share),
        "about 70 % of what Graph returned, not of what was wanted: {share}"
    );

    // The next leader has to learn it again, from a renewal.
    let _operator = leader_with_a_renewal_due(&connected, &operator, &name).await;
    connected.site.condition::<CalendarSubscription>(&name, Type::Subscribed, "True/Renewed").await;
    assert_eq!(answers(&connected, "PATCH").await, [400, 200]);

    // And knows it from then on, for everybody of the scope.
    connected.site.apply(&consent("consent-2", &scope_uid, 2)).await;
    connected.living(&user(2), 1).await;
    assert_eq!(answers(&connected, "POST").await, [400, 201, 201]);
}

#[tokio::test]
async fn a_renewal_that_extends_nothing_is_not_repeated_in_a_loop() {
    let connected = Connected::new(1).await;
    connected.graph.faults(&json!({"shorterExpiryMinutes": 2_880})).await;
    let (operator, _, object) = subscribed(&connected).await;
    let name = object.name_any();
    let before = expires_at(&connected).await;
    connected.graph.faults(&json!({"shorterExpiryMinutes": 0, "patchKeepsExpiry": true})).await;
    let operator = leader_with_a_renewal_due(&connected, &operator, &name).await;
    until("the renewal", async || {
        let answers = answers(&connected, "PATCH").await;
        if answers == [200] { Ok(()) } else { Err(format!("{answers:?}")) }
    })
    .await;
    assert_eq!(expires_at(&connected).await, before, "it was answered, and not extended");
    let api = connected.site.api::<CalendarSubscription>();
    let known = until("when it is tried again", async || {
        let known = api.get(&name).await.unwrap().status.unwrap().subscription.unwrap();
        if known.renew_at.0 > Timestamp::now() { Ok(known) } else { Err(format!("{known:?}")) }
    })
    .await;
    let wait = known.renew_at.0.duration_since(Timestamp::now());
    assert!(wait > SignedDuration::from_mins(9), "not soon: {wait}");
    assert!(known.renew_at.0 < known.expires_at.0 && known.expires_at.0.as_second() == before.as_second());

    // However often it is looked at until then, Graph is asked no more.
    let runs = async || {
        let (_, text) = operator.get("/metrics").await?;
        let line = "roomkeeper_reconcile_total{kind=\"CalendarSubscription\",result=\"success\"} ";
        Ok::<u64, String>(text.lines().find_map(|one| one.strip_prefix(line)?.parse().ok()).unwrap_or(0))
    };
    let began = runs().await.unwrap();
    for round in 0..5_u64 {
        let note = json!({"metadata": {"annotations": {"example.com/round": round.to_string()}}});
        merge::<CalendarSubscription>(&connected, &name, note).await;
        until("another run", async || match runs().await? {
            now if now > began + round => Ok(()),
            now => Err(now.to_string()),
        })
        .await;
    }
    assert_eq!(answers(&connected, "PATCH").await, [200]);
    let conditions = api.get(&name).await.unwrap().status.unwrap().conditions;
    assert_eq!(get(&conditions, Type::Subscribed).unwrap().status, "True", "it lives");
}
