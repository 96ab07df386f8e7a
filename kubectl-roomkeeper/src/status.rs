//! `status`: how AccessScopes, subscriptions and consents stand, as figures.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use kube::ResourceExt as _;
use roomkeeper_crds::{
    AccessScope, CalendarSubscription, ConsentRecord,
    condition::{self, Type},
};
use serde::Serialize;

use crate::{
    api::{Cluster, Where},
    args::Status,
    output::{self, Format, age},
    table::Table,
};

/// One AccessScope.
#[derive(Serialize, Default, Debug)]
#[serde(rename_all = "camelCase")]
struct Line {
    namespace: String,
    name: String,
    ready: String,
    reason: String,
    message: String,
    members: Option<i64>,
    members_resolved_at: Option<String>,
    /// CalendarSubscriptions with a living Graph subscription, without one, and with one or none where a person must act; counted
    /// here, since the scope's own figures follow after a while.
    active: usize,
    pending: usize,
    stalled: usize,
    consents_standing: usize,
    consents_withdrawn: usize,
    /// CalendarSubscriptions by the reason of their `Ready`.
    reasons: BTreeMap<String, usize>,
    #[serde(skip)]
    resolved: Option<Timestamp>,
}

/// Prints the overview.
pub(crate) async fn run(cluster: &Cluster, request: &Status) -> anyhow::Result<()> {
    let (scopes, subscriptions, consents): (Vec<AccessScope>, Vec<CalendarSubscription>, Vec<ConsentRecord>) =
        tokio::try_join!(cluster.list(), cluster.list(), cluster.list())?;
    let format = request.output.output;
    let lines = lines(&scopes, &subscriptions, &consents);
    if lines.is_empty() && matches!(format, None | Some(Format::Wide)) {
        eprintln!("No AccessScopes found {}.", cluster.place);
        return Ok(());
    }
    let names: Vec<String> = lines.iter().map(|line| output::name("accessscope", &line.name)).collect();
    let namespaces = matches!(cluster.place, Where::All);
    let people = people(&lines, namespaces, format == Some(Format::Wide), Timestamp::now());
    output::print(format, &lines, &names, people)
}

fn lines(
    scopes: &[AccessScope],
    subscriptions: &[CalendarSubscription],
    consents: &[ConsentRecord],
) -> Vec<Line> {
    let mut lines: BTreeMap<(String, String), Line> = BTreeMap::new();
    for scope in scopes {
        let status = scope.status.clone().unwrap_or_default();
        let ready = condition::get(&status.conditions, Type::Ready);
        let said = |read: fn(&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition) -> &String| {
            ready.map(|ready| read(ready).clone()).unwrap_or_default()
        };
        let key = (scope.namespace().unwrap_or_default(), scope.name_any());
        let line = Line {
            namespace: key.0.clone(),
            name: key.1.clone(),
            ready: said(|ready| &ready.status),
            reason: said(|ready| &ready.reason),
            message: said(|ready| &ready.message),
            members: status.members.as_ref().map(|members| members.count),
            members_resolved_at: status.members.as_ref().map(|members| members.resolved_at.0.to_string()),
            resolved: status.members.as_ref().map(|members| members.resolved_at.0),
            ..Line::default()
        };
        lines.insert(key, line);
    }
    // What names a scope that is gone counts under its name, with nothing said of the scope.
    let mut of = |namespace: Option<String>, scope: &str, count: &dyn Fn(&mut Line)| {
        let key = (namespace.unwrap_or_default(), scope.to_owned());
        let line = lines.entry(key.clone()).or_insert_with(|| Line {
            namespace: key.0,
            name: key.1,
            reason: "ScopeNotFound".to_owned(),
            ..Line::default()
        });
        count(line);
    };
    for object in subscriptions {
        let status = object.status.as_ref();
        let conditions = status.map(|status| status.conditions.as_slice()).unwrap_or_default();
        let reason = condition::get(conditions, Type::Ready).map_or("Unseen", |ready| ready.reason.as_str());
        let subscribed = status.is_some_and(|status| status.subscription.is_some());
        let stalled = condition::is_true(conditions, Type::Stalled);
        of(object.namespace(), &object.spec.scope_ref.name, &|line| {
            *line.reasons.entry(reason.to_owned()).or_default() += 1;
            let count = match (stalled, subscribed) {
                (true, _) => &mut line.stalled,
                (false, true) => &mut line.active,
                (false, false) => &mut line.pending,
            };
            *count += 1;
        });
    }
    for record in consents {
        let withdrawn = record.spec.withdrawn.is_some();
        of(record.namespace(), &record.spec.scope.name, &|line| {
            let count = if withdrawn { &mut line.consents_withdrawn } else { &mut line.consents_standing };
            *count += 1;
        });
    }
    lines.into_values().collect()
}

