//! `kubectl roomkeeper`: what support does about a calendar, in one command.

mod admin_consent_url;
mod api;
mod args;
mod audit;
mod completion;
mod connection;
mod consents;
mod exit;
mod explain;
mod output;
mod prepare_uninstall;
mod request;
mod status;
mod table;
mod unsubscribe;
mod user;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{
    args::{Args, Command},
    request::Kind,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // The client's TLS needs one provider; an error means that it is installed already.
    let _already_installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            exit::code(&error)
        }
    }
}

async fn run(mut args: Args) -> anyhow::Result<()> {
    if let Command::Completion(request) = &args.command {
        return output::say(&completion::script(request.shell)?);
    }
    if let Command::Audit(request) = &args.command {
        return audit::run(&args.connection, request).await;
    }
    // What is uninstalled serves every namespace.
    if matches!(args.command, Command::PrepareUninstall(_)) && args.connection.namespace.is_none() {
        args.connection.all_namespaces = true;
    }
    let cluster = args.connection.cluster().await?;
    match &args.command {
        Command::Unsubscribe(request) => unsubscribe::run(&cluster, request).await,
        Command::Explain(request) => explain::run(&cluster, request).await,
        Command::Consents(request) => consents::run(&cluster, request).await,
        Command::Resync(request) => request::run(&cluster, Kind::Resync, request).await,
        Command::Renew(request) => request::run(&cluster, Kind::Renew, request).await,
        Command::Status(request) => status::run(&cluster, request).await,
        Command::PrepareUninstall(request) => prepare_uninstall::run(&cluster, request).await,
        Command::AdminConsentUrl(request) => {
            let url = admin_consent_url::run(&cluster, request).await?;
            output::say(&format!("{url}\n"))
        }
        Command::Audit(_) | Command::Completion(_) => Ok(()),
    }
}
