//! A notification endpoint over TLS that does as it is told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

/// How a validation request is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Validation {
    Echo,
    /// Without decoding it.
    EchoEncoded,
    Html,
    Status(StatusCode),
    /// Never.
    Hang,
}

#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) uri: String,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

#[derive(Debug)]
struct Behaviour {
    validation: Validation,
    /// Answers to the next notifications; none is a hang. 202 when it is empty.
    answers: VecDeque<Option<StatusCode>>,
    validations: Vec<Received>,
    notifications: Vec<Received>,
}

#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) origin: String,
    pub(crate) ca_pem: String,
    behaviour: Arc<Mutex<Behaviour>>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let identity = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![identity.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("https://{}", listener.local_addr().unwrap());
        let behaviour = Arc::new(Mutex::new(Behaviour {
            validation: Validation::Echo,
            answers: VecDeque::new(),
            validations: Vec::new(),
            notifications: Vec::new(),
        }));
        let router = Router::new().fallback(handle).with_state(Arc::clone(&behaviour));
        let tls = TlsAcceptor::from(Arc::new(config));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, service) = (tls.clone(), TowerToHyperService::new(router.clone()));
                tokio::spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    // A client may hang up at any time.
                    let _ended = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { origin, ca_pem: identity.cert.pem(), behaviour, task }
    }

    pub(crate) fn validation(&self, validation: Validation) {
        self.behaviour.lock().unwrap().validation = validation;
    }

    pub(crate) fn answers(&self, answers: &[Option<StatusCode>]) {
        self.behaviour.lock().unwrap().answers.extend(answers);
    }

    pub(crate) fn validations(&self) -> Vec<Received> {
        self.behaviour.lock().unwrap().validations.clone()
    }

    pub(crate) fn notifications(&self) -> Vec<Received> {
        self.behaviour.lock().unwrap().notifications.clone()
    }
}

async fn handle(
    State(behaviour): State<Arc<Mutex<Behaviour>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let query = uri.query().unwrap_or_default().to_owned();
    let received = Received {
        uri: uri.path_and_query().unwrap().to_string(),
        content_type: headers
            .get(header::CONTENT_TYPE)
            .map_or("", |value| value.to_str().unwrap())
            .to_owned(),
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let token = url::form_urlencoded::parse(query.as_bytes())
        .find_map(|(name, value)| (name == "validationToken").then(|| value.into_owned()));
    let Some(token) = token else {
        let answer = {
            let mut behaviour = behaviour.lock().unwrap();
            behaviour.notifications.push(received);
            behaviour.answers.pop_front().unwrap_or(Some(StatusCode::ACCEPTED))
        };
        return match answer {
            Some(status) => status.into_response(),
            None => hang().await,
        };
    };
    let validation = {
        let mut behaviour = behaviour.lock().unwrap();
        behaviour.validations.push(received);
        behaviour.validation
    };
    let encoded = query.rsplit_once("validationToken=").unwrap().1.to_owned();
    match validation {
        Validation::Echo => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], token).into_response(),
        Validation::EchoEncoded => ([(header::CONTENT_TYPE, "text/plain")], encoded).into_response(),
        Validation::Html => ([(header::CONTENT_TYPE, "text/html")], token).into_response(),
        Validation::Status(status) => (status, [(header::CONTENT_TYPE, "text/plain")], token).into_response(),
        Validation::Hang => hang().await,
    }
}

async fn hang() -> Response {
    tokio::time::sleep(Duration::from_mins(10)).await;
    StatusCode::OK.into_response()
}
