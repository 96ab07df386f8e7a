//! ConsentRecord: the CalendarSubscription that follows from a consent is made once; a withdrawn one leaves the register when the scope
//! says so.

pub mod apply;
pub mod dereference;
pub mod plan;
pub mod retention;

use std::{sync::Arc, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use roomkeeper_crds::{ConsentRecord, ConsentRecordStatus};
use roomkeeper_graph::audit::AuditError;

use self::plan::Plan;
use crate::{
    access_scope,
    api::{self, ApiError},
    calendar_subscription::dereference::user_term,
    context::Context,
    controller::Reconcile,
    kept::Kept,
    key::Key,
    summary::whole_seconds,
    watch::{Follow, take},
};

/// When to look again for a namesake that is being deleted.
const NAMESAKE: Duration = Duration::from_secs(2);

/// Why a reconciliation ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// In the step `apply`.
    #[error("the CalendarSubscription could not be made: {0}")]
    Apply(#[source] ApiError),
    /// A withdrawn consent could not be taken out of the register.
    #[error("the withdrawn ConsentRecord could not be deleted: {0}")]
    Erase(#[source] ApiError),
    /// The audit cannot be written, so that nothing may be done.
    #[error("{0}")]
    Audit(#[from] AuditError),
    /// In the step `status`.
    #[error("the status could not be written: {0}")]
    Status(#[source] ApiError),
}

impl Follow for ConsentRecord {
    fn kept(context: &Context) -> &Kept<Self> {
        &context.consents
    }

    fn terms(&self) -> Vec<String> {
        let scope = Key::new(self.namespace().unwrap_or_default(), &self.spec.scope.name);
        vec![access_scope::term(&scope), user_term(&self.spec.user.id)]
    }

    fn changed(&self, _: &Key, context: &Context) {
        // A withdrawal has to act at once.
        context.subscriptions.trigger_all(context.subscriptions.under(&user_term(&self.spec.user.id)));
    }

    fn gone(_: &Key, last: Option<&Self>, context: &Context) {
        if let Some(last) = last {
            context.subscriptions.trigger_all(context.subscriptions.under(&user_term(&last.spec.user.id)));
        }
    }
}

impl Reconcile for ConsentRecord {
    type Error = Error;

    async fn reconcile(self, context: Arc<Context>) -> Result<Duration, Error> {
        let key = Key::of(&self);
        let world = dereference::dereference(&context, &key, &self);
        let subscription = match plan::plan(&key, &self, &world, context.process.clock.now()) {
            Plan::Nothing => return Ok(Duration::MAX),
            Plan::Audit => return audit(&context, &key, &self).await,
            Plan::Wait(wait) => return Ok(wait),
            Plan::Erase(kept) => return apply::erase(&context, &key, kept).await,
            Plan::Note(name) => name,
            Plan::Create(new) => {
                if !apply::create(&context, &new).await.map_err(Error::Apply)? {
                    return Ok(NAMESAKE);
                }
                tracing::info!(consent = %key, subscription = new.key.name, "made the CalendarSubscription that follows from the consent");
                new.key.name
            }
        };
        let before = self.status.clone().unwrap_or_default();
        let status = ConsentRecordStatus { subscription: Some(subscription), ..before };
        write(&context, &self, &status).await?;
        Ok(Duration::MAX)
    }

    fn is_conflict(error: &Error) -> bool {
        match error {
            Error::Apply(error) | Error::Erase(error) | Error::Status(error) => error.is_conflict(),
            Error::Audit(_) => false,
        }
    }
}

/// Whoever withdrew it, by kubectl as well: the withdrawal is in the audit, and that is noted. What must still be done with the record
/// follows with the event of the note.
async fn audit(context: &Context, key: &Key, record: &ConsentRecord) -> Result<Duration, Error> {
    let now = context.process.clock.now();
    apply::audit(context, key, record, now).await?;
    let before = record.status.clone().unwrap_or_default();
    let status = ConsentRecordStatus { withdrawal_audited_at: Some(Time(whole_seconds(now))), ..before };
    write(context, record, &status).await?;
    Ok(Duration::MAX)
}

async fn write(context: &Context, record: &ConsentRecord, status: &ConsentRecordStatus) -> Result<(), Error> {
    let written =
        api::apply_status_to(&context.process, record, None, status).await.map_err(Error::Status)?;
    if let Some(written) = written {
        take(context, &written);
    }
    Ok(())
}
