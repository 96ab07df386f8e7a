//! The consent endpoint over HTTP semantics: who gets which answer, and what is in the register afterwards.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode, header},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use prometheus::Registry;
use roomkeeper_crds::{AccessScope, CalendarSubscription, ConsentRecord, name};
use roomkeeper_graph::audit::{AuditEntry, AuditError, MemoryAudit};
use roomkeeper_service::{https::Peer, scope_access::AllowedHosts};
use roomkeeper_webhook_server::http::{
    client_address::TrustedProxies,
    consent::{ConsentLimits, ConsentMetrics, ConsentState, router},
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{
    authority::Authority,
    cluster::{Cluster, cluster},
    world::{self, APP, TENANT, USER},
};

struct Office {
    cluster: Cluster,
    namespace: String,
    scope: AccessScope,
    authority: Arc<Authority>,
    audit: Arc<MemoryAudit>,
    router: Router,
}

fn endpoint(
    client: kube::Client,
    authority: &Authority,
    audit: &Arc<MemoryAudit>,
    per_address: u32,
) -> Router {
    let host = authority.origin.strip_prefix("https://").unwrap();
    let limits = ConsentLimits {
        per_address: NonZeroU32::new(per_address).unwrap(),
        proxies: TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]),
    };
    router(ConsentState::new(
        client,
        authority.http.clone(),
        Arc::clone(audit) as Arc<_>,
        AllowedHosts::new([host]).unwrap(),
        ConsentMetrics::new(&Registry::new()).unwrap(),
        limits,
    ))
}

impl Office {
    async fn open() -> Self {
        let cluster = cluster().await;
        let namespace = cluster.plane.namespace("consent").await.unwrap();
        let authority = Authority::start().await;
        let endpoints = json!({"authority": authority.origin, "graph": authority.origin});
        let scope = world::scope(&cluster, &namespace, json!({"endpoints": endpoints})).await;
        let audit = Arc::new(MemoryAudit::new());
        let router = endpoint(cluster.webhook.clone(), &authority, &audit, 1_000);
        Self { cluster, namespace, scope, authority: Arc::new(authority), audit, router }
    }

    async fn ask(
        &self,
        method: Method,
        scope: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/scopes/{}/{scope}/consent?language=de", self.namespace))
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let answer = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = answer.status();
        assert_eq!(
            answer.headers().contains_key(header::WWW_AUTHENTICATE),
            status == StatusCode::UNAUTHORIZED,
            "{status}"
        );
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
        let later = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&status);
        assert_eq!(answer.headers().contains_key(header::RETRY_AFTER), later, "{status}");
        let bytes = to_bytes(answer.into_body(), 1 << 16).await.unwrap();
        (status, if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() })
    }

    async fn post(&self, scope: &str, token: Option<&str>, body: Value) -> (StatusCode, Value) {
        self.ask(Method::POST, scope, token, Some(body)).await
    }

    async fn status(&self) -> (StatusCode, Value) {
        self.ask(Method::GET, "contoso", Some(&self.authority.token(|_| ())), None).await
    }

    async fn state(&self) -> Value {
        let (status, body) = self.status().await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body["state"].clone()
    }

    async fn delete(&self) -> (StatusCode, Value) {
        self.ask(Method::DELETE, "contoso", Some(&self.authority.token(|_| ())), None).await
    }

    /// Another pod of the same installation, with its API server at `client`.
    fn pod(&self, client: kube::Client) -> Self {
        let router = endpoint(client, &self.authority, &self.audit, 1_000);
        Self {
            cluster: self.cluster.clone(),
            namespace: self.namespace.clone(),
            scope: self.scope.clone(),
            authority: Arc::clone(&self.authority),
            audit: Arc::clone(&self.audit),
            router,
        }
    }

    async fn change_scope(&self, spec: Value) {
        let scopes: Api<AccessScope> = Api::namespaced(self.cluster.admin.clone(), &self.namespace);
        let patch = Patch::Merge(json!({"spec": spec}));
        scopes.patch("contoso", &PatchParams::default(), &patch).await.unwrap();
    }

    async fn tick(&self) -> (StatusCode, Value) {
        let token = self.authority.token(|_| ());
        self.post("contoso", Some(&token), json!({"noticeVersion": "2026-01", "addInVersion": "1.4.0"})).await
    }

    fn consents(&self) -> Api<ConsentRecord> {
        Api::namespaced(self.cluster.admin.clone(), &self.namespace)
    }

    async fn register(&self) -> Vec<ConsentRecord> {
        self.consents().list(&ListParams::default()).await.unwrap().items
    }

    fn grants(&self) -> Vec<String> {
        let grant = |entry| match entry {
            AuditEntry::ConsentGranted { consent, .. } => Some(consent),
            _ => None,
        };
        self.audit.entries().into_iter().filter_map(grant).collect()
    }

    fn withdrawals(&self) -> Vec<String> {
        let withdrawal = |entry| match entry {
            AuditEntry::ConsentWithdrawn { consent, .. } => Some(consent),
            _ => None,
        };
        self.audit.entries().into_iter().filter_map(withdrawal).collect()
    }
}

