//! From consent to subscription and back, against the Graph simulator.

use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use reqwest::Method;
use roomkeeper_crds::{
    AccessScope, CalendarSubscription, ConsentRecord,
    condition::{self, Type},
    name,
};
use serde_json::{Value, json};

use crate::{
    graph::Connected,
    site::{Operator, until},
    world::{PLAIN_GROUP, PRINCIPAL, USER, consent, scope, subscription, user},
};

pub async fn merge<K>(connected: &Connected, name: &str, patch: Value)
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + serde::de::DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    let api = connected.site.api::<K>();
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

/// An operator, a ready scope, and a user who consented and is subscribed. Returns the operator, the scope's uid, and the
/// CalendarSubscription.
pub async fn subscribed(connected: &Connected) -> (Operator, String, CalendarSubscription) {
    let operator = connected.operator("a").await;
    let scope_uid = connected.scope().await;
    connected.site.apply(&consent("consent-1", &scope_uid, 1)).await;
    let name = name::calendar_subscription(&scope_uid, USER);
    let object = connected.site.condition::<CalendarSubscription>(&name, Type::Ready, "True/Succeeded").await;
    (operator, scope_uid, object)
}

async fn gone<K: crate::site::Conditioned>(connected: &Connected, name: &str) {
    let api = connected.site.api::<K>();
    until(&format!("{name} is gone"), async || match api.get_opt(name).await.unwrap() {
        None => Ok(()),
        Some(object) => Err(format!("{object:?}")),
    })
    .await;
}

#[tokio::test]
async fn a_consent_leads_to_a_subscription_and_its_withdrawal_ends_it_for_good() {
    let connected = Connected::new(1).await;
    let (operator, scope_uid, object) = subscribed(&connected).await;
    let living = connected.living(USER, 1).await;
    let status = object.status.as_ref().unwrap();
    assert_eq!(status.user_id.as_deref(), Some(USER));
    assert_eq!(status.consent.as_ref().unwrap().name, "consent-1");
    assert_eq!(living[0]["id"].as_str(), Some(status.subscription.as_ref().unwrap().id.as_str()));
    let url = living[0]["notificationUrl"].as_str().unwrap();
    assert!(url.starts_with(&format!("{}/notifications/", connected.endpoint.url)), "{url}");
    assert!(url.ends_with(&format!("/{}", object.uid().unwrap())), "{url}");
    let record = connected.site.api::<ConsentRecord>().get("consent-1").await.unwrap();
    assert_eq!(record.status.unwrap().subscription, Some(object.name_any()));
    operator.metric("roomkeeper_subscriptions{state=\"active\"} 1").await;

    let withdrawn =
        json!({"spec": {"withdrawn": {"at": "2026-11-23T12:00:00Z", "by": "support", "reason": "ticket 1"}}});
    merge::<ConsentRecord>(&connected, "consent-1", withdrawn).await;
    let name = object.name_any();
    connected.site.condition::<CalendarSubscription>(&name, Type::Allowed, "False/ConsentWithdrawn").await;
    connected.living(USER, 0).await;
    connected.site.condition::<CalendarSubscription>(&name, Type::Ready, "True/ConsentWithdrawn").await;

    // Whoever withdraws it, and however: the audit has it, once.
    until("the withdrawal is audited", async || {
        let record = connected.site.api::<ConsentRecord>().get("consent-1").await.unwrap();
        let status = record.status.unwrap_or_default();
        status.withdrawal_audited_at.clone().map(drop).ok_or_else(|| format!("{status:?}"))
    })
    .await;
    assert_eq!(operator.audit_text().matches("\"type\":\"consentWithdrawn\"").count(), 1);

    // GitOps applies its own object for the same user: it changes nothing.
    let posts = connected.graph.requests("POST", "/subscriptions").await.len();
    merge::<CalendarSubscription>(
        &connected,
        &name,
        json!({"metadata": {"annotations": {"roomkeeper.dev/reconcile-requested-at": "1"}}}),
    )
    .await;
    let api = connected.site.api::<CalendarSubscription>();
    until("the request is answered", async || {
        let status = api.get(&name).await.unwrap().status.unwrap_or_default();
        if status.last_handled_reconcile_at.as_deref() == Some("1") {
            Ok(())
        } else {
            Err(format!("{status:?}"))
        }
    })
    .await;
    connected.living(USER, 0).await;
    assert_eq!(connected.graph.requests("POST", "/subscriptions").await.len(), posts);

    // A new tick of the box is a new record, and counts.
    connected.site.apply(&consent("consent-2", &scope_uid, 1)).await;
    connected.site.condition::<CalendarSubscription>(&name, Type::Subscribed, "True/Created").await;
    connected.living(USER, 1).await;

    let log = operator.process.log_tail(10_000);
    assert!(!log.contains(PRINCIPAL) && !log.contains(crate::world::CLIENT_SECRET), "{log}");
    assert!(operator.audit_text().contains("createSubscription"));
}

