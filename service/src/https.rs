//! An HTTPS listener: TLS, and a bound on everything a stranger can hold open.
//!
//! HTTP/1.1 only: Graph and browsers speak it, and it leaves no streams, priorities and resets to bound. A connection that
//! sends no request within the header timeout is closed, whether it is new or kept alive.

use axum::Router;
use axum::http::{HeaderMap, Request, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// The other end of the connection; an extension of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Why a request has no bearer token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoBearer {
    /// No `Authorization: Bearer` header, or several.
    Missing,
    /// The header is no text.
    Malformed,
}

/// The one bearer token of a request.
///
/// # Errors
/// See [`NoBearer`].
pub fn bearer(headers: &HeaderMap) -> Result<&str, NoBearer> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return Err(NoBearer::Missing) };
    let value = value.to_str().map_err(|_| NoBearer::Malformed)?;
    let (scheme, token) = value.split_once(' ').ok_or(NoBearer::Missing)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(NoBearer::Missing) }
}

/// How much strangers may hold open.
#[derive(Clone, Copy, Debug)]
pub struct ServeLimits {
    /// Connections at a time; further ones wait in the kernel's backlog.
    pub max_connections: usize,
    /// For the TLS handshake.
    pub tls_handshake_timeout: Duration,
    /// From the first byte awaited to the last byte of a request's headers.
    pub header_read_timeout: Duration,
    /// Headers of one request.
    pub max_headers: usize,
    /// Bytes of one request's headers, at least 8192.
    pub max_header_bytes: usize,
    /// For requests in flight when the program is told to end.
    pub drain_timeout: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            max_connections: 2048,
            tls_handshake_timeout: Duration::from_secs(10),
            header_read_timeout: Duration::from_secs(15),
            max_headers: 64,
            max_header_bytes: 32 * 1024,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Why a certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsConfigError {
    /// The certificate file holds no certificate.
    #[error("the TLS certificate must be a PEM file that begins with the server's certificate")]
    Certificate(#[source] Option<rustls::pki_types::pem::Error>),
    /// The key file holds no key.
    #[error("the TLS key must be a PEM file with one private key (PKCS#8, PKCS#1 or SEC1)")]
    Key(#[source] rustls::pki_types::pem::Error),
    /// They do not fit each other, or the key is of an unsupported kind.
    #[error("the TLS certificate and key cannot be used together")]
    Mismatch(#[source] rustls::Error),
}

/// TLS settings from a PEM chain (the server's certificate first) and its PEM key.
///
/// # Errors
/// See [`TlsConfigError`].
pub fn tls_config(certificates: &[u8], key: &[u8]) -> Result<ServerConfig, TlsConfigError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsConfigError::Certificate(Some(error)))?;
    if chain.is_empty() {
        return Err(TlsConfigError::Certificate(None));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsConfigError::Key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsConfigError::Mismatch)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(TlsConfigError::Mismatch)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Serves until `shutdown`, then lets requests in flight end within the drain timeout.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    limits: ServeLimits,
    shutdown: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let connections = Arc::new(Semaphore::new(limits.max_connections));
    let graceful = GracefulShutdown::new();
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read_timeout)
        .max_headers(limits.max_headers)
        .max_buf_size(limits.max_header_bytes.max(8192))
        .half_close(false);

    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        let Some((stream, peer, permit)) = accepted else {
            // Out of file descriptors, most likely: they come back when connections end.
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        let (acceptor, builder) = (acceptor.clone(), builder.clone());
        let service = router.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            request
        });
        let (service, watcher) = (TowerToHyperService::new(service), graceful.watcher());
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let handshake = timeout(limits.tls_handshake_timeout, acceptor.accept(stream));
            let stream = tokio::select! {
                () = shutdown.cancelled() => return,
                handshake = handshake => match handshake {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
                    Err(_) => return tracing::debug!("TLS handshake took too long"),
                },
            };
            let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(error, "connection ended early");
            }
        });
    }
    drop(listener);
    if timeout(limits.drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still in flight when the drain timeout ended");
    }
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> Option<(TcpStream, Peer, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Answers are small: waiting to fill a packet would only delay them. Failing to say so costs no more than that.
            let _ = stream.set_nodelay(true);
            Some((stream, Peer(peer.ip()), permit))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            None
        }
    }
}