#[tokio::test]
async fn ticking_the_box_makes_one_record_however_often() {
    let office = Office::open().await;
    let (status, body) = office.tick().await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let record = &office.register().await[0];
    assert_eq!(body, json!({"consent": record.name_any(), "grantedAt": record.spec.granted.at}));
    let uid = office.scope.uid().unwrap();
    assert_eq!(record.name_any(), name::consent_record(&uid, USER, 0));
    assert_eq!(
        serde_json::to_value(&record.spec).unwrap(),
        json!({
            "scope": {"name": "contoso", "uid": uid, "tenantId": TENANT, "clientId": APP},
            "user": {"id": USER, "principalName": "user1@contoso.example"},
            "granted": {"at": record.spec.granted.at, "method": "AddIn", "noticeVersion": "2026-01", "addInVersion": "1.4.0"},
        })
    );
    let labels = record.labels();
    assert_eq!(
        (labels["roomkeeper.dev/scope"].as_str(), labels["roomkeeper.dev/user-id"].as_str()),
        ("contoso", USER)
    );
    assert_eq!(office.grants(), [record.name_any()]);

    assert_eq!(office.tick().await, (StatusCode::OK, body));
    assert_eq!(office.register().await.len(), 1);
    assert_eq!(office.grants().len(), 1);
    assert_eq!(office.authority.requests(), 2, "discovery and keys are read once");
}

#[tokio::test]
async fn two_clicks_at_once_make_one_record() {
    let office = Office::open().await;
    let answers = tokio::join!(office.tick(), office.tick(), office.tick());
    let mut statuses = [answers.0.0, answers.1.0, answers.2.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [StatusCode::OK, StatusCode::OK, StatusCode::CREATED]);
    assert_eq!(office.register().await.len(), 1);
}

#[tokio::test]
async fn consenting_again_after_a_withdrawal_makes_another_record() {
    let office = Office::open().await;
    for earlier in 0..3 {
        let (status, body) = office.tick().await;
        let expected = name::consent_record(&office.scope.uid().unwrap(), USER, earlier);
        assert_eq!((status, body["consent"].as_str()), (StatusCode::CREATED, Some(expected.as_str())));
        let withdrawn =
            json!({"spec": {"withdrawn": {"at": "2026-11-23T10:00:00Z", "by": "support", "reason": "T-1"}}});
        let params = PatchParams::default();
        let mut record =
            office.consents().patch(&expected, &params, &Patch::Merge(&withdrawn)).await.unwrap();
        // Labels are for people: somebody who removes one must not make a name collide.
        record.labels_mut().clear();
        let labels = json!({"metadata": {"labels": null}});
        office.consents().patch(&expected, &params, &Patch::Merge(&labels)).await.unwrap();
    }
    assert_eq!(office.register().await.len(), 3);
}

#[tokio::test]
async fn a_scope_made_again_revives_no_consent() {
    let office = Office::open().await;
    assert_eq!(office.tick().await.0, StatusCode::CREATED);
    let scopes: Api<AccessScope> = Api::namespaced(office.cluster.admin.clone(), &office.namespace);
    scopes.delete("contoso", &DeleteParams::default()).await.unwrap();
    let endpoints = json!({"authority": office.authority.origin, "graph": office.authority.origin});
    let again = world::scope(&office.cluster, &office.namespace, json!({"endpoints": endpoints})).await;
    let (status, body) = office.tick().await;
    let expected = name::consent_record(&again.uid().unwrap(), USER, 0);
    assert_eq!((status, body["consent"].as_str()), (StatusCode::CREATED, Some(expected.as_str())));
}

