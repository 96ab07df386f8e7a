//! A closed-loop load generator over TLS: each connection has one request in flight.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::TlsConnector;

/// What is sent where, and for how long.
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) ca: PathBuf,
    pub(crate) path: String,
    pub(crate) connections: usize,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// What came back.
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// Sends bodies made by `body` from a running number. Every answer must be 202.
pub(crate) async fn run(
    load: &Load,
    body: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static,
) -> anyhow::Result<Measured> {
    let tls = connector(load)?;
    let body = Arc::new(body);
    let number = Arc::new(AtomicU64::new(0));
    let start = Instant::now() + load.warm_up;
    let end = start + load.measured;
    let mut clients = JoinSet::new();
    for _ in 0..load.connections {
        let mut sender = connect(load.address, &tls).await?;
        let (body, number, path) = (Arc::clone(&body), Arc::clone(&number), load.path.clone());
        clients.spawn(async move {
            let mut latencies = Histogram::<u64>::new(3)?;
            while Instant::now() < end {
                let text = body(number.fetch_add(1, Ordering::Relaxed));
                let sent = Instant::now();
                let status = post(&mut sender, &path, text).await?;
                if status != StatusCode::ACCEPTED {
                    bail!("answered {status}, not 202");
                }
                let answered = Instant::now();
                if sent >= start && answered <= end {
                    latencies.record(u64::try_from(answered.duration_since(sent).as_micros())?)?;
                }
            }
            Ok(latencies)
        });
    }
    let mut all = Histogram::<u64>::new(3)?;
    while let Some(client) = clients.join_next().await {
        all.add(client??)?;
    }
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    Ok(Measured {
        per_second: all.len() as f64 / load.measured.as_secs_f64(),
        p50_ms: all.value_at_quantile(0.5) as f64 / 1000.0,
        p99_ms: all.value_at_quantile(0.99) as f64 / 1000.0,
    })
}

fn connector(load: &Load) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&fs::read(&load.ca)?).context("CA certificate")?)?;
    Ok(TlsConnector::from(Arc::new(
        ClientConfig::builder().with_root_certificates(roots).with_no_client_auth(),
    )))
}

async fn connect(address: SocketAddr, tls: &TlsConnector) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let stream = tls.connect(ServerName::try_from("localhost")?, stream).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection");
        }
    });
    Ok(sender)
}

async fn post(
    sender: &mut SendRequest<Full<Bytes>>,
    path: &str,
    body: Vec<u8>,
) -> anyhow::Result<StatusCode> {
    sender.ready().await?;
    let request = Request::post(path)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    answer.into_body().collect().await?;
    Ok(status)
}
