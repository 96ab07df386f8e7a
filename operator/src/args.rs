//! The command line, and the settings that follow from it.

use std::{
    fs,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use clap::Parser;
use roomkeeper_graph::budget::BudgetSettings;
use roomkeeper_service::{
    audit::AuditArgs,
    scope_access::{AllowedHosts, HostError},
};
use url::Url;

use crate::lease::Timing;

/// Keeps Graph subscriptions and bookings as Roomkeeper's custom resources say.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Args {
    /// Namespace of this installation: its Lease, its Secrets and the checkpoints of its audit are there.
    #[arg(long, env = "ROOMKEEPER_NAMESPACE")]
    pub namespace: String,
    /// Name under which this replica holds the lease and keeps its audit. The host's name when not given.
    #[arg(long, env = "ROOMKEEPER_IDENTITY")]
    pub identity: Option<String>,
    /// Namespaces whose objects are looked after; all of them when none is given. Repeatable, or separated by commas.
    #[arg(long, env = "ROOMKEEPER_WATCH_NAMESPACE", value_delimiter = ',')]
    pub watch_namespace: Vec<String>,
    /// Public https URL of the webhook server, to which Graph sends notifications.
    #[arg(long, env = "ROOMKEEPER_PUBLIC_URL")]
    pub public_url: Url,
    /// Folder of the audit log; it must survive restarts.
    #[arg(long, env = "ROOMKEEPER_AUDIT_DIR")]
    pub audit_dir: PathBuf,
    /// How the audit is kept.
    #[command(flatten)]
    pub audit: AuditArgs,
    /// Address of /healthz, /readyz and /metrics. Port 0 takes a free one.
    #[arg(long, env = "ROOMKEEPER_ADMIN_LISTEN", default_value = "0.0.0.0:9090")]
    pub admin_listen: SocketAddr,
    /// Hosts that custom resources may name, as HOST or HOST:PORT. Repeatable, or separated by commas.
    #[arg(long, env = "ROOMKEEPER_ALLOWED_HOST", value_delimiter = ',')]
    pub allowed_host: Vec<String>,
    /// Certificate authorities (PEM) trusted for Graph and the token endpoint besides the platform's own.
    #[arg(long, env = "ROOMKEEPER_GRAPH_CA")]
    pub graph_ca: Option<PathBuf>,
    /// Certificate authorities (PEM) trusted for booking APIs besides the platform's own.
    #[arg(long, env = "ROOMKEEPER_BOOKING_CA")]
    pub booking_ca: Option<PathBuf>,
    /// After this time without a renewal another replica takes over.
    #[arg(long, env = "ROOMKEEPER_LEASE_DURATION", default_value = "35s", value_parser = duration)]
    pub lease_duration: Duration,
    /// After this time without a renewal the leader stops sending.
    #[arg(long, env = "ROOMKEEPER_LEASE_RENEW_DEADLINE", default_value = "30s", value_parser = duration)]
    pub lease_renew_deadline: Duration,
    /// Time between two renewals, or two looks at somebody else's lease.
    #[arg(long, env = "ROOMKEEPER_LEASE_RETRY_PERIOD", default_value = "5s", value_parser = duration)]
    pub lease_retry_period: Duration,
    /// Life asked for when a subscription is made or renewed, in minutes. Graph takes 10,070 at most.
    #[arg(long, env = "ROOMKEEPER_SUBSCRIPTION_LIFE_MINUTES", default_value_t = 10_065,
          value_parser = clap::value_parser!(u32).range(1..=10_070))]
    pub subscription_life_minutes: u32,
    /// A calendar is read again when nothing was heard of it for this time. What is heard is noted to within 6 hours, so that
    /// a shorter time asks more often than silence calls for.
    #[arg(long, env = "ROOMKEEPER_RESYNC_AFTER_SILENCE", default_value = "24h", value_parser = duration)]
    pub resync_after_silence: Duration,
    /// Every calendar is read again after this time, up to a quarter sooner so that not all are read at once, whatever was heard
    /// of it; 0s: never.
    #[arg(long, env = "ROOMKEEPER_RESYNC_EVERY", default_value = "168h", value_parser = duration)]
    pub resync_every: Duration,
    /// Days ahead for which the occurrences of a series are listed, as the webhook server has it: as time goes on, calendars are
    /// read again for more.
    #[arg(long, env = "ROOMKEEPER_OCCURRENCE_HORIZON_DAYS", default_value_t = 365,
          value_parser = clap::value_parser!(u16).range(1..=730))]
    pub occurrence_horizon_days: u16,
    /// Most BookingRecords that are deleted in a second.
    #[arg(long, env = "ROOMKEEPER_RECORD_DELETES_PER_SECOND", default_value = "500")]
    pub record_deletes_per_second: NonZeroU32,
    /// Objects of one kind that are worked on at the same time.
    #[arg(long, env = "ROOMKEEPER_CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
    /// Writes of Graph subscriptions in 20 seconds, per app registration and tenant. The default is the strictest limit that
    /// Microsoft has published.
    #[arg(long, env = "ROOMKEEPER_SUBSCRIPTION_WRITES", default_value = "500")]
    pub subscription_writes: NonZeroUsize,
}

