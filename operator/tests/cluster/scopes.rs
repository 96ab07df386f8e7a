//! Who is within a scope, and what Exchange and the directory say against it.

use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams};
use reqwest::Method;
use roomkeeper_crds::{
    AccessScope, CalendarSubscription,
    annotation::CONFIRM_SHRINK,
    condition::{self, Type},
    name,
};
use serde_json::{Value, json};

use crate::{
    graph::Connected,
    site::until,
    subscriptions::{merge, subscribed},
    world::{CLIENT, TENANT, USER, consent, user},
};

fn annotated(key: &str, value: &str) -> Value {
    json!({"metadata": {"annotations": {key: value}}})
}

fn asked(at: &str) -> Value {
    annotated("roomkeeper.dev/reconcile-requested-at", at)
}

/// Living subscriptions of all users.
async fn living(connected: &Connected, count: usize) {
    until(&format!("{count} subscriptions at Graph"), async || {
        match connected.graph.subscriptions_of("").await.len() {
            found if found == count => Ok(()),
            found => Err(found.to_string()),
        }
    })
    .await;
}

/// The scope once it has looked at that request.
async fn looked(connected: &Connected, at: &str) -> AccessScope {
    let api = connected.site.api::<AccessScope>();
    until("the request is answered", async || {
        let scope = api.get("contoso").await.unwrap();
        let handled = scope.status.as_ref().and_then(|status| status.last_handled_reconcile_at.clone());
        if handled.as_deref() == Some(at) { Ok(scope) } else { Err(format!("{handled:?}")) }
    })
    .await
}

#[tokio::test]
async fn an_emptied_group_ends_nothing_until_a_person_confirms_it() {
    const USERS: usize = 12;
    let connected = Connected::new(USERS).await;
    let operator = connected.operator("a").await;
    let scope_uid = connected.scope().await;
    for number in 1..=USERS {
        connected.site.apply(&consent(&format!("consent-{number}"), &scope_uid, number)).await;
    }
    living(&connected, USERS).await;
    operator.metric("roomkeeper_subscriptions{state=\"active\"} 12").await;

    // One of twelve is no large shrink.
    connected.graph.leave_group(&user(12)).await;
    merge::<AccessScope>(&connected, "contoso", asked("1")).await;
    living(&connected, 11).await;
    operator.metric("roomkeeper_subscriptions{state=\"active\"} 11").await;

    for number in 1..12 {
        connected.graph.leave_group(&user(number)).await;
    }
    merge::<AccessScope>(&connected, "contoso", asked("2")).await;
    let scope =
        connected.site.condition::<AccessScope>("contoso", Type::MembersResolved, "False/ShrinkHeld").await;
    connected.site.condition::<AccessScope>("contoso", Type::Stalled, "True/ShrinkHeld").await;
    let said =
        condition::get(&scope.status.unwrap().conditions, Type::MembersResolved).unwrap().message.clone();
    assert!(said.contains("would end 11 of 11 subscriptions"), "{said}");
    let token =
        said.split(&format!("{CONFIRM_SHRINK}=")).nth(1).unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(token.len(), 12, "{said}");

    // Neither a restart nor another token lets it pass.
    operator.process.kill().unwrap();
    let _operator = connected.operator("b").await;
    merge::<AccessScope>(&connected, "contoso", annotated(CONFIRM_SHRINK, "000000000000")).await;
    merge::<AccessScope>(&connected, "contoso", asked("3")).await;
    looked(&connected, "3").await;
    connected.site.condition::<AccessScope>("contoso", Type::MembersResolved, "False/ShrinkHeld").await;
    living(&connected, 11).await;
    assert_eq!(connected.graph.requests("DELETE", "/subscriptions").await.len(), 1);

    merge::<AccessScope>(&connected, "contoso", annotated(CONFIRM_SHRINK, &token)).await;
    living(&connected, 0).await;
    connected.site.condition::<AccessScope>("contoso", Type::Ready, "True/Succeeded").await;

    // What was confirmed once confirms nothing else.
    connected.graph.join_group(USER).await;
    merge::<AccessScope>(&connected, "contoso", asked("4")).await;
    living(&connected, 1).await;
}

