//! What follows from what was read: pure, with time as an argument.

use std::time::Duration;

use jiff::Timestamp;
use roomkeeper_crds::{
    BookingRecordSpec,
    booking_record::{BookedResource, BookingState},
    ending::LastEnd,
};
use roomkeeper_graph::{EventHead, EventType, ManifestId};

use super::{
    add_in::{self, AddInError},
    outcome::Outcome,
};

/// What the minimal read of an event says.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// The event books nothing: it is gone, cancelled, an attendee's copy, or carries no space.
    NoBooking,
    /// The add-in's property cannot be understood: nothing is booked, and the record says why.
    Malformed(AddInError),
    /// One of a series: the master tells, whatever this one carries.
    OfSeries,
    /// These spaces.
    Books(Vec<BookedResource>),
}

/// What is to be written.
#[derive(Debug, PartialEq)]
pub(super) enum Write {
    /// Nothing, for this reason.
    Nothing(Outcome),
    /// A record where none was.
    Create(Box<BookingRecordSpec>),
    /// Another spec in the record that was read.
    Replace(Box<BookingRecordSpec>, Outcome),
}

/// Decides on the minimal read.
pub(super) fn verdict(head: &EventHead, manifest: &ManifestId) -> Verdict {
    // The property lives on the organiser's copy; an attendee's copy books nothing, whatever it carries.
    if !head.is_organizer {
        return Verdict::NoBooking;
    }
    if matches!(head.event_type, EventType::Occurrence | EventType::Exception) {
        return Verdict::OfSeries;
    }
    if head.is_cancelled {
        return Verdict::NoBooking;
    }
    let Some(value) = &head.add_in_value else { return Verdict::NoBooking };
    match add_in::parse(value, manifest) {
        Err(error) => Verdict::Malformed(error),
        Ok(resources) if resources.is_empty() => Verdict::NoBooking,
        Ok(resources) => Verdict::Books(resources),
    }
}

/// Whether a booking is over for good, retention included: then it is neither recorded nor changed.
pub(super) fn is_over(spec: &BookingRecordSpec, retention: Duration, now: Timestamp) -> bool {
    match spec.last_end() {
        LastEnd::At(end) => end.checked_add(retention).is_ok_and(|end| end < now),
        LastEnd::Open => false,
        // There is nothing to wait for.
        LastEnd::NoOccurrence => true,
    }
}

/// The event books nothing.
pub(super) fn without_booking(
    existing: Option<&BookingRecordSpec>,
    retention: Duration,
    now: Timestamp,
) -> Write {
    match existing {
        None => Write::Nothing(Outcome::Unbooked),
        Some(spec) if spec.state == BookingState::Cancelled => Write::Nothing(Outcome::Unchanged),
        Some(spec) if is_over(spec, retention, now) => Write::Nothing(Outcome::Ended),
        Some(spec) => cancelled(spec),
    }
}

/// The event books what `desired` says.
pub(super) fn with_booking(
    existing: Option<&BookingRecordSpec>,
    desired: BookingRecordSpec,
    retention: Duration,
    now: Timestamp,
) -> Write {
    if is_over(&desired, retention, now) {
        return match existing {
            // Moved into the past: the time that is still booked is to come, and nobody will be there.
            Some(spec) if spec.state == BookingState::Booked && !is_over(spec, retention, now) => {
                cancelled(spec)
            }
            _ => Write::Nothing(Outcome::Ended),
        };
    }
    match existing {
        None => Write::Create(Box::new(desired)),
        Some(spec) if *spec == desired => Write::Nothing(Outcome::Unchanged),
        Some(_) => Write::Replace(Box::new(desired), Outcome::Replaced),
    }
}

fn cancelled(spec: &BookingRecordSpec) -> Write {
    let spec = BookingRecordSpec { state: BookingState::Cancelled, ..spec.clone() };
    Write::Replace(Box::new(spec), Outcome::Cancelled)
}

#[cfg(test)]
mod tests {
    use roomkeeper_graph::EventId;
    use serde_json::json;

    use super::*;
    use crate::worker::fixture::spec;

    const NOW: &str = "2026-11-23T12:00:00Z";

    fn now() -> Timestamp {
        NOW.parse().unwrap()
    }

    fn manifest() -> ManifestId {
        ManifestId::parse("3f0c2c1e-8d0a-4b59-9a55-2f4b7c0d6e21").unwrap()
    }

    fn head() -> EventHead {
        EventHead {
            id: EventId::parse("AAMk=").unwrap(),
            i_cal_u_id: "u".to_owned(),
            change_key: "k".to_owned(),
            last_modified: now(),
            is_organizer: true,
            event_type: EventType::SingleInstance,
            is_cancelled: false,
            add_in_value: Some(json!({"version": 1, "resources": [{"id": "room-101"}]}).to_string()),
        }
    }