#[tokio::test]
async fn nobody_is_subscribed_without_a_consent_and_that_is_no_trouble() {
    let connected = Connected::new(1).await;
    let _operator = connected.operator("a").await;
    let scope_uid = connected.scope().await;
    connected.site.apply(&subscription("user-one", PRINCIPAL)).await;
    let object = connected
        .site
        .condition::<CalendarSubscription>("user-one", Type::Ready, "True/AwaitingConsent")
        .await;
    assert_eq!(object.status.unwrap().user_id.as_deref(), Some(USER));
    assert!(connected.graph.requests("POST", "/subscriptions").await.is_empty());
    connected.site.apply(&subscription("stranger", "stranger@contoso.example")).await;
    connected.site.condition::<CalendarSubscription>("stranger", Type::Allowed, "False/UserNotFound").await;
    // The consent takes the object that a person wrote.
    connected.site.apply(&consent("consent-1", &scope_uid, 1)).await;
    connected.site.condition::<CalendarSubscription>("user-one", Type::Subscribed, "True/Created").await;
    let record = connected.site.api::<ConsentRecord>().get("consent-1").await.unwrap();
    assert_eq!(record.status.unwrap().subscription.as_deref(), Some("user-one"));
    // Deleting what a person wrote keeps the consent.
    connected.site.api::<CalendarSubscription>().delete("user-one", &DeleteParams::default()).await.unwrap();
    gone::<CalendarSubscription>(&connected, "user-one").await;
    connected.living(USER, 0).await;
    let record = connected.site.api::<ConsentRecord>().get("consent-1").await.unwrap();
    assert_eq!(record.spec.withdrawn, None);
}

#[tokio::test]
async fn deleting_what_followed_from_a_consent_ends_it_and_withdraws_the_consent() {
    let connected = Connected::new(1).await;
    let (operator, _, object) = subscribed(&connected).await;
    connected.living(USER, 1).await;
    connected
        .site
        .api::<CalendarSubscription>()
        .delete(&object.name_any(), &DeleteParams::default())
        .await
        .unwrap();
    gone::<CalendarSubscription>(&connected, &object.name_any()).await;
    assert!(connected.graph.subscriptions_of(USER).await.is_empty(), "Graph's side goes first");
    let record = connected.site.api::<ConsentRecord>().get("consent-1").await.unwrap();
    let withdrawn = record.spec.withdrawn.unwrap();
    assert_eq!(
        withdrawn.by,
        format!("system:serviceaccount:{}:roomkeeper-operator", connected.site.namespace)
    );
    let audit = operator.audit_text();
    assert!(audit.contains("consentWithdrawn") && audit.contains("consent-1"), "{audit}");
}

