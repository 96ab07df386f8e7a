//! CalendarSubscription: one Graph subscription per user who consented and is within the scope, kept alive.

pub mod address;
pub mod apply;
pub mod bulk;
pub mod conditions;
pub mod dereference;
pub mod finalize;
pub mod horizon;
pub mod metrics;
pub mod plan;
pub mod renewal;
pub mod resync;
pub mod rotation;
pub mod sightings;
pub mod status;
pub mod sweep;
pub mod validate;
pub mod watched;
pub mod write;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::ResourceExt as _;
use roomkeeper_crds::{CalendarSubscription, CalendarSubscriptionStatus, condition::Summary as Reason};

use self::{
    apply::ApplyError,
    dereference::user_term,
    finalize::FinalizeError,
    plan::{Action, Verdict},
    sightings::Sighting,
    status::{How, Outcome, Then},
    validate::{ValidateError, Validated},
    write::write,
};
use crate::{
    access_scope,
    api::ApiError,
    booking_record::{self, purge},
    context::Context,
    controller::Reconcile,
    holds::Attempt,
    kept::Kept,
    key::Key,
    summary::{self, Summary, whole_seconds},
    watch::Follow,
};

/// Most steps of one reconciliation; a longer way goes on with the next one.
const STEPS: usize = 6;

/// When to look again if the event of an own write gets lost.
const ECHO: Duration = Duration::from_secs(5);

