//! Command line of the webhook server. Every flag is also an environment variable `ROOMKEEPER_<FLAG>`.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use jiff::SignedDuration;
use roomkeeper_service::audit::AuditArgs;

use crate::http::client_address::Network;

/// Takes Graph's notifications into a durable queue, turns them into BookingRecords, and takes consents.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub struct Args {
    /// Namespace of the installation, which holds its Secrets and the checkpoints of its audit.
    #[arg(long, env = "ROOMKEEPER_NAMESPACE")]
    pub namespace: String,
    /// Namespaces whose CalendarSubscriptions are served; all when none is named.
    #[arg(long, env = "ROOMKEEPER_WATCH_NAMESPACE", value_delimiter = ',')]
    pub watch_namespace: Vec<String>,
    /// Name of this writer in the audit; the host name where none is given.
    #[arg(long, env = "ROOMKEEPER_IDENTITY")]
    pub identity: Option<String>,
    /// Address of the public listener (TLS).
    #[arg(long, env = "ROOMKEEPER_PUBLIC_LISTEN", default_value = "0.0.0.0:8443")]
    pub public_listen: SocketAddr,
    /// Address of the admin listener: /healthz, /readyz, /metrics.
    #[arg(long, env = "ROOMKEEPER_ADMIN_LISTEN", default_value = "0.0.0.0:9090")]
    pub admin_listen: SocketAddr,
    /// Certificate chain of the public listener (PEM).
    #[arg(long, env = "ROOMKEEPER_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the public listener (PEM).
    #[arg(long, env = "ROOMKEEPER_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// Folder of the queue; on a persistent volume.
    #[arg(long, env = "ROOMKEEPER_QUEUE_DIR")]
    pub queue_dir: PathBuf,
    /// Folder of the audit; on a persistent volume.
    #[arg(long, env = "ROOMKEEPER_AUDIT_DIR")]
    pub audit_dir: PathBuf,
    /// How the audit is kept.
    #[command(flatten)]
    pub audit: AuditArgs,
    /// Hosts (HOST or HOST:PORT) that custom resources may name besides Microsoft's own.
    #[arg(long, env = "ROOMKEEPER_ALLOWED_HOST", value_delimiter = ',')]
    pub allowed_host: Vec<String>,
    /// Certificate authorities (PEM) trusted for Graph besides the platform's own.
    #[arg(long, env = "ROOMKEEPER_GRAPH_CA")]
    pub graph_ca: Option<PathBuf>,
    /// What this process does.
    #[arg(long, env = "ROOMKEEPER_ROLE", value_enum, default_value_t = Role::All)]
    pub role: Role,
    /// Largest body of a notification, in bytes.
    #[arg(long, env = "ROOMKEEPER_MAX_BODY_BYTES", default_value_t = 1 << 20)]
    pub max_body_bytes: usize,
    /// Items that the queue holds at most; beyond, Graph is told to send again later.
    #[arg(long, env = "ROOMKEEPER_QUEUE_MAX_ITEMS", default_value_t = 1_000_000)]
    pub queue_max_items: usize,
    /// How long further notifications of the same event are waited for, such as 2s or 500ms.
    #[arg(long, env = "ROOMKEEPER_DEBOUNCE", default_value = "2s", value_parser = duration)]
    pub debounce: Duration,
    /// Items worked on at a time.
    #[arg(long, env = "ROOMKEEPER_WORKERS", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,
    /// How many pods work on notifications, this one included: they share what Exchange takes of an app for one mailbox.
    #[arg(long, env = "ROOMKEEPER_REPLICAS", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    pub replicas: u8,
    /// Reads of one mailbox that this process has in flight. Exchange takes 4 of an app at a time, from all pods together,
    /// so that 4 divided by --replicas is the most. 2 when not given, or that most where it is less.
    #[arg(long, env = "ROOMKEEPER_MAILBOX_CONCURRENCY", value_parser = clap::value_parser!(u8).range(1..=4))]
    pub mailbox_concurrency: Option<u8>,
    /// How many days ahead the occurrences of a series are listed and booked. The operator's flag of this name must say the same.
    #[arg(long, env = "ROOMKEEPER_OCCURRENCE_HORIZON_DAYS", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=730))]
    pub occurrence_horizon_days: u16,
    /// Folder of the consent page as `npm run build` of addin/ writes it. The page is served only where it is given.
    #[arg(long, env = "ROOMKEEPER_ADDIN_DIR", requires = "addin_settings")]
    pub addin_dir: Option<PathBuf>,
    /// What the consent page and its manifests are filled in with, per AccessScope (YAML or JSON); see docs/consent.md.
    #[arg(long, env = "ROOMKEEPER_ADDIN_SETTINGS", requires = "addin_dir")]
    pub addin_settings: Option<PathBuf>,
    /// Proxies (address or network, such as 10.0.0.0/8) whose header X-Forwarded-For is believed; of others, the address is that
    /// of the connection.
    #[arg(long, env = "ROOMKEEPER_TRUSTED_PROXY", value_delimiter = ',')]
    pub trusted_proxy: Vec<Network>,
    /// Requests to the consent API that one address has in a minute, half of them at once. An office behind one address needs many.
    #[arg(long, env = "ROOMKEEPER_CONSENTS_PER_ADDRESS", default_value = "1200")]
    pub consents_per_address: NonZeroU32,
    /// Attempts after which an item that is itself to blame is given up.
    #[arg(long, env = "ROOMKEEPER_MAX_ATTEMPTS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub max_attempts: u16,
}