#[tokio::test]
async fn a_bulk_deletion_ends_the_subscriptions_and_withdraws_no_consent() {
    let connected = Connected::new(12).await;
    let operator = connected.operator("a").await;
    let (site, uid) = (&connected.site, connected.scope().await);
    for number in 1..=12 {
        site.apply(&consent(&format!("consent-{number}"), &uid, number)).await;
    }
    for number in 1..=12 {
        let name = name::calendar_subscription(&uid, &user(number));
        site.condition::<CalendarSubscription>(&name, Type::Ready, "True/Succeeded").await;
    }
    let api = site.api::<CalendarSubscription>();
    api.delete_collection(&DeleteParams::default(), &ListParams::default()).await.unwrap();
    until("all of them to be gone", async || {
        match api.list(&ListParams::default()).await.unwrap().items.len() {
            0 => Ok(()),
            left => Err(left.to_string()),
        }
    })
    .await;
    for number in 1..=12 {
        connected.living(&user(number), 0).await;
    }
    let consents = site.api::<ConsentRecord>().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(consents.iter().filter(|consent| consent.spec.withdrawn.is_none()).count(), 12);
    let events = site.api::<Event>().list(&ListParams::default()).await.unwrap().items;
    let told = |event: &&Event| event.reason.as_deref() == Some("BulkDeletion");
    let note = events.iter().find(told).and_then(|event| event.note.clone()).unwrap();
    assert!(note.starts_with("12 of 12 CalendarSubscriptions"), "{note}");
    assert!(operator.audit_text().contains("12 of 12 CalendarSubscriptions are deleted together"));
}

#[tokio::test]
async fn what_is_quiet_is_not_written() {
    let connected = Connected::new(1).await;
    let (operator, _, object) = subscribed(&connected).await;
    let name = object.name_any();
    let count = async |kind: &str| {
        let (_, text) = operator.get("/metrics").await?;
        let start = format!("roomkeeper_reconcile_total{{kind=\"{kind}\",result=\"success\"}} ");
        Ok::<u64, String>(text.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok()).unwrap_or(0))
    };
    let scope = connected.site.api::<AccessScope>();
    until("the scope counts its subscription", async || {
        let status = scope.get("contoso").await.unwrap().status.unwrap();
        if status.subscriptions.as_ref().is_some_and(|counts| counts.active == 1) {
            Ok(())
        } else {
            Err(format!("{status:?}"))
        }
    })
    .await;
    let versions = async || {
        let object = connected.site.api::<CalendarSubscription>().get(&name).await.unwrap();
        (object.resource_version(), scope.get("contoso").await.unwrap().resource_version())
    };
    let before = versions().await;
    let runs = count("CalendarSubscription").await.unwrap();
    for round in 0..50_u64 {
        let note = json!({"metadata": {"annotations": {"example.com/round": round.to_string()}}});
        merge::<ConsentRecord>(&connected, "consent-1", note).await;
        until("another run", async || match count("CalendarSubscription").await? {
            now if now > runs + round => Ok(()),
            now => Err(now.to_string()),
        })
        .await;
    }
    assert_eq!(versions().await, before);
}

#[tokio::test]
async fn leaving_the_group_unsubscribes_and_coming_back_subscribes() {
    let connected = Connected::new(2).await;
    let (_operator, _, object) = subscribed(&connected).await;
    let name = object.name_any();
    let ask = |at: &str| json!({"metadata": {"annotations": {"roomkeeper.dev/reconcile-requested-at": at}}});
    connected.graph.leave_group(USER).await;
    merge::<AccessScope>(&connected, "contoso", ask("1")).await;
    connected.site.condition::<CalendarSubscription>(&name, Type::Ready, "True/OutOfScope").await;
    connected.living(USER, 0).await;
    connected.graph.join_group(USER).await;
    merge::<AccessScope>(&connected, "contoso", ask("2")).await;
    connected.site.condition::<CalendarSubscription>(&name, Type::Ready, "True/Succeeded").await;
    connected.living(USER, 1).await;
    let scope = connected.site.api::<AccessScope>().get("contoso").await.unwrap();
    assert_eq!(scope.status.unwrap().last_handled_reconcile_at.as_deref(), Some("2"));
}

