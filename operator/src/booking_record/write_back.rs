//! What became of the bookings, written onto the event (`booking.writeBack`).
//!
//! It goes into a property of Roomkeeper's own, so that nothing of the user's is overwritten. The write changes the event's version,
//! which is notified like any edit: the worker reads the event again, nothing relevant differs, and nothing follows from that.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::ResourceExt as _;
use roomkeeper_crds::{
    AccessScope, CalendarSubscription, ConsentRecord,
    access_scope::{Booking as Config, WriteBack},
    booking_record::{Booking, ProductState},
};
use roomkeeper_graph::{
    BookingNote, Cause, Decision, EventId, GoneReason, GraphError, ManifestId, NotedBooking, UserId,
};

use super::{content::hex_of, validate::Validated};
use crate::{
    api::{self, ApiError},
    calendar_subscription::dereference::is_about,
    context::Context,
    graph_trouble,
    holds::Attempt,
    key::Key,
};

/// When what a person must mend is tried again.
const RECHECK: Duration = Duration::from_mins(30);
/// When a mailbox that another write is under way to is tried again.
const BUSY: Duration = Duration::from_secs(1);

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The value.
    pub note: BookingNote,
    /// Hash of it.
    pub hash: String,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The event has it, or there is no event any more.
    Done(String),
    /// Nothing was written; it is looked at again after this time.
    Later(Duration),
}

/// Why it could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum WriteBackError {
    /// At the API server.
    #[error("{0}")]
    Api(#[from] ApiError),
    /// An id is not of a form that Graph uses.
    #[error("{0} is no id of Graph's")]
    Id(&'static str),
}

/// Mailboxes that a write is under way to: Exchange takes few requests of an app at a time, and the reads have theirs.
#[derive(Debug, Default)]
pub struct Mailboxes(Mutex<HashSet<String>>);

impl Mailboxes {
    fn enter(&self, user: &str) -> Option<Place<'_>> {
        let entered = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(user.to_owned());
        entered.then(|| Place { all: self, user: user.to_owned() })
    }
}

struct Place<'a> {
    all: &'a Mailboxes,
    user: String,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.user);
    }
}

/// What is to be written onto the event, if anything. Pure.
pub fn wanted(record: &Validated, product: Option<&Config>, bookings: &[Booking]) -> Option<Wanted> {
    if product?.write_back != WriteBack::Property {
        return None;
    }
    // Only what is settled: every write is an edit of somebody's event.
    if bookings.iter().any(|booking| booking.state == ProductState::Pending) {
        return None;
    }
    if bookings.is_empty() && record.status.written_back.is_none() {
        return None;
    }
    let mut noted: Vec<_> = bookings
        .iter()
        .map(|booking| NotedBooking {
            resource_id: booking.resource_id.clone(),
            booking_id: booking.booking_id.clone(),
            state: state(booking.state),
        })
        .collect();
    noted.sort_by(|one, other| one.resource_id.cmp(&other.resource_id));
    let note = BookingNote::new(noted);
    let hash = hex_of(&[&note.value().ok()?]);
    (record.status.written_back.as_ref() != Some(&hash)).then_some(Wanted { note, hash })
}

fn state(state: ProductState) -> &'static str {
    match state {
        ProductState::Accepted => "Accepted",
        ProductState::Rejected => "Rejected",
        ProductState::Pending => "Pending",
        ProductState::Cancelled => "Cancelled",
    }
}

