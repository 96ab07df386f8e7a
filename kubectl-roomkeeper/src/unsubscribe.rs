//! `unsubscribe`: withdraw the consent, then wait until the Graph subscription is gone.

use std::{fmt, time::Duration};

use anyhow::{Context as _, bail};
use futures::TryStreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use roomkeeper_crds::{CalendarSubscription, ConsentRecord};
use serde_json::json;

use crate::args::Unsubscribe;

/// Longest reason that the register takes.
const REASON_LIMIT: usize = 256;

/// What was done, for people.
pub(crate) struct Outcome {
    withdrawn: Vec<String>,
    standing_before: bool,
    subscriptions: Vec<Ended>,
}

struct Ended {
    name: String,
    gone: bool,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.withdrawn {
            writeln!(f, "consentrecord.roomkeeper.dev/{name} withdrawn")?;
        }
        if !self.standing_before {
            writeln!(f, "no standing consent: it was withdrawn before")?;
        }
        for ended in &self.subscriptions {
            let what = if ended.gone {
                "no Graph subscription any more"
            } else {
                "Graph subscription not gone yet: see its conditions"
            };
            writeln!(f, "calendarsubscription.roomkeeper.dev/{}: {what}", ended.name)?;
        }
        if self.subscriptions.is_empty() {
            writeln!(f, "no CalendarSubscription of that user")?;
        }
        Ok(())
    }
}

/// Withdraws every standing consent of the user in the namespace (and scope), and waits for the effect.
pub(crate) async fn run(client: Client, namespace: &str, request: &Unsubscribe) -> anyhow::Result<Outcome> {
    if request.reason.is_empty() || request.reason.len() > REASON_LIMIT {
        bail!("--reason must have 1 to {REASON_LIMIT} characters, such as a ticket number");
    }
    let consents: Api<ConsentRecord> = Api::namespaced(client.clone(), namespace);
    let records: Vec<ConsentRecord> = consents
        .list(&ListParams::default())
        .await
        .with_context(|| format!("list ConsentRecords in namespace {namespace}"))?
        .items
        .into_iter()
        .filter(|record| concerns(record, &request.user, request.scope.as_deref()))
        .collect();
    if records.is_empty() {
        bail!("no ConsentRecord of that user in namespace {namespace}: check the name and -n NAMESPACE");
    }
    let by = user_name(&client).await?;
    let mut withdrawn = Vec::new();
    for record in records.iter().filter(|record| record.spec.withdrawn.is_none()) {
        withdraw(&consents, record, &by, &request.reason).await?;
        withdrawn.push(record.name_any());
    }
    let user_ids: Vec<&str> = records.iter().map(|record| record.spec.user.id.as_str()).collect();
    let subscriptions = wait(client, namespace, &user_ids, request).await?;
    let unfinished = subscriptions.iter().any(|ended| !ended.gone) && !request.timeout.is_zero();
    let outcome = Outcome { standing_before: !withdrawn.is_empty(), withdrawn, subscriptions };
    if unfinished {
        bail!(
            "{outcome}the consent is withdrawn and nothing is read any more, but Microsoft still lists a subscription after {} s",
            request.timeout.as_secs()
        );
    }
    Ok(outcome)
}

fn concerns(record: &ConsentRecord, user: &str, scope: Option<&str>) -> bool {
    let of_user = record.spec.user.id.eq_ignore_ascii_case(user)
        || record.spec.user.principal_name.eq_ignore_ascii_case(user);
    of_user && scope.is_none_or(|scope| record.spec.scope.name == scope)
}

/// The caller's name at the API server: what `withdrawn.by` has to be.
async fn user_name(client: &Client) -> anyhow::Result<String> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = reviews
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .context("ask the API server who you are (SelfSubjectReview)")?;
    review
        .status
        .and_then(|status| status.user_info)
        .and_then(|info| info.username)
        .context("the API server did not say who you are")
}

