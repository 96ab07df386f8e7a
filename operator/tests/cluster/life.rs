//! The life of a subscription: resync requests, authorisation, keys, silence, several installations, slow rechecks.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::Secret;
use kube::{ResourceExt as _, api::DeleteParams};
use reqwest::Method;
use roomkeeper_crds::{
    AccessScope, CalendarSubscription,
    calendar_subscription::ResyncReason,
    condition::{self, Type},
    name,
};
use roomkeeper_service::client_state::{KeyRing, SECRET_NAME};
use serde_json::json;

use crate::{
    graph::Connected,
    site::{Operator, Site, until},
    subscriptions::{merge, report, subscribed},
    world::{self, TENANT, USER, consent, user},
};

async fn object(site: &Site, name: &str) -> CalendarSubscription {
    site.api::<CalendarSubscription>().get(name).await.unwrap()
}

/// Waits for a resync request with that reason, and returns when it was made.
async fn requested(site: &Site, name: &str, reason: ResyncReason) -> String {
    until(&format!("a resync request: {reason:?}"), async || {
        let object = site.api::<CalendarSubscription>().get_opt(name).await.unwrap();
        match object.and_then(|object| object.status?.resync) {
            Some(resync) if resync.reason == reason => Ok(resync.requested.0.to_string()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

/// Answers as the worker.
async fn handled(connected: &Connected, name: &str, requested: &str, unnotified: u32) {
    let delivery = json!({"state": "Receiving", "resyncHandled": requested, "unnotifiedChanges": unnotified});
    report(connected, name, delivery).await;
}

#[tokio::test]
async fn a_resync_is_asked_for_and_awaited() {
    let connected = Connected::new(1).await;
    let (_operator, _, object) = subscribed(&connected).await;
    let (site, name) = (&connected.site, object.name_any());
    let created = requested(site, &name, ResyncReason::Created).await;
    site.condition::<CalendarSubscription>(&name, Type::Delivering, "Unknown/Resyncing").await;
    handled(&connected, &name, &created, 0).await;
    site.condition::<CalendarSubscription>(&name, Type::Delivering, "True/Receiving").await;

    let id = connected.living(USER, 1).await[0]["id"].as_str().unwrap().to_owned();
    // What Graph asks for since then hides no loss.
    let now = jiff::Timestamp::now().to_string();
    let later = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1)).to_string();
    let lifecycle = json!({
        "missed": {"receivedAt": now, "subscriptionId": id},
        "reauthorizationRequired": {"receivedAt": later, "subscriptionId": id},
    });
    let delivery = json!({"state": "Receiving", "resyncHandled": created, "lifecycle": lifecycle});
    report(&connected, &name, delivery).await;
    let missed = requested(site, &name, ResyncReason::Missed).await;
    site.condition::<CalendarSubscription>(&name, Type::Delivering, "Unknown/Resyncing").await;
    assert!(missed > created, "{missed} after {created}");
    handled(&connected, &name, &missed, 0).await;
    site.condition::<CalendarSubscription>(&name, Type::Delivering, "True/Receiving").await;

    let ask = json!({"metadata": {"annotations": {"roomkeeper.dev/reconcile-requested-at": "1"}}});
    merge::<CalendarSubscription>(&connected, &name, ask).await;
    let asked = requested(site, &name, ResyncReason::Requested).await;
    assert!(asked > missed, "{asked} after {missed}");

    let path = format!("/subscriptions/{id}");
    assert_eq!(connected.graph.as_operator(Method::DELETE, &path, None).await.0, 204);
    merge::<CalendarSubscription>(
        &connected,
        &name,
        json!({"metadata": {"annotations": {"roomkeeper.dev/reconcile-requested-at": "2"}}}),
    )
    .await;
    requested(site, &name, ResyncReason::Recreated).await;
    assert_ne!(connected.living(USER, 1).await[0]["id"].as_str(), Some(id.as_str()));
}

#[tokio::test]
async fn graph_is_authorised_again_once_and_not_within_ten_minutes() {
    let connected = Connected::new(1).await;
    let (operator, _, object) = subscribed(&connected).await;
    let (site, name) = (&connected.site, object.name_any());
    let id = connected.living(USER, 1).await[0]["id"].as_str().unwrap().to_owned();
    let wanted = async |at: &str| {
        let lifecycle = json!({"reauthorizationRequired": {"receivedAt": at, "subscriptionId": id}});
        report(&connected, &name, json!({"state": "Receiving", "lifecycle": lifecycle})).await;
    };
    let sent = async || {
        connected.graph.requests("POST", "/reauthorize").await.len()
            + connected.graph.requests("PATCH", "/subscriptions/").await.len()
    };
    wanted(&jiff::Timestamp::now().to_string()).await;
    site.condition::<CalendarSubscription>(&name, Type::Delivering, "Unknown/Resyncing").await;
    // Asked by a person as well, so that there is an answer to wait for.
    let ask = json!({"metadata": {"annotations": {"roomkeeper.dev/reconcile-requested-at": "1"}}});
    merge::<CalendarSubscription>(&connected, &name, ask).await;
    until("the answer", async || {
        let status = self::object(site, &name).await.status.unwrap();
        match status.last_handled_reconcile_at.as_deref() {
            Some("1") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(sent().await, 0, "it was authorised when it was made");

    // Another leader knows no more than the status, which tells of an hour ago.
    operator.process.kill().unwrap();
    let api = site.api::<CalendarSubscription>();
    let hour_ago = (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1)).to_string();
    let patch = json!({"status": {"subscription": {"authorizedAt": hour_ago}}});
    api.patch_status(&name, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(&patch))
        .await
        .unwrap();
    let _operator = connected.operator("b").await;
    until("one authorisation", async || match connected.graph.requests("POST", "/reauthorize").await.len() {
        1 => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    until("it is noted", async || {
        let known = self::object(site, &name).await.status.unwrap().subscription.unwrap();
        let at = known.authorized_at.unwrap().0.to_string();
        if at > hour_ago { Ok(()) } else { Err(at) }
    })
    .await;
    wanted(&jiff::Timestamp::now().to_string()).await;
    let object = site.condition::<CalendarSubscription>(&name, Type::Subscribed, "True/Created").await;
    assert_eq!(object.status.unwrap().subscription.unwrap().id, id);
    assert_eq!(sent().await, 1, "the second wish is answered by it");
}

/// How many living subscriptions there are of each key, while each mailbox has one at most.
async fn by_key(connected: &Connected, ring: &KeyRing, users: usize) -> Vec<(String, usize)> {
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for number in 1..=users {
        let living = connected.graph.subscriptions_of(&user(number)).await;
        assert!(living.len() <= 1, "{living:?}");
        for one in living {
            let verified = ring.verify(one["clientState"].as_str().unwrap(), TENANT).unwrap();
            *counts.entry(verified.key_id).or_default() += 1;
        }
    }
    counts.into_iter().collect()
}

#[tokio::test]
async fn keys_are_rotated_while_both_count_and_every_calendar_stays_subscribed() {
    const USERS: usize = 20;
    let connected = Connected::new(USERS).await;
    let operator = connected.operator("a").await;
    let scope_uid = connected.scope().await;
    for number in 1..=USERS {
        connected.site.apply(&consent(&format!("consent-{number}"), &scope_uid, number)).await;
    }
    operator.metric(&format!("roomkeeper_client_state_key_holders{{key=\"current\"}} {USERS}")).await;
    let secrets = connected.site.api::<Secret>();
    let mut secret = secrets.get(SECRET_NAME).await.unwrap();
    let old = KeyRing::from_secret(&secret).unwrap().current_id().to_owned();
    secret.data.as_mut().unwrap().extend(KeyRing::generate().unwrap());
    let ring = KeyRing::from_secret(&secret).unwrap();
    let new = ring.current_id().to_owned();
    assert_ne!(old, new);
    secrets.replace(SECRET_NAME, &kube::api::PostParams::default(), &secret).await.unwrap();
    until("every subscription signed anew", async || {
        let counts = by_key(&connected, &ring, USERS).await;
        if counts == [(new.clone(), USERS)] { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
    operator.metric(&format!("roomkeeper_client_state_key_holders{{key=\"current\"}} {USERS}")).await;
    operator.metric("roomkeeper_client_state_key_holders{key=\"other\"} 0").await;
    for number in 1..=USERS {
        let name = name::calendar_subscription(&scope_uid, &user(number));
        requested(&connected.site, &name, ResyncReason::Recreated).await;
        let known = object(&connected.site, &name).await.status.unwrap().subscription.unwrap();
        assert_eq!(known.key_id.as_deref(), Some(new.as_str()));
        assert_eq!(connected.living(&user(number), 1).await[0]["id"].as_str(), Some(known.id.as_str()));
    }
    until("the operator says that the old key may go", async || {
        let log = operator.process.log_tail(10_000);
        if log.contains("earlier keys may be removed") { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;

    // Both keys gone at once: what they signed is worth nothing any more.
    let mut secret = secrets.get(SECRET_NAME).await.unwrap();
    secret.data = Some(KeyRing::generate().unwrap());
    let ring = KeyRing::from_secret(&secret).unwrap();
    secrets.replace(SECRET_NAME, &kube::api::PostParams::default(), &secret).await.unwrap();
    until("every subscription signed anew", async || {
        let mut current = 0;
        for number in 1..=USERS {
            for one in connected.graph.subscriptions_of(&user(number)).await {
                current += usize::from(ring.verify(one["clientState"].as_str().unwrap(), TENANT).is_ok());
            }
        }
        if current == USERS { Ok(()) } else { Err(current.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn another_public_url_makes_everything_anew_and_leaves_nothing_behind() {
    const USERS: usize = 5;
    let connected = Connected::new(USERS).await;
    let operator = connected.operator("a").await;
    let scope_uid = connected.scope().await;
    for number in 1..=USERS {
        connected.site.apply(&consent(&format!("consent-{number}"), &scope_uid, number)).await;
    }
    for number in 1..=USERS {
        connected.living(&user(number), 1).await;
    }
    operator.metric(&format!("roomkeeper_subscriptions{{state=\"active\"}} {USERS}")).await;
    operator.process.kill().unwrap();
    let url = format!("{}/moved", connected.endpoint.url);
    let _operator = at(&connected, &connected.site, "b", &url).await;
    for number in 1..=USERS {
        until("a subscription under the new URL", async || {
            let living = connected.graph.subscriptions_of(&user(number)).await;
            assert!(living.len() <= 1, "{living:?}");
            match living.first().and_then(|one| one["notificationUrl"].as_str()) {
                Some(found) if found.starts_with(&url) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        let name = name::calendar_subscription(&scope_uid, &user(number));
        requested(&connected.site, &name, ResyncReason::Recreated).await;
    }
}

#[tokio::test]
async fn a_long_silence_is_looked_into_and_a_gap_leads_to_another_subscription() {
    let connected = Connected::new(1).await;
    let flags = ["--resync-after-silence", "2s"].map(str::to_owned);
    let operator = started(&connected, &connected.site, "a", &connected.endpoint.url, &flags).await;
    let scope_uid = connected.scope().await;
    connected.site.apply(&consent("consent-1", &scope_uid, 1)).await;
    let (site, name) = (&connected.site, name::calendar_subscription(&scope_uid, USER));
    let created = requested(site, &name, ResyncReason::Created).await;
    let first = connected.living(USER, 1).await[0]["id"].as_str().unwrap().to_owned();
    handled(&connected, &name, &created, 3).await;
    let silence = requested(site, &name, ResyncReason::Silence).await;
    assert_eq!(
        connected.living(USER, 1).await[0]["id"].as_str(),
        Some(first.as_str()),
        "what was found at first is no gap"
    );
    handled(&connected, &name, &silence, 3).await;
    requested(site, &name, ResyncReason::Recreated).await;
    assert_ne!(connected.living(USER, 1).await[0]["id"].as_str(), Some(first.as_str()));
    let log = operator.process.log_tail(10_000);
    assert!(log.contains("never notified"), "{log}");
    let events = site.api::<k8s_openapi::api::events::v1::Event>();
    until("the Warning", async || {
        let events = events.list(&kube::api::ListParams::default()).await.unwrap().items;
        let said: Vec<_> = events.iter().filter_map(|event| event.reason.clone()).collect();
        if said.contains(&"Gap".to_owned()) { Ok(()) } else { Err(format!("{said:?}")) }
    })
    .await;
}

/// Starts an operator of a site with that public URL.
async fn at(connected: &Connected, site: &Site, identity: &str, url: &str) -> Operator {
    started(connected, site, identity, url, &[]).await
}

async fn started(connected: &Connected, site: &Site, identity: &str, url: &str, more: &[String]) -> Operator {
    let mut flags = connected.flags();
    assert_eq!(flags[0], "--public-url");
    url.clone_into(&mut flags[1]);
    flags.extend_from_slice(more);
    site.operator(identity, &flags).await
}

#[tokio::test]
async fn two_installations_on_one_app_registration_leave_each_other_alone() {
    let connected = Connected::new(3).await;
    let urls = ["one", "two"].map(|path| format!("{}/{path}", connected.endpoint.url));
    let sites = [&connected.site, &Site::new().await];
    let mut operators = Vec::new();
    for (site, url) in sites.iter().zip(&urls) {
        operators.push(at(&connected, site, "a", url).await);
    }
    let mut uids = Vec::new();
    for site in sites {
        site.apply(&world::scope("contoso", &connected.graph.origin)).await;
        let scope = site.condition::<AccessScope>("contoso", Type::Ready, "True/Succeeded").await;
        uids.push(scope.uid().unwrap());
    }
    // One calendar each, and one that both are asked to follow.
    for (number, owner) in [(1, 0), (2, 1), (3, 0)] {
        let name = name::calendar_subscription(&uids[owner], &user(number));
        sites[owner].apply(&consent(&format!("consent-{number}"), &uids[owner], number)).await;
        sites[owner].condition::<CalendarSubscription>(&name, Type::Ready, "True/Succeeded").await;
    }
    sites[1].apply(&consent("consent-3", &uids[1], 3)).await;
    let name = name::calendar_subscription(&uids[1], &user(3));
    let refused =
        sites[1].condition::<CalendarSubscription>(&name, Type::Stalled, "True/ForeignSubscription").await;
    let message = &condition::get(&refused.status.unwrap().conditions, Type::Ready).unwrap().message.clone();
    assert!(message.contains("an app registration of its own"), "{message}");
    let ids = async || {
        let mut ids = Vec::new();
        for number in 1..=3 {
            ids.push(connected.living(&user(number), 1).await[0]["id"].clone());
        }
        ids
    };
    let before = ids().await;
    // Each starts again, and with it sweeps again.
    for (at_site, operator) in operators.iter_mut().enumerate() {
        operator.process.kill().unwrap();
        let again = at(&connected, sites[at_site], "b", &urls[at_site]).await;
        let (ours, foreign) = if at_site == 0 { (2, 1) } else { (1, 2) };
        again.metric(&format!("roomkeeper_sweep_subscriptions{{state=\"ours\"}} {ours}")).await;
        again.metric(&format!("roomkeeper_sweep_subscriptions{{state=\"foreign\"}} {foreign}")).await;
        again.metric("roomkeeper_sweep_subscriptions{state=\"dead\"} 0").await;
        *operator = again;
    }
    assert_eq!(ids().await, before);
    // What one ends is free for the other.
    let first = name::calendar_subscription(&uids[0], &user(3));
    sites[0].api::<CalendarSubscription>().delete(&first, &DeleteParams::default()).await.unwrap();
    until("the first has ended it", async || {
        let left = connected.graph.subscriptions_of(&user(3)).await;
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    let urls: HashSet<String> = connected
        .graph
        .requests("DELETE", "/subscriptions/")
        .await
        .iter()
        .map(|one| one["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(urls.len(), 1, "nothing else was ever deleted: {urls:?}");
}

/// A client that Entra no longer knows by this secret sends nothing more, and nobody tries in a loop.
#[tokio::test]
async fn a_credential_that_stops_working_stops_all_calls() {
    let connected = Connected::new(2).await;
    let (operator, scope_uid, first) = subscribed(&connected).await;
    operator.process.kill().unwrap();
    let wrong = json!({"stringData": {"clientSecret": "wrong"}});
    merge::<Secret>(&connected, "graph", wrong).await;
    let operator = connected.operator("b").await;
    operator.metric("roomkeeper_leader 1").await;
    let site = &connected.site;
    site.condition::<AccessScope>("contoso", Type::CredentialsValid, "False/AuthFailed").await;
    let object =
        site.condition::<CalendarSubscription>(&first.name_any(), Type::Ready, "False/ScopeNotReady").await;
    let conditions = object.status.unwrap().conditions;
    let ready = condition::get(&conditions, Type::Ready).unwrap();
    assert!(ready.message.contains("credential"), "{}", ready.message);
    let subscribed = condition::get(&conditions, Type::Subscribed).unwrap();
    assert_eq!(subscribed.status, "True", "what lives is not said to be dead");
    // Whatever is wanted of it now is not tried.
    let asked = async || connected.graph.requests("POST", "/oauth2/").await.len();
    let before = asked().await;
    site.apply(&consent("consent-2", &scope_uid, 2)).await;
    let second = name::calendar_subscription(&scope_uid, &user(2));
    site.condition::<CalendarSubscription>(&second, Type::Allowed, "Unknown/ScopeNotReady").await;
    let withdrawn =
        json!({"spec": {"withdrawn": {"at": "2026-11-23T12:00:00Z", "by": "support", "reason": "ticket 1"}}});
    merge::<roomkeeper_crds::ConsentRecord>(&connected, "consent-1", withdrawn).await;
    site.condition::<CalendarSubscription>(&first.name_any(), Type::Subscribed, "Unknown/RemoteError").await;
    let after = asked().await;
    assert!(after <= before + 2, "only the scope itself asks: {before}, {after}");
    merge::<Secret>(&connected, "graph", json!({"stringData": {"clientSecret": world::CLIENT_SECRET}})).await;
    site.condition::<CalendarSubscription>(&second, Type::Ready, "True/Succeeded").await;
    connected.living(USER, 0).await;
}

/// While no operator ran.
#[tokio::test]
async fn an_end_that_nobody_saw_is_told_and_mended() {
    let connected = Connected::new(1).await;
    let (operator, _, object) = subscribed(&connected).await;
    let (site, name) = (&connected.site, object.name_any());
    let first = connected.living(USER, 1).await[0]["id"].as_str().unwrap().to_owned();
    operator.process.kill().unwrap();
    let at_graph = format!("/subscriptions/{first}");
    assert_eq!(connected.graph.as_operator(Method::DELETE, &at_graph, None).await.0, 204);
    let ended_at = (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1)).to_string();
    // In the operator's name: what others wrote would stay in the status beside what the operator writes.
    let api = site.api::<CalendarSubscription>();
    let mut status = serde_json::to_value(api.get(&name).await.unwrap().status.unwrap()).unwrap();
    status["subscription"]["expiresAt"] = json!(ended_at);
    status["subscription"]["renewAt"] = json!(ended_at);
    let patch = json!({
        "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "CalendarSubscription", "metadata": {"name": name},
        "status": status,
    });
    let params = kube::api::PatchParams::apply(roomkeeper_crds::annotation::MANAGER_OPERATOR).force();
    api.patch_status(&name, &params, &kube::api::Patch::Apply(&patch)).await.unwrap();
    let operator = connected.operator("b").await;
    requested(site, &name, ResyncReason::Recreated).await;
    operator.metric("roomkeeper_subscriptions_expired_total 1").await;
    assert_ne!(connected.living(USER, 1).await[0]["id"].as_str(), Some(first.as_str()));
    site.condition::<CalendarSubscription>(&name, Type::Ready, "True/Succeeded").await;
    let events = site.api::<k8s_openapi::api::events::v1::Event>();
    until("the Warning", async || {
        let events = events.list(&kube::api::ListParams::default()).await.unwrap().items;
        let said: Vec<_> = events.iter().map(|event| (event.type_.clone(), event.reason.clone())).collect();
        if said.contains(&(Some("Warning".to_owned()), Some("Expired".to_owned()))) {
            Ok(())
        } else {
            Err(format!("{said:?}"))
        }
    })
    .await;
}

/// What a person must mend at Microsoft's side is tried again slowly, or at once when a person asks.
#[tokio::test]
async fn a_user_without_a_mailbox_is_asked_about_slowly() {
    let mut tenant = world::tenant(1);
    tenant["tenants"][0]["users"][0]["mailbox"] = json!(false);
    let connected = Connected::to(&tenant).await;
    let operator = connected.operator("a").await;
    let scope_uid = connected.scope().await;
    let site = &connected.site;
    site.apply(&consent("consent-1", &scope_uid, 1)).await;
    let name = name::calendar_subscription(&scope_uid, USER);
    site.condition::<CalendarSubscription>(&name, Type::Subscribed, "False/MailboxUnavailable").await;
    let stalled =
        site.condition::<CalendarSubscription>(&name, Type::Stalled, "True/MailboxUnavailable").await;
    let tries = async || connected.graph.requests("POST", "/v1.0/subscriptions").await.len();
    assert_eq!(tries().await, 1);
    let runs = async || {
        let (_, text) = operator.get("/metrics").await?;
        let line = "roomkeeper_reconcile_total{kind=\"CalendarSubscription\",result=\"success\"} ";
        Ok::<u64, String>(text.lines().find_map(|one| one.strip_prefix(line)?.parse().ok()).unwrap_or(0))
    };
    let before = runs().await.unwrap();
    for round in 0..5_u64 {
        let note = json!({"metadata": {"annotations": {"example.com/round": round.to_string()}}});
        merge::<roomkeeper_crds::ConsentRecord>(&connected, "consent-1", note).await;
        until("another run", async || match runs().await? {
            now if now > before + round => Ok(()),
            now => Err(now.to_string()),
        })
        .await;
    }
    assert_eq!(tries().await, 1, "looking at it again is no reason to ask Graph again");
    assert_eq!(object(site, &name).await.resource_version(), stalled.resource_version());
    let ask = json!({"metadata": {"annotations": {"roomkeeper.dev/reconcile-requested-at": "1"}}});
    merge::<CalendarSubscription>(&connected, &name, ask).await;
    until("a second try", async || match tries().await {
        2 => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
}