/// What Exchange takes of an app at a time for one mailbox.
const MAILBOX_LIMIT: u8 = 4;

/// Of which a process takes no more than this unless it is told to.
const MAILBOX_USUAL: u8 = 2;

/// Flags that do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgsError {
    /// Even one read of each would be too much.
    #[error(
        "--replicas {0}: Exchange takes {MAILBOX_LIMIT} requests of an app to a mailbox at a time, so that at most {MAILBOX_LIMIT} pods may work on notifications; run no more, and give each of them more --workers instead"
    )]
    Replicas(u8),
    /// All of them together would be too much.
    #[error(
        "--mailbox-concurrency {0} with --replicas {1}: Exchange takes {MAILBOX_LIMIT} requests of an app to a mailbox at a time, which is at most {2} for each of them; leave the flag away to have its share"
    )]
    MailboxConcurrency(u8, u8, u8),
}

impl Args {
    /// Reads of one mailbox that this process may have in flight.
    ///
    /// # Errors
    /// When all pods together could have more of them than Exchange takes.
    pub fn mailbox_share(&self) -> Result<usize, ArgsError> {
        let most = MAILBOX_LIMIT / self.replicas.max(1);
        if most == 0 {
            return Err(ArgsError::Replicas(self.replicas));
        }
        let share = self.mailbox_concurrency.unwrap_or(MAILBOX_USUAL.min(most));
        if share > most {
            return Err(ArgsError::MailboxConcurrency(share, self.replicas, most));
        }
        Ok(usize::from(share))
    }
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Both.
    All,
    /// Takes notifications and consents, and works on nothing.
    Ingest,
    /// Works on what is in the queue, and has no public listener.
    Worker,
}

impl Role {
    /// Whether the public listener is served.
    pub fn serves(self) -> bool {
        self != Self::Worker
    }

    /// Whether items are worked on.
    pub fn works(self) -> bool {
        self != Self::Ingest
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration of 0 or more, such as 2s or 500ms");
    text.parse::<SignedDuration>().ok().and_then(|given| Duration::try_from(given).ok()).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: [&str; 11] = [
        "roomkeeper-webhook-server",
        "--namespace",
        "roomkeeper-system",
        "--queue-dir",
        "/q",
        "--audit-dir",
        "/a",
        "--tls-cert",
        "/c",
        "--tls-key",
        "/k",
    ];

    fn parse(more: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(LEAST.iter().chain(more))
    }

    #[test]
    fn the_defaults_are_those_of_the_handbook() {
        let args = parse(&[]).unwrap();
        assert_eq!(args.debounce, Duration::from_secs(2));
        assert_eq!((args.workers, args.max_attempts, args.role), (4, 10, Role::All));
        assert_eq!(args.mailbox_share(), Ok(2));
        assert!(args.role.serves() && args.role.works());
    }

    #[test]
    fn lists_repeat_or_are_separated_by_commas() {
        let args =
            parse(&["--allowed-host", "a:1,b", "--allowed-host", "c", "--watch-namespace", "x"]).unwrap();
        assert_eq!(args.allowed_host, ["a:1", "b", "c"]);
        assert_eq!(args.watch_namespace, ["x"]);
    }

    #[test]
    fn a_wrong_value_is_named() {
        for (flag, value) in [
            ("--debounce", "soon"),
            ("--debounce", "-2s"),
            ("--workers", "0"),
            ("--mailbox-concurrency", "5"),
            ("--replicas", "0"),
            ("--role", "both"),
            ("--public-listen", "x"),
            ("--trusted-proxy", "10.0.0.0/33"),
            ("--consents-per-address", "0"),
        ] {
            let error = parse(&[&format!("{flag}={value}")]).unwrap_err().to_string();
            assert!(error.contains(flag) && error.contains(value), "{error}");
        }
    }

    #[test]
    fn all_pods_together_ask_no_more_of_a_mailbox_than_exchange_takes() {
        for (replicas, share) in [(1, 2), (2, 2), (3, 1), (4, 1)] {
            let args = parse(&[&format!("--replicas={replicas}")]).unwrap();
            assert_eq!(args.mailbox_share(), Ok(share), "{replicas} pods");
            assert!(usize::from(args.replicas) * share <= 4);
        }
        assert_eq!(parse(&["--mailbox-concurrency=4"]).unwrap().mailbox_share(), Ok(4), "of one alone");
        let over = parse(&["--replicas=2", "--mailbox-concurrency=3"]).unwrap().mailbox_share();
        assert_eq!(over, Err(ArgsError::MailboxConcurrency(3, 2, 2)));
        let error = parse(&["--replicas=5", "--mailbox-concurrency=1"]).unwrap().mailbox_share().unwrap_err();
        assert!(
            error.to_string().starts_with("--replicas 5: ") && error.to_string().contains("at most 4 pods")
        );
    }
}