#[tokio::test]
async fn without_a_good_token_nothing_happens_and_nobody_is_asked() {
    let office = Office::open().await;
    let body = json!({"noticeVersion": "2026-01"});
    let token = |change: fn(&mut Value)| office.authority.token(change);
    let good = token(|_| ());
    for (scope, bad) in [
        ("contoso", None),
        ("contoso", Some("x".to_owned())),
        ("contoso", Some("x".repeat(9_000))),
        ("contoso", Some(token(|claims| claims["aud"] = "other".into()))),
        ("contoso", Some(token(|claims| claims["tid"] = USER.into()))),
        ("contoso", Some(token(|claims| claims["exp"] = 1.into()))),
        ("contoso", Some(token(|claims| claims["oid"] = Value::Null))),
        ("unknown", Some(good.clone())),
        ("no..name", Some(good.clone())),
    ] {
        let (status, answer) = office.post(scope, bad.as_deref(), body.clone()).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{bad:?}");
        assert_eq!(answer["error"]["code"], "Unauthorized", "every refusal reads the same");
    }
    assert_eq!(office.authority.requests(), 0, "the authority was not asked");
    for (status, bad) in [
        (StatusCode::UNAUTHORIZED, token(|claims| claims["iss"] = "https://evil.example/v2.0".into())),
        (StatusCode::UNAUTHORIZED, format!("{}AAAA", good.rsplit_once('.').unwrap().0.to_owned() + ".")),
        (StatusCode::FORBIDDEN, token(|claims| claims["scp"] = Value::Null)),
        (StatusCode::FORBIDDEN, token(|claims| claims["idtyp"] = "app".into())),
    ] {
        assert_eq!(office.post("contoso", Some(&bad), body.clone()).await.0, status, "{bad}");
    }
    assert!(office.register().await.is_empty());
    assert!(office.grants().is_empty());
}

#[tokio::test]
async fn the_notice_must_be_the_current_one() {
    let office = Office::open().await;
    let good = office.authority.token(|_| ());
    let (status, answer) = office.post("contoso", Some(&good), json!({"noticeVersion": "2025-12"})).await;
    assert_eq!((status, &answer["noticeVersion"]), (StatusCode::CONFLICT, &json!("2026-01")));
    let unknown = json!({"noticeVersion": "2026-01", "userId": USER});
    assert_eq!(office.post("contoso", Some(&good), unknown).await.0, StatusCode::BAD_REQUEST);
    assert!(office.register().await.is_empty());
}

