//! Command line, with kubectl's own flags where it has one.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use url::Url;

use crate::{
    output::{Data, Format},
    user::User,
};

const EXIT_CODES: &str = "Exit codes: 0 done, 1 error, 2 usage, 3 not found, 4 ambiguous, 5 not seen done in time, 6 audit damaged or incomplete";

/// Manage Roomkeeper's consents and subscriptions.
#[derive(Parser)]
#[command(name = "kubectl roomkeeper", bin_name = "kubectl roomkeeper", version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How to reach the cluster.
#[derive(clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Connection {
    /// Path to the kubeconfig file; without it KUBECONFIG, then the file in the home folder
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Name of the kubeconfig context
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Namespace; without it that of the context
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long, global = true, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
    /// User name to act as
    #[arg(long = "as", global = true, value_name = "USER")]
    pub(crate) impersonate: Option<String>,
    /// Group to act as; repeatable
    #[arg(long = "as-group", global = true, value_name = "GROUP", requires = "impersonate")]
    pub(crate) impersonate_groups: Vec<String>,
    /// Longest time without an answer of the API server, such as 30s or 2m; 0 waits for ever
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = time)]
    pub(crate) request_timeout: Duration,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Withdraw a user's consent and wait until their calendar is not followed any more
    Unsubscribe(Unsubscribe),
    /// Say step by step why a user's calendar is followed or not, and what to do
    Explain(Explain),
    /// Show or export the register of consents
    #[command(subcommand)]
    Consents(Consents),
    /// Check audit logs, read from them who was read and what for, or copy them from their writers
    #[command(subcommand)]
    Audit(Audit),
    /// Ask Graph whether subscriptions live, and have the calendars read again
    Resync(Request),
    /// Renew Graph subscriptions now
    Renew(Request),
    /// Overview of AccessScopes, subscriptions and consents, without personal data
    Status(Status),
    /// Print where a tenant's administrator grants the app registration of an AccessScope its permissions
    AdminConsentUrl(AdminConsentUrl),
    /// Suspend AccessScopes, wait until their Graph subscriptions have ended, and take the finalizers off; consents stay
    PrepareUninstall(PrepareUninstall),
    /// Print the completion script of a shell
    Completion(Completion),
}

/// How to print.
#[derive(clap::Args)]
pub(crate) struct Output {
    /// Output format
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,
}