/// A combination of flags that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// Notifications go to https only, and paths are put after the URL.
    #[error("--public-url {0} must be an https URL without user name, query or fragment")]
    PublicUrl(Url),
    /// See [`HostError`].
    #[error("--allowed-host: {0}")]
    AllowedHost(#[from] HostError),
    /// A file cannot be read.
    #[error("{flag} {path}: {source}")]
    File {
        /// Which flag.
        flag: &'static str,
        /// Its value.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The three times of the lease do not fit.
    #[error(
        "--lease-duration {0:?} must be longer than --lease-renew-deadline {1:?}, and that longer than --lease-retry-period {2:?}, which must be at least 200ms"
    )]
    Lease(Duration, Duration, Duration),
    /// Reading without end is no rest.
    #[error("--resync-after-silence {0:?} must be at least 1s")]
    Silence(Duration),
    /// Reading without end is no rest.
    #[error("--resync-every {0:?} must be at least 1s, or 0s to leave it")]
    Periodic(Duration),
    /// Without an identity two replicas could not be told apart.
    #[error("the host's name cannot be read ({0}): set --identity")]
    Identity(std::io::Error),
}

/// What the flags mean, checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespace of the installation.
    pub namespace: String,
    /// Holder of the lease.
    pub identity: String,
    /// Namespaces looked after; empty means all.
    pub watch_namespaces: Vec<String>,
    /// Public prefix without a slash at the end.
    pub public_url: String,
    /// Folder of the audit log.
    pub audit_dir: PathBuf,
    /// How the audit is kept.
    pub audit: AuditArgs,
    /// Address of the admin listener.
    pub admin_listen: SocketAddr,
    /// Hosts that custom resources may name.
    pub allowed_hosts: AllowedHosts,
    /// PEM of further authorities for Graph.
    pub graph_ca: Option<Vec<u8>>,
    /// PEM of further authorities for booking APIs.
    pub booking_ca: Option<Vec<u8>>,
    /// Times of the lease.
    pub lease: Timing,
    /// Life asked for subscriptions, in minutes.
    pub life_minutes: u32,
    /// Silence after which a calendar is read again.
    pub resync_after_silence: Duration,
    /// Time after which every calendar is read again; `None`: never.
    pub resync_every: Option<Duration>,
    /// How far ahead the occurrences of a series are listed.
    pub occurrence_horizon: Duration,
    /// Most BookingRecords that are deleted in a second.
    pub deletes_per_second: NonZeroU32,
    /// Objects per kind at the same time.
    pub concurrency: u16,
    /// What may be sent to Graph.
    pub budgets: BudgetSettings,
}

impl Args {
    /// Checks the flags against each other and reads the files that they name.
    ///
    /// # Errors
    /// On the first flag that cannot work; the message says which and how to mend it.
    pub fn settings(self) -> Result<Settings, ArgsError> {
        let url = &self.public_url;
        if url.scheme() != "https"
            || !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some()
        {
            return Err(ArgsError::PublicUrl(self.public_url));
        }
        let lease = Timing {
            duration: self.lease_duration,
            renew_deadline: self.lease_renew_deadline,
            retry: self.lease_retry_period,
        };
        if lease.duration <= lease.renew_deadline
            || lease.renew_deadline <= lease.retry
            || lease.retry < Duration::from_millis(200)
        {
            return Err(ArgsError::Lease(lease.duration, lease.renew_deadline, lease.retry));
        }
        if self.resync_after_silence < Duration::from_secs(1) {
            return Err(ArgsError::Silence(self.resync_after_silence));
        }
        let resync_every = Some(self.resync_every).filter(|every| !every.is_zero());
        if resync_every.is_some_and(|every| every < Duration::from_secs(1)) {
            return Err(ArgsError::Periodic(self.resync_every));
        }
        let identity = match self.identity {
            Some(identity) => identity,
            None => host_name().map_err(ArgsError::Identity)?,
        };
        Ok(Settings {
            namespace: self.namespace,
            identity,
            watch_namespaces: self.watch_namespace.into_iter().filter(|name| !name.is_empty()).collect(),
            public_url: url.as_str().trim_end_matches('/').to_owned(),
            audit_dir: self.audit_dir,
            audit: self.audit,
            admin_listen: self.admin_listen,
            allowed_hosts: AllowedHosts::new(self.allowed_host.iter().filter(|host| !host.is_empty()))?,
            graph_ca: file("--graph-ca", self.graph_ca)?,
            booking_ca: file("--booking-ca", self.booking_ca)?,
            lease,
            life_minutes: self.subscription_life_minutes,
            resync_after_silence: self.resync_after_silence,
            resync_every,
            occurrence_horizon: Duration::from_hours(24 * u64::from(self.occurrence_horizon_days)),
            deletes_per_second: self.record_deletes_per_second,
            concurrency: self.concurrency,
            budgets: BudgetSettings { writes: self.subscription_writes, ..BudgetSettings::default() },
        })
    }
}

