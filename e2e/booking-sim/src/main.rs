//! A strict simulator of a room-booking product's REST API.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// Simulate a room-booking product's REST API over TLS.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Address to listen at; port 0 asks for a free one
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// Folder into which the simulator writes the certificate of its authority, as ca.crt
    #[arg(long, value_name = "DIR")]
    tls_dir: PathBuf,
    /// Header without which every call is refused with 401
    #[arg(long, value_name = "NAME: VALUE", value_parser = parse_header)]
    require_header: Option<(http::HeaderName, http::HeaderValue)>,
    /// Booking calls per minute before 429
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate_per_minute: Option<u32>,
}

fn parse_header(text: &str) -> Result<(http::HeaderName, http::HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("must be written as 'Name: value'")?;
    let name = name.trim().parse().map_err(|_| format!("{name:?} is no header name"))?;
    let value = value.trim().parse().map_err(|_| "the value is no header value".to_owned())?;
    Ok((name, value))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let args = Args::parse();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut running = booking_sim::start(booking_sim::Options {
        listen: args.listen,
        tls_dir: args.tls_dir,
        require_header: args.require_header,
        rate_per_minute: args.rate_per_minute,
    })
    .await?;
    println!("ready {}", running.origin);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    running.shutdown.cancel();
    (&mut running.task).await.context("end")
}
