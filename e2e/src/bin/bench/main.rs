//! `make bench`: figures beside the limits that hold on the same machine in the same run. Each bench prints a table and writes
//! `target/bench/<name>.json`, one flat object.

mod ack;
mod fortnight;
mod load;
mod population;
mod records;
mod report;
mod size;
mod subscribe;

use std::process::ExitCode;

use anyhow::bail;
use clap::{Parser, Subcommand};

/// Measure Roomkeeper.
#[derive(Parser)]
struct Args {
    /// Benches to run; all when none is named
    names: Vec<String>,
    #[command(subcommand)]
    child: Option<Child>,
}

/// Parts of a bench that run in a process of their own.
#[derive(Subcommand)]
enum Child {
    /// The server of `ack`
    #[command(hide = true)]
    ServeAck(ack::server::ServeAck),
}

const NAMES: [&str; 6] = ["ack", "records", "subscribe", "memory", "restart", "fortnight"];

#[tokio::main]
async fn main() -> ExitCode {
    roomkeeper_service::tls::install_provider();
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    if let Some(Child::ServeAck(server)) = args.child {
        return ack::server::serve(server).await;
    }
    let names: Vec<&str> =
        if args.names.is_empty() { NAMES.to_vec() } else { args.names.iter().map(String::as_str).collect() };
    for name in names {
        let report = match name {
            "ack" => ack::run().await?,
            "records" => records::run().await?,
            "subscribe" => subscribe::run().await?,
            "memory" => size::memory().await?,
            "restart" => size::restart().await?,
            "fortnight" => fortnight::run().await?,
            other => bail!("no bench is called {other:?}; there are: {}", NAMES.join(", ")),
        };
        report.finish(name)?;
    }
    Ok(())
}
