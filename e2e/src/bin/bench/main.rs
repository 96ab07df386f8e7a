//! `make bench`: figures beside the limits that hold on the same machine in the same run. Each bench prints a table and writes
//! `target/bench/<name>.json`, one flat object.
//!
//! | bench | measures |
//! |---|---|
//! | `ack` | notifications answered 202 after they are on disk |
//! | `latency` | from a change in a calendar to its BookingRecord, at rest and without debounce |
//! | `records` | BookingRecords written out of the queue, against the API server's own rate |
//! | `coalesce` | repeated notifications that cost no read, over two pods |
//! | `subscribe` | from consent to subscription, against the limit for writes |
//! | `memory`, `restart` | an operator with 10,000 and 100,000 people |
//! | `expiry` | from the end of a booking until its record is gone, 10,000 in one minute |
//! | `withdrawal` | from a withdrawn consent to the last read, the end at Graph and the last record |
//! | `audit` | calls to Graph with the audit on the disk, against calls without |
//! | `fortnight` | two weeks in the life of many subscriptions |

mod ack;
mod audit;
mod coalesce;
mod expiry;
mod fortnight;
mod latency;
mod load;
mod population;
mod records;
mod report;
mod sighting;
mod size;
mod subscribe;
mod withdrawal;

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

const NAMES: [&str; 11] = [
    "ack",
    "latency",
    "records",
    "coalesce",
    "subscribe",
    "memory",
    "restart",
    "expiry",
    "withdrawal",
    "audit",
    "fortnight",
];

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
            "audit" => audit::run().await?,
            "latency" => latency::run().await?,
            "records" => records::run().await?,
            "coalesce" => coalesce::run().await?,
            "subscribe" => subscribe::run().await?,
            "memory" => size::memory().await?,
            "restart" => size::restart().await?,
            "expiry" => expiry::run().await?,
            "withdrawal" => withdrawal::run().await?,
            "fortnight" => fortnight::run().await?,
            other => bail!("no bench is called {other:?}; there are: {}", NAMES.join(", ")),
        };
        report.finish(name)?;
    }
    Ok(())
}
