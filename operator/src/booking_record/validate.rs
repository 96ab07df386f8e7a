//! From the object to what the later steps read. Pure; after this step the object's spec is not read again.

use jiff::Timestamp;
use kube::ResourceExt as _;
use roomkeeper_crds::{
    BookingRecord, BookingRecordSpec, BookingRecordStatus, annotation,
    booking_record::{BookedResource, BookingState, Recurrence},
    ending::over_at,
    name,
};

use super::{
    client::{Request, Series},
    content::{Content, hex_of},
    series::{self, Occurrence},
};
use crate::{access_scope::validate::requested, key::Key};

/// Most spaces of an event with all its occurrences.
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
    /// Immutable id of the event.
    pub event_id: String,
    /// The AccessScope, where a label says so.
    pub scope_label: Option<String>,
    /// Whether the bookings should stand.
    pub state: BookingState,
    /// Why what the add-in left is not understood. Then there are no spaces.
    pub invalid: Option<String>,
    /// Occurrences whose own property is not understood: when each ends, and why.
    pub invalid_occurrences: Vec<(Timestamp, String)>,
    /// When the event, or its last occurrence, has surely ended; `None`: never, or not known yet.
    pub ends_at: Option<Timestamp>,
    /// Up to when occurrences are listed; `None` where these are all.
    pub listed_until: Option<Timestamp>,
    /// The spaces that have a time at which they are to be booked, whether that is over or not.
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
    /// Of a series: the occurrences that are in this space, in order of start; never none.
    pub occurrences: Option<Vec<Occurrence>>,
    all_day: bool,
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
}

/// Checks a record.
///
/// # Errors
/// On the first field that holds something else; the message names it.
pub fn validate(record: &BookingRecord) -> Result<Validated, ValidateError> {
    let key = Key::of(record);
    let spec = &record.spec;
    let mut invalid = spec.single_value_extended_properties.invalid.clone();
    let mut resources = if invalid.is_some() { Vec::new() } else { resources(spec)? };
    if resources.len() > RESOURCES {
        invalid = Some(format!(
            "the event, with all its occurrences, names more than {RESOURCES} spaces: book fewer"
        ));
        resources.clear();
    }
    Ok(Validated {
        uid: record.uid().ok_or(ValidateError::Incomplete("uid"))?,
        generation: record.metadata.generation.ok_or(ValidateError::Incomplete("generation"))?,
        deleted: record.metadata.deletion_timestamp.is_some(),
        requested: requested(record),
        subscription: Key::new(&key.namespace, &spec.subscription_ref.name),
        event_id: spec.event_id.clone(),
        scope_label: record.labels().get(annotation::LABEL_SCOPE).cloned(),
        state: spec.state,
        resources,
        invalid,
        invalid_occurrences: spec.recurrence_pattern.as_ref().map(series::invalid).unwrap_or_default(),
        ends_at: series::ends_at(spec),
        listed_until: listed_until(spec),
        status: record.status.clone().unwrap_or_default(),
        key,
    })
}

/// Up to when the occurrences of a series are listed; `None` where these are all, and for a single event.
pub fn listed_until(spec: &BookingRecordSpec) -> Option<Timestamp> {
    spec.recurrence_pattern.as_ref()?.listed_until.as_ref().map(|until| until.0)
}

fn resources(spec: &BookingRecordSpec) -> Result<Vec<Resource>, ValidateError> {
    let booked = &spec.single_value_extended_properties.resources;
    for (at, resource) in booked.iter().enumerate() {
        if booked.iter().take(at).any(|other| other.resource_id == resource.resource_id) {
            return Err(ValidateError::Twice(resource.resource_id.clone()));
        }
    }
    Ok(match &spec.recurrence_pattern {
        None => booked.iter().map(|resource| Resource::new(spec, resource, None)).collect(),
        Some(recurrence) => series::by_resource(spec, recurrence)
            .into_values()
            .map(|(resource, occurrences)| Resource::new(spec, resource, Some((recurrence, occurrences))))
            .collect(),
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
        hex_of(&[&self.uid, &self.generation.to_string(), resource_id, content])
    }

    /// Whether all of it is over: nothing is sent any more.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.ends_at.is_some_and(|end| end <= now)
    }
}

impl Resource {
    fn new(
        spec: &BookingRecordSpec,
        resource: &BookedResource,
        series: Option<(&Recurrence, Vec<Occurrence>)>,
    ) -> Self {
        // The people whom the add-in names for the product; without any, those of the event.
        let attendees = if resource.attendees.is_empty() { &spec.attendees } else { &resource.attendees };
        let recurrence = series.as_ref().map(|(recurrence, occurrences)| Series {
            pattern: recurrence.pattern.clone(),
            range: recurrence.range.clone(),
            until: recurrence.listed_until.as_ref().map(|until| until.0.to_string()),
            occurrences: occurrences.iter().map(Occurrence::told).collect(),
        });
        let request = Request {
            resource_id: resource.resource_id.clone(),
            start: spec.date_time_from.0.to_string(),
            end: spec.date_time_to.0.to_string(),
            all_day: spec.is_all_day,
            subject: spec.subject.clone(),
            organizer: spec.organizer.clone(),
            attendees: attendees.clone(),
            i_cal_u_id: spec.i_cal_u_id.clone(),
            recurrence,
        };
        let occurrences = series.map(|(_, occurrences)| occurrences);
        Self { id: resource.resource_id.clone(), request, occurrences, all_day: spec.is_all_day }
    }

    /// What the product at that URL is told, as far as it is worth a call.
    pub fn content(&self, url: &str) -> Content {
        let body = |request: &Request| serde_json::to_string(request).unwrap_or_default();
        let Some(occurrences) = &self.occurrences else {
            return Content::new(&[url, &body(&self.request)], None);
        };
        let mut request = self.request.clone();
        // Start and end are those of the first occurrence, which may be long over; and what is listed up to some time remains
        // true when more is listed later without any occurrence in it.
        (request.start, request.end) = (String::new(), String::new());
        if let Some(series) = &mut request.recurrence {
            (series.until, series.occurrences) = (None, Vec::new());
        }
        let occurrences = occurrences.iter().map(|one| (over_at(one.end, self.all_day), *one));
        Content::new(&[url, &body(&request)], Some(occurrences.collect()))
    }

    /// Whether it is to be booked at a time that is not over.
    pub fn is_to_come(&self, now: Timestamp) -> bool {
        self.occurrences.as_ref().is_none_or(|occurrences| {
            occurrences.iter().any(|occurrence| over_at(occurrence.end, self.all_day) > now)
        })
    }
}
