//! `kubectl roomkeeper`: what support does about a calendar, in one command.

mod admin_consent_url;
mod args;
mod unsubscribe;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Args, Command};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // The client's TLS needs one provider; an error means that it is installed already.
    let _already_installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let (client, default_namespace) = args.connection.client().await?;
    let namespace = args.connection.namespace.unwrap_or(default_namespace);
    match args.command {
        Command::Unsubscribe(request) => {
            let outcome = unsubscribe::run(client, &namespace, &request).await?;
            println!("{outcome}");
            Ok(())
        }
        Command::AdminConsentUrl(request) => {
            println!("{}", admin_consent_url::run(client, &namespace, &request).await?);
            Ok(())
        }
    }
}
