//! From objects to the steps of the decision. Pure.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use roomkeeper_crds::{
    AccessScope, CalendarSubscription, ConsentRecord,
    condition::{self, Type},
};
use serde::{Deserialize, Serialize};

use super::{remote, rules};
use crate::user::Place;

/// The steps, in the order in which they are decided.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub(super) enum Name {
    Scope,
    Credentials,
    Groups,
    Policy,
    Consent,
    CalendarSubscription,
    Graph,
    Delivery,
    LastError,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scope => "scope",
            Self::Credentials => "credentials",
            Self::Groups => "groups",
            Self::Policy => "policy",
            Self::Consent => "consent",
            Self::CalendarSubscription => "calendar subscription",
            Self::Graph => "Graph",
            Self::Delivery => "delivery",
            Self::LastError => "last error",
        })
    }
}

/// How a step stands.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// It becomes so by itself, or when the user acts.
    Waiting,
    /// Somebody has to decide or mend something.
    Blocked,
    /// It cannot be told.
    Unknown,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Waiting => "waiting",
            Self::Blocked => "blocked",
            Self::Unknown => "unknown",
        })
    }
}

/// One step.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) step: Name,
    pub(super) state: State,
    pub(super) detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
}

impl Judgement {
    pub(super) fn ok(step: Name, detail: impl Into<String>) -> Self {
        Self { step, state: State::Ok, detail: detail.into(), fix: None }
    }

    pub(super) fn unknown(step: Name, detail: impl Into<String>) -> Self {
        Self { step, state: State::Unknown, detail: detail.into(), fix: None }
    }

    pub(super) fn waiting(step: Name, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { step, state: State::Waiting, detail: detail.into(), fix: Some(fix.into()) }
    }

    pub(super) fn blocked(step: Name, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { step, state: State::Blocked, detail: detail.into(), fix: Some(fix.into()) }
    }
}

/// A warning event.
#[derive(Deserialize, Clone, Debug)]
pub(super) struct Warning {
    pub(super) at: Option<Timestamp>,
    pub(super) reason: String,
    pub(super) message: String,
}

/// What the explanation follows from.
pub(super) struct Facts<'a> {
    pub(super) namespace: &'a str,
    pub(super) scope_name: &'a str,
    pub(super) scope: Option<&'a AccessScope>,
    pub(super) consents: &'a [ConsentRecord],
    /// The one that serves.
    pub(super) subscription: Option<&'a CalendarSubscription>,
    /// Others for the same user.
    pub(super) others: Vec<String>,
    /// The latest first; or why they cannot be told.
    pub(super) warnings: Result<Vec<Warning>, String>,
    pub(super) now: Timestamp,
}

impl<'a> Facts<'a> {
    pub(super) fn new(
        scope: Option<&'a AccessScope>,
        place: &'a Place,
        warnings: Result<Vec<Warning>, String>,
        now: Timestamp,
    ) -> Self {
        // The oldest wins at the operator too.
        let subscription = place
            .subscriptions
            .iter()
            .min_by_key(|one| (one.metadata.creation_timestamp.as_ref().map(|at| at.0), one.name_any()));
        let others = place
            .subscriptions
            .iter()
            .filter(|one| subscription.is_none_or(|serves| serves.name_any() != one.name_any()))
            .map(ResourceExt::name_any)
            .collect();
        Self {
            namespace: &place.namespace,
            scope_name: &place.scope,
            scope,
            consents: &place.consents,
            subscription,
            others,
            warnings,
            now,
        }
    }

    /// A condition of the scope.
    pub(super) fn of_scope(&self, type_: Type) -> Option<&'a Condition> {
        condition::get(&self.scope?.status.as_ref()?.conditions, type_)
    }

    /// A condition of the CalendarSubscription.
    pub(super) fn of_subscription(&self, type_: Type) -> Option<&'a Condition> {
        condition::get(&self.subscription?.status.as_ref()?.conditions, type_)
    }
}

/// Every step, in order.
pub(super) fn steps(facts: &Facts<'_>) -> Vec<Judgement> {
    vec![
        rules::scope(facts),
        rules::credentials(facts),
        rules::groups(facts),
        rules::policy(facts),
        rules::consent(facts),
        remote::subscription(facts),
        remote::graph(facts),
        remote::delivery(facts),
        remote::last_error(facts),
    ]
}

/// What follows from the first step that is not as it should be.
pub(super) fn what_to_do(steps: &[Judgement]) -> String {
    let first = steps.iter().find(|step| matches!(step.state, State::Blocked | State::Waiting));
    match first {
        Some(Judgement { step, fix: Some(fix), .. }) => format!("{fix} (step: {step})"),
        Some(Judgement { step, detail, .. }) => format!("see step {step}: {detail}"),
        None if steps.iter().any(|step| step.step == Name::Graph && step.state == State::Ok) => {
            "nothing: the calendar is followed".to_owned()
        }
        None => {
            "nothing is known to be wrong, and not everything is known: look again in a minute".to_owned()
        }
    }
}
