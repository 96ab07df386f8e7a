//! Calls the product as planned.

use std::time::Duration;

use jiff::Timestamp;
use roomkeeper_crds::{
    access_scope::Booking as Config,
    booking_record::{Booking, ProductState},
    condition::Delivered,
};

use super::{
    client::{Answer, Product, ProductError},
    plan::{Call, Refusal},
    quota::{Asker, Exhausted, Permit, Purpose, QuotaError, Window},
    validate::Validated,
};
use crate::{
    context::Context,
    failpoint::{Place, around},
    key::Key,
};

/// What the calls came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The bookings as the product has them now.
    pub bookings: Vec<Booking>,
    /// How many calls were answered for good.
    pub done: usize,
    /// Spaces of which something may have become free.
    pub freed: Vec<String>,
    /// Why not all calls were made.
    pub trouble: Option<Trouble>,
}

/// What stopped the calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Reason of `Delivered`.
    pub reason: Delivered,
    /// What happened, and what to do.
    pub message: String,
    /// Whether a person must act.
    pub stalled: bool,
    /// What is to be waited for.
    pub wait: Option<Wait>,
}

/// How long to wait, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// With these calls: others may have a place sooner.
    These(Duration),
    /// With all calls: the product asked for it.
    All(Duration),
}

impl Trouble {
    fn of_product(message: String, stalled: bool, wait: Option<Wait>) -> Self {
        Self { reason: Delivered::BackendUnavailable, message, stalled, wait }
    }

    /// Nothing is left of a quota.
    pub fn exhausted(exhausted: Exhausted, now: Timestamp) -> Self {
        let at = now.checked_add(exhausted.wait).unwrap_or(Timestamp::MAX);
        // Rounded up, as it is told.
        let at = Timestamp::from_second(at.as_second().saturating_add(1)).unwrap_or(at);
        let quota = match exhausted.window {
            Window::Minute => "booking.quota.perMinute of the AccessScope is used up for now",
            Window::Week => "booking.quota.perWeek of the AccessScope is used up",
        };
        let message = format!("{quota}; sent at {at}");
        let wait = Some(Wait::These(exhausted.wait));
        Self { reason: Delivered::QuotaExhausted, message, stalled: false, wait }
    }
}

/// Times that a call is sent: once more when the product refuses the token.
const SENDS: u32 = 2;

/// Makes the calls, one after the other. What stops one stops the rest.
pub async fn apply(
    context: &Context,
    record: &Validated,
    scope: &Key,
    config: &Config,
    calls: &[Call],
    bookings: Vec<Booking>,
) -> Outcome {
    let mut outcome = Outcome { bookings, ..Outcome::default() };
    let process = &context.process;
    let allowed = &process.settings.allowed_hosts;
    let product = process.products.get(&process.kube, allowed, &record.key.namespace, config).await;
    let product = match product {
        Ok(product) => product,
        Err(error) => {
            outcome.trouble = Some(set_up(&error));
            return outcome;
        }
    };
    let asker = Asker { scope, quota: &config.quota, uid: &record.uid };
    for call in calls {
        let purpose = match call {
            Call::Put { .. } => Purpose::Put,
            Call::Cancel { .. } => Purpose::Cancel,
        };
        let mut answer = Answer::TokenRefused;
        for _ in 0..SENDS {
            let permit = match context.quotas.take(context, &asker, purpose).await {
                Ok(permit) => permit,
                Err(error) => {
                    outcome.trouble = Some(not_set_aside(&error, process.clock.now()));
                    return outcome;
                }
            };
            answer = send(context, record, &product, call, permit).await;
            if answer != Answer::TokenRefused {
                break;
            }
        }
        let (Call::Put { resource_id, .. } | Call::Cancel { resource_id }) = call;
        let had_it = outcome.bookings.iter().any(|booking| {
            booking.resource_id == *resource_id
                && (booking.state == ProductState::Accepted || booking.booking_id.is_some())
        });
        if matches!(answer, Answer::Cancelled) || (had_it && matches!(answer, Answer::Booked { .. })) {
            outcome.freed.push(resource_id.clone());
        }
        outcome.trouble = conclude(&mut outcome.bookings, call, answer);
        if outcome.trouble.is_some() {
            break;
        }
        outcome.done += 1;
    }
    outcome
}

async fn send(
    context: &Context,
    record: &Validated,
    product: &Product,
    call: &Call,
    permit: Permit,
) -> Answer {
    let client = &context.process.booking;
    let answer = match call {
        Call::Cancel { resource_id } => {
            around(Place::CancelBooking, client.cancel(product, &record.booking_key(resource_id))).await
        }
        Call::Put { resource_id, content } => {
            let Some(resource) = record.resources.iter().find(|resource| resource.id == *resource_id) else {
                return Answer::Cancelled;
            };
            let idempotency_key = record.idempotency_key(resource_id, content);
            let key = record.booking_key(resource_id);
            let put = client.put(product, &key, &idempotency_key, &resource.request);
            around(Place::PutBooking, put).await
        }
    };
    // It counts as under way until the answer has come.
    drop(permit);
    answer
}

/// Notes an answer. Pure.
pub fn conclude(bookings: &mut Vec<Booking>, call: &Call, answer: Answer) -> Option<Trouble> {
    let (Call::Put { resource_id, .. } | Call::Cancel { resource_id }) = call;
    let sent = match call {
        Call::Put { content, .. } => Some(content.clone()),
        Call::Cancel { .. } => None,
    };
    let present = bookings.iter_mut().find(|booking| booking.resource_id == *resource_id);
    match answer {
        Answer::Cancelled => {
            bookings.retain(|booking| booking.resource_id != *resource_id);
            None
        }
        Answer::Booked { booking_id } => {
            if let Some(booking) = present {
                booking.booking_id = booking_id.or(booking.booking_id.take());
                booking.state = ProductState::Accepted;
                booking.reason = None;
                booking.sent = sent;
            }
            None
        }
        Answer::Refused(reason) => {
            refuse(present, reason, sent, Refusal::Rule);
            None
        }
        Answer::Conflict(reason) => {
            refuse(present, reason, sent, Refusal::Conflict);
            None
        }
        Answer::TokenRefused => {
            Some(Trouble::of_product("the product refused a fresh token".to_owned(), false, None))
        }
        Answer::Later(wait) => {
            let message = "the product asked to wait".to_owned();
            Some(Trouble::of_product(message, false, Some(Wait::All(wait))))
        }
        Answer::Unavailable { why, stalled } => Some(Trouble::of_product(why, stalled, None)),
    }
}

fn refuse(present: Option<&mut Booking>, reason: String, sent: Option<String>, why: Refusal) {
    if let Some(booking) = present {
        booking.state = ProductState::Rejected;
        booking.reason = Some(reason);
        booking.sent = sent.map(|content| why.mark(&content));
    }
}

fn set_up(error: &ProductError) -> Trouble {
    Trouble::of_product(error.to_string(), error.is_stalled(), None)
}

fn not_set_aside(error: &QuotaError, now: Timestamp) -> Trouble {
    match error {
        QuotaError::Exhausted(exhausted) => Trouble::exhausted(*exhausted, now),
        QuotaError::Api(_) | QuotaError::ScopeGone => Trouble::of_product(error.to_string(), false, None),
    }
}
