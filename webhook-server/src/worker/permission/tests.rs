use serde_json::{Value, json};

use super::*;

const USER: &str = "2189c720-90d5-44ff-818b-fe585706ee90";
const TENANT: &str = "7f1d0cb7-93b9-405a-8dad-c21703b7af18";
const APP: &str = "9b0fbe07-0f3e-4f0f-8d6c-1c9f6f6c0a11";

struct World {
    subscription: Value,
    consent: Value,
    scope: Value,
    item: EventItem,
}

fn world() -> World {
    World {
        subscription: json!({
            "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "CalendarSubscription",
            "metadata": {"name": "user1", "namespace": "contoso", "uid": "sub-uid"},
            "spec": {"scopeRef": {"name": "contoso"}, "user": "user1@contoso.example"},
            "status": {"userId": USER, "consent": {"name": "consent-1", "grantedAt": "2026-11-01T00:00:00Z"}},
        }),
        consent: json!({
            "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "ConsentRecord",
            "metadata": {"name": "consent-1", "namespace": "contoso"},
            "spec": {
                "scope": {"name": "contoso", "uid": "scope-uid", "tenantId": TENANT, "clientId": APP},
                "user": {"id": USER, "principalName": "user1@contoso.example"},
                "granted": {"at": "2026-11-01T00:00:00Z", "method": "AddIn", "noticeVersion": "2026-01"},
            },
        }),
        scope: json!({
            "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "AccessScope",
            "metadata": {"name": "contoso", "namespace": "contoso", "uid": "scope-uid"},
            "spec": {
                "tenantId": TENANT, "clientId": APP,
                "credentials": {"clientSecret": {"secretName": "s"}},
                "policies": [{"mode": "RestrictAccess", "groupId": USER}],
                "addIn": {"manifestId": USER, "audience": "a"},
                "consent": {"noticeVersion": "2026-01"},
            },
        }),
        item: EventItem {
            tenant_id: TENANT.to_owned(),
            user_id: USER.to_owned(),
            event_id: "AAMk=".to_owned(),
            subscription_uid: "sub-uid".to_owned(),
            deleted: false,
            found: false,
            version: None,
            received_at: jiff::Timestamp::UNIX_EPOCH,
        },
    }
}

fn object<T: serde::de::DeserializeOwned>(value: &Value) -> Option<T> {
    if value.is_null() { None } else { Some(serde_json::from_value(value.clone()).unwrap()) }
}

type Case = (Denial, fn(&mut World));

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Allowed,
    Denied(Denial),
    Unsettled,
    Locked,
}

fn answer(change: impl FnOnce(&mut World)) -> Told {
    let mut world = world();
    change(&mut world);
    let subscription: Option<CalendarSubscription> = object(&world.subscription);
    let answer = match first_look(subscription.as_ref(), &world.item) {
        Ok(references) => second_look(
            &references,
            object(&world.consent).as_ref(),
            object(&world.scope),
            &world.item,
            Instant::now(),
        ),
        Err(answer) => answer,
    };
    match answer {
        Answer::Allowed(_) => Told::Allowed,
        Answer::Denied(denial) => Told::Denied(denial),
        Answer::Unsettled => Told::Unsettled,
        Answer::Locked => Told::Locked,
    }
}

#[tokio::test]
async fn a_standing_consent_for_exactly_this_scope_and_user_allows() {
    assert_eq!(answer(|_| ()), Told::Allowed);
    assert_eq!(answer(|w| w.item.user_id = USER.to_uppercase()), Told::Allowed);
}

