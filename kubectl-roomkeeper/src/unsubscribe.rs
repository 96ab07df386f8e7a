//! `unsubscribe`: withdraw the consent, then wait until the Graph subscription is gone.

use std::{fmt, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use roomkeeper_crds::{
    CalendarSubscription, CalendarSubscriptionStatus, ConsentRecord, annotation,
    condition::{self, Type},
};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    api::{Cluster, is_conflict, told},
    args::Unsubscribe,
    exit::Failure,
    output,
    user::{Place, meant, places},
};

/// Longest reason that the register takes, in characters.
const REASON_LIMIT: usize = 256;

/// Tries of a withdrawal while others write the same record.
const TRIES: usize = 4;

/// Time between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(500);

/// What was done.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    withdrawn: Vec<String>,
    withdrawn_before: Vec<String>,
    subscriptions: Vec<Remote>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Remote {
    name: String,
    ended: bool,
    /// Why it is still there, as far as it is known.
    message: Option<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.withdrawn {
            writeln!(f, "{name} withdrawn")?;
        }
        for name in &self.withdrawn_before {
            writeln!(f, "{name} was withdrawn before")?;
        }
        for one in &self.subscriptions {
            match (&one.message, one.ended) {
                (_, true) => writeln!(f, "{}: no Graph subscription any more", one.name)?,
                (Some(message), false) => {
                    writeln!(f, "{}: Graph subscription not gone yet: {message}", one.name)?;
                }
                (None, false) => writeln!(f, "{}: Graph subscription not gone yet", one.name)?,
            }
        }
        if self.subscriptions.is_empty() {
            writeln!(f, "no CalendarSubscription of that user")?;
        }
        Ok(())
    }
}

/// Withdraws every standing consent of the user where it is meant, waits for the effect, and prints what happened.
pub(crate) async fn run(cluster: &Cluster, request: &Unsubscribe) -> anyhow::Result<()> {
    let length = request.reason.chars().count();
    if request.reason.trim().is_empty() || length > REASON_LIMIT {
        return Err(Failure::Usage(format!(
            "--reason has {length} characters: write 1 to {REASON_LIMIT}, such as a ticket number"
        ))
        .into());
    }
    let (consents, subscriptions) = tokio::try_join!(cluster.list(), cluster.list())?;
    let known = places(&request.user, &consents, &subscriptions, request.choice.scope.as_deref());
    let chosen = meant(&request.user, known, request.choice.all_scopes, &cluster.place.to_string())?;
    if chosen.iter().all(|place| place.consents.is_empty()) {
        return Err(Failure::NotFound(format!(
            "USER {}: no ConsentRecord of that user {}: nothing was granted, and nothing is read",
            request.user.as_str(),
            cluster.place
        ))
        .into());
    }
    let by = user_name(cluster).await?;
    let mut outcome = Outcome::default();
    for place in &chosen {
        for record in &place.consents {
            let name = output::name("consentrecord", &record.name_any());
            if withdraw(&cluster.api(&place.namespace), record, &by, &request.reason).await? {
                outcome.withdrawn.push(name);
            } else {
                outcome.withdrawn_before.push(name);
            }
        }
    }
    outcome.subscriptions = wait(cluster, &chosen, request.timeout).await?;
    let names: Vec<String> = outcome.withdrawn.clone();
    output::print(request.output.output, &outcome, &names, &outcome)?;
    if outcome.subscriptions.iter().any(|one| !one.ended) && !request.timeout.is_zero() {
        return Err(Failure::TimedOut(format!(
            "the consent is withdrawn and nothing is read any more, but after {} s a subscription at Microsoft is not ended: is the operator running? Wait on with the same command, or see kubectl roomkeeper explain",
            request.timeout.as_secs()
        ))
        .into());
    }
    Ok(())
}

/// The caller's name at the API server: what `withdrawn.by` has to be.
async fn user_name(cluster: &Cluster) -> anyhow::Result<String> {
    let reviews: Api<SelfSubjectReview> = Api::all(cluster.client.clone());
    let review = reviews
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .map_err(told)
        .context("ask the API server who you are (SelfSubjectReview)")?;
    review
        .status
        .and_then(|status| status.user_info)
        .and_then(|info| info.username)
        .context("the API server did not say who you are")
}

