//! Each way to prove the application's identity, read from the cluster and verified by the simulator.

use jiff::Timestamp;
use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::api::{ListParams, Patch, PatchParams};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use roomkeeper_crds::{AccessScope, CalendarSubscription, condition, condition::Type, name};
use serde_json::{Value, json};

use crate::{
    graph::Connected,
    site::{Site, until},
    world::{self, USER, consent},
};

const BY_SECRET: &str = "clientSecret: {secretName: graph}";

/// Applies the scope with other credentials, and no Secret.
async fn scope(connected: &Connected, credentials: &str) {
    let all = world::scope("contoso", &connected.graph.origin);
    let (_, scope) = all.split_once("---\n").unwrap();
    assert!(scope.contains(BY_SECRET));
    connected.site.apply(&scope.replace(BY_SECRET, credentials)).await;
}

/// The scope, once its credential is said to be so. The message comes with it.
async fn said(connected: &Connected, expected: &str) -> (AccessScope, String) {
    let scope = connected.site.condition::<AccessScope>("contoso", Type::CredentialsValid, expected).await;
    let conditions = &scope.status.as_ref().unwrap().conditions;
    let message = condition::get(conditions, Type::CredentialsValid).unwrap().message.clone();
    (scope, message)
}

async fn secret(site: &Site, data: &Value) {
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "graph"}, "stringData": data});
    let params = PatchParams::apply("test").force();
    site.api::<Secret>().patch("graph", &params, &Patch::Apply(&secret)).await.unwrap();
}

/// A consent, and the subscription that follows.
async fn subscribes(connected: &Connected, scope: &AccessScope) {
    let uid = scope.metadata.uid.as_deref().unwrap();
    connected.site.apply(&consent("consent-1", uid, 1)).await;
    let name = name::calendar_subscription(uid, USER);
    connected.site.condition::<CalendarSubscription>(&name, Type::Ready, "True/Succeeded").await;
    connected.living(USER, 1).await;
}

struct Pair {
    key: KeyPair,
    certificate: String,
    ends: Timestamp,
}

impl Pair {
    fn for_days(days: i64) -> Self {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let ends = Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
        let ends = Timestamp::from_second(ends.as_second()).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_after = std::time::SystemTime::from(ends).into();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { key, certificate, ends }
    }

    fn data(&self) -> Value {
        json!({"tls.crt": self.certificate, "tls.key": self.key.serialize_pem()})
    }
}

#[tokio::test]
async fn a_certificate_is_used_warned_of_and_rotated() {
    let (first, second, stranger) = (Pair::for_days(10), Pair::for_days(300), Pair::for_days(300));
    let mut tenant = world::tenant(1);
    let app = &mut tenant["tenants"][0]["apps"][0];
    app.as_object_mut().unwrap().remove("secret");
    app["certificates"] = json!([first.certificate, second.certificate]);
    let connected = Connected::to(&tenant).await;
    let site = &connected.site;
    let operator = connected.operator("a").await;
    scope(&connected, "clientCertificate: {secretName: graph}").await;
    said(&connected, "False/SecretNotFound").await;

    // Nobody asks for another try: the Secret itself is noticed.
    secret(site, &first.data()).await;
    let (object, _) = said(&connected, "True/TokenAcquired").await;
    assert_eq!(object.status.as_ref().unwrap().credential_expires_at.as_ref().unwrap().0, first.ends);
    subscribes(&connected, &object).await;
    let events = site.api::<Event>();
    until("the Warning", async || {
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let note = events.iter().find(|event| event.reason.as_deref() == Some("CredentialExpiring"));
        match note.and_then(|event| event.note.as_deref()) {
            Some(note) if note.contains(&first.ends.to_string()) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    secret(site, &json!({"tls.crt": second.certificate, "tls.key": first.key.serialize_pem()})).await;
    let (_, message) = said(&connected, "False/CertificateInvalid").await;
    assert!(message.contains("not the one of the certificate"), "{message}");
    secret(site, &second.data()).await;
    let (object, _) = said(&connected, "True/TokenAcquired").await;
    assert_eq!(object.status.unwrap().credential_expires_at.unwrap().0, second.ends);
    secret(site, &stranger.data()).await;
    let (_, message) = said(&connected, "False/AuthFailed").await;
    assert!(message.contains("AADSTS700027"), "{message}");
    let log = operator.process.log_tail(10_000);
    assert!(!log.contains("PRIVATE KEY") && !log.contains("BEGIN CERTIFICATE"), "{log}");
}

#[tokio::test]
async fn a_service_accounts_token_is_exchanged() {
    let site = Site::new().await;
    let get = |path: &str| http::Request::get(path).body(Vec::new()).unwrap();
    let issuer: Value = site.client.request(get("/.well-known/openid-configuration")).await.unwrap();
    let keys: Value = site.client.request(get("/openid/v1/jwks")).await.unwrap();
    let mut tenant = world::tenant(1);
    let app = &mut tenant["tenants"][0]["apps"][0];
    app.as_object_mut().unwrap().remove("secret");
    app["federated"] = json!([{
        "issuer": issuer["issuer"], "subject": format!("system:serviceaccount:{}:graph", site.namespace),
        "audience": "api://AzureADTokenExchange", "jwks": keys,
    }]);
    let connected = Connected::at(site, &tenant).await;
    let _operator = connected.operator("a").await;
    scope(&connected, "workloadIdentity: {serviceAccountName: nobody}").await;
    let (_, message) = said(&connected, "False/ServiceAccountNotFound").await;
    assert!(message.contains("ServiceAccount nobody does not exist"), "{message}");
    let account = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: NAME, namespace: NAMESPACE}}";
    for name in ["graph", "elsewhere"] {
        connected.site.apply(&account.replace("NAME,", &format!("{name},"))).await;
    }
    scope(&connected, "workloadIdentity: {serviceAccountName: elsewhere}").await;
    let (_, message) = said(&connected, "False/ServiceAccountForbidden").await;
    assert!(message.contains("add elsewhere to resourceNames"), "{message}");
    scope(&connected, "workloadIdentity: {serviceAccountName: graph}").await;
    let (object, _) = said(&connected, "True/TokenAcquired").await;
    assert_eq!(object.status.as_ref().unwrap().credential_expires_at, None);
    subscribes(&connected, &object).await;
}

#[tokio::test]
async fn a_rotated_client_secret_is_used_at_once_and_a_wrong_one_is_explained() {
    let connected = Connected::new(1).await;
    let site = &connected.site;
    let _operator = connected.operator("a").await;
    secret(site, &json!({"clientSecret": "wrong"})).await;
    scope(&connected, BY_SECRET).await;
    let (_, message) = said(&connected, "False/AuthFailed").await;
    assert!(message.contains("AADSTS7000215"), "{message}");
    secret(site, &json!({"clientSecret": world::CLIENT_SECRET})).await;
    let (object, _) = said(&connected, "True/TokenAcquired").await;
    subscribes(&connected, &object).await;
    scope(&connected, "clientSecret: {secretName: elsewhere}").await;
    let (_, message) = said(&connected, "False/SecretForbidden").await;
    assert!(message.contains("add elsewhere to resourceNames"), "{message}");
}
