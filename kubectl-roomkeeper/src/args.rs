//! Command line, with kubectl's own flags where it has one.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use url::Url;

/// Manage Roomkeeper's consents and subscriptions.
#[derive(Parser)]
#[command(name = "kubectl roomkeeper", bin_name = "kubectl roomkeeper", version)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How to reach the cluster.
#[derive(clap::Args)]
pub(crate) struct Connection {
    /// Path to the kubeconfig file; without it KUBECONFIG, then the file in the home folder
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Name of the kubeconfig context
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// Namespace; without it that of the context
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Withdraw a user's consent and wait until their calendar is not followed any more
    Unsubscribe(Unsubscribe),
    /// Print where a tenant's administrator grants the app registration of an AccessScope its permissions
    AdminConsentUrl(AdminConsentUrl),
}

/// Whose page.
#[derive(clap::Args)]
pub(crate) struct AdminConsentUrl {
    /// Name of the AccessScope
    pub(crate) scope: String,
    /// Where Microsoft sends the administrator afterwards: a redirect URI of the app registration
    #[arg(long, value_name = "URL")]
    pub(crate) redirect_uri: Option<Url>,
}

/// Whom to unsubscribe, and why.
#[derive(clap::Args)]
pub(crate) struct Unsubscribe {
    /// User principal name or object id
    pub(crate) user: String,
    /// Why: a ticket number or a few words, without personal data; it is kept in the register
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Only in this AccessScope; without it in every one of the namespace
    #[arg(long, value_name = "NAME")]
    pub(crate) scope: Option<String>,
    /// How long to wait for the end of the subscription at Microsoft, in seconds; 0 does not wait
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse_seconds)]
    pub(crate) timeout: Duration,
}

fn parse_seconds(text: &str) -> Result<Duration, std::num::ParseIntError> {
    text.trim_end_matches('s').parse().map(Duration::from_secs)
}

impl Connection {
    /// A client, and the namespace of the context.
    pub(crate) async fn client(&self) -> anyhow::Result<(Client, String)> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let kubeconfig = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path)
                .with_context(|| format!("--kubeconfig {}: not a readable kubeconfig", path.display()))?,
            None => Kubeconfig::read().context("no kubeconfig: set --kubeconfig or KUBECONFIG")?,
        };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.context("kubeconfig")?;
        let namespace = config.default_namespace.clone();
        Ok((Client::try_from(config).context("connect to the API server")?, namespace))
    }
}