#[tokio::test]
async fn of_two_objects_for_one_user_the_older_serves() {
    let connected = Connected::new(1).await;
    let (_operator, _, object) = subscribed(&connected).await;
    // Creation times have whole seconds; the uid decides within one.
    until("another second", async || {
        let age = jiff::Timestamp::now().as_second() - object.creation_timestamp().unwrap().0.as_second();
        if age >= 1 { Ok(()) } else { Err(age.to_string()) }
    })
    .await;
    connected.site.apply(&subscription("younger", PRINCIPAL)).await;
    let younger =
        connected.site.condition::<CalendarSubscription>("younger", Type::Stalled, "True/Duplicate").await;
    let message =
        &condition::get(&younger.status.as_ref().unwrap().conditions, Type::Stalled).unwrap().message;
    assert!(message.contains(&object.name_any()), "{message}");
    assert_eq!(connected.graph.subscriptions_of(USER).await.len(), 1);
    let api = connected.site.api::<CalendarSubscription>();
    // Kept, so that the younger one has something to stand on.
    merge::<CalendarSubscription>(
        &connected,
        &object.name_any(),
        json!({"spec": {"onDelete": "KeepConsent"}}),
    )
    .await;
    api.delete(&object.name_any(), &DeleteParams::default()).await.unwrap();
    connected.site.condition::<CalendarSubscription>("younger", Type::Subscribed, "True/Created").await;
    connected.living(USER, 1).await;
}

#[tokio::test]
async fn what_vanished_at_graph_is_made_again_and_what_is_anothers_is_left_alone() {
    let connected = Connected::new(2).await;
    let (_operator, scope_uid, object) = subscribed(&connected).await;
    let id = connected.living(USER, 1).await[0]["id"].as_str().unwrap().to_owned();
    let (status, _) =
        connected.graph.as_operator(Method::DELETE, &format!("/subscriptions/{id}"), None).await;
    assert_eq!(status, 204);
    let ask = json!({"metadata": {"annotations": {"roomkeeper.dev/reconcile-requested-at": "1"}}});
    merge::<CalendarSubscription>(&connected, &object.name_any(), ask).await;
    let again = connected.living(USER, 1).await;
    assert_ne!(again[0]["id"].as_str().unwrap(), id);

    let second = crate::world::user(2);
    let expires = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24)).to_string();
    let foreign = json!({
        "changeType": "created,updated,deleted", "resource": format!("users/{second}/events"),
        "notificationUrl": format!("{}/elsewhere", connected.endpoint.url),
        "expirationDateTime": expires, "clientState": "another installation",
    });
    let (status, body) = connected.graph.as_operator(Method::POST, "/subscriptions", Some(foreign)).await;
    assert_eq!(status, 201, "{body}");
    connected.site.apply(&consent("consent-2", &scope_uid, 2)).await;
    let name = name::calendar_subscription(&scope_uid, &second);
    connected.site.condition::<CalendarSubscription>(&name, Type::Stalled, "True/ForeignSubscription").await;
    assert_eq!(connected.living(&second, 1).await[0]["id"], body["id"]);
}

/// Says as the worker what is in `delivery`.
pub async fn report(connected: &Connected, name: &str, delivery: Value) {
    let status = json!({
        "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "CalendarSubscription", "metadata": {"name": name},
        "status": {"delivery": delivery},
    });
    let api = connected.site.api::<CalendarSubscription>();
    api.patch_status(name, &PatchParams::apply("roomkeeper-worker"), &Patch::Apply(&status)).await.unwrap();
}

/// Says as the worker that Graph sent a lifecycle notification about that subscription.
async fn report_lifecycle(connected: &Connected, name: &str, event: &str, id: &str) {
    let notice = json!({"receivedAt": jiff::Timestamp::now().to_string(), "subscriptionId": id});
    let lifecycle = json!({event: notice});
    report(connected, name, json!({"state": "Receiving", "lifecycle": lifecycle})).await;
}

#[tokio::test]
async fn what_the_worker_reports_is_acted_on_and_stays_the_workers() {
    let connected = Connected::new(1).await;
    let (_operator, _, object) = subscribed(&connected).await;
    let name = object.name_any();
    let first = connected.living(USER, 1).await[0]["id"].as_str().unwrap().to_owned();
    let (status, _) =
        connected.graph.as_operator(Method::DELETE, &format!("/subscriptions/{first}"), None).await;
    assert_eq!(status, 204);
    report_lifecycle(&connected, &name, "subscriptionRemoved", &first).await;
    let again = connected.living(USER, 1).await;
    assert_ne!(again[0]["id"].as_str().unwrap(), first);
    let object =
        connected.site.condition::<CalendarSubscription>(&name, Type::Subscribed, "True/Created").await;
    let delivery = object.status.unwrap().delivery.unwrap();
    assert_eq!(
        delivery.lifecycle.unwrap().subscription_removed.unwrap().subscription_id,
        first,
        "the operator leaves the worker's part alone"
    );
}