    fn future() -> BookingRecordSpec {
        spec("2026-11-24T09:00:00Z", "2026-11-24T10:00:00Z")
    }

    fn past() -> BookingRecordSpec {
        spec("2026-11-23T09:00:00Z", "2026-11-23T10:00:00Z")
    }

    fn as_cancelled(spec: BookingRecordSpec) -> BookingRecordSpec {
        BookingRecordSpec { state: BookingState::Cancelled, ..spec }
    }

    const NONE: Duration = Duration::ZERO;

    #[test]
    fn only_the_organisers_standing_event_with_a_space_books() {
        let Verdict::Books(resources) = verdict(&head(), &manifest()) else { panic!() };
        assert_eq!(resources.len(), 1);
        for (head, expected) in [
            (EventHead { is_organizer: false, ..head() }, Verdict::NoBooking),
            (EventHead { is_cancelled: true, ..head() }, Verdict::NoBooking),
            (EventHead { add_in_value: None, ..head() }, Verdict::NoBooking),
            (EventHead { add_in_value: Some("{}".to_owned()), ..head() }, Verdict::NoBooking),
            (
                EventHead { add_in_value: Some("x".to_owned()), ..head() },
                Verdict::Malformed(AddInError::NotAnObject),
            ),
            (
                EventHead { add_in_value: Some("x".to_owned()), is_organizer: false, ..head() },
                Verdict::NoBooking,
            ),
            (EventHead { event_type: EventType::Occurrence, ..head() }, Verdict::OfSeries),
            (EventHead { event_type: EventType::Exception, ..head() }, Verdict::OfSeries),
            (
                EventHead { event_type: EventType::Occurrence, add_in_value: None, ..head() },
                Verdict::OfSeries,
            ),
            (EventHead { event_type: EventType::Exception, is_cancelled: true, ..head() }, Verdict::OfSeries),
            (
                EventHead { event_type: EventType::Occurrence, is_organizer: false, ..head() },
                Verdict::NoBooking,
            ),
        ] {
            assert_eq!(verdict(&head, &manifest()), expected);
        }
    }

    #[test]
    fn without_a_booking_only_a_standing_record_to_come_is_touched() {
        for (existing, expected) in [
            (None, Write::Nothing(Outcome::Unbooked)),
            (Some(as_cancelled(future())), Write::Nothing(Outcome::Unchanged)),
            (Some(past()), Write::Nothing(Outcome::Ended)),
            (Some(future()), Write::Replace(Box::new(as_cancelled(future())), Outcome::Cancelled)),
        ] {
            assert_eq!(without_booking(existing.as_ref(), NONE, now()), expected);
        }
        let kept = without_booking(Some(&past()), Duration::from_hours(3), now());
        assert_eq!(kept, Write::Replace(Box::new(as_cancelled(past())), Outcome::Cancelled));
    }

    #[test]
    fn a_booking_is_created_replaced_or_left() {
        let moved = spec("2026-11-25T09:00:00Z", "2026-11-25T10:00:00Z");
        for (existing, desired, expected) in [
            (None, future(), Write::Create(Box::new(future()))),
            (Some(future()), future(), Write::Nothing(Outcome::Unchanged)),
            (Some(future()), moved.clone(), Write::Replace(Box::new(moved), Outcome::Replaced)),
            (Some(as_cancelled(future())), future(), Write::Replace(Box::new(future()), Outcome::Replaced)),
            (None, past(), Write::Nothing(Outcome::Ended)),
            (Some(past()), past(), Write::Nothing(Outcome::Ended)),
            (Some(future()), past(), Write::Replace(Box::new(as_cancelled(future())), Outcome::Cancelled)),
            (Some(as_cancelled(future())), past(), Write::Nothing(Outcome::Ended)),
            (Some(past()), future(), Write::Replace(Box::new(future()), Outcome::Replaced)),
        ] {
            assert_eq!(with_booking(existing.as_ref(), desired, NONE, now()), expected);
        }
    }

    #[test]
    fn deciding_again_after_the_write_changes_nothing() {
        for existing in [None, Some(future()), Some(as_cancelled(future()))] {
            let written = match with_booking(existing.as_ref(), future(), NONE, now()) {
                Write::Create(spec) | Write::Replace(spec, _) => *spec,
                Write::Nothing(_) => future(),
            };
            assert_eq!(
                with_booking(Some(&written), future(), NONE, now()),
                Write::Nothing(Outcome::Unchanged)
            );
        }
    }
}
