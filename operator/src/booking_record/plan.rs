//! What to do about a record. Pure.

use std::time::Duration;

use jiff::Timestamp;
use roomkeeper_crds::{
    access_scope::Booking as Product,
    booking_record::{Booking, BookingState, ProductState},
};

use super::{
    content,
    purge::Purge,
    validate::{Resource, Validated},
};
use crate::key::Key;

/// Most bookings that a status holds; the schema has the same bound.
const BOOKINGS: usize = 40;

/// What the decision needs besides the record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// The AccessScope, if it is known.
    pub scope: Option<Key>,
    /// The booking product of the scope; `None` where the scope names none, or is not known.
    pub product: Option<Product>,
    /// How long a record outlives its booking.
    pub retention: Duration,
    /// Whether the record is to go because its calendar may not be read any more.
    pub purge: Option<Purge>,
    /// Whether what the product refused because the space is taken may be tried again.
    pub retry_conflicts: bool,
    /// Whether a person asks for a run: whatever the product refused is tried again.
    pub asked: bool,
}

/// One call to the product.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Make or change a booking.
    Put {
        /// Id of the space.
        resource_id: String,
        /// Mark of what is sent.
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
    /// The calendar may not be read any more: the record goes.
    Purge(Purge),
    /// Write down which spaces are about to be sent, so that a crash in the middle leaves no booking that nobody knows of.
    Announce(Vec<Booking>),
    /// Call the product.
    Call {
        /// In this order.
        calls: Vec<Call>,
        /// The bookings as they are known before.
        bookings: Vec<Booking>,
    },
    /// Nothing but to write these bookings down.
    Rest(Vec<Booking>),
}

/// Why the product refused, as it is noted before the mark of what it refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The space is taken.
    Conflict,
    /// The product never takes this.
    Rule,
}

impl Refusal {
    const fn letter(self) -> char {
        match self {
            Self::Conflict => 'c',
            Self::Rule => 'x',
        }
    }

    /// The mark of what was refused for this reason.
    pub fn mark(self, content: &str) -> String {
        format!("{}{content}", self.letter())
    }

    /// Why, and the mark of what was refused; `None` for a booking that was not refused.
    pub fn of(booking: &Booking) -> Option<(Self, &str)> {
        if booking.state != ProductState::Rejected {
            return None;
        }
        let sent = booking.sent.as_deref().unwrap_or_default();
        match sent.strip_prefix(Self::Rule.letter()) {
            Some(content) => Some((Self::Rule, content)),
            // A cancellation that was refused has no mark, and is tried again like a conflict.
            None => Some((Self::Conflict, sent.strip_prefix(Self::Conflict.letter()).unwrap_or_default())),
        }
    }
}

/// When the record is deleted.
pub fn expires_at(record: &Validated, world: &World) -> Option<Timestamp> {
    record.ends_at.and_then(|end| end.checked_add(world.retention).ok())
}

/// When the next occurrence passes of what the product has: that is written down.
pub fn next_over(record: &Validated, now: Timestamp) -> Option<Timestamp> {
    record.resources.iter().filter_map(|resource| resource.content("").next_over(now)).min()
}

/// The spaces that are to be booked.
fn wanted(record: &Validated, now: Timestamp) -> Vec<&Resource> {
    match record.state {
        BookingState::Booked => record.resources.iter().filter(|resource| resource.is_to_come(now)).collect(),
        BookingState::Cancelled => Vec::new(),
    }
}

/// Plans.
pub fn plan(record: &Validated, world: &World, now: Timestamp) -> Plan {
    if expires_at(record, world).is_some_and(|at| at <= now) {
        return Plan::Expire;
    }
    let known = record.status.bookings.clone();
    if let Some(purge) = world.purge {
        return match &world.product {
            Some(product) if purge.cancel && !record.is_over(now) => {
                let calls = cancellations(record, product, now);
                if calls.is_empty() { Plan::Purge(purge) } else { Plan::Call { calls, bookings: known } }
            }
            _ => Plan::Purge(purge),
        };
    }
    let Some(product) = &world.product else { return Plan::Rest(known) };
    // Only what is kept for some time after its end comes here.
    if record.is_over(now) {
        return Plan::Rest(known);
    }
    let wanted = wanted(record, now);
    let is_wanted = |id: &str| wanted.iter().any(|resource| resource.id == id);
    let mut bookings = known;
    // What was booked and is over needs no cancellation, and nobody asks for it again.
    bookings.retain(|booking| is_wanted(&booking.resource_id) || !is_past(record, product, booking, now));
    let room = BOOKINGS.saturating_sub(bookings.len());
    let unannounced = wanted
        .iter()
        .filter(|resource| !bookings.iter().any(|booking| booking.resource_id == resource.id))
        .take(room);
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
        bookings.extend(unannounced);
        return Plan::Announce(bookings);
    }
    // What is not wanted any more goes first: its space may be wanted by the others.
    let mut calls: Vec<Call> = bookings
        .iter()
        .filter(|booking| !is_wanted(&booking.resource_id))
        .filter(|booking| {
            world.retry_conflicts
                || world.asked
                || booking.state != ProductState::Rejected
                || booking.sent.is_some()
        })
        .map(|booking| Call::Cancel { resource_id: booking.resource_id.clone() })
        .collect();
    for resource in wanted {
        let content = resource.content(&product.url);
        let Some(booking) = bookings.iter_mut().find(|booking| booking.resource_id == resource.id) else {
            continue;
        };
        let done = match booking.state {
            ProductState::Accepted => {
                let done = booking.sent.as_deref().is_some_and(|sent| content.is(sent, now));
                if done {
                    booking.sent = Some(content.mark(now));
                }
                done
            }
            ProductState::Rejected => match Refusal::of(booking) {
                Some((Refusal::Rule, refused)) if !world.asked && content.is(refused, now) => {
                    booking.sent = Some(Refusal::Rule.mark(&content.mark(now)));
                    true
                }
                Some((Refusal::Conflict, refused)) => {
                    content.is(refused, now) && !world.asked && !world.retry_conflicts
                }
                _ => false,
            },
            ProductState::Pending | ProductState::Cancelled => false,
        };
        if !done {
            calls.push(Call::Put { resource_id: resource.id.clone(), content: content.mark(now) });
        }
    }
    if calls.is_empty() { Plan::Rest(bookings) } else { Plan::Call { calls, bookings } }
}

/// Cancels whatever stands or may stand. What the product does not let us cancel is left to it.
fn cancellations(record: &Validated, product: &Product, now: Timestamp) -> Vec<Call> {
    let left = record.status.bookings.iter().filter(|booking| {
        let refused = booking.state == ProductState::Rejected && booking.sent.is_none();
        !refused && !is_past(record, product, booking, now)
    });
    left.map(|booking| Call::Cancel { resource_id: booking.resource_id.clone() }).collect()
}

/// Whether all that the product was told of this booking is over.
fn is_past(record: &Validated, product: &Product, booking: &Booking, now: Timestamp) -> bool {
    let Some(sent) = booking.sent.as_deref().filter(|_| booking.state == ProductState::Accepted) else {
        return false;
    };
    let known = record.resources.iter().find(|resource| resource.id == booking.resource_id);
    let is_told =
        |resource: &Resource| !resource.is_to_come(now) && resource.content(&product.url).is(sent, now);
    content::is_over(sent, now) || known.is_some_and(is_told)
}