/// Returns whether it was this command that withdrew it.
async fn withdraw(
    consents: &Api<ConsentRecord>,
    record: &ConsentRecord,
    by: &str,
    reason: &str,
) -> anyhow::Result<bool> {
    let name = record.name_any();
    let what = || format!("withdraw {}", output::name("consentrecord", &name));
    let params =
        PatchParams { field_manager: Some(annotation::MANAGER_PLUGIN.to_owned()), ..PatchParams::default() };
    // The register speaks of whole seconds.
    let now = Timestamp::from_second(Timestamp::now().as_second()).context("the clock of this computer")?;
    let mut current = record.clone();
    for _ in 0..TRIES {
        if current.spec.withdrawn.is_some() {
            return Ok(false);
        }
        // With the resourceVersion a withdrawal that somebody else wrote meanwhile is not overwritten.
        let patch = json!({
            "metadata": {"resourceVersion": current.resource_version()},
            "spec": {"withdrawn": {"at": now, "by": by, "reason": reason}},
        });
        match consents.patch(&name, &params, &Patch::Merge(patch)).await {
            Ok(_) => return Ok(true),
            Err(error) if is_conflict(&error) => {
                current = consents.get(&name).await.map_err(told).with_context(what)?;
            }
            Err(error) => return Err(told(error)).with_context(what),
        }
    }
    anyhow::bail!("{}: others keep changing it: run the command again", what())
}

/// Looks at the user's CalendarSubscriptions until none holds a Graph subscription, or the time is up.
async fn wait(cluster: &Cluster, chosen: &[Place], timeout: Duration) -> anyhow::Result<Vec<Remote>> {
    let deadline = Instant::now() + timeout;
    let objects = || chosen.iter().flat_map(|place| &place.subscriptions);
    loop {
        let mut all = Vec::new();
        for object in objects() {
            all.push(look(cluster, object).await?);
        }
        if all.iter().all(|one| one.ended) || Instant::now() >= deadline {
            return Ok(all);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn look(cluster: &Cluster, object: &CalendarSubscription) -> anyhow::Result<Remote> {
    let namespace = object.namespace().unwrap_or_default();
    let name = output::name("calendarsubscription", &object.name_any());
    let api: Api<CalendarSubscription> = cluster.api(&namespace);
    let now = api.get_opt(&object.name_any()).await.map_err(told).with_context(|| format!("get {name}"))?;
    let (ended, message) = match now {
        None => (true, None),
        Some(now) => judge(&now.status.unwrap_or_default()),
    };
    Ok(Remote { name, ended, message })
}

/// Whether the status proves that nothing is left at Graph, and why not as far as it is known. Pure.
fn judge(status: &CalendarSubscriptionStatus) -> (bool, Option<String>) {
    if status.subscription.is_some() {
        let ready = condition::get(&status.conditions, Type::Ready).filter(|ready| ready.status != "True");
        return (false, ready.map(|ready| ready.message.clone()));
    }
    // One that is being made is not in the status yet: what the operator said before it saw the withdrawal proves nothing.
    match condition::get(&status.conditions, Type::Allowed) {
        Some(allowed) if allowed.status != "True" => (true, None),
        _ => (false, Some("the operator has not seen the withdrawal yet".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_names_objects() {
        let ended = |ended, message: Option<&str>| Remote {
            name: "calendarsubscription.roomkeeper.dev/user1".to_owned(),
            ended,
            message: message.map(str::to_owned),
        };
        let outcome = Outcome {
            withdrawn: vec!["consentrecord.roomkeeper.dev/consent-b".to_owned()],
            withdrawn_before: vec!["consentrecord.roomkeeper.dev/consent-a".to_owned()],
            subscriptions: vec![ended(true, None), ended(false, Some("Graph asks to wait"))],
        };
        assert_eq!(
            outcome.to_string(),
            "consentrecord.roomkeeper.dev/consent-b withdrawn\n\
             consentrecord.roomkeeper.dev/consent-a was withdrawn before\n\
             calendarsubscription.roomkeeper.dev/user1: no Graph subscription any more\n\
             calendarsubscription.roomkeeper.dev/user1: Graph subscription not gone yet: Graph asks to wait\n"
        );
    }

    #[test]
    fn only_what_the_operator_said_after_the_withdrawal_proves_the_end() {
        let judged = |status: &str| judge(&serde_yaml::from_str(status).unwrap());
        let allowed = |status: &str| {
            format!(
                "conditions: [{{type: Allowed, status: {status:?}, reason: x, message: y, lastTransitionTime: \"2026-11-23T09:00:00Z\"}}]"
            )
        };
        assert!(judged(&allowed("False")).0);
        assert!(judged(&allowed("Unknown")).0, "nothing is begun while the scope cannot tell");
        for unseen in [allowed("True"), "{}".to_owned()] {
            assert_eq!(
                judged(&unseen),
                (false, Some("the operator has not seen the withdrawal yet".to_owned()))
            );
        }
        let living = format!(
            "{}\nsubscription: {{id: x, createdAt: \"2026-11-23T09:00:00Z\", renewAt: \"2026-11-28T10:00:00Z\", expiresAt: \"2026-11-30T10:00:00Z\"}}",
            allowed("False")
        );
        assert_eq!(judged(&living), (false, None));
    }
}