#[tokio::test]
async fn without_an_audit_there_is_no_consent() {
    let office = Office::open().await;
    assert_eq!(office.tick().await.0, StatusCode::CREATED);
    let other =
        office.authority.token(|claims| claims["oid"] = "6ea91a8d-e32e-41a1-b7bd-d2d185eed0e0".into());
    let body = json!({"noticeVersion": "2026-01"});
    office.audit.refuse(Some(AuditError::Closed));
    assert_eq!(office.post("contoso", Some(&other), body.clone()).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(office.register().await.len(), 1);
    office.audit.refuse(None);
    assert_eq!(office.post("contoso", Some(&other), body).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn a_consent_to_a_new_notice_is_a_new_record_beside_the_old_one() {
    let office = Office::open().await;
    let (_, first) = office.tick().await;
    assert_eq!(office.state().await, "Pending");
    office.change_scope(json!({"consent": {"noticeVersion": "2027-01"}})).await;
    let (_, body) = office.status().await;
    assert_eq!((&body["state"], &body["notice"]["version"]), (&json!("NoticeOutdated"), &json!("2027-01")));
    assert_eq!(
        body["consent"],
        json!({"name": first["consent"], "grantedAt": first["grantedAt"], "noticeVersion": "2026-01"})
    );
    assert_eq!(office.tick().await.0, StatusCode::CONFLICT, "the page shows the new notice first");

    let other_pod = office.pod(office.cluster.webhook.clone());
    let newer = json!({"noticeVersion": "2027-01"});
    let token = office.authority.token(|_| ());
    let answers = tokio::join!(
        office.post("contoso", Some(&token), newer.clone()),
        other_pod.post("contoso", Some(&token), newer.clone()),
        other_pod.post("contoso", Some(&token), newer.clone()),
    );
    let mut statuses = [answers.0.0, answers.1.0, answers.2.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [StatusCode::OK, StatusCode::OK, StatusCode::CREATED]);
    let second = name::consent_record(&office.scope.uid().unwrap(), USER, 1);
    assert_eq!(answers.0.1["consent"], second.as_str());
    let records = office.register().await;
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(|record| record.spec.withdrawn.is_none()), "what was granted stays as it was");
    let (_, body) = office.status().await;
    assert_eq!((&body["state"], &body["consent"]["name"]), (&json!("Pending"), &json!(second)));

    // The notice is taken back: the consent to it is still there.
    office.change_scope(json!({"consent": {"noticeVersion": "2026-01"}})).await;
    assert_eq!(office.tick().await, (StatusCode::OK, first));
}

#[tokio::test]
async fn where_records_were_deleted_a_consent_can_be_given_all_the_same() {
    let office = Office::open().await;
    let uid = office.scope.uid().unwrap();
    office.tick().await;
    office.change_scope(json!({"consent": {"noticeVersion": "2027-01"}})).await;
    let token = office.authority.token(|_| ());
    office.post("contoso", Some(&token), json!({"noticeVersion": "2027-01"})).await;
    let gone = name::consent_record(&uid, USER, 0);
    office.consents().delete(&gone, &DeleteParams::default()).await.unwrap();
    office.change_scope(json!({"consent": {"noticeVersion": "2028-01"}})).await;
    let (status, body) = office.post("contoso", Some(&token), json!({"noticeVersion": "2028-01"})).await;
    let expected = name::consent_record(&uid, USER, 2);
    assert_eq!((status, body["consent"].as_str()), (StatusCode::CREATED, Some(expected.as_str())));
}

#[tokio::test]
async fn the_status_follows_register_scope_and_subscription() {
    let office = Office::open().await;
    let notices = json!([{"language": "en", "text": "Ours."}, {"language": "de", "text": "Unsere."}]);
    office.change_scope(json!({"consent": {"notices": notices}})).await;
    let (status, body) = office.status().await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        body,
        json!({
            "state": "Asked", "notice": {"version": "2026-01", "text": "Unsere."}, "selfServiceWithdrawal": false,
            "handling": {
                "keptAfterEndSeconds": 0, "onUnsubscribe": "Purge", "purgedBookings": "Keep",
                "privateSubject": "Mask", "writeBack": "None", "passedOn": false,
            },
        })
    );
    let (_, granted) = office.tick().await;
    let (_, body) = office.status().await;
    assert_eq!(body["state"], "Pending");
    assert_eq!(
        body["consent"],
        json!({"name": granted["consent"], "grantedAt": granted["grantedAt"], "noticeVersion": "2026-01"})
    );

    let subscriptions: Api<CalendarSubscription> =
        Api::namespaced(office.cluster.admin.clone(), &office.namespace);
    // Under the principal name in the token; one of another scope is none of it.
    for (object, scope, user) in
        [("a", "other", USER), ("user1", "contoso", "user1@contoso.example"), ("z", "contoso", USER)]
    {
        let spec = json!({"scopeRef": {"name": scope}, "user": user});
        let subscription = CalendarSubscription::new(object, serde_json::from_value(spec).unwrap());
        subscriptions.create(&PostParams::default(), &subscription).await.unwrap();
        if object == "user1" {
            // Which one is older shows in whole seconds.
            tokio::time::sleep(Duration::from_millis(1_100)).await;
        }
    }
    let say = async |conditions: &[(&str, &str, &str)]| {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(type_, status, reason)| {
                json!({"type": type_, "status": status, "reason": reason, "message": "m", "lastTransitionTime": "2026-11-23T10:00:00Z"})
            })
            .collect();
        let status = json!({
            "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "CalendarSubscription",
            "status": {
                "userId": USER, "consent": {"name": granted["consent"], "grantedAt": granted["grantedAt"]},
                "conditions": conditions,
            },
        });
        let params = PatchParams::apply("roomkeeper-operator").force();
        subscriptions.patch_status("user1", &params, &Patch::Apply(&status)).await.unwrap();
        office.status().await.1
    };
    assert_eq!(say(&[]).await["state"], "Pending");
    assert_eq!(say(&[("Subscribed", "True", "Created")]).await["state"], "Subscribed");
    assert_eq!(say(&[("Allowed", "False", "OutOfScope")]).await["state"], "OutOfScope");
    let body = say(&[("Subscribed", "False", "MailboxUnavailable")]).await;
    assert_eq!((&body["state"], &body["reason"]), (&json!("Trouble"), &json!("MailboxUnavailable")));
    office.change_scope(json!({"suspend": true})).await;
    assert_eq!(office.state().await, "Paused");
    office.change_scope(json!({"suspend": false})).await;

    let withdrawn =
        json!({"spec": {"withdrawn": {"at": "2026-11-23T10:00:00Z", "by": "support", "reason": "T-1"}}});
    let name = granted["consent"].as_str().unwrap();
    office.consents().patch(name, &PatchParams::default(), &Patch::Merge(&withdrawn)).await.unwrap();
    let (_, body) = office.status().await;
    assert_eq!((&body["state"], &body["withdrawnAt"]), (&json!("Withdrawn"), &json!("2026-11-23T10:00:00Z")));
    assert!(body.get("consent").is_none(), "{body}");
}

