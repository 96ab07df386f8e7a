//! The listener, and what each path is served by.

use std::{fs, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use http_body_util::LengthLimitError;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Options, Running, StartError,
    app::App,
    control,
    directory::Directory,
    errors::GraphError,
    faults::{Target, broken},
    graph,
    journal::Arrival,
    login,
    login::SigningKey,
    notify,
    request::{BODY_LIMIT, Malformed, Request},
    request_log::RequestLog,
    tls,
};

/// For a body to arrive.
const BODY: Duration = Duration::from_secs(30);
/// For a client that opens a connection and says nothing.
const HANDSHAKE: Duration = Duration::from_secs(30);

pub(crate) async fn start(options: Options) -> Result<Running, StartError> {
    let (ca_pem, config) = tls::identity().map_err(|error| StartError::Keys(error.to_string()))?;
    let listen = |cause| StartError::Listen { address: options.listen, cause };
    let listener = TcpListener::bind(options.listen).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let origin = format!("https://{address}");
    let outbound = notify::client(options.trust_pem.as_deref()).map_err(StartError::Trust)?;
    // Only now: another simulator that runs at this address may have its certificate there.
    if let Some(dir) = &options.tls_dir {
        let path = dir.join("ca.crt");
        fs::create_dir_all(dir)
            .and_then(|()| fs::write(&path, &ca_pem))
            .map_err(|cause| StartError::TlsDir { path, cause })?;
    }
    let shutdown = CancellationToken::new();
    let request_log = match &options.request_log {
        Some(folder) => {
            let log = RequestLog::open(folder, shutdown.clone());
            Some(log.map_err(|cause| StartError::RequestLog { folder: folder.clone(), cause })?)
        }
        None => None,
    };
    let app = Arc::new(App {
        clock: crate::clock::Clock::new(options.world.settings.clock_offset),
        faults: crate::faults::Faults::default(),
        own_origins: own_origins(address.port(), &options.world.settings.origins),
        settings: options.world.settings.clone(),
        key: SigningKey::generate().map_err(StartError::Keys)?,
        directory: Directory::new(options.world).into(),
        calendars: std::sync::Mutex::default(),
        concurrency: crate::events::Concurrency::default(),
        delta: crate::events::DeltaTokens::default(),
        subscriptions: std::sync::Mutex::default(),
        notifier: notify::Notifier::default(),
        quota: crate::quota::Quota::default(),
        policies: crate::policies::AccessPolicies::default(),
        journal: crate::journal::Journal::new(request_log),
        outbound,
        tasks: TaskTracker::new(),
        shutdown: shutdown.clone(),
    });
    let router = Router::new().fallback(handle).with_state(app);
    let task = tokio::spawn(serve(listener, TlsAcceptor::from(config), router, shutdown.clone()));
    Ok(Running { origin, ca_pem, shutdown, task })
}

/// The loopback names with the own port, which the certificate is for, and the origins that the world file adds.
fn own_origins(port: u16, further: &[String]) -> Vec<String> {
    let own = ["127.0.0.1", "localhost", "[::1]"].map(|host| format!("https://{host}:{port}"));
    let further = further.iter().map(|origin| origin.strip_suffix('/').unwrap_or(origin).to_owned());
    own.into_iter().chain(further).collect()
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, router: Router, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "nodelay");
        }
        let (tls, service, shutdown) =
            (tls.clone(), TowerToHyperService::new(router.clone()), shutdown.clone());
        connections.spawn(async move {
            let connection = async {
                let stream = match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => return tracing::debug!(%error, "TLS"),
                    Err(_elapsed) => return tracing::debug!("no TLS handshake in time"),
                };
                let mut builder = auto::Builder::new(TokioExecutor::new());
                builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE);
                if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                    tracing::debug!(%error, "connection");
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = connection => {}
            }
        });
    }
    connections.close();
    connections.wait().await;
}

/// A client that hangs up does not undo what it asked for: the work goes on in a task of its own.
async fn handle(State(app): State<Arc<App>>, request: axum::extract::Request) -> Response {
    let worker = Arc::clone(&app);
    let tracker = app.tasks.clone();
    let answered = tracker.spawn(async move { answer(&worker, request).await }).await;
    let mut response = answered.unwrap_or_else(|error| {
        tracing::error!(%error, "a request was not answered");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    });
    // Simulated time, like that in the bodies (graph-facts §12.7): clients measure how far their clocks are off by it.
    let date = app.clock.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(date) = HeaderValue::from_str(&date) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

async fn answer(app: &Arc<App>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let path_and_query = parts.uri.path_and_query().map_or("/", |both| both.as_str()).to_owned();
    if parts.uri.path().starts_with("/_sim/") {
        return control::answer(app, &parts, read(body).await);
    }
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let client_request_id = text("client-request-id");
    let ticket = app.journal.arrived(&Arrival {
        time: app.clock.now(),
        method: &parts.method,
        path: &path_and_query,
        client_request_id: client_request_id.as_deref(),
        user_agent: text(header::USER_AGENT.as_str()).as_deref(),
    });
    let refuse = |error| graph::respond(app, client_request_id.as_deref(), Err(error));
    let target = Target::of(&parts.method, parts.uri.path());
    let fault = app.faults.next(&target);
    if let Some(fault) = fault.filter(|fault| !fault.is_carried_out()) {
        // Nothing of it is looked at; that it came is in the log.
        return match fault.answer(app, &target, client_request_id.as_deref()) {
            Some(response) => {
                app.journal.answered(ticket, response.status().as_u16());
                response
            }
            None => broken(),
        };
    }
    let response = match read(body).await {
        Err(error) => refuse(error),
        Ok(body) => match Request::new(parts.method, &parts.uri, parts.headers, body) {
            Err(Malformed::Host) => refuse(GraphError::bad_request("Bad Request - Invalid Hostname")),
            Err(Malformed::Header(name)) => {
                refuse(GraphError::bad_request(format!("Invalid or repeated header '{name}'.")))
            }
            Err(Malformed::Path) => refuse(GraphError::bad_request(
                "The request path is malformed: a segment is empty or not UTF-8.",
            )),
            Ok(request) => match request.segments.first().map(String::as_str) {
                Some("v1.0") => graph::answer(app, &request, ticket).await,
                Some("beta") => refuse(GraphError::not_simulated("the beta version")),
                _ => login::answer(app, &request, ticket),
            },
        },
    };
    app.journal.answered(ticket, response.status().as_u16());
    if fault.is_some() { broken() } else { response }
}

async fn read(body: Body) -> Result<Bytes, GraphError> {
    let Ok(read) = tokio::time::timeout(BODY, to_bytes(body, BODY_LIMIT)).await else {
        return Err(GraphError::new(
            StatusCode::REQUEST_TIMEOUT,
            "RequestTimeout",
            "The request body did not arrive in time.",
        ));
    };
    read.map_err(|error| {
        if error.into_inner().is::<LengthLimitError>() {
            GraphError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestEntityTooLarge",
                "The request body is too large.",
            )
        } else {
            GraphError::bad_request("The request body could not be read.")
        }
    })
}
