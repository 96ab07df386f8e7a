//! BookingRecord: bookings at the product, and the end of the record when its booking is over.

pub mod apply;
pub mod client;
pub mod dereference;
pub mod plan;
pub mod status;
pub mod validate;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use roomkeeper_crds::{
    BookingRecord, BookingRecordStatus, booking_record::ProductState, condition::Summary as Reason,
};

use self::{
    plan::{Plan, World},
    validate::Validated,
};
use crate::{
    api::{self, ApiError},
    context::Context,
    controller::Reconcile,
    holds::Attempt,
    kept::Kept,
    key::Key,
    summary::{self, Summary, whole_seconds},
    watch::Follow,
};

/// When to look again if the event of an own write gets lost.
const ECHO: Duration = Duration::from_secs(5);
/// When what the product refused is tried again: the space may have become free.
const REFUSED: Duration = Duration::from_mins(5);
/// When what a person must mend is looked at again.
const RECHECK: Duration = Duration::from_mins(1);

/// Why a reconciliation ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The record could not be deleted.
    #[error("the expired record could not be deleted: {0}")]
    Expire(#[source] ApiError),
    /// In the step `status`.
    #[error("the status could not be written: {0}")]
    Status(#[source] ApiError),
}

/// Term of the look-ups for the records of a CalendarSubscription.
pub fn term(subscription: &Key) -> String {
    format!("subscription:{subscription}")
}

/// Slot in which a refusal is held.
pub fn refused_slot(uid: &str) -> String {
    format!("{uid}/refused")
}

impl Follow for BookingRecord {
    fn kept(context: &Context) -> &Kept<Self> {
        &context.bookings
    }

    fn terms(&self) -> Vec<String> {
        let namespace = self.metadata.namespace.clone().unwrap_or_default();
        vec![term(&Key::new(namespace, &self.spec.subscription_ref.name))]
    }

    fn changed(&self, _: &Key, _: &Context) {}

    fn gone(_: &Key, _: Option<&Self>, _: &Context) {}
}

impl Reconcile for BookingRecord {
    type Error = Error;

    async fn reconcile(self, context: Arc<Context>) -> Result<Duration, Error> {
        let now = whole_seconds(context.process.clock.now());
        let record = match validate::validate(&self) {
            Ok(record) => record,
            Err(error) => {
                let mut status = self.status.clone().unwrap_or_default();
                status.observed_generation = self.metadata.generation;
                let reason = Reason::InvalidSpec.as_str();
                let summary = Summary::Stalled { reason, message: error.to_string() };
                summary::put(&mut status.conditions, summary, self.metadata.generation, now);
                write(&context, &self, &status).await?;
                return Ok(Duration::MAX);
            }
        };
        let world = dereference::dereference(&context, &record);
        if record.deleted {
            return Ok(Duration::MAX);
        }
        let until_expiry = plan::expires_at(&record, &world).map_or(Duration::MAX, |at| {
            Duration::try_from(at.duration_since(context.process.clock.now())).unwrap_or_default()
        });
        // Expiry is compared in full, not in whole seconds: a record that ends within a second must not be looked at in a loop.
        match plan::plan(&record, &world, context.process.clock.now()) {
            Plan::Expire => expire(&context, &self).await,
            Plan::Rest => {
                let bookings = record.status.bookings.clone();
                let status = status::report(&record, &world, bookings, None, now);
                write(&context, &self, &status).await?;
                let refused = Attempt::of(record.generation);
                let refused = context.holds.remaining(&refused_slot(&record.uid), refused);
                Ok(until_expiry.min(refused.unwrap_or(Duration::MAX)))
            }
            Plan::Announce(bookings) => {
                let mut status = status::report(&record, &world, bookings, None, now);
                if record.status.conditions.is_empty() {
                    let message = "not sent to the booking product yet".to_owned();
                    summary::put(
                        &mut status.conditions,
                        Summary::Unproven { message },
                        Some(record.generation),
                        now,
                    );
                }
                write(&context, &self, &status).await?;
                Ok(ECHO)
            }
            Plan::Call(calls) => {
                let delay = deliver(&context, &self, &record, &world, &calls, now).await?;
                Ok(delay.min(until_expiry))
            }
        }
    }

    fn is_conflict(error: &Error) -> bool {
        let (Error::Expire(error) | Error::Status(error)) = error;
        error.is_conflict()
    }
}

async fn expire(context: &Context, record: &BookingRecord) -> Result<Duration, Error> {
    match api::delete(&context.process, record).await {
        Ok(()) => {
            context.process.metrics.records_expired.inc();
            Ok(Duration::MAX)
        }
        // Changed or gone since it was read: the event of that change decides.
        Err(error) if error.is_conflict() => Ok(ECHO),
        Err(error) => Err(Error::Expire(error)),
    }
}

async fn deliver(
    context: &Context,
    object: &BookingRecord,
    record: &Validated,
    world: &World,
    calls: &[plan::Call],
    now: Timestamp,
) -> Result<Duration, Error> {
    let Some(product) = &world.product else { return Ok(ECHO) };
    let attempt = Attempt::of((calls, &record.requested));
    if let Some(left) = context.holds.remaining(&record.uid, attempt) {
        return Ok(left);
    }
    let outcome = apply::apply(context, record, product, calls).await;
    let refused = outcome.bookings.iter().any(|booking| booking.state == ProductState::Rejected);
    if refused {
        let slot = refused_slot(&record.uid);
        context.holds.wait(&slot, Attempt::of(record.generation), REFUSED);
    }
    let delay = match &outcome.trouble {
        None => {
            context.holds.clear(&record.uid);
            if refused { REFUSED } else { Duration::MAX }
        }
        Some(trouble) => match (trouble.wait, trouble.stalled) {
            (Some(wait), _) => {
                context.holds.wait_with_all(&record.uid, wait);
                wait
            }
            (None, true) => {
                context.holds.wait(&record.uid, attempt, RECHECK);
                RECHECK
            }
            (None, false) => context.holds.back_off(&record.uid, attempt, rand::random()),
        },
    };
    let status = status::report(record, world, outcome.bookings, outcome.trouble.as_ref(), now);
    write(context, object, &status).await?;
    Ok(delay)
}

async fn write(context: &Context, object: &BookingRecord, status: &BookingRecordStatus) -> Result<(), Error> {
    let before = object.status.as_ref();
    if before == Some(status) {
        return Ok(());
    }
    api::apply_status(&context.process, object, status).await.map_err(Error::Status)?;
    let conditions = before.map(|before| before.conditions.as_slice()).unwrap_or_default();
    context.process.events.transition(object, conditions, &status.conditions).await;
    Ok(())
}