#[tokio::test]
async fn users_withdraw_where_the_scope_lets_them() {
    let office = Office::open().await;
    office.tick().await;
    let (status, body) = office.delete().await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::FORBIDDEN, &json!("NotAllowed")));
    assert_eq!(office.state().await, "Pending");

    office
        .change_scope(json!({"consent": {"selfServiceWithdrawal": true, "noticeVersion": "2027-01"}}))
        .await;
    let token = office.authority.token(|_| ());
    office.post("contoso", Some(&token), json!({"noticeVersion": "2027-01"})).await;
    let (_, body) = office.status().await;
    assert_eq!(body["selfServiceWithdrawal"], true);
    assert_eq!(office.delete().await, (StatusCode::NO_CONTENT, Value::Null));
    let records = office.register().await;
    assert_eq!(records.len(), 2);
    for record in &records {
        let withdrawn = record.spec.withdrawn.as_ref().unwrap();
        assert_eq!(withdrawn.by, "system:serviceaccount:roomkeeper-system:roomkeeper-webhook");
        assert_eq!(withdrawn.reason, "withdrawn by the user in the add-in");
    }
    let mut names: Vec<_> = records.iter().map(kube::ResourceExt::name_any).collect();
    let mut withdrawals = office.withdrawals();
    names.sort_unstable();
    withdrawals.sort_unstable();
    assert_eq!(withdrawals, names);
    assert_eq!(office.state().await, "Withdrawn");
    assert_eq!(office.delete().await.0, StatusCode::NO_CONTENT, "nothing stands");
    assert_eq!(office.withdrawals().len(), 2);

    // And ticks the box again.
    let (status, _) = office.post("contoso", Some(&token), json!({"noticeVersion": "2027-01"})).await;
    assert_eq!((status, office.register().await.len()), (StatusCode::CREATED, 3));
    assert_eq!(office.state().await, "Pending");
    office.audit.refuse(Some(AuditError::Closed));
    assert_eq!(office.delete().await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(office.state().await, "Pending", "nothing is withdrawn that the audit does not know of");
}

#[tokio::test]
async fn without_the_api_server_the_page_is_told_to_come_again() {
    let office = Office::open().await;
    let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
    let cut_off = office.pod(kube::Client::try_from(nowhere).unwrap());
    assert_eq!(cut_off.status().await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(cut_off.tick().await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(cut_off.delete().await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(office.register().await.is_empty() && office.grants().is_empty());
}

#[tokio::test]
async fn users_and_addresses_have_a_rate() {
    let office = Office::open().await;
    for _ in 0..30 {
        assert_eq!(office.status().await.0, StatusCode::OK);
    }
    let mut statuses = Vec::new();
    for _ in 0..30 {
        statuses.push(office.status().await.0);
    }
    assert!(statuses.contains(&StatusCode::TOO_MANY_REQUESTS), "{statuses:?}");
    assert_eq!(office.tick().await.0, StatusCode::CREATED, "looking often does not keep from consenting");

    let router = endpoint(office.cluster.webhook.clone(), &office.authority, &office.audit, 8);
    let knock = async |peer: [u8; 4], forwarded: &'static str| {
        let request = Request::get(format!("/api/scopes/{}/contoso/consent", office.namespace))
            .extension(Peer(peer.into()))
            .header("x-forwarded-for", forwarded);
        router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status()
    };
    for _ in 0..4 {
        assert_eq!(knock([10, 0, 0, 1], "203.0.113.1").await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(knock([10, 0, 0, 1], "203.0.113.1").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(knock([10, 0, 0, 1], "203.0.113.2").await, StatusCode::UNAUTHORIZED);
    for _ in 0..4 {
        assert_eq!(knock([192, 0, 2, 1], "203.0.113.3").await, StatusCode::UNAUTHORIZED);
    }
    let other = knock([192, 0, 2, 1], "203.0.113.4").await;
    assert_eq!(other, StatusCode::TOO_MANY_REQUESTS, "a stranger's header is not believed");
}
