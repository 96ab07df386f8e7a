//! `explain`: every step of the decision about a calendar, in its order, and what to do.

mod remote;
mod rules;
mod steps;

#[cfg(test)]
mod tests;

use std::fmt;

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::{Api, ResourceExt, api::ListParams};
use roomkeeper_crds::{AccessScope, CalendarSubscription, ConsentRecord};
use serde::Serialize;

use self::steps::{Facts, Judgement, Warning, steps, what_to_do};
use crate::{
    api::{Cluster, Where, told},
    args::Explain,
    exit::Failure,
    output,
    table::Table,
    user::{Place, User, places},
};

/// Warning events of one object that are looked at; the API server keeps them for about an hour.
const EVENTS: u32 = 200;

/// The explanation for one place.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Explanation {
    user: String,
    namespace: String,
    scope: String,
    steps: Vec<Judgement>,
    what_to_do: String,
    #[serde(skip)]
    objects: Vec<String>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} under AccessScope {}/{}\n", self.user, self.namespace, self.scope)?;
        let mut table = Table::new(&["STEP", "STATE", "DETAIL"]);
        for step in &self.steps {
            table.row(vec![step.step.to_string(), step.state.to_string(), step.detail.clone()]);
        }
        writeln!(f, "{table}\nWhat to do: {}", self.what_to_do)
    }
}

/// Explains, for each AccessScope that knows the user.
pub(crate) async fn run(cluster: &Cluster, request: &Explain) -> anyhow::Result<()> {
    let (scopes, consents, subscriptions): (Vec<AccessScope>, Vec<ConsentRecord>, Vec<CalendarSubscription>) =
        tokio::try_join!(cluster.list(), cluster.list(), cluster.list())?;
    let mut known = places(&request.user, &consents, &subscriptions, request.scope.as_deref());
    if let Some(name) = &request.scope {
        // Nothing is known of a user who has never been asked: the scope's part can be explained all the same.
        for scope in scopes.iter().filter(|scope| scope.name_any() == *name) {
            if !known.iter().any(|place| Some(&place.namespace) == scope.namespace().as_ref()) {
                known.push(nowhere(&request.user, scope));
            }
        }
    }
    if known.is_empty() {
        return Err(not_found(cluster, request, &scopes).into());
    }
    let now = Timestamp::now();
    let mut all = Vec::new();
    for place in known {
        let scope = scopes.iter().find(|scope| {
            scope.name_any() == place.scope && scope.namespace().as_deref() == Some(place.namespace.as_str())
        });
        let warnings = warnings(cluster, &place).await;
        let facts = Facts::new(scope, &place, warnings, now);
        let steps = steps(&facts);
        let what_to_do = what_to_do(&steps);
        all.push(Explanation {
            user: request.user.as_str().to_owned(),
            objects: objects(&place, scope),
            namespace: place.namespace,
            scope: place.scope,
            steps,
            what_to_do,
        });
    }
    let names: Vec<String> = all.iter().flat_map(|one| one.objects.clone()).collect();
    let text: Vec<String> = all.iter().map(ToString::to_string).collect();
    output::print(request.output.output, &all, &names, text.join("\n"))
}

fn nowhere(user: &User, scope: &AccessScope) -> Place {
    let ids = match user {
        User::Id(id) => [id.clone()].into(),
        User::Name(_) => [].into(),
    };
    Place {
        namespace: scope.namespace().unwrap_or_default(),
        scope: scope.name_any(),
        ids,
        consents: Vec::new(),
        subscriptions: Vec::new(),
    }
}

fn not_found(cluster: &Cluster, request: &Explain, scopes: &[AccessScope]) -> Failure {
    let known: Vec<String> = scopes.iter().map(ResourceExt::name_any).collect();
    if let Some(name) = &request.scope {
        return Failure::NotFound(format!(
            "--scope {name}: no AccessScope of that name {}: there are {}",
            cluster.place,
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        ));
    }
    let hint = match &cluster.place {
        Where::All => "check the spelling".to_owned(),
        Where::Namespace(_) => "check the spelling and -n NAMESPACE (or -A)".to_owned(),
    };
    Failure::NotFound(format!(
        "USER {}: no ConsentRecord and no CalendarSubscription of that user {}: {hint}; who has not ticked the box in the add-in yet is not known, and --scope NAME explains what a scope would say",
        request.user.as_str(),
        cluster.place
    ))
}

fn objects(place: &Place, scope: Option<&AccessScope>) -> Vec<String> {
    let mut names: Vec<String> =
        scope.iter().map(|scope| output::name("accessscope", &scope.name_any())).collect();
    names.extend(place.consents.iter().map(|one| output::name("consentrecord", &one.name_any())));
    names.extend(place.subscriptions.iter().map(|one| output::name("calendarsubscription", &one.name_any())));
    names
}

/// Warnings about the user's CalendarSubscriptions, the latest first. Who may not list events is told the rest.
async fn warnings(cluster: &Cluster, place: &Place) -> Result<Vec<Warning>, String> {
    let api: Api<Event> = cluster.api(&place.namespace);
    let mut all = Vec::new();
    for uid in place.subscriptions.iter().filter_map(ResourceExt::uid) {
        let params =
            ListParams::default().fields(&format!("involvedObject.uid={uid},type=Warning")).limit(EVENTS);
        let events = api
            .list(&params)
            .await
            .map_err(told)
            .context("list events")
            .map_err(|error| format!("{error:#}"))?;
        all.extend(events.items.into_iter().map(|event| {
            Warning {
                at: event
                    .series
                    .and_then(|series| series.last_observed_time)
                    .or(event.event_time)
                    .map(|time| time.0)
                    .or(event.last_timestamp.map(|time| time.0))
                    .or(event.metadata.creation_timestamp.map(|time| time.0)),
                reason: event.reason.unwrap_or_default(),
                message: event.message.unwrap_or_default(),
            }
        }));
    }
    all.sort_by_key(|warning| std::cmp::Reverse(warning.at));
    Ok(all)
}
