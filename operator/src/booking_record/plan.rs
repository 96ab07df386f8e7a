//! What to do about a record. Pure.

use std::time::Duration;

use jiff::Timestamp;
use roomkeeper_crds::{
    access_scope::Booking as Product,
    booking_record::{Booking, BookingState, ProductState},
};

use super::validate::Validated;

/// What the decision needs besides the record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// The booking product of the scope; `None` where the scope names none, or is not known.
    pub product: Option<Product>,
    /// How long a record outlives its booking.
    pub retention: Duration,
    /// Whether what the product refused may be tried again.
    pub retry_refused: bool,
}

/// One call to the product.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Make or change a booking; `content` is the hash of what is sent.
    Put {
        /// Id of the space.
        resource_id: String,
        /// Hash of what is sent.
        content: String,
    },
    /// Cancel a booking.
    Cancel {
        /// Id of the space.
        resource_id: String,
    },
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The booking is over: the record goes.
    Expire,
    /// Write down which spaces are about to be sent, so that a crash in the middle leaves no booking that nobody knows of.
    Announce(Vec<Booking>),
    /// Call the product.
    Call(Vec<Call>),
    /// Nothing.
    Rest,
}

/// When the record is deleted.
pub fn expires_at(record: &Validated, world: &World) -> Option<Timestamp> {
    record.ends_at.and_then(|end| end.checked_add(world.retention).ok())
}

/// Plans.
pub fn plan(record: &Validated, world: &World, now: Timestamp) -> Plan {
    if expires_at(record, world).is_some_and(|at| at <= now) {
        return Plan::Expire;
    }
    let Some(product) = &world.product else { return Plan::Rest };
    let bookings = &record.status.bookings;
    let wanted: &[_] = match record.state {
        BookingState::Booked if !record.recurring => &record.resources,
        BookingState::Booked | BookingState::Cancelled => &[],
    };
    let unannounced =
        wanted.iter().filter(|resource| !bookings.iter().any(|booking| booking.resource_id == resource.id));
    let unannounced: Vec<Booking> = unannounced
        .map(|resource| Booking {
            resource_id: resource.id.clone(),
            booking_id: None,
            state: ProductState::Pending,
            reason: None,
            sent: None,
        })
        .collect();
    if !unannounced.is_empty() {
        return Plan::Announce(bookings.iter().cloned().chain(unannounced).collect());
    }
    // What is not wanted any more goes first: its space may be wanted by the others.
    let mut calls: Vec<Call> = bookings
        .iter()
        .filter(|booking| !wanted.iter().any(|resource| resource.id == booking.resource_id))
        .filter(|booking| {
            world.retry_refused || booking.state != ProductState::Rejected || booking.sent.is_some()
        })
        .map(|booking| Call::Cancel { resource_id: booking.resource_id.clone() })
        .collect();
    for resource in wanted {
        let content = resource.content(&product.url);
        let done = bookings.iter().filter(|booking| booking.resource_id == resource.id).any(|booking| {
            let same = booking.sent.as_ref() == Some(&content);
            match booking.state {
                ProductState::Accepted => same,
                ProductState::Rejected => same && !world.retry_refused,
                ProductState::Pending | ProductState::Cancelled => false,
            }
        });
        if !done {
            calls.push(Call::Put { resource_id: resource.id.clone(), content });
        }
    }
    if calls.is_empty() { Plan::Rest } else { Plan::Call(calls) }
}
