//! The server of `ack`, in a process of its own as in production.

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use axum::{Router, routing::post};
use clap::ValueEnum;
use http::StatusCode;
use k8s_openapi::api::core::v1::Secret;
use roomkeeper_service::{
    client_state::KeyRing,
    https::{self, ServeLimits, tls_config},
    metrics,
};
use roomkeeper_webhook_server::{
    http::ingest::{self, IngestLimits, IngestState},
    metrics::ingest::IngestMetrics,
    queue::embedded::{EmbeddedQueue, Options, SyncMode},
};
use tokio::net::TcpListener;

/// What is served, and with which files.
#[derive(clap::Args)]
pub(crate) struct ServeAck {
    #[arg(long)]
    mode: Mode,
    #[arg(long)]
    keys: PathBuf,
    #[arg(long)]
    queue_dir: PathBuf,
    #[arg(long)]
    certificate: PathBuf,
    #[arg(long)]
    key: PathBuf,
}

/// Which limit is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// What production does.
    Fsync,
    /// The same without waiting for the disk.
    NoFsync,
    /// A handler that reads the body and answers 202.
    Empty,
}

pub(crate) async fn serve(args: ServeAck) -> anyhow::Result<()> {
    let tls = Arc::new(tls_config(&fs::read(&args.certificate)?, &fs::read(&args.key)?)?);
    let router = match args.mode {
        Mode::Empty => Router::new()
            .route("/notifications/{key_id}/{uid}", post(async |_: axum::body::Bytes| StatusCode::ACCEPTED)),
        Mode::Fsync | Mode::NoFsync => {
            let secret: Secret = serde_json::from_slice(&fs::read(&args.keys)?)?;
            let sync =
                if args.mode == Mode::Fsync { SyncMode::Immediate } else { SyncMode::NoneForMeasurementOnly };
            let options = Options { sync, max_items: 10_000_000, ..Options::default() };
            let queue = EmbeddedQueue::open(&args.queue_dir, &options).context("open the queue")?;
            let metrics = IngestMetrics::new(&metrics::registry()?)?;
            let keys = Arc::new(KeyRing::from_secret(&secret)?);
            ingest::router(IngestState::new(
                Arc::new(queue),
                keys_as_origin(keys),
                metrics,
                IngestLimits::default(),
            ))
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("ready {}", listener.local_addr()?);
    let shutdown = roomkeeper_service::shutdown::token()?;
    https::serve(listener, tls, router, ServeLimits::default(), shutdown).await;
    Ok(())
}

fn keys_as_origin(keys: Arc<KeyRing>) -> Arc<dyn ingest::OriginCheck> {
    keys
}
