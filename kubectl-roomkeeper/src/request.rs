//! `resync` and `renew`: ask the operator by annotation, and wait for its answer in the status.

use std::{fmt, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use roomkeeper_crds::{
    CalendarSubscription, CalendarSubscriptionStatus, ConsentRecord, annotation,
    condition::{self, Type},
};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    api::{Cluster, Where, told},
    args::Request,
    exit::Failure,
    output,
    table::Table,
    user::{meant, places},
};

/// Time between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(500);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Resync,
    Renew,
}

impl Kind {
    fn annotation(self) -> &'static str {
        match self {
            Self::Resync => annotation::RECONCILE_REQUESTED_AT,
            Self::Renew => annotation::RENEW_REQUESTED_AT,
        }
    }
}

/// What became of one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    namespace: String,
    name: String,
    answered: bool,
    message: String,
}

/// Asks, waits, and prints the answers.
pub(crate) async fn run(cluster: &Cluster, kind: Kind, request: &Request) -> anyhow::Result<()> {
    let objects = chosen(cluster, request).await?;
    if objects.is_empty() {
        return Err(Failure::NotFound(format!("no CalendarSubscription {}", cluster.place)).into());
    }
    let value = Timestamp::now().to_string();
    let body = Patch::Merge(json!({"metadata": {"annotations": {kind.annotation(): value}}}));
    let params =
        PatchParams { field_manager: Some(annotation::MANAGER_PLUGIN.to_owned()), ..PatchParams::default() };
    for object in &objects {
        let api: Api<CalendarSubscription> = cluster.api(&object.namespace().unwrap_or_default());
        api.patch(&object.name_any(), &params, &body).await.map_err(told).with_context(|| {
            format!(
                "annotate {} with {}",
                output::name("calendarsubscription", &object.name_any()),
                kind.annotation()
            )
        })?;
    }
    let answers = wait(cluster, kind, &objects, &value, request.timeout).await?;
    let names: Vec<String> =
        answers.iter().map(|answer| output::name("calendarsubscription", &answer.name)).collect();
    let namespaces = matches!(cluster.place, Where::All);
    output::print(request.output.output, &answers, &names, table(&answers, namespaces))?;
    let open = answers.iter().filter(|answer| !answer.answered).count();
    if open > 0 && !request.timeout.is_zero() {
        return Err(Failure::TimedOut(format!(
            "{open} of {} requests were not answered within {} s; they stand and are answered later: are operator and webhook server running?",
            answers.len(),
            request.timeout.as_secs()
        ))
        .into());
    }
    Ok(())
}

async fn chosen(cluster: &Cluster, request: &Request) -> anyhow::Result<Vec<CalendarSubscription>> {
    let subscriptions: Vec<CalendarSubscription> = cluster.list().await?;
    let scope = request.choice.scope.as_deref();
    let Some(user) = &request.user else {
        let wanted =
            |object: &CalendarSubscription| scope.is_none_or(|name| object.spec.scope_ref.name == name);
        return Ok(subscriptions.into_iter().filter(wanted).collect());
    };
    let consents: Vec<ConsentRecord> = cluster.list().await?;
    let known = places(user, &consents, &subscriptions, scope);
    let places = meant(user, known, request.choice.all_scopes, &cluster.place.to_string())?;
    let objects: Vec<_> = places.into_iter().flat_map(|place| place.subscriptions).collect();
    if objects.is_empty() {
        return Err(Failure::NotFound(format!(
            "USER {}: no CalendarSubscription of that user {}: kubectl roomkeeper explain says why",
            user.as_str(),
            cluster.place
        ))
        .into());
    }
    Ok(objects)
}

