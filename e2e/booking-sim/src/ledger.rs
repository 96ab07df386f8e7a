//! What the product knows: bookings by key, and the answers given for each Idempotency-Key.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    num::NonZeroU32,
};

use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{members::Members, recurrence::Recurrence, refusal::Refusal};

/// Most bookings at a time.
const BOOKINGS: usize = 200_000;
/// Most dates that a message names.
const NAMED: usize = 3;
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
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    all_day: bool,
    #[serde(rename = "iCalUId")]
    i_cal_u_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    recurrence: Option<Recurrence>,
}

/// Time that a booking holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: Timestamp,
    end: Timestamp,
}

#[derive(Clone, Debug)]
struct Booking {
    id: String,
    wanted: Wanted,
    /// What it holds in the plan; less than its occurrences where some were over when it was last put.
    spans: Vec<Span>,
}

/// Who holds a space from a start on.
#[derive(Clone, Debug)]
struct Holder {
    end: Timestamp,
    key: String,
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
    /// Per resource, who holds it from that time on. Spans of one resource never overlap, so a start names one.
    plan: HashMap<String, BTreeMap<Timestamp, Holder>>,
    answered: HashMap<String, Answered>,
    /// Numbers and Idempotency-Keys of the answers, the oldest first.
    order: VecDeque<(u64, String)>,
    answers: u64,
}

impl Wanted {
    /// Reads the body of a PUT; a series may have that many occurrences.
    pub(crate) fn read(body: &[u8], most: NonZeroU32) -> Result<Self, Refusal> {
        let mut members = Members::read(body, StatusCode::UNPROCESSABLE_ENTITY)?;
        let wanted = Self {
            resource_id: members.identifier("resourceId", 128)?,
            start: members.time("start")?,
            end: members.time("end")?,
            subject: members.optional_text("subject", 1024)?,
            organizer: members.optional_text("organizer", 320)?,
            attendees: members.texts("attendees", 500, 320)?,
            all_day: members.flag("allDay")?,
            i_cal_u_id: members.identifier("iCalUId", 1024)?,
            recurrence: members.object("recurrence")?.map(|one| Recurrence::read(one, most)).transpose()?,
        };
        members.end("resourceId, start, end, subject, organizer, attendees, allDay, iCalUId, recurrence")?;
        if wanted.end <= wanted.start {
            let message =
                format!("end must be after start, but {} is not after {}", wanted.end, wanted.start);
            return Err(Refusal::invalid(message));
        }
        Ok(wanted)
    }

    /// What has to be free, in order. An occurrence that is over asks for nothing.
    fn spans(&self, now: Timestamp) -> Vec<Span> {
        match &self.recurrence {
            None => vec![Span { start: self.start, end: self.end }],
            Some(series) => {
                let to_come = series.occurrences.iter().filter(|one| one.end > now);
                to_come.map(|one| Span { start: one.start, end: one.end }).collect()
            }
        }
    }
}

/// Spans of one booking that overlap, as one: a booking is not in its own way.
fn merged(spans: &[Span]) -> Vec<Span> {
    let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start < last.end => last.end = last.end.max(span.end),
            _ => merged.push(*span),
        }
    }
    merged
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
        now: Timestamp,
    ) -> Result<(StatusCode, Value), Refusal> {
        if let Some(before) = self.remembered(idempotency) {
            if before.key == key && before.booking.wanted == wanted {
                return Ok((before.status, before.booking.shown(key)));
            }
            return Err(Refusal::invalid(
                "this Idempotency-Key was used for another request: take a new one for each content",
            ));
        }
        let spans = wanted.spans(now);
        if let Some(message) = self.taken(key, &wanted, &spans) {
            return Err(Refusal::new(StatusCode::CONFLICT, "Overlap", message));
        }
        let old = self.bookings.get(key).cloned();
        if old.is_none() && self.bookings.len() >= BOOKINGS {
            let message = format!("there are {BOOKINGS} bookings, which is the most: delete some");
            return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "LimitReached", message));
        }
        let (status, id) = match old {
            Some(old) => {
                self.unplan(&old);
                (StatusCode::OK, old.id)
            }
            None => (StatusCode::CREATED, uuid::Uuid::new_v4().to_string()),
        };
        let booking = Booking { id, spans: merged(&spans), wanted };
        self.hold(key, &booking);
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
        self.unplan(&booking);
        true
    }

    /// Which of the spans another booking holds in part, in words for people; both ends are taken as half open.
    fn taken(&self, key: &str, wanted: &Wanted, spans: &[Span]) -> Option<String> {
        let plan = self.plan.get(&wanted.resource_id)?;
        // Of those that start before our end, only the last can reach into our time: the ones before it end before it starts.
        let holder = |span: &Span| {
            let (start, nearest) = plan.range(..span.end).rev().find(|(_, other)| other.key != key)?;
            (nearest.end > span.start).then_some(Span { start: *start, end: nearest.end })
        };
        let room = &wanted.resource_id;
        if wanted.recurrence.is_none() {
            let held = spans.first().and_then(holder)?;
            return Some(format!("{room} is booked from {} to {}", held.start, held.end));
        }
        let taken: Vec<String> =
            spans.iter().filter(|span| holder(span).is_some()).map(|span| span.start.to_string()).collect();
        let named = taken.get(..NAMED.min(taken.len()))?.join(", ");
        match taken.len().saturating_sub(NAMED) {
            0 if taken.is_empty() => None,
            0 => Some(format!("{room} is taken at {named}")),
            more => Some(format!("{room} is taken at {named} and {more} more")),
        }
    }

    fn hold(&mut self, key: &str, booking: &Booking) {
        if booking.spans.is_empty() {
            return;
        }
        let resource = self.plan.entry(booking.wanted.resource_id.clone()).or_default();
        for span in &booking.spans {
            resource.insert(span.start, Holder { end: span.end, key: key.to_owned() });
        }
    }

    fn unplan(&mut self, booking: &Booking) {
        if let Some(resource) = self.plan.get_mut(&booking.wanted.resource_id) {
            for span in &booking.spans {
                resource.remove(&span.start);
            }
            if resource.is_empty() {
                self.plan.remove(&booking.wanted.resource_id);
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
