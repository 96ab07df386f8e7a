//! A strict simulator of Microsoft Graph's calendar, directory and subscription APIs.

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use clap::Parser;
use graph_sim::{Options, World};
use tokio::signal::unix::{SignalKind, signal};

/// Simulate Microsoft Graph and its login host over TLS.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Address to listen at; port 0 asks for a free one
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// YAML file with tenants, apps, users and groups
    #[arg(long, value_name = "FILE")]
    world: PathBuf,
    /// Folder into which the simulator writes the certificate of its authority, as ca.crt
    #[arg(long, value_name = "DIR")]
    tls_dir: PathBuf,
    /// Certificates (PEM) by which notification URLs are trusted
    #[arg(long, value_name = "CA.pem")]
    trust: Option<PathBuf>,
    /// Folder to which every request line is appended, in a file of its own
    #[arg(long, value_name = "DIR", env = "GRAPH_SIM_REQUEST_LOG", hide_env_values = true)]
    request_log: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let args = Args::parse();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let text =
        fs::read_to_string(&args.world).with_context(|| format!("cannot read {}", args.world.display()))?;
    let world = World::from_yaml(&text).with_context(|| format!("{}", args.world.display()))?;
    let trust_pem = args
        .trust
        .map(|path| fs::read(&path).with_context(|| format!("cannot read {}", path.display())))
        .transpose()?;
    let options = Options {
        listen: args.listen,
        world,
        tls_dir: Some(args.tls_dir),
        trust_pem,
        request_log: args.request_log,
    };
    let mut running = graph_sim::start(options).await?;
    println!("ready {}", running.origin);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    running.shutdown.cancel();
    (&mut running.task).await.context("end")
}
