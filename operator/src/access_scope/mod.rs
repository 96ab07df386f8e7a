//! AccessScope: credential, members of the policy groups, and the sweep of what is at Graph.

pub mod apply;
pub mod credential;
pub mod dereference;
pub mod directory;
pub mod memory;
pub mod plan;
pub mod shrink;
pub mod status;
pub mod validate;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use kube::ResourceExt as _;
use roomkeeper_crds::{AccessScope, AccessScopeStatus, condition::Summary as Reason};

use self::{apply::ApplyError, validate::ValidateError};
use crate::{
    api::{self, ApiError},
    calendar_subscription::sweep,
    context::Context,
    controller::Reconcile,
    kept::Kept,
    key::Key,
    summary::{self, Summary, whole_seconds},
    watch::Follow,
};

/// Time between two looks for scopes whose CalendarSubscriptions changed state.
const COUNTS: Duration = Duration::from_secs(2);

/// Why a reconciliation ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// In the step `apply`.
    #[error("{0}")]
    Apply(#[from] ApplyError),
    /// In the step `status`.
    #[error("the status could not be written: {0}")]
    Status(#[source] ApiError),
}

/// Term of the look-ups for what belongs to a scope.
pub fn term(scope: &Key) -> String {
    format!("scope:{scope}")
}

impl Follow for AccessScope {
    fn kept(context: &Context) -> &Kept<Self> {
        &context.scopes
    }

    fn terms(&self) -> Vec<String> {
        Vec::new()
    }

    fn changed(&self, key: &Key, context: &Context) {
        if context.memory.is_news(&self.uid().unwrap_or_default(), dereference::fingerprint(self)) {
            concern(key, context);
        }
    }

    fn gone(key: &Key, last: Option<&Self>, context: &Context) {
        if let Some(uid) = last.and_then(kube::ResourceExt::uid) {
            context.directory.remove(&uid);
            context.memory.forget(&uid);
            context.process.clients.forget(&uid);
        }
        context.quotas.forget(key);
        concern(key, context);
    }
}

/// Has everything looked at that depends on a scope: another scope may take its application over.
fn concern(key: &Key, context: &Context) {
    let subscriptions = context.subscriptions.under(&term(key));
    for subscription in &subscriptions {
        context.bookings.trigger_all(context.bookings.under(&crate::booking_record::term(subscription)));
    }
    context.subscriptions.trigger_all(subscriptions);
    context.consents.trigger_all(context.consents.under(&term(key)));
    context.scopes.trigger_all(context.scopes.keys().into_iter().filter(|other| other != key));
}

impl Reconcile for AccessScope {
    type Error = Error;

    async fn reconcile(self, context: Arc<Context>) -> Result<Duration, Error> {
        let now = whole_seconds(context.process.clock.now());
        let scope = match validate::validate(&self) {
            Ok(scope) => scope,
            Err(error) => {
                invalid(&context, &self, &error, now).await?;
                return Ok(Duration::MAX);
            }
        };
        let first_sight = scope.status.conditions.is_empty() && scope.deleted_at.is_none();
        let world = if first_sight {
            // Said before Graph is asked, which may take its time.
            plan::World {
                elder: None,
                answers: None,
                failures: 0,
                members: None,
                counts: context.watched.of_scope(&scope.key).0,
                remote: context.watched.of_scope(&scope.key).1,
                progress_at: None,
                audit: None,
                export: None,
            }
        } else {
            dereference::dereference(&context, &self, &scope, now).await
        };
        let plan = plan::plan(&scope, &world, now);
        if apply::apply(&context, &self, &scope, plan.finalizer).await? {
            return Ok(Duration::MAX);
        }
        write(&context, &self, &plan.status).await?;
        credential::warn(&context, &self, &scope.uid, world.answers.as_ref(), now).await;
        if first_sight {
            // The event of this write brings the scope back; the delay is for the case that it gets lost.
            return Ok(Duration::from_secs(5));
        }
        if world.answers.is_some() {
            remember(&context, &scope, plan.ask_in, now);
        }
        let next = match scope.deleted_at {
            Some(_) => plan.next,
            None => context.memory.until_ask(&scope.uid, now).unwrap_or(plan.next),
        };
        let next = if world.audit_fails() { next.min(plan::AUDIT_LOOK) } else { next };
        let next = match status::quota_exhausted_until(&scope, now) {
            Some(until) => next.min(Duration::try_from(until.duration_since(now)).unwrap_or_default()),
            None => next,
        };
        let serves = world.elder.is_none() && scope.deleted_at.is_none() && !scope.suspend;
        let good = world.answers.as_ref().is_some_and(|answers| answers.credential.is_ok());
        if serves && good {
            let sweep_in = sweep::if_due(&context, &self, &scope.key, &scope.uid).await;
            return Ok(next.min(sweep_in));
        }
        Ok(next)
    }

    fn is_conflict(error: &Error) -> bool {
        match error {
            Error::Apply(ApplyError::Api(error)) | Error::Status(error) => error.is_conflict(),
            Error::Apply(_) => false,
        }
    }
}

/// Sets when Graph is asked next; what was not asked this time keeps its time.
fn remember(context: &Context, scope: &validate::Validated, ask_in: Duration, now: Timestamp) {
    let (_, due) = context.memory.answers(&scope.uid, scope.generation, scope.asked(), now);
    if due && let Ok(at) = now.checked_add(ask_in) {
        context.memory.ask_at(&scope.uid, at);
    }
}

async fn invalid(
    context: &Context,
    object: &AccessScope,
    error: &ValidateError,
    now: Timestamp,
) -> Result<(), Error> {
    let mut status = object.status.clone().unwrap_or_default();
    status.observed_generation = object.metadata.generation;
    let summary = Summary::Stalled { reason: Reason::InvalidSpec.as_str(), message: error.to_string() };
    summary::put(&mut status.conditions, summary, object.metadata.generation, now);
    write(context, object, &status).await
}

async fn write(context: &Context, object: &AccessScope, status: &AccessScopeStatus) -> Result<(), Error> {
    // What was set aside of the quota has a writer of its own.
    let own = |status: &AccessScopeStatus| AccessScopeStatus { booking_quota: None, ..status.clone() };
    let (before, status) = (object.status.as_ref().map(own), &own(status));
    if before.as_ref() == Some(status) {
        return Ok(());
    }
    api::apply_status(&context.process, object, status).await.map_err(Error::Status)?;
    let conditions = before.as_ref().map(|before| before.conditions.as_slice()).unwrap_or_default();
    context.process.events.transition(object, conditions, &status.conditions).await;
    Ok(())
}

/// Has scopes looked at, by `namespace/name`.
fn trigger<'a>(context: &Context, scopes: impl Iterator<Item = &'a String>) {
    let keys = scopes.filter_map(|scope| scope.split_once('/'));
    context.scopes.trigger_all(keys.map(|(namespace, name)| Key::new(namespace, name)));
}

/// Has scopes looked at whose CalendarSubscriptions changed state, many changes at a time.
pub async fn counts(context: Arc<Context>) {
    let (mut failing, mut exports) = (BTreeSet::new(), BTreeMap::new());
    loop {
        tokio::time::sleep(COUNTS).await;
        context.scopes.trigger_all(context.watched.take_changed_scopes());
        context.watched.publish(&context.process.metrics.subscriptions);
        let now: BTreeSet<_> = context.process.audit.failing().into_iter().map(|log| log.scope).collect();
        trigger(&context, failing.symmetric_difference(&now));
        failing = now;
        let now = context.process.exports.all();
        let changed = now.iter().filter(|(scope, standing)| exports.get(*scope) != Some(*standing));
        trigger(&context, changed.map(|(scope, _)| scope));
        exports = now;
    }
}
