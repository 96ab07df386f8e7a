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
    world::{self, CLIENT, GROUP, TENANT, USER, consent, user},
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

    // What was confirmed once confirms nothing else, not even the very same mistake.
    for number in 1..12 {
        connected.graph.join_group(&user(number)).await;
    }
    merge::<AccessScope>(&connected, "contoso", asked("4")).await;
    living(&connected, 11).await;
    for number in 1..12 {
        connected.graph.leave_group(&user(number)).await;
    }
    merge::<AccessScope>(&connected, "contoso", asked("5")).await;
    looked(&connected, "5").await;
    connected.site.condition::<AccessScope>("contoso", Type::MembersResolved, "False/ShrinkHeld").await;
    living(&connected, 11).await;
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
async fn a_user_who_is_gone_from_the_directory_is_out_of_the_scope_and_may_be_deleted() {
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

/// The tenant's administrator takes the consent back: tokens are given all the same, and hold no role any more.
#[tokio::test]
async fn a_tenant_that_takes_its_consent_back_is_left_alone_until_it_gives_it_again() {
    let mut world = world::tenant(2);
    world["tokenLifetimeSeconds"] = json!(20);
    let connected = Connected::to(&world).await;
    let (_operator, scope_uid, _) = subscribed(&connected).await;
    let roles = async |roles: &[&str]| {
        let app = json!({"tenantId": TENANT, "clientId": CLIENT, "roles": roles});
        connected.graph.control("apps", &app).await;
    };
    roles(&[]).await;
    let api = connected.site.api::<AccessScope>();
    until("it shows with the next token", async || {
        merge::<AccessScope>(&connected, "contoso", asked(&jiff::Timestamp::now().to_string())).await;
        let status = api.get("contoso").await.unwrap().status.unwrap();
        let found = condition::get(&status.conditions, Type::MembersResolved).cloned();
        match found {
            Some(one) if one.reason == "PermissionMissing" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    connected.site.condition::<AccessScope>("contoso", Type::Stalled, "True/PermissionMissing").await;

    // Somebody consents, a due call is asked for: nothing but the question whether the groups may be read again is sent.
    let before = connected.graph.requests("", "/v1.0/").await.len();
    connected.site.apply(&consent("consent-2", &scope_uid, 2)).await;
    let first = name::calendar_subscription(&scope_uid, USER);
    merge::<CalendarSubscription>(&connected, &first, asked("1")).await;
    let second = name::calendar_subscription(&scope_uid, &user(2));
    for name in [&first, &second] {
        connected.site.condition::<CalendarSubscription>(name, Type::Allowed, "Unknown/ScopeNotReady").await;
    }
    let sent = connected.graph.requests("", "/v1.0/").await.split_off(before);
    assert!(sent.iter().all(|one| one.to_string().contains("/v1.0/groups/")), "{sent:?}");
    assert_eq!(connected.graph.subscriptions_of(USER).await.len(), 1, "nobody is unsubscribed by it");

    roles(&["Calendars.Read", "Calendars.ReadWrite", "User.Read.All", "GroupMember.Read.All"]).await;
    until("it is given again", async || {
        merge::<AccessScope>(&connected, "contoso", asked(&jiff::Timestamp::now().to_string())).await;
        let status = api.get("contoso").await.unwrap().status.unwrap();
        if condition::is_true(&status.conditions, Type::Ready) { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
    connected.living(&user(2), 1).await;
}

#[tokio::test]
async fn nested_groups_count_and_deny_beats_restrict() {
    const INNER: &str = "1b6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a10";
    const BOARD: &str = "2b6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a10";
    let mut world = world::tenant(3);
    let groups = world["tenants"][0]["groups"].as_array_mut().unwrap();
    groups[0]["members"] = json!([user(1), INNER]);
    let group = |id, members| json!({"id": id, "displayName": id, "mailEnabled": true, "securityEnabled": true, "members": members});
    groups.push(group(INNER, json!([user(2), user(3)])));
    groups.push(group(BOARD, json!([user(3)])));
    let connected = Connected::to(&world).await;
    let _operator = connected.operator("a").await;
    let scope_uid = connected.scope().await;
    let policies = json!([
        {"mode": "RestrictAccess", "groupId": GROUP},
        {"mode": "DenyAccess", "groupId": BOARD},
    ]);
    merge::<AccessScope>(&connected, "contoso", json!({"spec": {"policies": policies}})).await;
    for number in 1..=3 {
        connected.site.apply(&consent(&format!("consent-{number}"), &scope_uid, number)).await;
    }
    connected.living(&user(1), 1).await;
    connected.living(&user(2), 1).await;
    let denied = name::calendar_subscription(&scope_uid, &user(3));
    connected.site.condition::<CalendarSubscription>(&denied, Type::Allowed, "False/OutOfScope").await;
    connected.living(&user(3), 0).await;
    let scope = connected.site.condition::<AccessScope>("contoso", Type::Ready, "True/Succeeded").await;
    assert_eq!(scope.status.unwrap().members.unwrap().count, 2);
}