#[tokio::test]
async fn a_policy_of_exchange_stands_above_the_scope_until_it_is_lifted() {
    let connected = Connected::new(1).await;
    let deny = |users: &[&str]| json!({"tenantId": TENANT, "clientId": CLIENT, "deny": users, "effectiveInSeconds": 0});
    connected.graph.control("policies", &deny(&[USER])).await;
    let _operator = connected.operator("a").await;
    let scope_uid = connected.scope().await;
    connected.site.apply(&consent("consent-1", &scope_uid, 1)).await;
    let name = name::calendar_subscription(&scope_uid, USER);
    connected.site.condition::<CalendarSubscription>(&name, Type::Allowed, "False/PolicyDenied").await;
    connected.living(USER, 0).await;
    let tries = async || connected.graph.requests("POST", "/v1.0/subscriptions").await.len();
    assert_eq!(tries().await, 1, "it is asked slowly");

    connected.graph.control("policies", &deny(&[])).await;
    merge::<CalendarSubscription>(&connected, &name, asked("1")).await;
    connected.site.condition::<CalendarSubscription>(&name, Type::Ready, "True/Succeeded").await;
    connected.living(USER, 1).await;
    assert_eq!(tries().await, 2);
}

#[tokio::test]
async fn a_user_who_is_gone_from_the_directory_has_a_reason_of_their_own() {
    let connected = Connected::new(1).await;
    let (_operator, _, object) = subscribed(&connected).await;
    let name = object.metadata.name.unwrap();
    connected.graph.control("users", &json!({"userId": USER, "deleted": true})).await;
    merge::<AccessScope>(&connected, "contoso", asked("1")).await;
    let object =
        connected.site.condition::<CalendarSubscription>(&name, Type::Ready, "True/OutOfScope").await;
    // Graph refuses to delete for a user whom it does not know, and goes on listing what will end by itself
    // (microsoft-graph-docs-contrib#3201).
    assert_eq!(object.status.unwrap().subscription, None);
    assert_eq!(connected.graph.requests("DELETE", "/v1.0/subscriptions/").await.len(), 1);
    // Support may delete the object of a user whom Graph does not know any more.
    let api = connected.site.api::<CalendarSubscription>();
    api.delete(&name, &DeleteParams::default()).await.unwrap();
    until("the object is gone", async || match api.get_opt(&name).await.unwrap() {
        None => Ok(()),
        Some(object) => Err(format!("{:?}", object.status)),
    })
    .await;
}

/// The service may grant less than was asked for: the time that came back counts, and asking again would change nothing.
#[tokio::test]
async fn a_shorter_life_than_asked_for_is_taken_as_it_is() {
    let connected = Connected::new(1).await;
    connected.graph.faults(&json!({"shorterExpiryMinutes": 60})).await;
    let (_operator, _, object) = subscribed(&connected).await;
    let subscription = object.status.unwrap().subscription.unwrap();
    let life = subscription.expires_at.0.duration_since(jiff::Timestamp::now());
    assert!(life <= jiff::SignedDuration::from_mins(60), "{life}");
    assert!(subscription.renew_at.0 < subscription.expires_at.0);
    let name = object.metadata.name.unwrap();
    merge::<CalendarSubscription>(&connected, &name, asked("1")).await;
    let api = connected.site.api::<CalendarSubscription>();
    until("the request is answered", async || {
        let status = api.get(&name).await.unwrap().status.unwrap();
        match status.last_handled_reconcile_at.as_deref() {
            Some("1") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(connected.graph.requests("POST", "/v1.0/subscriptions").await.len(), 1);
    let living = connected.living(USER, 1).await;
    let path = format!("/subscriptions/{}", living[0]["id"].as_str().unwrap());
    let (status, body) = connected.graph.as_operator(Method::GET, &path, None).await;
    assert_eq!(status, 200, "{body}");
}

/// Deleting a scope whose credential stopped working: what is left is said, with its date.
#[tokio::test]
async fn leftovers_of_a_forced_deletion_are_said_with_their_date() {
    let connected = Connected::new(1).await;
    let (_operator, _, object) = subscribed(&connected).await;
    let expires_at = object.status.unwrap().subscription.unwrap().expires_at.0;
    connected.graph.control("apps", &json!({"tenantId": TENANT, "clientId": CLIENT, "enabled": false})).await;
    merge::<AccessScope>(&connected, "contoso", annotated(roomkeeper_crds::annotation::FORCE_DELETE, "true"))
        .await;
    let api = connected.site.api::<AccessScope>();
    api.delete("contoso", &DeleteParams::default()).await.unwrap();
    until("the scope is gone", async || match api.get_opt("contoso").await.unwrap() {
        None => Ok(()),
        Some(scope) => Err(format!("{:?}", scope.status)),
    })
    .await;
    let events = connected.site.api::<Event>();
    let note = until("the Warning", async || {
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let found = events.iter().find(|event| event.reason.as_deref() == Some("ForceDeleted"));
        found.and_then(|event| event.note.clone()).ok_or_else(|| format!("{} events", events.len()))
    })
    .await;
    assert!(note.contains(&expires_at.to_string()), "{note}");
}
