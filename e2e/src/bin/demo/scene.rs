//! The running system and what the story does with it.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use roomkeeper_controlplane::ControlPlane;
use roomkeeper_crds::{AccessScope, BookingRecord, CalendarSubscription};
use roomkeeper_e2e::{
    condition, install,
    outlook::Outlook,
    plugin::Plugin,
    programs,
    system::{Daemon, System},
    wait,
};

use crate::narrator::Narrator;

/// Namespace of the examples.
pub(crate) const NAMESPACE: &str = "contoso";

/// Longest wait for one step.
pub(crate) const STEP: Duration = Duration::from_mins(1);

/// Flags that make the daemons as quick as a viewer wants them.
const OPERATOR_FLAGS: &[&str] =
    &["--lease-duration", "10s", "--lease-renew-deadline", "8s", "--lease-retry-period", "1s"];
const WEBHOOK_FLAGS: &[&str] = &["--debounce", "500ms"];

/// Identity of the webhook server, under which its queue is found again.
const WEBHOOK: &str = "webhook-0";

pub(crate) struct Scene<'a> {
    pub(crate) system: System,
    pub(crate) narrator: &'a mut Narrator,
    pub(crate) outlook: Outlook,
    pub(crate) webhook: Daemon,
    operators: Vec<Daemon>,
    control_plane: ControlPlane,
    client: Client,
    support_kubeconfig: PathBuf,
}

impl<'a> Scene<'a> {
    /// Applies the examples and starts the daemons.
    pub(crate) async fn set(
        control_plane: ControlPlane,
        system: System,
        narrator: &'a mut Narrator,
    ) -> anyhow::Result<Self> {
        let client = control_plane.admin_client().await?;
        let support_kubeconfig = control_plane.kubeconfig_for("support-1", &["roomkeeper-support"])?;
        std::fs::create_dir(exports(&system))?;
        let folder = exports(&system).display().to_string();
        let exporting = ["--audit-export-folder", folder.as_str()];
        let mut operators = Vec::new();
        for identity in ["operator-0", "operator-1"] {
            operators.push(system.operator(identity, &[OPERATOR_FLAGS, &exporting].concat()).await?);
        }
        let webhook = system.webhook(WEBHOOK, &[WEBHOOK_FLAGS, &exporting].concat()).await?;
        let outlook = system.outlook().await?;
        let scene =
            Self { system, narrator, outlook, webhook, operators, control_plane, client, support_kubeconfig };
        for daemon in scene.operators.iter().chain([&scene.webhook]) {
            daemon.ready().await?;
        }
        scene.narrator.seen("two operators (one leads) and the webhook server are ready, each with its ServiceAccount's rights");
        for file in [
            "00-namespace.yaml",
            "01-rbac.yaml",
            "02-secrets.yaml",
            "03-access-scope.yaml",
            "04-calendar-subscription.yaml",
        ] {
            scene.apply(file)?;
        }
        scene.narrator.seen("docs/examples/*.yaml are applied (with the simulators in place of Microsoft and the booking product)");
        Ok(scene)
    }

    /// `kubectl apply` of an example.
    pub(crate) fn apply(&self, file: &str) -> anyhow::Result<()> {
        let path = self.system.folder().join(file);
        std::fs::write(&path, self.system.example(file)?)?;
        self.kubectl(&["apply", "-f", &path.display().to_string()]).map(drop)
    }

