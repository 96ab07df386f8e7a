//! How the app proves itself: by certificate and by somebody else's assertion, against the simulator, which verifies both.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use roomkeeper_graph::{
    AssertionError, AssertionSource, Cause, CertificateCredential, ClientSettings, Credential, Decision,
    GraphClient, GraphError, Reason,
    audit::MemoryAudit,
    cloud::Endpoints,
    http::{Http, HttpSettings},
};
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use crate::support::{CLIENT, TENANT, install_provider};

const USER: &str = "2189c720-90d5-44ff-818b-fe585706ee90";
const ISSUER: &str = "https://cluster.example";
const SUBJECT: &str = "system:serviceaccount:contoso:roomkeeper-graph";
const AUDIENCE: &str = "api://AzureADTokenExchange";

struct Pair {
    key: KeyPair,
    certificate: String,
}

impl Pair {
    fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem();
        Self { key, certificate }
    }

    fn credential(&self) -> Credential {
        let key = SecretString::from(self.key.serialize_pem());
        let now = Timestamp::now();
        Credential::ClientCertificate(
            CertificateCredential::from_pem(self.certificate.as_bytes(), &key, now).unwrap(),
        )
    }

    fn signing_key(&self) -> EncodingKey {
        EncodingKey::from_rsa_pem(self.key.serialize_pem().as_bytes()).unwrap()
    }
}

/// A simulator whose app has this proof registered, and what a client of it needs.
async fn world(proof: Value) -> (graph_sim::Running, Http) {
    install_provider();
    let mut app = json!({"clientId": CLIENT, "roles": ["User.Read.All"]});
    app.as_object_mut().unwrap().extend(proof.as_object().unwrap().clone());
    let world = json!({"tenants": [{
        "id": TENANT, "domain": "contoso.example", "apps": [app],
        "users": [{"id": USER, "userPrincipalName": "user1@contoso.example", "displayName": "User One"}],
    }]});
    let options = graph_sim::Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        world: graph_sim::World::from_yaml(&world.to_string()).unwrap(),
        tls_dir: None,
        trust_pem: None,
        request_log: graph_sim::request_log_folder(),
    };
    let running = graph_sim::start(options).await.unwrap();
    let ca = running.ca_pem.clone().into_bytes();
    let http = Http::new(&HttpSettings { extra_ca_pem: Some(ca), ..HttpSettings::default() }).unwrap();
    (running, http)
}

fn client(running: &graph_sim::Running, http: &Http, credential: Credential) -> GraphClient {
    let origin = Url::parse(&running.origin).unwrap();
    let settings = ClientSettings {
        scope: "contoso/contoso".to_owned(),
        endpoints: Endpoints::new(origin.clone(), origin).unwrap(),
        tenant_id: TENANT.to_owned(),
        client_id: CLIENT.to_owned(),
        credential,
    };
    GraphClient::new(settings, http.clone(), Arc::new(MemoryAudit::new())).unwrap()
}

async fn look(client: &GraphClient) -> Result<(), GraphError> {
    client.user(&Cause::new("AccessScope/contoso/contoso"), USER).await.map(drop)
}

#[tokio::test]
async fn a_registered_certificate_is_taken_and_another_is_not() {
    let (registered, stranger) = (Pair::new(), Pair::new());
    let (running, http) = world(json!({"certificates": [registered.certificate]})).await;
    look(&client(&running, &http, registered.credential())).await.unwrap();
    let error = look(&client(&running, &http, stranger.credential())).await.unwrap_err();
    assert_eq!(error.decision(), Decision::UserMustAct(Reason::AuthFailed), "{error}");
    assert!(error.to_string().contains("AADSTS700027"), "{error}");
}

/// Signs as a cluster does, or fails.
struct Cluster {
    pair: Pair,
    fails: Option<AssertionError>,
    asked: AtomicUsize,
}

#[async_trait]
impl AssertionSource for Cluster {
    async fn assertion(&self) -> Result<SecretString, AssertionError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(error) = &self.fails {
            return Err(error.clone());
        }
        let now = Timestamp::now().as_second();
        let claims = json!({"aud": [AUDIENCE], "iss": ISSUER, "sub": SUBJECT, "nbf": now, "iat": now, "exp": now + 600});
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some("one".to_owned());
        Ok(jsonwebtoken::encode(&header, &claims, &self.pair.signing_key()).unwrap().into())
    }
}

fn cluster(fails: Option<AssertionError>) -> Arc<Cluster> {
    Arc::new(Cluster { pair: Pair::new(), fails, asked: AtomicUsize::new(0) })
}

fn federated(pair: &Pair) -> Value {
    let mut jwk =
        serde_json::to_value(Jwk::from_encoding_key(&pair.signing_key(), Algorithm::RS256).unwrap()).unwrap();
    jwk["kid"] = "one".into();
    json!({"federated": [{"issuer": ISSUER, "subject": SUBJECT, "audience": AUDIENCE, "jwks": {"keys": [jwk]}}]})
}

#[tokio::test]
async fn an_assertion_is_asked_for_once_per_token() {
    let source = cluster(None);
    let (running, http) = world(federated(&source.pair)).await;
    let client = client(&running, &http, Credential::Assertion(Arc::clone(&source) as _));
    assert_eq!(source.asked.load(Ordering::SeqCst), 0);
    for _ in 0..3 {
        look(&client).await.unwrap();
    }
    assert_eq!(source.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn without_an_assertion_no_token_is_asked_for() {
    for (error, decision) in [
        (AssertionError::Forbidden("no".to_owned()), Decision::UserMustAct(Reason::AuthFailed)),
        (AssertionError::NotFound("no".to_owned()), Decision::UserMustAct(Reason::AuthFailed)),
        (AssertionError::Unavailable("no".to_owned()), Decision::Retry),
    ] {
        let source = cluster(Some(error.clone()));
        let (running, http) = world(federated(&source.pair)).await;
        let failed = look(&client(&running, &http, Credential::Assertion(source))).await.unwrap_err();
        assert_eq!((failed.decision(), failed), (decision, GraphError::Assertion(error)));
        let ca = reqwest::Certificate::from_pem(running.ca_pem.as_bytes()).unwrap();
        let other =
            reqwest::Client::builder().tls_certs_merge([ca]).user_agent("stand-in/outlook").build().unwrap();
        let requests = format!("{}/_sim/requests", running.origin);
        let seen: Value = other.get(requests).send().await.unwrap().json().await.unwrap();
        assert_eq!(seen.as_array().unwrap().len(), 0, "{seen}");
    }
}
