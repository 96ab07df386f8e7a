//! Takes Graph notifications into a durable queue and turns them into BookingRecords; takes consents.

use clap::Parser as _;
use roomkeeper_service::{telemetry, tls};
use roomkeeper_webhook_server::{args::Args, run};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tls::install_provider();
    telemetry::init();
    run::run(Args::parse()).await
}
