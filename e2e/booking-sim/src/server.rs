//! The listener.

use std::{fs, num::NonZeroU32, sync::Arc, time::Duration};

use axum::{Router, extract::DefaultBodyLimit};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Options, Running, StartError,
    api::{self, Rules},
    control::{self, Control},
    oauth::{self, OAuth},
    refusal::Refusal,
    tls,
};

/// Bytes of a body; beyond, 413.
const BODY_LIMIT: usize = 256 * 1024;
/// Occurrences of a series that the contract allows at most.
const OCCURRENCES: NonZeroU32 = NonZeroU32::new(1000).unwrap();
/// For a client that opens a connection and says nothing, or does not end its headers.
const HEADERS: Duration = Duration::from_secs(30);
/// Connections at a time; beyond, they wait to be accepted.
const CONNECTIONS: usize = 1024;

pub(crate) async fn start(options: Options) -> Result<Running, StartError> {
    let rules = rules(&options)?;
    let (ca_pem, config) = tls::identity().map_err(|error| StartError::Keys(error.to_string()))?;
    // Before the folder is written: it may belong to the one that has the address.
    let listen = |cause| StartError::Listen { address: options.listen, cause };
    let listener = TcpListener::bind(options.listen).await.map_err(listen)?;
    let origin = format!("https://{}", listener.local_addr().map_err(listen)?);
    let path = options.tls_dir.join("ca.crt");
    fs::create_dir_all(&options.tls_dir)
        .and_then(|()| fs::write(&path, &ca_pem))
        .map_err(|cause| StartError::TlsDir { path, cause })?;
    let (control, shutdown) = (Control::default(), CancellationToken::new());
    let tokens = rules.oauth.clone().map(oauth::router).unwrap_or_default();
    let router = api::router(rules, control.clone(), shutdown.clone())
        .merge(tokens)
        .merge(control::router(control))
        .fallback(Refusal::path)
        .layer(DefaultBodyLimit::max(BODY_LIMIT));
    let task = tokio::spawn(serve(listener, TlsAcceptor::from(config), router, shutdown.clone()));
    Ok(Running { origin, ca_pem, shutdown, task })
}

fn rules(options: &Options) -> Result<Rules, StartError> {
    let at_least_1 = |option: &'static str, value| NonZeroU32::new(value).ok_or(StartError::Zero(option));
    let lifetime = at_least_1("the lifetime of tokens", options.token_lifetime_seconds)?;
    let occurrences = at_least_1("the most occurrences of a series", options.max_occurrences)?;
    let per_minute = options.rate_per_minute.map(|limit| at_least_1("the rate per minute", limit));
    let per_week = options.per_week.map(|limit| at_least_1("the limit per week", limit));
    let client = options.oauth_client.clone();
    Ok(Rules {
        headers: options.require_headers.clone(),
        oauth: client.map(|client| OAuth::new(client, options.oauth_scope.clone(), lifetime)),
        per_minute: per_minute.transpose()?,
        per_week: per_week.transpose()?,
        occurrences: occurrences.min(OCCURRENCES),
        log_bodies: options.log_bodies,
    })
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, router: Router, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, stream) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = next => match accepted {
                (Ok(place), Ok((stream, _))) => (place, stream),
                (_, Err(error)) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
                (Err(_closed), _) => break,
            },
        };
        let connection = connection(stream, tls.clone(), router.clone());
        let shutdown = shutdown.clone();
        connections.spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = connection => {}
            }
            drop(place);
        });
    }
    connections.close();
    connections.wait().await;
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, router: Router) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "nodelay");
    }
    let stream = match tokio::time::timeout(HEADERS, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "TLS"),
        Err(_elapsed) => return tracing::debug!("no TLS handshake in time"),
    };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEADERS).keep_alive_timeout(HEADERS);
    // TLS has settled the protocol; to guess it from the first bytes would wait for them without a limit.
    let builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    let service = TowerToHyperService::new(router);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "connection");
    }
}