async fn wait(
    cluster: &Cluster,
    kind: Kind,
    objects: &[CalendarSubscription],
    value: &str,
    timeout: Duration,
) -> anyhow::Result<Vec<Answer>> {
    let deadline = Instant::now() + timeout;
    let mut answers: Vec<Option<Answer>> = vec![None; objects.len()];
    loop {
        for (object, answer) in objects.iter().zip(&mut answers) {
            if answer.as_ref().is_some_and(|answer| answer.answered) {
                continue;
            }
            let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
            let api: Api<CalendarSubscription> = cluster.api(&namespace);
            let now = api
                .get_opt(&name)
                .await
                .map_err(told)
                .with_context(|| format!("get {}", output::name("calendarsubscription", &name)))?;
            let (answered, message) = match now {
                Some(now) => judge(kind, &now.status.unwrap_or_default(), value),
                None => (true, "deleted meanwhile".to_owned()),
            };
            *answer = Some(Answer { namespace, name, answered, message });
        }
        let all: Vec<Answer> = answers.iter().flatten().cloned().collect();
        if all.iter().all(|answer| answer.answered) || Instant::now() >= deadline {
            return Ok(all);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether the status answers the request, and what it says. Pure.
fn judge(kind: Kind, status: &CalendarSubscriptionStatus, value: &str) -> (bool, String) {
    let handled = match kind {
        Kind::Resync => &status.last_handled_reconcile_at,
        Kind::Renew => &status.last_handled_renew_at,
    };
    if handled.as_deref() != Some(value) {
        let ready = condition::get(&status.conditions, Type::Ready).filter(|ready| ready.status != "True");
        let why = ready.map(|ready| format!(": {}", ready.message)).unwrap_or_default();
        return (false, format!("the operator has not answered yet{why}"));
    }
    let Some(subscription) = &status.subscription else {
        let ready = condition::get(&status.conditions, Type::Ready);
        let why = ready.map_or_else(
            || "no reason known".to_owned(),
            |ready| format!("{}: {}", ready.reason, ready.message),
        );
        return (true, format!("not subscribed: {why}"));
    };
    match kind {
        Kind::Renew => {
            let at = subscription.authorized_at.as_ref().map(|at| at.0.to_string()).unwrap_or_default();
            let asked: Option<Timestamp> = value.parse().ok();
            let before = subscription.authorized_at.as_ref().zip(asked).is_some_and(|(at, asked)| {
                // Times are written in whole seconds.
                at.0.as_second() < asked.as_second()
            });
            let until = subscription.expires_at.0;
            if before {
                return (
                    true,
                    format!(
                        "not sent again: authorised at {at}, and Graph wants no second one within 10 minutes; lives until {until}"
                    ),
                );
            }
            (true, format!("renewed at {at}; lives until {until}"))
        }
        Kind::Resync => {
            let asked = status.resync.as_ref().map(|resync| resync.requested.0);
            let answered = status.delivery.as_ref().and_then(|delivery| delivery.resync_handled.as_ref());
            match (asked, answered) {
                (Some(asked), Some(answered)) if answered.0 >= asked => (
                    true,
                    format!("Graph knows the subscription; the calendar was read again, as asked at {asked}"),
                ),
                (Some(_), _) => {
                    (false, "Graph knows the subscription; the calendar is being read again".to_owned())
                }
                (None, _) => (false, "the operator has not asked the worker yet".to_owned()),
            }
        }
    }
}

fn table(answers: &[Answer], namespaces: bool) -> impl fmt::Display {
    let mut table = if namespaces {
        Table::new(&["NAMESPACE", "NAME", "ANSWERED", "RESULT"])
    } else {
        Table::new(&["NAME", "ANSWERED", "RESULT"])
    };
    for answer in answers {
        let mut row = vec![
            answer.name.clone(),
            if answer.answered { "yes" } else { "no" }.to_owned(),
            answer.message.clone(),
        ];
        if namespaces {
            row.insert(0, answer.namespace.clone());
        }
        table.row(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "2026-11-23T10:00:00.5Z";

    fn judged(kind: Kind, status: &str) -> (bool, String) {
        judge(kind, &serde_yaml::from_str(status).unwrap(), VALUE)
    }

    const LIVES: &str = "subscription: {id: x, createdAt: \"2026-11-23T09:00:00Z\", renewAt: \"2026-11-28T10:00:00Z\", expiresAt: \"2026-11-30T10:00:00Z\"";

    #[test]
    fn a_request_is_answered_by_its_own_value() {
        let open = "{lastHandledReconcileAt: other, conditions: [{type: Ready, status: \"False\", reason: Throttled, message: Graph asks to wait, lastTransitionTime: \"2026-11-23T09:00:00Z\"}]}";
        let (answered, message) = judged(Kind::Resync, open);
        assert!(!answered && message.ends_with("yet: Graph asks to wait"), "{message}");
        assert!(!judged(Kind::Renew, "{}").0);
    }

    #[test]
    fn a_resync_is_done_when_the_worker_says_so() {
        let asked = format!(
            "lastHandledReconcileAt: {VALUE:?}\n{LIVES}}}\nresync: {{requested: \"2026-11-23T10:00:01Z\", reason: Requested}}\n"
        );
        assert!(!judged(Kind::Resync, &asked).0);
        let before = format!("{asked}delivery: {{resyncHandled: \"2026-11-23T09:00:01Z\"}}");
        assert!(!judged(Kind::Resync, &before).0);
        let done = format!("{asked}delivery: {{resyncHandled: \"2026-11-23T10:00:01Z\"}}");
        let (answered, message) = judged(Kind::Resync, &done);
        assert!(answered && message.contains("read again"), "{message}");
    }

    #[test]
    fn a_renewal_says_whether_it_was_sent() {
        let at = |at: &str| {
            judged(Kind::Renew, &format!("lastHandledRenewAt: {VALUE:?}\n{LIVES}, authorizedAt: {at:?}}}\n"))
        };
        assert_eq!(
            at("2026-11-23T10:00:00Z"),
            (true, "renewed at 2026-11-23T10:00:00Z; lives until 2026-11-30T10:00:00Z".to_owned())
        );
        let (answered, message) = at("2026-11-23T09:55:00Z");
        assert!(answered && message.starts_with("not sent again"), "{message}");
        let none = format!(
            "lastHandledRenewAt: {VALUE:?}\nconditions: [{{type: Ready, status: \"True\", reason: AwaitingConsent, message: nobody asked, lastTransitionTime: \"2026-11-23T09:00:00Z\"}}]"
        );
        assert_eq!(
            judged(Kind::Renew, &none),
            (true, "not subscribed: AwaitingConsent: nobody asked".to_owned())
        );
    }
}
