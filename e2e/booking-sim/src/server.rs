//! TLS and the listener.

use std::{fs, io, sync::Arc, time::Duration};

use axum::{Router, extract::DefaultBodyLimit, http::StatusCode};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Options, Running, api, control, control::Control, refusal::Refusal};

/// Bytes of a body; beyond, 413.
const BODY_LIMIT: usize = 64 * 1024;

pub(crate) async fn start(options: Options) -> io::Result<Running> {
    let (ca_pem, config) = identity().map_err(io::Error::other)?;
    fs::create_dir_all(&options.tls_dir)?;
    fs::write(options.tls_dir.join("ca.crt"), &ca_pem)?;
    let listener = TcpListener::bind(options.listen).await?;
    let origin = format!("https://{}", listener.local_addr()?);
    let control = Control::default();
    let router = api::router(options.require_header, options.rate_per_minute, control.clone())
        .merge(control::router(control))
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "NotFound", "no such path"))
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "this path has no such method")
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT));
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(serve(listener, TlsAcceptor::from(config), router, shutdown.clone()));
    Ok(Running { origin, ca_pem, shutdown, task })
}

/// An authority of its own per run, with a subject of its own so that two runs can be trusted side by side.
fn identity() -> Result<(String, Arc<ServerConfig>), Box<dyn std::error::Error + Send + Sync>> {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, format!("booking-sim {}", uuid::Uuid::new_v4()));
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((authority.pem(), Arc::new(config)))
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
        let (tls, service, shutdown) =
            (tls.clone(), TowerToHyperService::new(router.clone()), shutdown.clone());
        connections.spawn(async move {
            let Ok(stream) = tls.accept(stream).await.inspect_err(|error| tracing::debug!(%error, "TLS"))
            else {
                return;
            };
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                () = shutdown.cancelled() => {}
                served = connection => if let Err(error) = served {
                    tracing::debug!(%error, "connection");
                },
            }
        });
    }
    connections.close();
    connections.wait().await;
}