async fn withdraw(
    consents: &Api<ConsentRecord>,
    record: &ConsentRecord,
    by: &str,
    reason: &str,
) -> anyhow::Result<()> {
    // With the resourceVersion a withdrawal that somebody else wrote meanwhile is not overwritten.
    let patch = json!({
        "metadata": {"resourceVersion": record.resource_version()},
        "spec": {"withdrawn": {"at": Timestamp::now(), "by": by, "reason": reason}},
    });
    let name = record.name_any();
    consents
        .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .with_context(|| format!("withdraw consentrecord.roomkeeper.dev/{name}"))?;
    Ok(())
}

/// Watches the user's CalendarSubscriptions until none holds a Graph subscription, or the time is up.
async fn wait(
    client: Client,
    namespace: &str,
    user_ids: &[&str],
    request: &Unsubscribe,
) -> anyhow::Result<Vec<Ended>> {
    let api: Api<CalendarSubscription> = Api::namespaced(client, namespace);
    let list = async || -> anyhow::Result<Vec<Ended>> {
        let all = api.list(&ListParams::default()).await.context("list CalendarSubscriptions")?;
        Ok(all
            .items
            .iter()
            .filter(|item| request.scope.as_ref().is_none_or(|scope| item.spec.scope_ref.name == *scope))
            .filter(|item| belongs(item, user_ids, &request.user))
            .map(|item| Ended { name: item.name_any(), gone: !subscribed(item) })
            .collect())
    };
    let settled = |ended: &[Ended]| ended.iter().all(|one| one.gone);
    let first = list().await?;
    if settled(&first) || request.timeout.is_zero() {
        return Ok(first);
    }
    let watch = async {
        let mut changes = std::pin::pin!(
            watcher(api.clone(), watcher::Config::default()).default_backoff().applied_objects()
        );
        while changes.try_next().await.context("watch CalendarSubscriptions")?.is_some() {
            let now = list().await?;
            if settled(&now) {
                return Ok(now);
            }
        }
        list().await
    };
    match tokio::time::timeout(request.timeout.max(Duration::from_secs(1)), watch).await {
        Ok(result) => result,
        Err(_elapsed) => list().await,
    }
}

fn belongs(item: &CalendarSubscription, user_ids: &[&str], user: &str) -> bool {
    let id = item.status.as_ref().and_then(|status| status.user_id.as_deref());
    item.spec.user.eq_ignore_ascii_case(user)
        || user_ids.iter().any(|wanted| Some(*wanted) == id || item.spec.user == *wanted)
}

fn subscribed(item: &CalendarSubscription) -> bool {
    item.status.as_ref().is_some_and(|status| status.subscription.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(scope: &str) -> ConsentRecord {
        serde_json::from_value(json!({
            "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "ConsentRecord", "metadata": {"name": "c"},
            "spec": {
                "scope": {"name": scope, "uid": "u", "tenantId": "t", "clientId": "c"},
                "user": {"id": "2189c720-90d5-44ff-818b-fe585706ee90", "principalName": "user1@contoso.example"},
                "granted": {"at": "2026-01-01T00:00:00Z", "method": "AddIn", "noticeVersion": "2026-01"},
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_user_is_found_by_name_or_id_in_any_letter_case() {
        let record = record("contoso");
        assert!(concerns(&record, "User1@Contoso.example", None));
        assert!(concerns(&record, "2189C720-90d5-44ff-818b-fe585706ee90", Some("contoso")));
        assert!(!concerns(&record, "user1@contoso.example", Some("other")));
        assert!(!concerns(&record, "user11@contoso.example", None));
    }

    #[test]
    fn the_outcome_names_objects() {
        let outcome = Outcome {
            withdrawn: vec!["consent-a".to_owned()],
            standing_before: true,
            subscriptions: vec![Ended { name: "user1".to_owned(), gone: true }],
        };
        assert_eq!(
            outcome.to_string(),
            "consentrecord.roomkeeper.dev/consent-a withdrawn\ncalendarsubscription.roomkeeper.dev/user1: no Graph subscription any more\n"
        );
    }
}