/// Why a reconciliation ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// In the step `validate`, of what an own step wrote.
    #[error("{0}")]
    Validate(#[from] ValidateError),
    /// In the step `apply`.
    #[error("{0}")]
    Apply(#[from] ApplyError),
    /// At the object's end.
    #[error("{0}")]
    Finalize(#[from] FinalizeError),
    /// In the step `status`.
    #[error("the status could not be written: {0}")]
    Status(#[source] ApiError),
}

/// Term of the look-ups for the object with a uid.
pub fn uid_term(uid: &str) -> String {
    format!("uid:{uid}")
}

impl Follow for CalendarSubscription {
    fn kept(context: &Context) -> &Kept<Self> {
        &context.subscriptions
    }

    fn terms(&self) -> Vec<String> {
        let scope = Key::new(self.namespace().unwrap_or_default(), &self.spec.scope_ref.name);
        let mut terms = vec![access_scope::term(&scope), user_term(&self.spec.user)];
        terms.extend(self.uid().map(|uid| uid_term(&uid)));
        let resolved = self.status.as_ref().and_then(|status| status.user_id.as_deref()).map(user_term);
        terms.extend(resolved.filter(|resolved| *resolved != user_term(&self.spec.user)));
        terms
    }

    fn changed(&self, key: &Key, context: &Context) {
        context.watched.put(key, self);
        if purge::said(Some(self)).is_some() {
            context.bookings.trigger_all(context.bookings.under(&booking_record::term(key)));
        }
        if self.metadata.deletion_timestamp.is_some() {
            concern(key, self, context);
        }
    }

    fn gone(key: &Key, last: Option<&Self>, context: &Context) {
        context.watched.remove(key);
        context.bookings.trigger_all(context.bookings.under(&booking_record::term(key)));
        if let Some(last) = last {
            context.watched.forget(&last.uid().unwrap_or_default());
            concern(key, last, context);
        }
    }
}

/// Has looked at what the end of an object concerns: a younger one for the same user, and consents to come.
fn concern(key: &Key, object: &CalendarSubscription, context: &Context) {
    for term in object.terms().iter().filter(|term| term.starts_with("user:")) {
        context
            .subscriptions
            .trigger_all(context.subscriptions.under(term).into_iter().filter(|other| other != key));
        context.consents.trigger_all(context.consents.under(term));
    }
}

impl Reconcile for CalendarSubscription {
    type Error = Error;

    async fn reconcile(mut self, context: Arc<Context>) -> Result<Duration, Error> {
        let now = whole_seconds(context.process.clock.now());
        let mut object = match validate::validate(&self) {
            Ok(object) => object,
            Err(error) => {
                let mut status = self.status.clone().unwrap_or_default();
                status.observed_generation = self.metadata.generation;
                let reason = Reason::InvalidSpec.as_str();
                let summary = Summary::Stalled { reason, message: error.to_string() };
                summary::put(&mut status.conditions, summary, self.metadata.generation, now);
                write(&context, &mut self, status).await.map_err(Error::Status)?;
                return Ok(Duration::MAX);
            }
        };
        if object.deleted_at.is_some() {
            return Ok(finalize::finalize(&context, &object.key).await?);
        }
        if object.status.conditions.is_empty() && object.has_finalizer {
            // First sight is said before Graph is asked, which may take its time.
            let unproven = status::unproven(&object, now);
            write(&context, &mut self, unproven.clone()).await.map_err(Error::Status)?;
            object = object.with(unproven)?;
        }
        // What was done is written down also when a later step fails.
        let mut status = object.status.clone();
        let result = steps(&context, &self, object, &mut status, now).await;
        write(&context, &mut self, status).await.map_err(Error::Status)?;
        result
    }

    fn is_conflict(error: &Error) -> bool {
        match error {
            Error::Apply(ApplyError::Api(error))
            | Error::Finalize(FinalizeError::Api(error))
            | Error::Status(error) => error.is_conflict(),
            _ => false,
        }
    }
}

/// Plans and acts until there is nothing left to do, or nothing that can be done now.
async fn steps(
    context: &Context,
    raw: &CalendarSubscription,
    mut object: Validated,
    status: &mut CalendarSubscriptionStatus,
    now: Timestamp,
) -> Result<Duration, Error> {
    for _ in 0..STEPS {
        let world = dereference::dereference(context, &object, now);
        let plan = plan::plan(&object, &world, now);
        let attempt =
            Attempt::of((&plan.action, object.generation, &object.requested, &object.renew_requested));
        if plan.action != Action::None
            && let Some(left) = context.holds.remaining(&object.uid, attempt)
        {
            return Ok(left);
        }
        let outcome = apply::apply(context, raw, &object, &plan.action).await?;
        if let Outcome::User(user) = &outcome {
            // At once, so that another object for the same user sees this one before either is written.
            let term = user_term(user.as_str());
            context.subscriptions.index().add(&object.key, term.clone());
            let others = context.subscriptions.under(&term);
            context.subscriptions.trigger_all(others.into_iter().filter(|other| *other != object.key));
        }
        let remade = matches!(&outcome, Outcome::Lives(_, How::Created | How::Adopted));
        let settled = context
            .watched
            .settle(&object.key, |calendar| status::settle(&object, &plan.verdict, outcome, calendar, now));
        if remade {
            context.watched.end_turn(&object.key);
        }
        status.clone_from(&settled.status);
        if settled.doubt_scope {
            context.doubt(&object.scope);
        }
        match settled.then {
            Then::Again => {
                // A request to the worker asks nothing of the remote side, whose trouble it does not end.
                if !matches!(plan.action, Action::RequestResync(_)) {
                    context.holds.clear(&object.uid);
                }
                object = object.with(settled.status)?;
            }
            Then::Rest => {
                // What a waiting object was seen with is looked at when its scope can tell.
                // One that waits for its turn stays seen until then.
                let turn_comes = object.remote.is_some_and(|remote| {
                    let outdated = |seen: &Sighting| seen.id == remote.id && !seen.current;
                    world.sightings.as_ref().is_some_and(|seen| seen.iter().any(outdated))
                });
                if matches!(plan.verdict, Verdict::Allowed(_) | Verdict::Denied(_)) && !turn_comes {
                    context.sightings.forget(&object.uid);
                }
                return Ok(plan.next);
            }
            Then::Echo => return Ok(ECHO),
            Then::BackOff => return Ok(context.holds.back_off(&object.uid, attempt, rand::random())),
            Then::Wait(delay) => {
                context.holds.wait(&object.uid, attempt, delay);
                return Ok(delay);
            }
            Then::Throttled(delay) => {
                context.holds.wait_with_all(&object.uid, delay);
                return Ok(delay);
            }
        }
    }
    Ok(ECHO)
}

impl Context {
    /// A call was refused for a reason that concerns the whole scope: it is tried again there.
    fn doubt(&self, scope: &Key) {
        let uid = self.scopes.get(scope).and_then(|scope| scope.uid()).unwrap_or_default();
        if self.memory.doubt(&uid) {
            self.scopes.trigger(scope);
        }
    }
}
