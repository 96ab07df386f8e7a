//! The operator's program.

use clap::Parser as _;
use roomkeeper_operator::{args::Args, run};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    roomkeeper_service::tls::install_provider();
    let settings = Args::parse().settings()?;
    roomkeeper_service::telemetry::init();
    run::run(settings).await?;
    Ok(())
}
