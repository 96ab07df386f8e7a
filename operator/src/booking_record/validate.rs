//! From the object to what the later steps read. Pure; after this step the object's spec is not read again.

use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use kube::ResourceExt as _;
use roomkeeper_crds::{
    BookingRecord, BookingRecordStatus, annotation,
    booking_record::{BookingState, Recurrence},
    name,
};
use sha2::{Digest as _, Sha256};

use super::client::Request;
use crate::{access_scope::validate::requested, key::Key};

/// Most spaces of a record; the schema has the same bound.
const RESOURCES: usize = 20;

/// A BookingRecord whose fields hold what they should.
#[derive(Clone, Debug)]
pub struct Validated {
    /// Namespace and name.
    pub key: Key,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// Whether it is under deletion.
    pub deleted: bool,
    /// Value of the annotation that asks for a run.
    pub requested: Option<String>,
    /// The CalendarSubscription through which the event was read.
    pub subscription: Key,
    /// The AccessScope, where a label says so.
    pub scope_label: Option<String>,
    /// Whether the bookings should stand.
    pub state: BookingState,
    /// Whether the event repeats.
    pub recurring: bool,
    /// When the last occurrence has surely ended; `None`: never, or not known.
    pub ends_at: Option<Timestamp>,
    /// The spaces.
    pub resources: Vec<Resource>,
    /// The status as last written.
    pub status: BookingRecordStatus,
}

/// One space to be booked.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its id at the product.
    pub id: String,
    /// What the product is told.
    pub request: Request,
}

/// What the schema should have kept out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ValidateError {
    /// Not from an API server.
    #[error("the object has no metadata.{0}")]
    Incomplete(&'static str),
    /// Two spaces of one id.
    #[error("spec.singleValueExtendedProperties.resources holds {0:?} twice: name each space once")]
    Twice(String),
    /// Too many spaces.
    #[error("spec.singleValueExtendedProperties.resources holds more than {RESOURCES} spaces")]
    TooMany,
}

/// Checks a record.
///
/// # Errors
/// On the first field that holds something else; the message names it.
pub fn validate(record: &BookingRecord) -> Result<Validated, ValidateError> {
    let key = Key::of(record);
    let spec = &record.spec;
    let booked = &spec.single_value_extended_properties.resources;
    if booked.len() > RESOURCES {
        return Err(ValidateError::TooMany);
    }
    let mut resources: Vec<Resource> = Vec::new();
    for resource in booked {
        if resources.iter().any(|present| present.id == resource.resource_id) {
            return Err(ValidateError::Twice(resource.resource_id.clone()));
        }
        // The people whom the add-in names for the product; without any, those of the event.
        let attendees = if resource.attendees.is_empty() { &spec.attendees } else { &resource.attendees };
        let request = Request {
            resource_id: resource.resource_id.clone(),
            start: spec.date_time_from.0.to_string(),
            end: spec.date_time_to.0.to_string(),
            subject: spec.subject.clone(),
            organizer: spec.organizer.clone(),
            attendees: attendees.clone(),
            i_cal_u_id: spec.i_cal_u_id.clone(),
            recurrence: None,
        };
        resources.push(Resource { id: resource.resource_id.clone(), request });
    }
    let ends_at = match &spec.recurrence_pattern {
        None => Some(spec.date_time_to.0),
        Some(recurrence) => series_end(recurrence),
    };
    Ok(Validated {
        uid: record.uid().ok_or(ValidateError::Incomplete("uid"))?,
        generation: record.metadata.generation.ok_or(ValidateError::Incomplete("generation"))?,
        deleted: record.metadata.deletion_timestamp.is_some(),
        requested: requested(record),
        subscription: Key::new(&key.namespace, &spec.subscription_ref.name),
        scope_label: record.labels().get(annotation::LABEL_SCOPE).cloned(),
        state: spec.state,
        recurring: spec.recurrence_pattern.is_some(),
        ends_at,
        resources,
        status: record.status.clone().unwrap_or_default(),
        key,
    })
}

impl Validated {
    /// Key of a space's booking at the product.
    pub fn booking_key(&self, resource_id: &str) -> String {
        name::booking_key(&self.key.name, resource_id)
    }

    /// Idempotency key of one content of one space's booking, asked for by one generation of the record.
    ///
    /// Repeating a call repeats the key. A content that comes back after another one is a new wish: with its old key the
    /// product would answer as it did the first time, and keep the other one.
    pub fn idempotency_key(&self, resource_id: &str, content: &str) -> String {
        hex(&[&self.uid, &self.generation.to_string(), resource_id, content])
    }
}

impl Resource {
    /// Hash of what the product at that URL is told: an equal hash means that it has it already.
    pub fn content(&self, url: &str) -> String {
        let body = serde_json::to_string(&self.request).unwrap_or_default();
        hex(&[url, &body])
    }
}

/// One day after the end of the last day, by when it is over in every time zone. Only `endDate` ranges tell it: a
/// `numbered` one needs Graph's own occurrences.
fn series_end(recurrence: &Recurrence) -> Option<Timestamp> {
    if recurrence.range.type_ != "endDate" {
        return None;
    }
    let last: Date = recurrence.range.end_date.as_ref()?.parse().ok()?;
    let after = last.checked_add(2.days()).ok()?;
    after.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// SHA-256 over the parts, each with its length before it, as 64 hex digits.
fn hex(parts: &[&str]) -> String {
    use std::fmt::Write as _;
    let mut sha = Sha256::new();
    for part in parts {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part.as_bytes());
    }
    sha.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