#[tokio::test]
async fn anything_else_denies() {
    const SINCE: &str = "2026-11-02T00:00:00Z";
    let table: [Case; 19] = [
        (Denial::SubscriptionGone, |w| w.subscription = Value::Null),
        (Denial::SubscriptionGone, |w| w.subscription["metadata"]["uid"] = "other".into()),
        (Denial::SubscriptionGone, |w| w.subscription["metadata"]["deletionTimestamp"] = SINCE.into()),
        (Denial::SubscriptionSuspended, |w| w.subscription["spec"]["suspend"] = true.into()),
        (Denial::NotAllowed, |w| {
            w.subscription["status"]["conditions"] = json!([{
                "type": "Allowed", "status": "False", "reason": "OutOfScope", "message": "", "lastTransitionTime": SINCE,
            }]);
        }),
        (Denial::WrongUser, |w| w.item.user_id = "6ea91a8d-e32e-41a1-b7bd-d2d185eed0e0".to_owned()),
        (Denial::ConsentGone, |w| w.consent = Value::Null),
        (Denial::ConsentWithdrawn, |w| {
            w.consent["spec"]["withdrawn"] = json!({"at": SINCE, "by": "support", "reason": "T-1"});
        }),
        (Denial::ConsentWithdrawn, |w| w.consent["metadata"]["deletionTimestamp"] = SINCE.into()),
        (Denial::ConsentForeign, |w| w.consent["spec"]["scope"]["uid"] = "other".into()),
        (Denial::ConsentForeign, |w| w.scope["metadata"]["uid"] = "made again".into()),
        (Denial::ConsentForeign, |w| w.consent["spec"]["scope"]["tenantId"] = USER.into()),
        (Denial::ConsentForeign, |w| w.consent["spec"]["scope"]["clientId"] = USER.into()),
        (Denial::ConsentForeign, |w| w.consent["spec"]["user"]["id"] = APP.into()),
        (Denial::NoticeOutdated, |w| {
            w.scope["spec"]["consent"] = json!({"noticeVersion": "2026-02", "requireCurrentNotice": true});
        }),
        (Denial::ScopeGone, |w| w.scope = Value::Null),
        (Denial::ScopeGone, |w| w.scope["metadata"]["deletionTimestamp"] = SINCE.into()),
        (Denial::ScopeGone, |w| w.item.tenant_id = USER.to_owned()),
        (Denial::ScopeSuspended, |w| w.scope["spec"]["suspend"] = true.into()),
    ];
    for (number, (denial, change)) in table.into_iter().enumerate() {
        assert_eq!(answer(change), Told::Denied(denial), "case {number}");
    }
}

#[tokio::test]
async fn a_tenant_that_does_not_let_the_app_in_is_left_alone() {
    let with = |type_: &str, status: &str, reason: &str| {
        answer(|w| {
            w.scope["status"] = json!({"conditions": [{
                "type": type_, "status": status, "reason": reason, "message": "",
                "lastTransitionTime": "2026-11-02T00:00:00Z",
            }]});
        })
    };
    assert_eq!(with("CredentialsValid", "False", "AuthFailed"), Told::Locked);
    assert_eq!(with("MembersResolved", "False", "PermissionMissing"), Told::Locked);
    for (type_, status, reason) in [
        ("CredentialsValid", "True", "TokenAcquired"),
        ("CredentialsValid", "False", "Unreachable"),
        ("MembersResolved", "False", "ShrinkHeld"),
        ("MembersResolved", "True", "PermissionMissing"),
        ("Ready", "False", "PermissionMissing"),
    ] {
        assert_eq!(with(type_, status, reason), Told::Allowed, "{type_}={status}/{reason}");
    }
}

#[tokio::test]
async fn a_subscription_that_is_not_set_up_yet_is_looked_at_again() {
    assert_eq!(answer(|w| w.subscription["status"] = Value::Null), Told::Unsettled);
    assert_eq!(answer(|w| w.subscription["status"] = json!({"userId": USER})), Told::Unsettled);
}

#[tokio::test]
async fn an_older_notice_counts_unless_the_scope_says_otherwise() {
    assert_eq!(answer(|w| w.scope["spec"]["consent"] = json!({"noticeVersion": "2026-02"})), Told::Allowed);
}
