//! BookingRecord: bookings at the product, and the end of the record when its booking is over.

pub mod apply;
pub mod client;
pub mod conflicts;
pub mod content;
pub mod deletions;
pub mod dereference;
pub mod metrics;
pub mod plan;
pub mod purge;
pub mod quota;
pub mod series;
pub mod status;
pub mod validate;
pub mod write_back;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use roomkeeper_crds::{
    BookingRecord, BookingRecordStatus,
    booking_record::{Booking, BookingState},
    condition::Summary as Reason,
};

use self::{
    apply::Wait,
    plan::{Plan, World},
    purge::PurgeError,
    validate::Validated,
    write_back::Written,
};
use crate::{
    api::{self, ApiError},
    context::Context,
    controller::Reconcile,
    holds::Attempt,
    kept::Kept,
    key::Key,
    summary::{self, Summary, whole_seconds},
    watch::{Follow, take},
};

/// When to look again if the event of an own write gets lost.
const ECHO: Duration = Duration::from_secs(5);
/// When what a person must mend is looked at again.
const RECHECK: Duration = Duration::from_mins(1);

/// Why a reconciliation ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The record could not be deleted.
    #[error("the expired record could not be deleted: {0}")]
    Expire(#[source] ApiError),
    /// The record of a calendar that may not be read any more could not be deleted.
    #[error("the record of a calendar that may not be read any more could not be deleted: {0}")]
    Purge(#[from] PurgeError),
    /// In the step `status`.
    #[error("the status could not be written: {0}")]
    Status(#[source] ApiError),
}

/// Term of the look-ups for the records of a CalendarSubscription.
pub fn term(subscription: &Key) -> String {
    format!("subscription:{subscription}")
}

impl Follow for BookingRecord {
    fn kept(context: &Context) -> &Kept<Self> {
        &context.bookings
    }

    fn terms(&self) -> Vec<String> {
        let namespace = self.metadata.namespace.clone().unwrap_or_default();
        vec![term(&Key::new(namespace, &self.spec.subscription_ref.name))]
    }

    fn changed(&self, key: &Key, context: &Context) {
        let subscription = Key::new(&key.namespace, &self.spec.subscription_ref.name);
        let until = validate::listed_until(&self.spec).filter(|_| self.spec.state == BookingState::Booked);
        if context.horizons.put(&subscription, key, until) {
            context.subscriptions.trigger(&subscription);
        }
    }

    fn gone(key: &Key, last: Option<&Self>, context: &Context) {
        context.conflicts.remove(key);
        context.deletions.forget(key);
        if let Some(last) = last {
            let subscription = Key::new(&key.namespace, &last.spec.subscription_ref.name);
            context.horizons.put(&subscription, key, None);
        }
    }
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
        // Times are compared in full, not in whole seconds: a record that ends within a second must not be looked at in a loop.
        let exact = context.process.clock.now();
        let until = |at: Option<Timestamp>| {
            at.map_or(Duration::MAX, |at| Duration::try_from(at.duration_since(exact)).unwrap_or_default())
        };
        let due = until(plan::expires_at(&record, &world)).min(until(plan::next_over(&record, exact)));
        match plan::plan(&record, &world, exact) {
            Plan::Expire => expire(&context, &self, &record, &world).await,
            Plan::Purge(_) | Plan::Call { .. } if !is_proven(&context, &record, &world).await? => Ok(ECHO),
            Plan::Purge(_) => purge(&context, &self, &record).await,
            Plan::Rest(bookings) => {
                note_conflicts(&context, &record, &world, &bookings);
                let wait = conflicts::wait(&context, &record).unwrap_or(Duration::MAX);
                let mut status = status::report(&record, &world, bookings, None, now);
                let wait = wait.min(note_on_event(&context, &record, &world, &mut status).await);
                write(&context, &self, &status).await?;
                Ok(due.min(if record.is_over(exact) { Duration::MAX } else { wait }))
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
            Plan::Call { calls, bookings } => {
                let delay = deliver(&context, &self, &record, &world, &calls, bookings).await?;
                Ok(delay.min(due))
            }
        }
    }

    fn is_conflict(error: &Error) -> bool {
        match error {
            Error::Expire(error) | Error::Status(error) => error.is_conflict(),
            Error::Purge(_) => false,
        }
    }
}

async fn expire(
    context: &Context,
    object: &BookingRecord,
    record: &Validated,
    world: &World,
) -> Result<Duration, Error> {
    if let Some(wait) = deletion_wait(context, &record.key) {
        return Ok(wait);
    }
    match api::delete(&context.process, object).await {
        Ok(()) => {
            let metrics = &context.process.metrics.bookings;
            metrics.expired.inc();
            if let Some(at) = plan::expires_at(record, world) {
                let lag = context.process.clock.now().duration_since(at);
                metrics.expiry_lag.observe(lag.as_secs_f64().max(0.0));
            }
            if let Some(product) = &world.product {
                let spaces = record.status.bookings.iter().map(|booking| booking.resource_id.clone());
                conflicts::freed(context, &record.key, &product.url, spaces);
            }
            Ok(Duration::MAX)
        }
        // Changed or gone since it was read: the event of that change decides.
        Err(error) if error.is_conflict() => Ok(ECHO),
        Err(error) => Err(Error::Expire(error)),
    }
}

/// Whether a record that is to go because its calendar may not be read any more is to go indeed.
async fn is_proven(context: &Context, record: &Validated, world: &World) -> Result<bool, Error> {
    match (world.purge, &world.scope) {
        (Some(purge), Some(scope)) => {
            Ok(purge::is_proven(context, &record.subscription, scope, purge).await?)
        }
        _ => Ok(true),
    }
}

/// Deletes a record of a calendar that may not be read any more.
async fn purge(context: &Context, object: &BookingRecord, record: &Validated) -> Result<Duration, Error> {
    if let Some(wait) = deletion_wait(context, &record.key) {
        return Ok(wait);
    }
    match api::delete(&context.process, object).await {
        Ok(()) => {
            context.process.metrics.bookings.purged.inc();
            Ok(Duration::MAX)
        }
        Err(error) if error.is_conflict() => Ok(ECHO),
        Err(error) => Err(Error::Purge(error.into())),
    }
}

fn deletion_wait(context: &Context, record: &Key) -> Option<Duration> {
    let process = &context.process;
    context.deletions.wait(record, process.settings.deletes_per_second, process.clock.passed())
}

async fn deliver(
    context: &Context,
    object: &BookingRecord,
    record: &Validated,
    world: &World,
    calls: &[plan::Call],
    bookings: Vec<Booking>,
) -> Result<Duration, Error> {
    let (Some(product), Some(scope)) = (&world.product, &world.scope) else { return Ok(ECHO) };
    // Another quota is another attempt: whoever waits for a week need not when more is allowed.
    let quota = (product.quota.per_minute, product.quota.per_week);
    let attempt = |calls| Attempt::of((calls, &record.requested, quota));
    if let Some(left) = context.holds.remaining(&record.uid, attempt(calls)) {
        return Ok(left);
    }
    let outcome = apply::apply(context, record, scope, product, calls, bookings).await;
    let again = match outcome.done {
        0 => conflicts::wait(context, record),
        _ => conflicts::asked(context, record, &outcome.bookings),
    };
    note_conflicts(context, record, world, &outcome.bookings);
    conflicts::freed(context, &record.key, &product.url, outcome.freed);
    let left = attempt(calls.get(outcome.done..).unwrap_or_default());
    let delay = match &outcome.trouble {
        None => {
            context.holds.clear(&record.uid);
            again.unwrap_or(Duration::MAX)
        }
        Some(trouble) => match (trouble.wait, trouble.stalled) {
            (Some(Wait::All(wait)), _) => {
                context.holds.wait_with_all(&record.uid, wait);
                wait
            }
            (Some(Wait::These(wait)), _) => {
                context.holds.wait(&record.uid, left, wait);
                wait
            }
            (None, true) => {
                context.holds.wait(&record.uid, left, RECHECK);
                RECHECK
            }
            (None, false) => context.holds.back_off(&record.uid, left, rand::random()),
        },
    };
    let now = whole_seconds(context.process.clock.now());
    let status = status::report(record, world, outcome.bookings, outcome.trouble.as_ref(), now);
    write(context, object, &status).await?;
    Ok(delay)
}

/// Writes onto the event what became of its bookings, where that is wanted and not done, and notes it in the status. Says when to look
/// again. Whatever goes wrong leaves the bookings as they are.
async fn note_on_event(
    context: &Context,
    record: &Validated,
    world: &World,
    status: &mut BookingRecordStatus,
) -> Duration {
    let Some(wanted) = write_back::wanted(record, world.product.as_ref(), &status.bookings) else {
        return Duration::MAX;
    };
    let Some(scope) = world.scope.as_ref().and_then(|scope| context.scopes.get(scope)) else {
        return Duration::MAX;
    };
    match write_back::write(context, record, &scope, &wanted).await {
        Ok(Written::Done(hash)) => {
            status.written_back = Some(hash);
            Duration::MAX
        }
        Ok(Written::Later(wait)) => wait,
        Err(error) => {
            tracing::warn!(record = %record.key, %error, "a booking could not be written onto its event yet");
            RECHECK
        }
    }
}

fn note_conflicts(context: &Context, record: &Validated, world: &World, bookings: &[Booking]) {
    match &world.product {
        Some(product) if !record.is_over(context.process.clock.now()) => {
            context.conflicts.put(&record.key, &product.url, bookings);
        }
        _ => context.conflicts.remove(&record.key),
    }
}

/// Writes the status if it is another one than before.
async fn write(context: &Context, object: &BookingRecord, status: &BookingRecordStatus) -> Result<(), Error> {
    let before = object.status.as_ref();
    if before == Some(status) {
        return Ok(());
    }
    let written =
        api::apply_status_to(&context.process, object, None, status).await.map_err(Error::Status)?;
    if let Some(written) = written {
        take(context, &written);
    }
    let conditions = before.map(|before| before.conditions.as_slice()).unwrap_or_default();
    context.process.events.transition(object, conditions, &status.conditions).await;
    Ok(())
}
