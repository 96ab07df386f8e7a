//! The consent endpoint over HTTP semantics: who gets which answer, and what is in the register afterwards.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use prometheus::Registry;
use roomkeeper_crds::{AccessScope, ConsentRecord, name};
use roomkeeper_graph::audit::{AuditEntry, AuditError, MemoryAudit};
use roomkeeper_service::scope_access::AllowedHosts;
use roomkeeper_webhook_server::http::consent::{ConsentMetrics, ConsentState, router};
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
    authority: Authority,
    audit: Arc<MemoryAudit>,
    router: Router,
}

impl Office {
    async fn open() -> Self {
        let cluster = cluster().await;
        let namespace = cluster.plane.namespace("consent").await.unwrap();
        let authority = Authority::start().await;
        let endpoints = json!({"authority": authority.origin, "graph": authority.origin});
        let scope = world::scope(&cluster, &namespace, json!({"endpoints": endpoints})).await;
        let audit = Arc::new(MemoryAudit::new());
        let host = authority.origin.strip_prefix("https://").unwrap();
        let state = ConsentState::new(
            cluster.webhook.clone(),
            authority.http.clone(),
            Arc::clone(&audit) as Arc<_>,
            AllowedHosts::new([host]).unwrap(),
            ConsentMetrics::new(&Registry::new()).unwrap(),
        );
        Self { cluster, namespace, scope, authority, audit, router: router(state) }
    }

    async fn post(&self, scope: &str, token: Option<&str>, body: Value) -> (StatusCode, Value) {
        let mut request = Request::post(format!("/api/scopes/{}/{scope}/consent", self.namespace))
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Body::from(body.to_string())).unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let status = answer.status();
        assert_eq!(
            answer.headers().contains_key(header::WWW_AUTHENTICATE),
            status == StatusCode::UNAUTHORIZED,
            "{status}"
        );
        let bytes = to_bytes(answer.into_body(), 1 << 16).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
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