    /// Runs kubectl as the cluster's administrator in the namespace of the examples.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        output(self.control_plane.kubectl().args(["-n", NAMESPACE]).args(arguments))
    }

    /// Runs kubectl as a member of the support group, with the plugin on its path.
    pub(crate) fn kubectl_as_support(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let plugin = programs::path("kubectl-roomkeeper")?;
        let folder = plugin.parent().context("folder of the plugin")?.to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&path)))?;
        let mut kubectl = self.control_plane.kubectl();
        output(
            kubectl
                .env("PATH", path)
                .env("KUBECONFIG", &self.support_kubeconfig)
                .args(arguments)
                .args(["-n", NAMESPACE]),
        )
    }

    /// Prints a kubectl command and what it says.
    pub(crate) fn show(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let text = self.kubectl(arguments)?;
        Narrator::command(&format!("kubectl -n {NAMESPACE} {}", arguments.join(" ")), &text);
        Ok(())
    }

    /// Asks for a reconciliation by annotation; returns the value that is to be answered.
    pub(crate) fn request_reconcile(&self, object: &str) -> anyhow::Result<String> {
        let value = jiff::Timestamp::now().to_string();
        let annotation = format!("{}={value}", roomkeeper_crds::annotation::RECONCILE_REQUESTED_AT);
        self.kubectl(&["annotate", "--overwrite", object, &annotation])?;
        Ok(value)
    }

    pub(crate) async fn scope(&self) -> anyhow::Result<AccessScope> {
        Ok(Api::namespaced(self.client.clone(), NAMESPACE).get("contoso").await?)
    }

    pub(crate) async fn records(&self) -> anyhow::Result<Vec<BookingRecord>> {
        let api: Api<BookingRecord> = Api::namespaced(self.client.clone(), NAMESPACE);
        Ok(api.list(&ListParams::default()).await?.items)
    }

    pub(crate) async fn record_of(&self, event_id: &str) -> anyhow::Result<Option<BookingRecord>> {
        Ok(self.records().await?.into_iter().find(|record| record.spec.event_id == event_id))
    }

    /// The CalendarSubscription of a user, by the object id in its status or its spec.
    pub(crate) async fn subscription_of(
        &self,
        user_id: &str,
    ) -> anyhow::Result<Option<CalendarSubscription>> {
        let api: Api<CalendarSubscription> = Api::namespaced(self.client.clone(), NAMESPACE);
        Ok(api.list(&ListParams::default()).await?.items.into_iter().find(|one| {
            one.spec.user == user_id
                || one.status.as_ref().and_then(|status| status.user_id.as_deref()) == Some(user_id)
        }))
    }

    /// Waits until the user's CalendarSubscription has these conditions (`type`, `status` or `status/reason`); returns its name.
    pub(crate) async fn until_subscription(
        &self,
        user_id: &str,
        wanted: &[(&str, &str)],
    ) -> anyhow::Result<String> {
        let what = format!("CalendarSubscription with {wanted:?}");
        wait::until(&what, STEP, || async {
            let Some(found) = self.subscription_of(user_id).await? else { return Ok(None) };
            let conditions =
                found.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
            let seen: Vec<_> = wanted.iter().map(|(type_, _)| condition::among(conditions, type_)).collect();
            if seen.iter().zip(wanted).all(|(seen, (_, wanted))| says(seen.as_deref(), wanted)) {
                return Ok(Some(found.name_any()));
            }
            bail!("conditions are {}", summary(conditions))
        })
        .await
    }

    /// Kills the webhook server as a node failure would.
    pub(crate) fn kill_webhook(&self) -> anyhow::Result<()> {
        self.webhook.process.kill()?;
        Ok(())
    }

    /// Starts the webhook server again on its queue.
    pub(crate) async fn restart_webhook(&mut self) -> anyhow::Result<()> {
        let folder = self.exports().display().to_string();
        let flags = [WEBHOOK_FLAGS, &["--audit-export-folder", folder.as_str()]].concat();
        self.webhook = self.system.webhook(WEBHOOK, &flags).await?;
        Ok(())
    }

    /// Folder below which audits may be exported.
    pub(crate) fn exports(&self) -> PathBuf {
        exports(&self.system)
    }

    /// Runs the plugin as somebody without any right in the cluster; returns its exit code and what it said.
    pub(crate) fn plugin(&self, arguments: &[&str]) -> anyhow::Result<(i32, String)> {
        let said = Plugin::of(&self.control_plane.kubeconfig_for("auditor-outside", &[])?)?.run(arguments)?;
        Ok((said.code, said.out + &said.err))
    }

    /// The end of each daemon's log, for the reader of a failure.
    pub(crate) fn show_logs(&self, error: &anyhow::Error) {
        eprintln!("{error:#}\n--- the last lines of each log follow");
        for daemon in self.operators.iter().chain([&self.webhook]) {
            eprintln!("--- {}\n{}", daemon.process.log().display(), daemon.process.log_tail(25));
        }
    }

    pub(crate) fn print_how_to_look(&self) {
        println!("\nEverything keeps running until Ctrl-C. In another shell:\n");
        println!("  export KUBECONFIG={}", self.control_plane.admin_kubeconfig_path().display());
        println!("  {} -n {NAMESPACE} get roomkeeper", self.control_plane.kubectl_path().display());
        println!("  logs, audit, queue: {}", self.system.folder().display());
        println!("  namespace of the installation: {}", install::NAMESPACE);
    }

    /// Ends the daemons as Kubernetes would; an operator or webhook server that does not end in order is an error.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        self.system.keep_shown(&self.client).await?;
        for daemon in self.operators.iter().chain([&self.webhook]) {
            let status = daemon.process.stop(Duration::from_secs(25)).await?;
            if !status.success() {
                bail!("{} did not end in order: {status}", daemon.process.log().display());
            }
        }
        self.system.stop();
        self.narrator.seen("all daemons ended in order; nothing is left behind");
        drop(self.client);
        self.control_plane.stop().await?;
        Ok(())
    }
}

fn output(command: &mut std::process::Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("kubectl failed: {}{}", text, String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}

/// Whether a condition, as `status/reason`, has that status, or status and reason.
fn says(seen: Option<&str>, wanted: &str) -> bool {
    seen.is_some_and(|seen| seen == wanted || seen.split('/').next() == Some(wanted))
}

fn summary(conditions: &[Condition]) -> String {
    conditions
        .iter()
        .map(|one| format!("{}={}/{} ({})", one.type_, one.status, one.reason, one.message))
        .collect::<Vec<_>>()
        .join("; ")
}

fn exports(system: &System) -> PathBuf {
    system.folder().join("exports")
}
