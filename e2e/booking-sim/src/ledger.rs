//! What the product knows: bookings by key, and the answers given for each Idempotency-Key.

use std::collections::{BTreeMap, HashMap, VecDeque};

use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{members::Members, refusal::Refusal};

/// Most bookings at a time.
const BOOKINGS: usize = 200_000;
/// Most answers that are remembered; beyond, the oldest is forgotten.
const ANSWERS: usize = 20_000;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Wanted {
    resource_id: String,
    start: Timestamp,
    end: Timestamp,
    subject: Option<String>,
    organizer: Option<String>,
    attendees: Vec<String>,
    #[serde(rename = "iCalUId")]
    i_cal_u_id: String,
}

#[derive(Clone, Debug)]
struct Booking {
    id: String,
    wanted: Wanted,
}

#[derive(Clone, Debug)]
struct Answered {
    key: String,
    /// As it was then.
    booking: Booking,
    status: StatusCode,
    /// Tells a later answer under the same Idempotency-Key from this one.
    number: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    bookings: BTreeMap<String, Booking>,
    /// Per resource, the key of the booking that starts then. Bookings of one resource never overlap, so a start names one.
    plan: HashMap<String, BTreeMap<Timestamp, String>>,
    answered: HashMap<String, Answered>,
    /// Numbers and Idempotency-Keys of the answers, the oldest first.
    order: VecDeque<(u64, String)>,
    answers: u64,
}

impl Wanted {
    /// Reads the body of a PUT.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let mut members = Members::read(body, StatusCode::UNPROCESSABLE_ENTITY)?;
        let wanted = Self {
            resource_id: members.identifier("resourceId", 128)?,
            start: members.time("start")?,
            end: members.time("end")?,
            subject: members.optional_text("subject", 1024)?,
            organizer: members.optional_text("organizer", 320)?,
            attendees: members.texts("attendees", 500, 320)?,
            i_cal_u_id: members.identifier("iCalUId", 1024)?,
        };
        members.end("resourceId, start, end, subject, organizer, attendees, iCalUId")?;
        if wanted.end <= wanted.start {
            let message =
                format!("end must be after start, but {} is not after {}", wanted.end, wanted.start);
            return Err(Refusal::invalid(message));
        }
        Ok(wanted)
    }
}

impl Booking {
    fn shown(&self, key: &str) -> Value {
        let mut shown = json!(self.wanted);
        if let Some(shown) = shown.as_object_mut() {
            shown.insert("bookingId".to_owned(), json!(self.id));
            shown.insert("key".to_owned(), json!(key));
            shown.insert("state".to_owned(), json!("Booked"));
        }
        shown
    }
}

impl Ledger {
    /// Makes or changes the booking of that key.
    pub(crate) fn put(
        &mut self,
        key: &str,
        idempotency: &str,
        wanted: Wanted,
    ) -> Result<(StatusCode, Value), Refusal> {
        if let Some(before) = self.remembered(idempotency) {
            if before.key == key && before.booking.wanted == wanted {
                return Ok((before.status, before.booking.shown(key)));
            }
            return Err(Refusal::invalid(
                "this Idempotency-Key was used for another request: take a new one for each content",
            ));
        }
        if let Some(taken) = self.overlapping(key, &wanted) {
            let message = format!("{} is booked from {} to {}", taken.resource_id, taken.start, taken.end);
            return Err(Refusal::new(StatusCode::CONFLICT, "Overlap", message));
        }
        let old = self.bookings.get(key).cloned();
        if old.is_none() && self.bookings.len() >= BOOKINGS {
            let message = format!("there are {BOOKINGS} bookings, which is the most: delete some");
            return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "LimitReached", message));
        }
        let (status, id) = match old {
            Some(old) => {
                self.unplan(&old.wanted);
                (StatusCode::OK, old.id)
            }
            None => (StatusCode::CREATED, uuid::Uuid::new_v4().to_string()),
        };
        self.plan.entry(wanted.resource_id.clone()).or_default().insert(wanted.start, key.to_owned());
        let booking = Booking { id, wanted };
        let body = booking.shown(key);
        self.remember(idempotency, key, &booking, status);
        self.bookings.insert(key.to_owned(), booking);
        Ok((status, body))
    }

    pub(crate) fn get(&self, key: &str) -> Option<Value> {
        self.bookings.get(key).map(|booking| booking.shown(key))
    }

    pub(crate) fn list(&self) -> Vec<Value> {
        self.bookings.iter().map(|(key, booking)| booking.shown(key)).collect()
    }

    /// Cancels the booking of that key. Says whether there was one.
    pub(crate) fn delete(&mut self, key: &str) -> bool {
        let Some(booking) = self.bookings.remove(key) else { return false };
        self.unplan(&booking.wanted);
        true
    }

    /// The booking of that resource under another key that shares some time, both ends taken as half open.
    fn overlapping(&self, key: &str, wanted: &Wanted) -> Option<&Wanted> {
        // Of those that start before our end, only the last can reach into our time: the ones before it end before it starts.
        let before_our_end = self.plan.get(&wanted.resource_id)?.range(..wanted.end).rev();
        let (_, nearest) = before_our_end.into_iter().find(|(_, other)| *other != key)?;
        let nearest = &self.bookings.get(nearest)?.wanted;
        (nearest.end > wanted.start).then_some(nearest)
    }

    fn unplan(&mut self, wanted: &Wanted) {
        if let Some(resource) = self.plan.get_mut(&wanted.resource_id) {
            resource.remove(&wanted.start);
            if resource.is_empty() {
                self.plan.remove(&wanted.resource_id);
            }
        }
    }

    /// A later booking under the same key is another one: an answer about a deleted booking must not come back.
    fn remembered(&self, idempotency: &str) -> Option<&Answered> {
        let answered = self.answered.get(idempotency)?;
        (self.bookings.get(&answered.key)?.id == answered.booking.id).then_some(answered)
    }

    fn remember(&mut self, idempotency: &str, key: &str, booking: &Booking, status: StatusCode) {
        self.answers += 1;
        let answered =
            Answered { key: key.to_owned(), booking: booking.clone(), status, number: self.answers };
        self.answered.insert(idempotency.to_owned(), answered);
        self.order.push_back((self.answers, idempotency.to_owned()));
        while self.order.len() > ANSWERS
            && let Some((number, oldest)) = self.order.pop_front()
        {
            if self.answered.get(&oldest).is_some_and(|answered| answered.number == number) {
                self.answered.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests;
