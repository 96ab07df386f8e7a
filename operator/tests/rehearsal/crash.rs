//! A crash before and after each remote call and each write: what is left is one subscription for each user who has one, and
//! none for each who has none.

use futures::StreamExt as _;
use kube::{
    ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use roomkeeper_crds::{CalendarSubscription, ConsentRecord, condition::Type, name};
use roomkeeper_operator::failpoint::{Failpoint, VARIABLE};
use serde_json::json;

use crate::{
    clock::Time,
    graph::Connected,
    phoenix::Phoenix,
    site::until,
    world::{consent, subscription, user},
};

/// The build that has the places.
const PROGRAM: &str = env!("CARGO_BIN_EXE_roomkeeper-operator-rehearsal");

const HOUR: i64 = 3_600;
/// Later than every renewal of a life of seven days, and before its end.
const UNTIL_RENEWAL: i64 = 131 * HOUR;

/// Crashes that are rehearsed at the same time, each with a namespace and a Graph of its own.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_place_ends_with_exactly_one_subscription() {
    let missed: Vec<&str> = futures::stream::iter(Failpoint::ALL)
        .map(|point| async move {
            let deaths = rehearse(*point).await;
            println!("{}: died {deaths} times", point.as_str());
            (deaths == 0).then_some(point.as_str())
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(missed.is_empty(), "the rehearsal never came to {missed:?}");
}

/// Plays a life through with a crash at one place; returns how often the operator died.
async fn rehearse(point: Failpoint) -> usize {
    // Lives as long as the test program: the operator that rises again borrows it.
    let connected: &'static Connected = Box::leak(Box::new(Connected::new(2).await));
    let mut time = Time::new(connected);
    let (variable, file) = time.variable();
    let again = move || connected.site.build(PROGRAM, "a", &connected.flags()).env(variable, &file);
    let phoenix = Phoenix::start(connected, again().env(VARIABLE, point.as_str()), again).await;
    let scope_uid = connected.scope().await;
    let site = &connected.site;

    // The first user's object follows from the consent; the second's is written by a person, who names the user by principal name.
    site.apply(&consent("consent-1", &scope_uid, 1)).await;
    site.apply(&subscription("written", "user2@contoso.example")).await;
    site.apply(&consent("consent-2", &scope_uid, 2)).await;
    let made = name::calendar_subscription(&scope_uid, &user(1));
    for name in [made.as_str(), "written"] {
        site.condition::<CalendarSubscription>(name, Type::Ready, "True/Succeeded").await;
    }
    let api = site.api::<CalendarSubscription>();

    let ask = json!({"metadata": {"annotations": {"roomkeeper.dev/reconcile-requested-at": "1"}}});
    api.patch("written", &PatchParams::default(), &Patch::Merge(&ask)).await.unwrap();
    until("the answer to the request", async || {
        let handled = api.get("written").await.unwrap().status.unwrap().last_handled_reconcile_at;
        if handled.as_deref() == Some("1") { Ok(()) } else { Err(format!("{handled:?}")) }
    })
    .await;

    time.pass(connected, HOUR).await;
    let before = api.get("written").await.unwrap().status.unwrap().subscription.unwrap();
    let lifecycle = json!({
        "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "CalendarSubscription", "metadata": {"name": "written"},
        "status": {"delivery": {"lifecycle": {
            "event": "reauthorizationRequired", "receivedAt": time.now().to_string(), "subscriptionId": before.id,
        }}},
    });
    api.patch_status("written", &PatchParams::apply("roomkeeper-worker"), &Patch::Apply(&lifecycle))
        .await
        .unwrap();
    // By Graph's own word: the operator may note it by the time that it knew before the hour had passed.
    until("the authorisation", async || {
        let sent = connected.graph.requests("POST", "/reauthorize").await;
        if sent.iter().any(|one| one["status"] == 204) { Ok(()) } else { Err(format!("{sent:?}")) }
    })
    .await;

    time.pass(connected, UNTIL_RENEWAL).await;
    for name in [made.as_str(), "written"] {
        until("the renewal", async || {
            let status = api.get(name).await.unwrap().status.unwrap();
            let expires = status.subscription.as_ref().map(|now| now.expires_at.clone());
            if expires > Some(before.expires_at.clone()) { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
    }

    let left = api.get("written").await.unwrap().uid();
    api.delete(&made, &DeleteParams::default()).await.unwrap();
    until("the end of the object", async || match api.get_opt(&made).await.unwrap() {
        None => Ok(()),
        Some(object) => Err(format!("{:?}", object.metadata)),
    })
    .await;
    let withdrawn = site.api::<ConsentRecord>().get("consent-1").await.unwrap().spec.withdrawn;
    assert!(withdrawn.is_some(), "{}: the deletion withdraws the consent", point.as_str());

    connected.living(&user(1), 0).await;
    let living = connected.living(&user(2), 1).await;
    let known = api.get("written").await.unwrap();
    assert_eq!(known.uid(), left);
    let known = known.status.unwrap().subscription.unwrap();
    assert_eq!(living[0]["id"].as_str(), Some(known.id.as_str()), "{}", point.as_str());
    phoenix.deaths().await
}