/// Writes it, when the calendar may be touched at this moment.
///
/// # Errors
/// See [`WriteBackError`]. What Graph says is no error but a reason to wait.
pub async fn write(
    context: &Context,
    record: &Validated,
    scope: &AccessScope,
    wanted: &Wanted,
) -> Result<Written, WriteBackError> {
    let slot = format!("{}/write-back", record.uid);
    let attempt = Attempt::of(&wanted.hash);
    if let Some(left) = context.holds.remaining(&slot, attempt) {
        return Ok(Written::Later(left));
    }
    let Some((object, user)) = allowed(context, record, scope).await? else {
        context.holds.wait(&slot, attempt, RECHECK);
        return Ok(Written::Later(RECHECK));
    };
    let Some(_place) = context.mailboxes.enter(user.as_str()) else { return Ok(Written::Later(BUSY)) };
    let event = EventId::parse(&record.event_id).map_err(|_| WriteBackError::Id("spec.eventId"))?;
    let manifest = ManifestId::parse(&scope.spec.add_in.manifest_id)
        .map_err(|_| WriteBackError::Id("AccessScope spec.addIn.manifestId"))?;
    let cause = Cause::new(format!("BookingRecord/{}", record.key));
    let sent = match context.process.clients.client_for(scope).await {
        Ok(client) => client.write_back(&cause, &user, &event, &manifest, &wanted.note).await,
        Err(_told_by_the_scope) => {
            return Ok(Written::Later(context.holds.back_off(&slot, attempt, rand::random())));
        }
    };
    let metrics = &context.process.metrics.bookings;
    let Err(error) = sent else {
        metrics.written_back("written");
        context.holds.clear(&slot);
        return Ok(Written::Done(wanted.hash.clone()));
    };
    let wait = match error.decision() {
        Decision::Gone(GoneReason::EventNotFound) => {
            metrics.written_back("gone");
            context.holds.clear(&slot);
            return Ok(Written::Done(wanted.hash.clone()));
        }
        Decision::Wait(wait) => {
            context.holds.wait(&slot, attempt, wait);
            wait
        }
        Decision::Retry | Decision::TokenRejected | Decision::Conflict { .. } => {
            context.holds.back_off(&slot, attempt, rand::random())
        }
        Decision::UserMustAct(_) | Decision::Gone(_) => {
            refused(context, &object, &error).await;
            context.holds.wait(&slot, attempt, RECHECK);
            RECHECK
        }
    };
    metrics.written_back("failed");
    tracing::warn!(record = %record.key, error = graph_trouble::text(&error), "a booking could not be written onto its event yet");
    Ok(Written::Later(wait))
}

/// The bookings stand all the same: it is told where the calendar is looked after.
async fn refused(context: &Context, object: &CalendarSubscription, error: &GraphError) {
    let text = format!(
        "bookings cannot be written onto events ({}): grant Calendars.ReadWrite, or set spec.booking.writeBack of the AccessScope to None",
        graph_trouble::text(error)
    );
    context.process.events.warn(object, "WriteBackRefused", text).await;
}

/// Asks the API server, past every cache, whether consent, object and scope still stand.
async fn allowed(
    context: &Context,
    record: &Validated,
    scope: &AccessScope,
) -> Result<Option<(CalendarSubscription, UserId)>, WriteBackError> {
    let kube = &context.process.kube;
    let Some(object) = api::live::<CalendarSubscription>(kube, &record.subscription).await? else {
        return Ok(None);
    };
    let status = object.status.clone().unwrap_or_default();
    let (Some(user), Some(consent)) = (status.user_id, status.consent) else { return Ok(None) };
    let Ok(user) = UserId::parse(&user) else { return Ok(None) };
    let scope_key = Key::of(scope);
    let consent_key = Key::new(&record.key.namespace, &consent.name);
    let (live_scope, consent) = tokio::join!(
        api::live::<AccessScope>(kube, &scope_key),
        api::live::<ConsentRecord>(kube, &consent_key),
    );
    let (Some(live_scope), Some(consent)) = (live_scope?, consent?) else { return Ok(None) };
    let stands = object.metadata.deletion_timestamp.is_none()
        && !object.spec.suspend
        && live_scope.uid() == scope.uid()
        && live_scope.metadata.deletion_timestamp.is_none()
        && !live_scope.spec.suspend
        && consent.spec.withdrawn.is_none()
        && is_about(&consent, &live_scope, &user);
    Ok(stands.then_some((object, user)))
}
