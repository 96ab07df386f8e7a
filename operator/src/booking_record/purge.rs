//! Records of a calendar that may not be read any more.
//!
//! They go only for what is proven: by the object as it is, by the condition that its controller wrote, and by what follows
//! from consents and members at this moment. A cache that is behind, or a scope that cannot tell, purges nothing.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use roomkeeper_crds::{
    AccessScope, CalendarSubscription,
    access_scope::{OnUnsubscribe, PurgedBookings},
    condition::{self, Allowed, Status, Type},
};
use roomkeeper_graph::{
    Cause,
    audit::{AuditEntry, AuditError},
};

use super::{term, validate::Validated};
use crate::{
    api::{self, ApiError},
    calendar_subscription::{
        self,
        plan::{Denial, Verdict, verdict},
    },
    context::Context,
    key::Key,
};

/// How long a proof serves for the other records of the calendar.
const PROVEN: Duration = Duration::from_secs(30);
/// Records that go on going are told of once in this time.
const TOLD: Duration = Duration::from_mins(10);

/// Why a calendar may not be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The consent was withdrawn.
    Withdrawn,
    /// The policies of the scope leave the user out.
    OutOfScope,
    /// The CalendarSubscription was deleted.
    Deleted,
}

impl Why {
    const fn words(self) -> &'static str {
        match self {
            Self::Withdrawn => "the consent was withdrawn",
            Self::OutOfScope => "the policies of the AccessScope leave the user out",
            Self::Deleted => "the CalendarSubscription was deleted",
        }
    }
}

/// What becomes of a record whose calendar may not be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purge {
    /// Why it goes.
    pub why: Why,
    /// Whether its bookings are cancelled before.
    pub cancel: bool,
}

/// Why the records could not be deleted.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// At the API server.
    #[error("{0}")]
    Api(#[from] ApiError),
    /// The audit cannot be written, so that nothing may be done.
    #[error("{0}")]
    Audit(#[from] AuditError),
}

/// What an object says about its records. Pure.
pub fn said(object: Option<&CalendarSubscription>) -> Option<Why> {
    let Some(object) = object else { return Some(Why::Deleted) };
    if object.metadata.deletion_timestamp.is_some() {
        return Some(Why::Deleted);
    }
    let status = object.status.as_ref()?;
    let allowed = condition::get(&status.conditions, Type::Allowed)?;
    let current = object.metadata.generation.is_some()
        && status.observed_generation == object.metadata.generation
        && allowed.observed_generation == object.metadata.generation;
    if !current || allowed.status != Status::False.as_str() {
        return None;
    }
    match allowed.reason.as_str() {
        reason if reason == Allowed::ConsentWithdrawn.as_str() => Some(Why::Withdrawn),
        reason if reason == Allowed::OutOfScope.as_str() => Some(Why::OutOfScope),
        _ => None,
    }
}

/// Whether what an object says follows from consents and members at this moment too. Pure.
pub fn agrees(why: Why, verdict: &Verdict) -> bool {
    match why {
        Why::Deleted => true,
        Why::Withdrawn => *verdict == Verdict::Denied(Denial::ConsentWithdrawn),
        Why::OutOfScope => *verdict == Verdict::Denied(Denial::OutOfScope),
    }
}

/// Whether a record is to go, from memory.
pub fn look(context: &Context, record: &Validated, scope: Option<&AccessScope>) -> Option<Purge> {
    // Without a scope nobody says what is wanted.
    let scope = scope.filter(|scope| scope.metadata.deletion_timestamp.is_none())?;
    let retention = scope.spec.retention.clone().unwrap_or_default();
    if retention.on_unsubscribe == OnUnsubscribe::KeepUntilEnd {
        return None;
    }
    let object = match context.subscriptions.look(&record.subscription) {
        None => None,
        Some(Ok(object)) => Some(object),
        Some(Err(_undecodable)) => return None,
    };
    let why = said(object.as_ref())?;
    if why != Why::Deleted && !agrees(why, &now(context, object.as_ref()?)?) {
        return None;
    }
    Some(Purge { why, cancel: retention.purged_bookings == PurgedBookings::Cancel })
}

/// Whether the calendar may be read, by what is in memory.
fn now(context: &Context, object: &CalendarSubscription) -> Option<Verdict> {
    let object = calendar_subscription::validate::validate(object).ok()?;
    let now = context.process.clock.now();
    let world = calendar_subscription::dereference::dereference(context, &object, now);
    Some(verdict(&object, &world))
}

#[derive(Clone, Copy, Debug)]
struct Proof {
    why: Why,
    at: Duration,
    told: Duration,
}

/// What was proven, by CalendarSubscription.
#[derive(Debug, Default)]
pub struct Purges(Mutex<HashMap<Key, Proof>>);

impl Purges {
    fn get(&self, key: &Key) -> Option<Proof> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    fn put(&self, key: &Key, proof: Proof) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, one| one.told.saturating_add(TOLD) > proof.at);
        all.insert(key.clone(), proof);
    }
}

/// Whether the API server says the same, past every cache. The first time it is told, in the audit and by an event.
///
/// # Errors
/// See [`PurgeError`].
pub async fn is_proven(
    context: &Context,
    subscription: &Key,
    scope: &Key,
    purge: Purge,
) -> Result<bool, PurgeError> {
    let process = &context.process;
    let passed = process.clock.passed();
    let before = context.purges.get(subscription).filter(|proof| proof.why == purge.why);
    if before.is_some_and(|proof| proof.at.saturating_add(PROVEN) > passed) {
        return Ok(true);
    }
    let live = api::live::<CalendarSubscription>(&process.kube, subscription).await?;
    if said(live.as_ref()) != Some(purge.why) {
        return Ok(false);
    }
    let told = before.map(|proof| proof.told).filter(|told| told.saturating_add(TOLD) > passed);
    if told.is_none() {
        let records = context.bookings.under(&term(subscription)).len();
        let bookings = if purge.cancel { "cancelled before" } else { "left as they are" };
        let text = format!(
            "{records} BookingRecords of the calendar are deleted, their bookings {bookings}: {}",
            purge.why.words()
        );
        tracing::info!(object = %subscription, text, "records are purged");
        let entry = AuditEntry::Note {
            time: process.clock.now(),
            scope: scope.to_string(),
            caused_by: Cause::new(format!("CalendarSubscription/{subscription}")),
            text: text.clone(),
        };
        process.audit.record(entry).await?;
        if let Some(object) = &live {
            process.events.tell(object, "RecordsPurged", text).await;
        }
    }
    let proof = Proof { why: purge.why, at: passed, told: told.unwrap_or(passed) };
    context.purges.put(subscription, proof);
    Ok(true)
}
