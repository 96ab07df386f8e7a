//! Flags of both daemons.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::ArgAction;

/// How the audit is kept.
#[derive(Clone, Debug, clap::Args)]
pub struct AuditArgs {
    /// What cannot be entered in the audit is not done. With false it is done, and counted as lost to the audit.
    #[arg(long, env = "ROOMKEEPER_AUDIT_FAIL_CLOSED", default_value_t = true, action = ArgAction::Set)]
    pub audit_fail_closed: bool,
    /// Time between two signed checkpoints of a log that grew.
    #[arg(long, env = "ROOMKEEPER_AUDIT_CHECKPOINT_INTERVAL", default_value = "1m", value_parser = interval)]
    pub audit_checkpoint_interval: Duration,
    /// After this time, lines of the audit that were exported are dropped, a whole segment at a time. They are kept when not given.
    #[arg(long, env = "ROOMKEEPER_AUDIT_RETENTION", value_parser = interval)]
    pub audit_retention: Option<Duration>,
    /// Folder, on a volume of the pod, below which an AccessScope may name a folder to export its audit to. None may be named when not given.
    #[arg(long, env = "ROOMKEEPER_AUDIT_EXPORT_FOLDER")]
    pub audit_export_folder: Option<PathBuf>,
    /// Certificate authorities (PEM) trusted for destinations of the audit's export besides the platform's own.
    #[arg(long, env = "ROOMKEEPER_AUDIT_EXPORT_CA")]
    pub audit_export_ca: Option<PathBuf>,
    /// Address on the pod's loopback where auditors are given copies of the audit; they reach it through the API server. Nobody is when not given.
    #[arg(long, env = "ROOMKEEPER_AUDIT_LISTEN", value_parser = loopback)]
    pub audit_listen: Option<SocketAddr>,
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "expected an address with a port such as 127.0.0.1:9443")?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("expected an address of the loopback".to_owned())
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let parsed: kube::core::Duration =
        text.parse().map_err(|_| "expected a duration such as 30s or 1m30s")?;
    let time = Duration::from(parsed);
    if parsed.is_negative() || time < Duration::from_secs(1) {
        return Err("expected at least 1s".to_owned());
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        audit: AuditArgs,
    }

    #[test]
    fn the_audit_is_closed_by_default_and_kept() {
        let parsed = Program::parse_from(["program"]).audit;
        assert!(parsed.audit_fail_closed && parsed.audit_retention.is_none());
        assert_eq!(parsed.audit_checkpoint_interval, Duration::from_mins(1));
        let more = ["program", "--audit-fail-closed", "false", "--audit-retention", "720h"];
        let parsed = Program::parse_from(more).audit;
        assert!(!parsed.audit_fail_closed);
        assert_eq!(parsed.audit_retention, Some(Duration::from_hours(720)));
        assert!(Program::try_parse_from(["program", "--audit-checkpoint-interval", "0s"]).is_err());
        for (address, is_good) in
            [("127.0.0.1:9443", true), ("[::1]:0", true), ("0.0.0.0:9443", false), ("9443", false)]
        {
            assert_eq!(
                Program::try_parse_from(["program", "--audit-listen", address]).is_ok(),
                is_good,
                "{address}"
            );
        }
        assert!(Program::try_parse_from(["program", "--audit-checkpoint-interval", "-1m"]).is_err());
    }
}
