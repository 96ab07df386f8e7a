//! Calls the product as planned.

use std::time::Duration;

use roomkeeper_crds::{
    access_scope::Booking as Config,
    booking_record::{Booking, ProductState},
};

use super::{
    client::{Answer, Product, ProductError},
    plan::Call,
    validate::Validated,
};
use crate::{
    context::Context,
    failpoint::{Place, around},
};

/// What the calls came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The bookings as the product has them now.
    pub bookings: Vec<Booking>,
    /// Why not all calls were made.
    pub trouble: Option<Trouble>,
}

/// What stopped the calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What happened, and what to do.
    pub message: String,
    /// Whether a person must act.
    pub stalled: bool,
    /// Time that the product asked to wait.
    pub wait: Option<Duration>,
}

/// Makes the calls, one after the other. What stops one stops the rest.
pub async fn apply(context: &Context, record: &Validated, config: &Config, calls: &[Call]) -> Outcome {
    let mut outcome = Outcome { bookings: record.status.bookings.clone(), trouble: None };
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
    for call in calls {
        let answer = send(context, record, &product, call).await;
        outcome.trouble = conclude(&mut outcome.bookings, call, answer);
        if outcome.trouble.is_some() {
            break;
        }
    }
    outcome
}

async fn send(context: &Context, record: &Validated, product: &Product, call: &Call) -> Answer {
    let client = &context.process.booking;
    match call {
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
    }
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
        Answer::Refused(reason) | Answer::Conflict(reason) => {
            if let Some(booking) = present {
                booking.state = ProductState::Rejected;
                booking.reason = Some(reason);
                booking.sent = sent;
            }
            None
        }
        Answer::Later(wait) => {
            let message = "the product asked to wait".to_owned();
            Some(Trouble { message, stalled: false, wait: Some(wait) })
        }
        Answer::Unavailable { why, stalled } => Some(Trouble { message: why, stalled, wait: None }),
    }
}

fn set_up(error: &ProductError) -> Trouble {
    Trouble { message: error.to_string(), stalled: error.is_stalled(), wait: None }
}
