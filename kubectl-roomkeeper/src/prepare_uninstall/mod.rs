//! `prepare-uninstall`: suspend the AccessScopes, wait until their Graph subscriptions have ended, take the finalizers off. Consents
//! stay.

mod left;

use std::{
    fmt,
    io::{BufRead as _, IsTerminal as _, Write as _},
    time::Duration,
};

use anyhow::Context as _;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use roomkeeper_crds::{AccessScope, CalendarSubscription, annotation};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::Instant;

use self::left::{Left, left};
use crate::{
    api::{Cluster, Object, is_conflict, told},
    args::PrepareUninstall,
    exit::Failure,
    output,
};

/// Time between two looks at what is waited for: each lists everything.
const LOOK: Duration = Duration::from_secs(2);

/// Tries of a write while others write the same object.
const TRIES: usize = 4;

/// What was done, and what is left.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    suspended: Vec<String>,
    suspended_before: Vec<String>,
    left: Vec<Left>,
    finalizers_removed: usize,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.suspended {
            writeln!(f, "{name} suspended")?;
        }
        for name in &self.suspended_before {
            writeln!(f, "{name} was suspended before")?;
        }
        for left in &self.left {
            writeln!(f, "{left}")?;
        }
        if self.left.is_empty() {
            writeln!(f, "no Graph subscription is left")?;
        }
        if self.finalizers_removed > 0 {
            writeln!(
                f,
                "finalizers taken off {} objects; ConsentRecords stay as they are",
                self.finalizers_removed
            )?;
        }
        Ok(())
    }
}

/// Suspends, waits, releases, and says what is left.
pub(crate) async fn run(cluster: &Cluster, request: &PrepareUninstall) -> anyhow::Result<()> {
    let (scopes, subscriptions) = read(cluster).await?;
    if !request.yes {
        confirm(cluster, scopes.len(), &subscriptions)?;
    }
    let mut outcome = Outcome::default();
    for scope in &scopes {
        let name = format!(
            "{} -n {}",
            output::name("accessscope", &scope.name_any()),
            scope.namespace().unwrap_or_default()
        );
        if scope.spec.suspend {
            outcome.suspended_before.push(name);
        } else {
            let api: Api<AccessScope> = cluster.api(&scope.namespace().unwrap_or_default());
            let patch = Patch::Merge(json!({"spec": {"suspend": true}}));
            api.patch(&scope.name_any(), &params(), &patch)
                .await
                .map_err(told)
                .with_context(|| format!("suspend {name}"))?;
            outcome.suspended.push(name);
        }
    }
    let deadline = Instant::now() + request.timeout;
    let (scopes, subscriptions) = loop {
        let (scopes, subscriptions) = read(cluster).await?;
        outcome.left = left(&scopes, &subscriptions);
        if outcome.left.is_empty() || Instant::now() >= deadline {
            break (scopes, subscriptions);
        }
        tokio::time::sleep(LOOK).await;
    };
    if outcome.left.is_empty() && !request.keep_finalizers {
        // The scopes last: while one of them has its finalizer, its credential is there.
        for object in &subscriptions {
            outcome.finalizers_removed +=
                usize::from(release(cluster, object, annotation::FINALIZER_GRAPH_SUBSCRIPTION).await?);
        }
        for scope in &scopes {
            outcome.finalizers_removed +=
                usize::from(release(cluster, scope, annotation::FINALIZER_END_SUBSCRIPTIONS).await?);
        }
    }
    let names: Vec<String> = outcome.left.iter().map(Left::name).collect();
    output::print(request.output.output, &outcome, &names, &outcome)?;
    if outcome.left.is_empty() {
        return Ok(());
    }
    Err(Failure::TimedOut(format!(
        "{} objects are not ready for an uninstallation after {} s: do not uninstall yet, mend what is named, and run the command again",
        outcome.left.len(),
        request.timeout.as_secs()
    ))
    .into())
}

async fn read(cluster: &Cluster) -> anyhow::Result<(Vec<AccessScope>, Vec<CalendarSubscription>)> {
    tokio::try_join!(cluster.list(), cluster.list())
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(annotation::MANAGER_PLUGIN.to_owned()), ..PatchParams::default() }
}

fn confirm(cluster: &Cluster, scopes: usize, subscriptions: &[CalendarSubscription]) -> anyhow::Result<()> {
    let living = subscriptions
        .iter()
        .filter(|object| object.status.as_ref().is_some_and(|status| status.subscription.is_some()))
        .count();
    let question = format!(
        "This suspends {scopes} AccessScopes {} and ends {living} Graph subscriptions: no calendar is followed any more. Consents stay.",
        cluster.place
    );
    if !std::io::stdin().is_terminal() {
        return Err(
            Failure::Usage(format!("{question} Confirm with --yes: there is no terminal to ask on")).into()
        );
    }
    eprint!("{question}\nType yes to go on: ");
    std::io::stderr().flush().context("ask")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("read the answer")?;
    if answer.trim() == "yes" {
        Ok(())
    } else {
        Err(Failure::Usage("not confirmed: nothing was changed".to_owned()).into())
    }
}

/// Takes a finalizer off; returns whether it was there.
async fn release<K: Object + Serialize + DeserializeOwned>(
    cluster: &Cluster,
    object: &K,
    finalizer: &str,
) -> anyhow::Result<bool> {
    let api: Api<K> = cluster.api(&object.namespace().unwrap_or_default());
    let name = object.name_any();
    let what = || format!("take the finalizer off {}.{}/{name}", K::plural(&()), roomkeeper_crds::GROUP);
    let mut current = Some(object.clone());
    for _ in 0..TRIES {
        let Some(present) = current else { return Ok(false) };
        let rest: Vec<&String> = present.finalizers().iter().filter(|one| *one != finalizer).collect();
        if rest.len() == present.finalizers().len() {
            return Ok(false);
        }
        let patch: Value = json!({
            "metadata": {"resourceVersion": present.resource_version(), "finalizers": rest},
        });
        match api.patch(&name, &params(), &Patch::Merge(patch)).await {
            Ok(_) => return Ok(true),
            Err(error) if is_conflict(&error) => {}
            Err(error) => return Err(told(error)).with_context(what),
        }
        current = api.get_opt(&name).await.map_err(told).with_context(what)?;
    }
    anyhow::bail!("{}: others keep changing it: run the command again", what())
}
