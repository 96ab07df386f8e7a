//! Reconciles Roomkeeper's custom resources into Graph subscriptions and bookings.
//!
//! One folder per kind, and in it one file per step of a reconciliation: `dereference` fetches, `validate` and `plan` are
//! pure, `apply` acts, `status` says what came of it. What a replica does, it does only while it holds the lease ([`lease`]).

pub mod access_scope;
pub mod api;
pub mod args;
pub mod backoff;
pub mod booking_record;
pub mod calendar_subscription;
pub mod clock;
pub mod consent_record;
pub mod context;
pub mod controller;
pub mod due;
pub mod events;
pub mod failpoint;
pub mod graph_trouble;
pub mod holds;
pub mod kept;
pub mod key;
pub mod keys;
pub mod lead;
pub mod lease;
pub mod metrics;
pub mod run;
pub mod served;
pub mod summary;
pub mod watch;

use clap::Parser as _;

/// The program: reads the command line and runs until it is asked to end.
///
/// # Errors
/// When the flags cannot work, or it cannot start.
pub async fn program() -> anyhow::Result<()> {
    roomkeeper_service::tls::install_provider();
    let settings = args::Args::parse().settings()?;
    roomkeeper_service::telemetry::init();
    run::run(settings).await?;
    Ok(())
}
