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
    /// Header without which every call is refused with 401. Repeatable
    #[arg(long, value_name = "NAME: VALUE", value_parser = parse_header)]
    require_header: Vec<(http::HeaderName, http::HeaderValue)>,
    /// Booking calls per minute before 429
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate_per_minute: Option<u32>,
    /// Booking calls within any seven days before 429
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    per_week: Option<u32>,
    /// Occurrences of a series before 422
    #[arg(long, value_name = "N", default_value = "400", value_parser = clap::value_parser!(u32).range(1..=1000))]
    max_occurrences: u32,
    /// Client that gets tokens at POST /oauth2/token, without which every call is then refused with 401
    #[arg(long, value_name = "ID:SECRET", value_parser = parse_client)]
    oauth_client: Option<booking_sim::OAuthClient>,
    /// Scopes, separated by spaces, of which a token request must name one or more
    #[arg(long, value_name = "SCOPE", requires = "oauth_client")]
    oauth_scope: Option<String>,
    /// Life of a token
    #[arg(long, value_name = "N", default_value = "3600", requires = "oauth_client", value_parser = clap::value_parser!(u32).range(1..))]
    token_lifetime_seconds: u32,
    /// Keep what each PUT said in the log at GET /_sim/requests
    #[arg(long)]
    log_bodies: bool,
}

fn parse_client(text: &str) -> Result<booking_sim::OAuthClient, String> {
    match text.split_once(':') {
        Some((id, secret)) if !id.is_empty() && !secret.is_empty() => {
            Ok(booking_sim::OAuthClient { id: id.to_owned(), secret: secret.to_owned() })
        }
        _ => Err("must be written as ID:SECRET".to_owned()),
    }
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
        require_headers: args.require_header,
        rate_per_minute: args.rate_per_minute,
        per_week: args.per_week,
        max_occurrences: args.max_occurrences,
        oauth_client: args.oauth_client,
        oauth_scope: args.oauth_scope,
        token_lifetime_seconds: args.token_lifetime_seconds,
        log_bodies: args.log_bodies,
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
