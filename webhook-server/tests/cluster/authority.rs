//! A tenant's authority over TLS: discovery document, keys, and tokens signed with them. At the same origin, the two calls of
//! Graph that the webhook server makes: a token for the app, and an event by its id.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
    signature::KeyPair as _,
};
use axum::{
    Json, Router,
    extract::{OriginalUri, Path},
    http::StatusCode,
    response::IntoResponse as _,
    routing::{get, post},
};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use roomkeeper_graph::http::{Http, HttpSettings};
use roomkeeper_service::https::{ServeLimits, serve, tls_config};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::world::{AUDIENCE, TENANT, USER};

/// Events of one user as Graph answers them, and every read of one.
#[derive(Default)]
pub struct Events {
    events: Mutex<HashMap<String, Value>>,
    reads: Mutex<Vec<String>>,
}

impl Events {
    pub fn put(&self, event: Value) {
        self.events.lock().unwrap().insert(event["id"].as_str().unwrap().to_owned(), event);
    }

    /// The queries of the reads so far.
    pub fn reads(&self) -> Vec<String> {
        self.reads.lock().unwrap().clone()
    }
}

pub struct Authority {
    pub origin: String,
    pub http: Http,
    requests: Arc<AtomicUsize>,
    key: String,
    /// CA of the origin, PEM.
    pub ca: String,
    pub calendar: Arc<Events>,
    _stop: DropGuard,
}

impl Authority {
    pub async fn start() -> Self {
        roomkeeper_service::tls::install_provider();
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let key = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            BASE64.encode(der.as_ref())
        );
        let public = pair.public_key();
        let modulus = BASE64URL_NOPAD.encode(public.modulus().big_endian_without_leading_zero());
        let exponent = BASE64URL_NOPAD.encode(public.exponent().big_endian_without_leading_zero());
        let keys = json!({"keys": [{"kty": "RSA", "use": "sig", "kid": "k1", "n": modulus, "e": exponent}]});

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("https://{}", listener.local_addr().unwrap());
        let discovery = json!({
            "issuer": format!("{origin}/{TENANT}/v2.0"), "jwks_uri": format!("{origin}/{TENANT}/discovery/v2.0/keys"),
        });
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = |answer: Value| {
            let requests = Arc::clone(&requests);
            get(move || async move {
                requests.fetch_add(1, Ordering::SeqCst);
                Json(answer)
            })
        };
        let router = Router::new()
            .route(&format!("/{TENANT}/v2.0/.well-known/openid-configuration"), counted(discovery))
            .route(&format!("/{TENANT}/discovery/v2.0/keys"), counted(keys));
        let calendar = Arc::new(Events::default());
        let router = router.merge(graph(&calendar));
        let certificate = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let pem = certificate.cert.pem();
        let tls = tls_config(pem.as_bytes(), certificate.signing_key.serialize_pem().as_bytes()).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, Arc::new(tls), router, ServeLimits::default(), stop.clone()));
        let settings = HttpSettings {
            extra_ca_pem: Some(pem.clone().into_bytes()),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
        };
        let http = Http::new(&settings).unwrap();
        Self { origin, http, requests, key, ca: pem, calendar, _stop: stop.drop_guard() }
    }

    /// Requests so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// A good token, after `change`.
    pub fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        let now = Timestamp::now().as_second();
        let mut claims = json!({
            "iss": format!("{}/{TENANT}/v2.0", self.origin), "aud": AUDIENCE, "tid": TENANT, "oid": USER,
            "scp": "access", "preferred_username": "User1@contoso.example",
            "iat": now, "nbf": now, "exp": now + 3600,
        });
        change(&mut claims);
        let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::RS256) };
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_rsa_pem(self.key.as_bytes()).unwrap())
            .unwrap()
    }
}

fn graph(calendar: &Arc<Events>) -> Router {
    let calendar = Arc::clone(calendar);
    let token =
        || async { Json(json!({"token_type": "Bearer", "expires_in": 3599, "access_token": "app-token"})) };
    let event = move |Path((user, id)): Path<(String, String)>, uri: OriginalUri| async move {
        assert_eq!(user, USER);
        let query = uri.query().unwrap().to_owned();
        let selected: Vec<&str> =
            query.split('&').find_map(|pair| pair.strip_prefix("$select=")).unwrap().split(',').collect();
        let answer = calendar.events.lock().unwrap().get(&id).map(|event| {
            let mut event = event.clone();
            let asked =
                |name: &String| selected.contains(&name.as_str()) || name == "singleValueExtendedProperties";
            event.as_object_mut().unwrap().retain(|name, _| asked(name));
            event
        });
        calendar.reads.lock().unwrap().push(query);
        if let Some(event) = answer {
            return Json(event).into_response();
        }
        let message = "The specified object was not found in the store.";
        let error = json!({"error": {"code": "ErrorItemNotFound", "message": message}});
        (StatusCode::NOT_FOUND, Json(error)).into_response()
    };
    Router::new()
        .route(&format!("/{TENANT}/oauth2/v2.0/token"), post(token))
        .route("/v1.0/users/{user}/calendar/events/{id}", get(event))
}
