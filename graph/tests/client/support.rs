//! A server over TLS that answers as a test tells it to, for what no well-behaved Graph does.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, Once},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::Response,
    serve::Listener,
};
use roomkeeper_graph::{
    ClientSettings, Credential, GraphClient,
    audit::AuditSink,
    cloud::Endpoints,
    http::{Http, HttpSettings},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use url::Url;

pub(crate) const TENANT: &str = "7f1d0cb7-93b9-405a-8dad-c21703b7af18";
pub(crate) const CLIENT: &str = "9b0fbe07-0f3e-4f0f-8d6c-1c9f6f6c0a11";

pub(crate) fn install_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap());
}

/// What the server saw.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// An answer to give.
#[derive(Clone)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    hang: bool,
}

pub(crate) fn json(status: u16, body: impl Into<String>) -> Answer {
    Answer {
        status,
        headers: vec![("content-type", "application/json".into())],
        body: body.into().into_bytes(),
        hang: false,
    }
}

/// Never answers.
pub(crate) fn silence() -> Answer {
    Answer { hang: true, ..json(200, "") }
}

impl Answer {
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

pub(crate) struct Server {
    pub(crate) origin: Url,
    pub(crate) ca_pem: Vec<u8>,
    script: Arc<Script>,
}

#[derive(Default)]
struct Script {
    seen: Mutex<Vec<Seen>>,
    answers: Mutex<VecDeque<Answer>>,
    /// Answers of the token endpoint; beyond them tokens are granted.
    token_answers: Mutex<VecDeque<Answer>>,
    tokens: Mutex<u32>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        install_provider();
        let key = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = key.cert.der().clone();
        let private = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
        let tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], private)
            .unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Url::parse(&format!("https://{}", tcp.local_addr().unwrap())).unwrap();
        let script = Arc::new(Script::default());
        let app = Router::new().fallback(answer).with_state(script.clone());
        let listener = TlsListener { tcp, acceptor: TlsAcceptor::from(Arc::new(tls)) };
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { origin, ca_pem: key.cert.pem().into_bytes(), script }
    }

    /// Answers of Graph, in order.
    pub(crate) fn will_answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.script.answers.lock().unwrap().extend(answers);
    }

    /// Answers of the token endpoint, in order; afterwards tokens `token-1`, `token-2`, … are granted.
    pub(crate) fn will_answer_token(&self, answers: impl IntoIterator<Item = Answer>) {
        self.script.token_answers.lock().unwrap().extend(answers);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.script.seen.lock().unwrap().clone()
    }

    /// Requests to Graph only.
    pub(crate) fn graph_seen(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.uri.path().starts_with("/v1.0/")).collect()
    }

    pub(crate) fn http(&self) -> Http {
        Http::new(&HttpSettings { extra_ca_pem: Some(self.ca_pem.clone()), ..HttpSettings::default() })
            .unwrap()
    }

    pub(crate) fn client(&self, http: Http, audit: Arc<dyn AuditSink>) -> GraphClient {
        client(&self.origin, http, audit, "demo~./+&=")
    }
}

pub(crate) fn client(origin: &Url, http: Http, audit: Arc<dyn AuditSink>, secret: &str) -> GraphClient {
    let settings = ClientSettings {
        scope: "rooms/contoso".into(),
        endpoints: Endpoints::new(origin.clone(), origin.clone()).unwrap(),
        tenant_id: TENANT.into(),
        client_id: CLIENT.into(),
        credential: Credential::ClientSecret(secret.into()),
    };
    GraphClient::new(settings, http, audit).unwrap()
}

async fn answer(State(script): State<Arc<Script>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // The handshake of a notification endpoint: the token comes back decoded.
    let query = parts.uri.query().unwrap_or_default();
    let handshake = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "validationToken");
    if let Some((_, token)) = handshake {
        return Response::builder()
            .header("content-type", "text/plain")
            .body(Body::from(token.into_owned()))
            .unwrap();
    }
    let body = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
    let is_token = parts.uri.path().ends_with("/oauth2/v2.0/token");
    script.seen.lock().unwrap().push(Seen {
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
        body,
    });
    let answer = if is_token {
        let scripted = script.token_answers.lock().unwrap().pop_front();
        scripted.unwrap_or_else(|| {
            let mut tokens = script.tokens.lock().unwrap();
            *tokens += 1;
            json(
                200,
                format!(r#"{{"token_type":"Bearer","expires_in":3599,"access_token":"token-{tokens}"}}"#),
            )
        })
    } else {
        let scripted = script.answers.lock().unwrap().pop_front();
        scripted.unwrap_or_else(|| json(500, r#"{"error":{"code":"TestAskedForTooMuch","message":""}}"#))
    };
    if answer.hang {
        std::future::pending::<()>().await;
    }
    let mut response = Response::builder().status(StatusCode::from_u16(answer.status).unwrap());
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(answer.body)).unwrap()
}

struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.tcp.accept().await.unwrap();
            // A client that does not trust the certificate ends here.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

/// Short enough for a test that waits for it.
pub(crate) const SHORT: Duration = Duration::from_secs(2);