#[tokio::test]
async fn what_a_crash_left_behind_is_taken_over_or_ended() {
    let connected = Connected::new(2).await;
    // What an operator that died left behind: one for an object of today without a trace in its status, one for nobody.
    let (operator, scope_uid, object) = subscribed(&connected).await;
    let living = connected.living(USER, 1).await;
    operator.process.kill().unwrap();
    let status = json!({"status": {"subscription": null}});
    let api = connected.site.api::<CalendarSubscription>();
    api.patch_status(&object.name_any(), &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    let url = living[0]["notificationUrl"].as_str().unwrap();
    let nobody = url.replace(&object.uid().unwrap(), "00000000-0000-4000-8000-00000000dead");
    let second = crate::world::user(2);
    let expires = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24)).to_string();
    let dead = json!({
        "changeType": "created,updated,deleted", "resource": format!("users/{second}/events"),
        "notificationUrl": nobody, "expirationDateTime": expires, "clientState": "lost",
    });
    let (code, body) = connected.graph.as_operator(Method::POST, "/subscriptions", Some(dead)).await;
    assert_eq!(code, 201, "{body}");

    let _operator = connected.operator("b").await;
    let adopted = until("the subscription is known again", async || {
        let status = api.get(&object.name_any()).await.unwrap().status.unwrap_or_default();
        status.subscription.ok_or_else(|| format!("{:?}", status.conditions))
    })
    .await;
    assert_eq!(living[0]["id"].as_str(), Some(adopted.id.as_str()));
    connected
        .site
        .condition::<CalendarSubscription>(&object.name_any(), Type::Subscribed, "True/Adopted")
        .await;
    connected.living(&second, 0).await;
    assert_eq!(connected.living(USER, 1).await[0]["id"], living[0]["id"]);
    drop(scope_uid);
}

#[tokio::test]
async fn a_scope_ends_its_subscriptions_before_it_goes_and_the_consents_stand() {
    let connected = Connected::new(1).await;
    let (_operator, _, object) = subscribed(&connected).await;
    connected.site.api::<AccessScope>().delete("contoso", &DeleteParams::default()).await.unwrap();
    gone::<AccessScope>(&connected, "contoso").await;
    assert!(connected.graph.subscriptions_of(USER).await.is_empty());
    let record = connected.site.api::<ConsentRecord>().get("consent-1").await.unwrap();
    assert_eq!(record.spec.withdrawn, None);
    connected
        .site
        .condition::<CalendarSubscription>(&object.name_any(), Type::Ready, "False/ReferenceNotFound")
        .await;
    connected
        .site
        .api::<CalendarSubscription>()
        .delete(&object.name_any(), &DeleteParams::default())
        .await
        .unwrap();
    gone::<CalendarSubscription>(&connected, &object.name_any()).await;
    let record = connected.site.api::<ConsentRecord>().get("consent-1").await.unwrap();
    assert_eq!(record.spec.withdrawn, None, "an object whose scope went withdraws nothing");
}

#[tokio::test]
async fn a_suspended_scope_ends_its_subscriptions_and_keeps_the_rest() {
    let connected = Connected::new(1).await;
    let (_operator, _, object) = subscribed(&connected).await;
    merge::<AccessScope>(&connected, "contoso", json!({"spec": {"suspend": true}})).await;
    connected.site.condition::<CalendarSubscription>(&object.name_any(), Type::Ready, "True/Suspended").await;
    connected.living(USER, 0).await;
    merge::<AccessScope>(&connected, "contoso", json!({"spec": {"suspend": false}})).await;
    connected.site.condition::<CalendarSubscription>(&object.name_any(), Type::Ready, "True/Succeeded").await;
    connected.living(USER, 1).await;
}