fn people(lines: &[Line], namespaces: bool, wide: bool, now: Timestamp) -> impl fmt::Display {
    let mut heads = vec![
        "SCOPE",
        "READY",
        "REASON",
        "MEMBERS",
        "READ",
        "ACTIVE",
        "PENDING",
        "STALLED",
        "CONSENTS",
        "WITHDRAWN",
    ];
    let mut reasons = vec!["SCOPE", "SUBSCRIPTIONS", "COUNT"];
    if namespaces {
        heads.insert(0, "NAMESPACE");
        reasons.insert(0, "NAMESPACE");
    }
    if wide {
        heads.push("MESSAGE");
    }
    let (mut scopes, mut by_reason) = (Table::new(&heads), Table::new(&reasons));
    for line in lines {
        let own = |mut cells: Vec<String>| {
            if namespaces {
                cells.insert(0, line.namespace.clone());
            }
            cells
        };
        let mut cells = vec![
            line.name.clone(),
            line.ready.clone(),
            line.reason.clone(),
            line.members.map(|count| count.to_string()).unwrap_or_default(),
            line.resolved.map(|at| age(at, now)).unwrap_or_default(),
            line.active.to_string(),
            line.pending.to_string(),
            line.stalled.to_string(),
            line.consents_standing.to_string(),
            line.consents_withdrawn.to_string(),
        ];
        if wide {
            cells.push(line.message.clone());
        }
        scopes.row(own(cells));
        for (reason, count) in &line.reasons {
            by_reason.row(own(vec![line.name.clone(), reason.clone(), count.to_string()]));
        }
    }
    format!("{scopes}\n{by_reason}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_are_told_per_scope_also_of_one_that_is_gone() {
        let subscription = |scope: &str, reason: &str| -> CalendarSubscription {
            let subscribed = json!({"id": "x", "createdAt": "2026-11-23T09:00:00Z", "renewAt": "2026-11-28T10:00:00Z", "expiresAt": "2026-11-30T10:00:00Z"});
            let subscribed = if reason == "Succeeded" { subscribed } else { json!(null) };
            serde_json::from_value(json!({
                "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "CalendarSubscription",
                "metadata": {"name": "one", "namespace": "rooms"},
                "spec": {"scopeRef": {"name": scope}, "user": "user1@contoso.example"},
                "status": {"subscription": subscribed, "conditions": [{"type": "Ready", "status": "True", "reason": reason, "message": "", "lastTransitionTime": "2026-11-23T09:00:00Z"}]},
            }))
            .unwrap()
        };
        let consents: Vec<ConsentRecord> =
            serde_yaml::from_str(include_str!("../fixtures/register.yaml")).unwrap();
        let scope: AccessScope = serde_yaml::from_str(include_str!("../fixtures/scope.yaml")).unwrap();
        let subscriptions = [
            subscription("contoso", "Succeeded"),
            subscription("contoso", "Succeeded"),
            subscription("contoso", "OutOfScope"),
            subscription("gone", "ReferenceNotFound"),
        ];
        let lines = lines(&[scope], &subscriptions, &consents);
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        assert_eq!(
            people(&lines, false, false, now).to_string(),
            "SCOPE     READY    REASON          MEMBERS   READ     ACTIVE   PENDING   STALLED   CONSENTS   WITHDRAWN\n\
             contoso   True     Succeeded       5         10m      2        1         0         1          1\n\
             gone      <none>   ScopeNotFound   <none>    <none>   0        1         0         0          0\n\
             \n\
             SCOPE     SUBSCRIPTIONS       COUNT\n\
             contoso   OutOfScope          1\n\
             contoso   Succeeded           2\n\
             gone      ReferenceNotFound   1\n"
        );
        assert!(!people(&lines, true, true, now).to_string().contains('@'), "no personal data");
    }
}