/// Where a change is meant.
#[derive(clap::Args)]
pub(crate) struct Choice {
    /// Only under this AccessScope
    #[arg(long, value_name = "NAME")]
    pub(crate) scope: Option<String>,
    /// Under every AccessScope that knows the user
    #[arg(long, conflicts_with = "scope")]
    pub(crate) all_scopes: bool,
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
    pub(crate) user: User,
    /// Why: a ticket number or a few words, without personal data; it is kept in the register
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// How long to wait for the end of the subscription at Microsoft, such as 60s or 2m; 0 does not wait
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Whom to explain.
#[derive(clap::Args)]
pub(crate) struct Explain {
    /// User principal name or object id
    pub(crate) user: User,
    /// Under this AccessScope; without it under every one that knows the user
    #[arg(long, value_name = "NAME")]
    pub(crate) scope: Option<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// What to do with the register.
#[derive(Subcommand)]
pub(crate) enum Consents {
    /// List ConsentRecords
    List(ConsentsList),
    /// Write ConsentRecords to standard output, personal data included
    Export(ConsentsExport),
}

/// Which records to list.
#[derive(clap::Args)]
pub(crate) struct ConsentsList {
    /// User principal name or object id; without it everybody
    pub(crate) user: Option<User>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// Which records to export.
#[derive(clap::Args)]
pub(crate) struct ConsentsExport {
    /// User principal name or object id; without it everybody
    pub(crate) user: Option<User>,
    /// csv: RFC 4180, with what a spreadsheet would take for a formula made text; json: a list of flat objects, unchanged
    #[arg(long, value_name = "FORMAT", default_value = "csv")]
    pub(crate) format: ExportFormat,
}

/// What to do with exported audit logs.
#[derive(Subcommand)]
pub(crate) enum Audit {
    /// Prove offline that exported logs are whole; no cluster is needed
    Verify(AuditVerify),
    /// List every access to a person's calendar: when, by whom, what for, which fields
    Report(AuditReport),
    /// Copy an AccessScope's log straight from every writer, without waiting for the schedule
    Export(AuditExport),
}

/// What to check.
#[derive(clap::Args)]
pub(crate) struct AuditVerify {
    /// Exported files, or folders with them: *.jsonl, *.jsonl.gz, *.manifest.json, and *.checkpoints.jsonl from the API server
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Public keys in PEM that checkpoints and manifests are signed with; repeatable
    #[arg(long = "key", value_name = "FILE", required = true)]
    pub(crate) keys: Vec<PathBuf>,
    /// Leave checkpoints of other AccessScopes out of account, as NAMESPACE/NAME; for exports of one scope with everything that the API server keeps
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub(crate) scope: Option<String>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<Data>,
}

/// Whose calendar, and where to look.
#[derive(clap::Args)]
pub(crate) struct AuditReport {
    /// Object id; or user principal name, which is looked up in the cluster
    pub(crate) user: User,
    /// Exported files, or folders with them: *.jsonl, *.jsonl.gz
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Nothing older than this: a time, a day such as 2026-11-01 (UTC), or how long ago, such as 30d or 12h
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<Data>,
}

/// Which log to copy, and where to.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("log").required(true))]
pub(crate) struct AuditExport {
    /// Name of the AccessScope
    #[arg(group = "log")]
    pub(crate) scope: Option<String>,
    /// The log for what belongs to no AccessScope; for who may read the logs of all namespaces
    #[arg(long, group = "log")]
    pub(crate) system: bool,
    /// Folder for the files; it is made if it is not there
    #[arg(long, value_name = "FOLDER")]
    pub(crate) to: PathBuf,
    /// Only what no export has carried away yet, to go with what is at the destination
    #[arg(long)]
    pub(crate) pending: bool,
    /// ServiceAccount whose token is shown to the writers, as NAMESPACE/NAME; without it roomkeeper-auditor in the AccessScope's namespace
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub(crate) service_account: Option<String>,
    /// Namespace where Roomkeeper is installed
    #[arg(long, value_name = "NAMESPACE", default_value = "roomkeeper-system")]
    pub(crate) installation: String,
    /// Output format
    #[arg(short, long, value_name = "FORMAT")]
    pub(crate) output: Option<Data>,
}

/// Formats of the register.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExportFormat {
    Csv,
    Json,
}

/// For whom something is asked for.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("whom").required(true))]
pub(crate) struct Request {
    /// User principal name or object id
    #[arg(group = "whom")]
    pub(crate) user: Option<User>,
    /// Every CalendarSubscription
    #[arg(long, group = "whom")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) choice: Choice,
    /// How long to wait for the answer, such as 60s or 2m; 0 does not wait
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// How to show the overview.
#[derive(clap::Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) output: Output,
}

/// How to prepare an uninstallation.
#[derive(clap::Args)]
pub(crate) struct PrepareUninstall {
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Leave the finalizers on, to suspend only
    #[arg(long)]
    pub(crate) keep_finalizers: bool,
    /// How long to wait for the end of the subscriptions at Microsoft, such as 60s or 10m
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = time)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// For which shell.
#[derive(clap::Args)]
pub(crate) struct Completion {
    /// Shell
    pub(crate) shell: Shell,
}

/// Time spans as kubectl takes them: seconds without a unit, otherwise s, m or h.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(['s', 'm', 'h']);
    let unit = match text.strip_prefix(digits) {
        Some("" | "s") => Some(1),
        Some("m") => Some(60),
        Some("h") => Some(3_600),
        _ => None,
    };
    let seconds =
        digits.parse::<u64>().ok().zip(unit).and_then(|(count, unit): (u64, u64)| count.checked_mul(unit));
    // A year is more than anybody waits, and far below what overflows a clock.
    seconds
        .filter(|seconds| *seconds <= 365 * 86_400)
        .map(Duration::from_secs)
        .ok_or_else(|| "write a time such as 45s, 2m or 1h; a number alone is seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn times_are_kubectls() {
        for (text, seconds) in [("0", 0), ("90", 90), ("45s", 45), ("2m", 120), ("1h", 3_600)] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)));
        }
        for wrong in ["", "s", "-1", "1d", "1ms", "1sm", "99999999999999999999", "9999999h"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for wrong in [
            &["resync"][..],
            &["resync", "user1@contoso.example", "--all"],
            &["unsubscribe", "user1@contoso.example"],
            &["unsubscribe", "user1", "--reason", "T-1"],
            &["status", "-A", "-n", "rooms"],
            &["completion", "tcsh"],
            &["audit", "verify", "--key", "k.pem"],
            &["audit", "verify", "a.jsonl"],
            &["audit", "report", "user1@contoso.example"],
            &["audit", "export", "contoso"],
            &["audit", "export", "--to", "folder"],
            &["audit", "export", "contoso", "--system", "--to", "folder"],
        ] {
            let line = std::iter::once("kubectl roomkeeper").chain(wrong.iter().copied());
            assert!(Args::try_parse_from(line).is_err(), "{wrong:?}");
        }
    }
}