#[tokio::test]
async fn a_deletion_that_cannot_reach_graph_waits_until_it_is_forced() {
    let connected = Connected::new(1).await;
    let (operator, _, object) = subscribed(&connected).await;
    connected.graph.faults(&json!({"latencyMs": 0})).await;
    // Another operator has no token from before, and without the Secret gets none.
    operator.process.kill().unwrap();
    connected.site.api::<Secret>().delete("graph", &DeleteParams::default()).await.unwrap();
    let operator = connected.operator("b").await;
    operator.metric("roomkeeper_leader 1").await;
    connected.site.condition::<AccessScope>("contoso", Type::Stalled, "True/SecretNotFound").await;
    let name = object.name_any();
    let api = connected.site.api::<CalendarSubscription>();
    api.delete(&name, &DeleteParams::default()).await.unwrap();
    until("the operator says why it waits", async || {
        let log = operator.process.log_tail(200);
        if log.contains("could not be ended yet") { Ok(()) } else { Err(log) }
    })
    .await;
    assert!(api.get_opt(&name).await.unwrap().is_some());
    merge::<CalendarSubscription>(
        &connected,
        &name,
        json!({"metadata": {"annotations": {"roomkeeper.dev/force-delete": "true"}}}),
    )
    .await;
    gone::<CalendarSubscription>(&connected, &name).await;
    let events = connected.site.api::<Event>();
    until("the Warning", async || {
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let said: Vec<_> = events.iter().map(|event| (event.type_.clone(), event.reason.clone())).collect();
        if said.contains(&(Some("Warning".to_owned()), Some("ForceDeleted".to_owned()))) {
            Ok(())
        } else {
            Err(format!("{said:?}"))
        }
    })
    .await;
    assert!(operator.audit_text().contains("deleted by force"));
}

#[tokio::test]
async fn each_thing_wrong_with_a_scope_has_its_reason() {
    let connected = Connected::new(1).await;
    let _operator = connected.operator("a").await;
    let good = scope("contoso", &connected.graph.origin);
    let site = &connected.site;
    let wrong = good.replace(crate::world::CLIENT_SECRET, "wrong");
    assert_ne!(wrong, good);
    site.apply(&wrong).await;
    site.condition::<AccessScope>("contoso", Type::CredentialsValid, "False/AuthFailed").await;
    site.apply(&good.replace("secretName: graph", "secretName: booking")).await;
    site.condition::<AccessScope>("contoso", Type::CredentialsValid, "False/SecretNotFound").await;
    site.apply(&good.replace("secretName: graph", "secretName: other")).await;
    site.condition::<AccessScope>("contoso", Type::CredentialsValid, "False/SecretForbidden").await;
    let elsewhere = good.replace(&connected.graph.origin, "https://elsewhere.example");
    site.apply(&elsewhere).await;
    site.condition::<AccessScope>("contoso", Type::CredentialsValid, "False/HostNotAllowed").await;
    site.apply(&good.replace(crate::world::GROUP, PLAIN_GROUP)).await;
    site.condition::<AccessScope>("contoso", Type::MembersResolved, "False/GroupNotEligible").await;
    site.apply(&good.replace(crate::world::GROUP, "00000000-0000-4000-8000-0000000000ff")).await;
    site.condition::<AccessScope>("contoso", Type::MembersResolved, "False/GroupNotFound").await;
    site.apply(&good).await;
    let ready = site.condition::<AccessScope>("contoso", Type::Ready, "True/Succeeded").await;
    assert_eq!(ready.status.unwrap().members.unwrap().count, 1);
    until("another second", async || {
        let age = jiff::Timestamp::now().as_second()
            - ready.metadata.creation_timestamp.as_ref().unwrap().0.as_second();
        if age >= 1 { Ok(()) } else { Err(age.to_string()) }
    })
    .await;
    site.apply(&scope("younger", &connected.graph.origin)).await;
    site.condition::<AccessScope>("younger", Type::Stalled, "True/DuplicateApplication").await;
}
