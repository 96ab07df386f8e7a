//! What the product knows: bookings by key, and the answers given for each Idempotency-Key.

use std::collections::{BTreeMap, HashMap};

use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::refusal::Refusal;

/// What is asked for. Every member is known; another one is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Wanted {
    resource_id: String,
    start: Timestamp,
    end: Timestamp,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    organizer: Option<String>,
    #[serde(default)]
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
    wanted: Wanted,
    status: StatusCode,
    body: Value,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    bookings: BTreeMap<String, Booking>,
    answered: HashMap<String, Answered>,
}

impl Wanted {
    /// Checks what a schema alone cannot.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let bounded = [("resourceId", &self.resource_id, 1, 128), ("iCalUId", &self.i_cal_u_id, 1, 1024)];
        for (name, value, least, most) in bounded {
            if !(least..=most).contains(&value.len()) {
                return Err(Refusal::invalid(format!("{name} must have {least} to {most} characters")));
            }
        }
        if self.end <= self.start {
            return Err(Refusal::invalid("end must lie after start"));
        }
        if self.attendees.len() > 500 {
            return Err(Refusal::invalid("attendees must have at most 500 items"));
        }
        Ok(())
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.resource_id == other.resource_id && self.start < other.end && other.start < self.end
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
        if let Some(before) = self.answered.get(idempotency) {
            if before.key == key && before.wanted == wanted {
                return Ok((before.status, before.body.clone()));
            }
            return Err(Refusal::invalid("this Idempotency-Key was used for another request"));
        }
        let taken =
            self.bookings.iter().find(|(other, booking)| *other != key && booking.wanted.overlaps(&wanted));
        if let Some((_, booking)) = taken {
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                "Overlap",
                format!(
                    "{} is booked from {} to {}",
                    booking.wanted.resource_id, booking.wanted.start, booking.wanted.end
                ),
            ));
        }
        let status = if self.bookings.contains_key(key) { StatusCode::OK } else { StatusCode::CREATED };
        let booking = self
            .bookings
            .entry(key.to_owned())
            .and_modify(|booking| booking.wanted = wanted.clone())
            .or_insert_with(|| Booking { id: uuid::Uuid::new_v4().to_string(), wanted: wanted.clone() });
        let body = booking.shown(key);
        let answered = Answered { key: key.to_owned(), wanted, status, body: body.clone() };
        self.answered.insert(idempotency.to_owned(), answered);
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
        // A later booking under the same key is another one: answers to the old one must not come back.
        self.answered.retain(|_, answered| answered.key != key);
        self.bookings.remove(key).is_some()
    }
}