fn file(flag: &'static str, path: Option<PathBuf>) -> Result<Option<Vec<u8>>, ArgsError> {
    path.map(|path| fs::read(&path).map_err(|source| ArgsError::File { flag, path, source })).transpose()
}

fn host_name() -> std::io::Result<String> {
    // In a pod this is the pod's name.
    Ok(fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned())
}

/// A duration as Kubernetes writes it (`35s`, `1m30s`, `500ms`).
fn duration(text: &str) -> Result<Duration, String> {
    let parsed: kube::core::Duration =
        text.parse().map_err(|_| "expected a duration such as 35s or 1m30s")?;
    if parsed.is_negative() { Err("a duration cannot be negative".to_owned()) } else { Ok(parsed.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(extra: &[&str]) -> Result<Settings, ArgsError> {
        let base = ["operator", "--namespace", "n", "--identity", "a", "--audit-dir", "audit"];
        Args::parse_from(base.iter().chain(extra)).settings()
    }

    #[test]
    fn the_defaults_are_those_of_the_design() {
        let settings = settings(&["--public-url", "https://rooms.example/hook/"]).unwrap();
        assert_eq!(settings.public_url, "https://rooms.example/hook");
        assert_eq!(settings.lease.duration, Duration::from_secs(35));
        assert_eq!(settings.lease.renew_deadline, Duration::from_secs(30));
        assert_eq!(settings.lease.retry, Duration::from_secs(5));
        assert_eq!(settings.resync_after_silence, Duration::from_hours(24));
        assert_eq!(settings.resync_every, Some(Duration::from_hours(7 * 24)));
        assert_eq!((settings.life_minutes, settings.concurrency), (10_065, 8));
        assert_eq!(settings.occurrence_horizon, Duration::from_hours(24 * 365));
        assert_eq!(settings.deletes_per_second.get(), 500);
        assert_eq!((settings.budgets.writes.get(), settings.budgets.period), (500, Duration::from_secs(20)));
    }

    #[test]
    fn what_cannot_work_names_the_flag() {
        let url = ["--public-url", "https://rooms.example"];
        assert!(matches!(settings(&["--public-url", "http://rooms.example"]), Err(ArgsError::PublicUrl(_))));
        assert!(matches!(settings(&["--public-url", "https://r.example/?a"]), Err(ArgsError::PublicUrl(_))));
        let lease = settings(&[url[0], url[1], "--lease-duration", "5s", "--lease-renew-deadline", "5s"]);
        assert!(matches!(lease, Err(ArgsError::Lease(..))));
        let silence = settings(&[url[0], url[1], "--resync-after-silence", "0s"]);
        assert!(silence.unwrap_err().to_string().starts_with("--resync-after-silence 0ns"));
        let every = |time| settings(&[url[0], url[1], "--resync-every", time]);
        assert!(every("10ms").unwrap_err().to_string().starts_with("--resync-every 10ms"));
        assert_eq!(every("0s").unwrap().resync_every, None);
        let host = settings(&[url[0], url[1], "--allowed-host", "https://a.example"]);
        assert!(host.unwrap_err().to_string().starts_with("--allowed-host"));
        let file = settings(&[url[0], url[1], "--graph-ca", "does-not-exist.pem"]);
        assert!(file.unwrap_err().to_string().starts_with("--graph-ca does-not-exist.pem"));
    }
}
