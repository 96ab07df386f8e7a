//! What a record's status says. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use roomkeeper_crds::{
    BookingRecordStatus,
    booking_record::{Booking, BookingState, ProductState},
    condition::{self, Delivered, Desired, Status, Summary as Reason, Type},
};

use super::{
    apply::Trouble,
    plan::{Refusal, World, expires_at},
    validate::Validated,
};
use crate::summary::{self, Summary};

/// The status that follows from what the product has.
pub fn report(
    record: &Validated,
    world: &World,
    bookings: Vec<Booking>,
    trouble: Option<&Trouble>,
    now: Timestamp,
) -> BookingRecordStatus {
    let mut status = record.status.clone();
    let generation = Some(record.generation);
    status.observed_generation = generation;
    status.expires_at = expires_at(record, world).map(Time);
    if record.requested.is_some() {
        status.last_handled_reconcile_at.clone_from(&record.requested);
    }
    let (delivered, reason, message, summary) = delivered(record, world, &bookings, trouble, now);
    status.bookings = bookings;
    let desired = Desired { type_: Type::Delivered, status: delivered, reason: reason.as_str(), message };
    condition::set(&mut status.conditions, desired, generation, now);
    summary::put(&mut status.conditions, summary, generation, now);
    status
}

fn delivered(
    record: &Validated,
    world: &World,
    bookings: &[Booking],
    trouble: Option<&Trouble>,
    now: Timestamp,
) -> (Status, Delivered, String, Summary) {
    let ready = |delivered, message: String| {
        let summary = Summary::Ready { reason: Reason::Succeeded.as_str(), message: message.clone() };
        (Status::True, delivered, message, summary)
    };
    let stalled = |delivered: Delivered, message: String| {
        let summary = Summary::Stalled { reason: delivered.as_str(), message: message.clone() };
        (Status::False, delivered, message, summary)
    };
    let working = |status, delivered: Delivered, message: String| {
        let summary = Summary::Working { reason: delivered.as_str(), message: message.clone() };
        (status, delivered, message, summary)
    };
    if let Some(trouble) = trouble {
        let message = trouble.message.clone();
        return match trouble.reason {
            reason if trouble.stalled => stalled(reason, message),
            Delivered::QuotaExhausted => working(Status::False, Delivered::QuotaExhausted, message),
            reason => working(Status::False, reason, format!("{message}; tried again")),
        };
    }
    if let Some(invalid) = &record.invalid
        && bookings.is_empty()
    {
        let message =
            format!("nothing is booked: {invalid}; update the add-in, or save the booking again in Outlook");
        let reason = Reason::InvalidProperty.as_str();
        let summary = Summary::Stalled { reason, message: message.clone() };
        return (Status::False, Delivered::Rejected, message, summary);
    }
    if world.product.is_none() {
        // Nothing is wrong and nothing is left to do: the record is kept, as the scope wants it.
        let message =
            "the AccessScope names no booking API; the record is kept and nothing is booked".to_owned();
        let summary = Summary::Ready { reason: Delivered::Pending.as_str(), message: message.clone() };
        return (Status::False, Delivered::Pending, message, summary);
    }
    let refused = bookings.iter().find_map(|booking| Some((booking, Refusal::of(booking)?.0)));
    if let Some((refused, why)) = refused {
        let reason = refused.reason.as_deref().unwrap_or("no reason given");
        let again = match why {
            _ if record.is_over(now) => "over by now",
            Refusal::Conflict => {
                "tried again now and then until it is over, and at once when Roomkeeper frees the space"
            }
            Refusal::Rule => "tried again when the event changes, or a person asks for it",
        };
        return stalled(Delivered::Rejected, format!("{}: {reason}; {again}", refused.resource_id));
    }
    let mut unfit = record.invalid_occurrences.iter().filter(|(end, _)| *end > now);
    if record.state == BookingState::Booked
        && let Some((end, invalid)) = unfit.next()
    {
        let more = unfit.count();
        let message = format!(
            "the occurrence that ends at {end} is not booked: {invalid}; {}update the add-in, or save that occurrence again in Outlook",
            if more == 0 { String::new() } else { format!("{more} more like it; ") }
        );
        let reason = Reason::InvalidProperty.as_str();
        let summary = Summary::Stalled { reason, message: message.clone() };
        return (Status::False, Delivered::Rejected, message, summary);
    }
    if bookings.iter().any(|booking| booking.state != ProductState::Accepted) {
        if record.is_over(now) {
            let message = "the event is over; nothing more is sent".to_owned();
            let summary = Summary::Ready { reason: Delivered::Pending.as_str(), message: message.clone() };
            return (Status::False, Delivered::Pending, message, summary);
        }
        return working(Status::Unknown, Delivered::Pending, "to be sent to the booking product".to_owned());
    }
    match record.state {
        BookingState::Booked => {
            ready(Delivered::Accepted, format!("the product has {} bookings", bookings.len()))
        }
        BookingState::Cancelled if bookings.is_empty() => {
            ready(Delivered::Cancelled, "the product has no booking of this event any more".to_owned())
        }
        BookingState::Cancelled => {
            working(Status::Unknown, Delivered::Pending, "to be cancelled at the booking product".to_owned())
        }
    }
}
