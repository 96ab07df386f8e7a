//! Events: the minimal read, and the full read of the listed fields.

use std::fmt;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    answer::{MemberFault, Object},
    error::Problem,
    fields::{self, EXTENDED_PROPERTIES},
    ids::{EventId, ManifestId},
    paging::PageToken,
};

/// What an event is in a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EventType {
    /// Not part of a series.
    SingleInstance,
    /// One of a series, as the series says.
    Occurrence,
    /// One of a series, changed.
    Exception,
    /// The series itself.
    SeriesMaster,
}

/// Who may see an event's details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Sensitivity {
    /// As the calendar's permissions say.
    Normal,
    /// Marked personal.
    Personal,
    /// Marked private.
    Private,
    /// Marked confidential.
    Confidential,
}

/// The minimal read: identity, and the add-in's property where there is one.
#[derive(Clone, PartialEq, Eq)]
pub struct EventHead {
    /// Immutable id in this mailbox.
    pub id: EventId,
    /// Id over all calendars.
    pub i_cal_u_id: String,
    /// Version.
    pub change_key: String,
    /// Last change.
    pub last_modified: Timestamp,
    /// Whether this is the organiser's copy.
    pub is_organizer: bool,
    /// Place in a series.
    pub event_type: EventType,
    /// Whether the organiser cancelled it.
    pub is_cancelled: bool,
    /// JSON text that the add-in left on the event; absent on events that it never touched.
    pub add_in_value: Option<String>,
}

/// The add-in's value names people and stays out of logs.
impl fmt::Debug for EventHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventHead")
            .field("id", &self.id)
            .field("event_type", &self.event_type)
            .field("is_organizer", &self.is_organizer)
            .field("is_cancelled", &self.is_cancelled)
            .field("has_add_in_value", &self.add_in_value.is_some())
            .finish_non_exhaustive()
    }
}

/// A booked event of a list: what tells whether it differs from what is recorded, and whether it lies ahead.
#[derive(Clone, PartialEq)]
pub struct BookedEvent {
    /// What the minimal read has.
    pub head: EventHead,
    /// Start; of a series that of its first occurrence.
    pub start: Timestamp,
    /// End; of a series that of its first occurrence.
    pub end: Timestamp,
    /// Whether it lasts whole days; start and end are then midnights written as UTC.
    pub is_all_day: bool,
    /// Pattern and range of a series, as Graph gives them.
    pub recurrence: Option<Value>,
}

/// As [`EventHead`] shows itself.
impl fmt::Debug for BookedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BookedEvent").field("head", &self.head).finish_non_exhaustive()
    }
}

/// A page of booked events.
#[derive(Debug)]
pub struct BookedPage {
    /// The events; a page may be empty and yet have a next one.
    pub events: Vec<BookedEvent>,
    /// The next page, if there is one.
    pub next: Option<PageToken>,
}

/// A span of time, its end not included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Start, whole seconds.
    pub start: Timestamp,
    /// End, whole seconds.
    pub end: Timestamp,
}

impl Window {
    /// From one time to another, each cut to whole seconds.
    pub fn new(start: Timestamp, end: Timestamp) -> Self {
        let cut = |time: Timestamp| Timestamp::from_second(time.as_second()).unwrap_or(time);
        Self { start: cut(start), end: cut(end) }
    }
}

/// One occurrence of a series, as Graph expands it.
#[derive(Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// Whether the organiser cancelled it.
    pub is_cancelled: bool,
    /// Start.
    pub start: Timestamp,
    /// End.
    pub end: Timestamp,
    /// Start that the series would give it.
    pub original_start: Option<Timestamp>,
    /// JSON text that the add-in left on it; absent where there is none.
    pub add_in_value: Option<String>,
}

/// The add-in's value names people and stays out of logs.
impl fmt::Debug for Occurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Occurrence").field("start", &self.start).finish_non_exhaustive()
    }
}

/// A page of occurrences.
#[derive(Debug)]
pub struct OccurrencePage {
    /// The occurrences; a page may be empty and yet have a next one.
    pub occurrences: Vec<Occurrence>,
    /// The next page, if there is one.
    pub next: Option<PageToken>,
}

/// The full read: the listed fields and nothing else.
#[derive(Clone, PartialEq)]
pub struct Event {
    /// What the minimal read has too, as of now.
    pub head: EventHead,
    /// Title.
    pub subject: Option<String>,
    /// Start.
    pub start: Timestamp,
    /// End.
    pub end: Timestamp,
    /// Whether it lasts whole days; start and end are then midnights written as UTC.
    pub is_all_day: bool,
    /// The organiser's address.
    pub organizer: Option<String>,
    /// The attendees' addresses; attendees without an address are left out.
    pub attendees: Vec<String>,
    /// Who may see details.
    pub sensitivity: Sensitivity,
    /// The series that an occurrence belongs to.
    pub series_master_id: Option<String>,
    /// Pattern and range of a series, as Graph gives them.
    pub recurrence: Option<Value>,
}

/// Title, people and place stay out of logs.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("head", &self.head).finish_non_exhaustive()
    }
}

impl EventHead {
    pub(crate) fn read(object: &Object, manifest: &ManifestId) -> Result<Self, MemberFault> {
        Ok(Self {
            id: object.parsed("id", "an event id")?,
            i_cal_u_id: object.text("iCalUId")?.to_owned(),
            change_key: object.text("changeKey")?.to_owned(),
            last_modified: object.timestamp("lastModifiedDateTime")?,
            is_organizer: object.flag("isOrganizer")?,
            event_type: one_of(
                object,
                "type",
                &[
                    ("singleInstance", EventType::SingleInstance),
                    ("occurrence", EventType::Occurrence),
                    ("exception", EventType::Exception),
                    ("seriesMaster", EventType::SeriesMaster),
                ],
                "a known event type",
            )?,
            is_cancelled: object.flag("isCancelled")?,
            add_in_value: add_in_value(object, manifest)?,
        })
    }
}

impl Occurrence {
    pub(crate) fn read(object: &Object, manifest: &ManifestId) -> Result<Self, MemberFault> {
        Ok(Self {
            is_cancelled: object.flag("isCancelled")?,
            start: utc_time(object, "start")?,
            end: utc_time(object, "end")?,
            original_start: match object.optional("originalStart") {
                Some(_) => Some(object.timestamp("originalStart")?),
                None => None,
            },
            add_in_value: add_in_value(object, manifest)?,
        })
    }
}

impl BookedEvent {
    pub(crate) fn read(object: &Object, manifest: &ManifestId) -> Result<Self, MemberFault> {
        Ok(Self {
            head: EventHead::read(object, manifest)?,
            start: utc_time(object, "start")?,
            end: utc_time(object, "end")?,
            is_all_day: object.flag("isAllDay")?,
            recurrence: recurrence(object)?,
        })
    }
}

impl Event {
    pub(crate) fn read(object: &Object, manifest: &ManifestId) -> Result<Self, MemberFault> {
        let attendees = object
            .list("attendees")?
            .iter()
            .map(|attendee| address(attendee, "attendees"))
            .filter_map(Result::transpose)
            .collect::<Result<_, _>>()?;
        let organizer =
            object.optional("organizer").map(|value| address(value, "organizer")).transpose()?.flatten();
        Ok(Self {
            head: EventHead::read(object, manifest)?,
            subject: object.optional_text("subject")?.map(str::to_owned),
            start: utc_time(object, "start")?,
            end: utc_time(object, "end")?,
            is_all_day: object.flag("isAllDay")?,
            organizer,
            attendees,
            sensitivity: one_of(
                object,
                "sensitivity",
                &[
                    ("normal", Sensitivity::Normal),
                    ("personal", Sensitivity::Personal),
                    ("private", Sensitivity::Private),
                    ("confidential", Sensitivity::Confidential),
                ],
                "a known sensitivity",
            )?,
            series_master_id: object.optional_text("seriesMasterId")?.map(str::to_owned),
            recurrence: recurrence(object)?,
        })
    }
}

fn recurrence(object: &Object) -> Result<Option<Value>, MemberFault> {
    match object.optional("recurrence") {
        Some(value) if !value.is_object() => Err(MemberFault::not_a("recurrence", "an object")),
        other => Ok(other.cloned()),
    }
}

fn one_of<T: Copy>(
    object: &Object,
    member: &'static str,
    values: &[(&str, T)],
    expected: &'static str,
) -> Result<T, MemberFault> {
    let text = object.text(member)?;
    values
        .iter()
        .find_map(|(name, value)| (*name == text).then_some(*value))
        .ok_or_else(|| MemberFault::not_a(member, expected))
}

/// Graph leaves the member out when the event has no such property.
fn add_in_value(object: &Object, manifest: &ManifestId) -> Result<Option<String>, MemberFault> {
    let wanted = fields::add_in_property(manifest);
    for item in object.list(EXTENDED_PROPERTIES)? {
        let item = Object::from_value(item, EXTENDED_PROPERTIES)?;
        if item.text("id")?.eq_ignore_ascii_case(&wanted) {
            return Ok(item.optional_text("value")?.map(str::to_owned));
        }
    }
    Ok(None)
}

/// `emailAddress.address` of a recipient.
fn address(recipient: &Value, member: &'static str) -> Result<Option<String>, MemberFault> {
    let recipient = Object::from_value(recipient, member)?;
    let Some(email_address) = recipient.optional("emailAddress") else { return Ok(None) };
    let email_address = Object::from_value(email_address, member)?;
    let address = email_address.optional_text("address")?.filter(|address| !address.is_empty());
    Ok(address.map(str::to_owned))
}

/// A `dateTimeTimeZone`, which must be in the zone that every request asks for.
fn utc_time(object: &Object, member: &'static str) -> Result<Timestamp, MemberFault> {
    let parts = Object::from_value(object.required(member)?, member)?;
    let zone = parts.text("timeZone").map_err(|_| MemberFault::not_a(member, "a time with a zone"))?;
    if zone != "UTC" {
        let zone = zone.chars().filter(|c| !c.is_control()).take(64).collect();
        return Err(MemberFault { member, problem: Problem::Zone { zone } });
    }
    let fault = || MemberFault::not_a(member, "a date and time without an offset");
    let text = parts.text("dateTime").map_err(|_| fault())?;
    // The parser would accept an offset and drop it.
    let offset = |time: &str| time.contains(['+', '-', 'Z', 'z', '[']);
    if text.split_once(['T', 't']).is_none_or(|(_, time)| offset(time)) {
        return Err(fault());
    }
    let time: DateTime = text.parse().map_err(|_| fault())?;
    TimeZone::UTC.to_timestamp(time).map_err(|_| fault())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{Shape, one};

    fn manifest() -> ManifestId {
        ManifestId::parse("0c64d6b6-cc36-4b6a-8f9c-0e3a4b6c2d1f").unwrap()
    }

    fn full() -> Value {
        serde_json::json!({
            "@odata.etag": "W/\"DwAAABYAAAA=\"",
            "id": "AAMkAD=", "iCalUId": "040000008200E00074C5B7101A82E008", "changeKey": "DwAAABYAAAA=",
            "lastModifiedDateTime": "2026-11-20T08:00:00.1234567Z", "isOrganizer": true, "type": "singleInstance",
            "isCancelled": false, "subject": "canary subject", "isAllDay": false,
            "start": {"dateTime": "2026-11-23T17:00:00.0000000", "timeZone": "UTC"},
            "end": {"dateTime": "2026-11-23T18:00:00.0000000", "timeZone": "UTC"},
            "organizer": {"emailAddress": {"name": "User One", "address": "user1@contoso.example"}},
            "attendees": [
                {"type": "required", "status": {"response": "none", "time": "0001-01-01T00:00:00Z"},
                 "emailAddress": {"name": "User Two", "address": "user2@contoso.example"}},
                {"type": "optional", "emailAddress": {"name": "Somebody"}},
            ],
            "sensitivity": "private", "seriesMasterId": null, "recurrence": null,
            "singleValueExtendedProperties": [
                {"id": "String {00020329-0000-0000-c000-000000000046} Name cecp-0c64d6b6-cc36-4b6a-8f9c-0e3a4b6c2d1f",
                 "value": "{\"version\":1}"},
            ],
        })
    }

    fn read(value: &Value) -> Result<Event, MemberFault> {
        let answer = one(value.to_string().as_bytes(), Shape::EventFull).unwrap();
        assert_eq!(answer.unrequested.count(), 0);
        Event::read(&answer.object, &manifest())
    }

    #[test]
    fn the_listed_fields_are_read() {
        let event = read(&full()).unwrap();
        assert_eq!(event.start, "2026-11-23T17:00:00Z".parse::<Timestamp>().unwrap());
        assert_eq!(event.end, "2026-11-23T18:00:00Z".parse::<Timestamp>().unwrap());
        assert_eq!(event.head.last_modified, "2026-11-20T08:00:00.1234567Z".parse::<Timestamp>().unwrap());
        assert_eq!(event.organizer.as_deref(), Some("user1@contoso.example"));
        assert_eq!(event.attendees, ["user2@contoso.example"]);
        assert_eq!(event.sensitivity, Sensitivity::Private);
        assert_eq!(event.head.add_in_value.as_deref(), Some("{\"version\":1}"));
        assert_eq!((event.series_master_id, event.recurrence), (None, None));
    }

    #[test]
    fn an_event_without_the_property_has_none() {
        for value in [Value::Null, serde_json::json!([])] {
            let mut event = full();
            event["singleValueExtendedProperties"] = value;
            assert_eq!(read(&event).unwrap().head.add_in_value, None);
        }
        let mut event = full();
        event.as_object_mut().unwrap().remove("singleValueExtendedProperties");
        assert_eq!(read(&event).unwrap().head.add_in_value, None);
        let other = ManifestId::parse("11111111-cc36-4b6a-8f9c-0e3a4b6c2d1f").unwrap();
        let answer = one(full().to_string().as_bytes(), Shape::EventFull).unwrap();
        assert_eq!(Event::read(&answer.object, &other).unwrap().head.add_in_value, None);
    }

    #[test]
    fn another_zone_is_refused_by_name() {
        let mut event = full();
        event["start"]["timeZone"] = "W. Europe Standard Time".into();
        let zone = "W. Europe Standard Time".to_owned();
        assert_eq!(
            read(&event).unwrap_err(),
            MemberFault { member: "start", problem: Problem::Zone { zone } }
        );
    }

    #[test]
    fn faults_name_the_member_only() {
        for (member, value, expected) in [
            ("id", Value::Null, Problem::Missing),
            ("iCalUId", Value::Null, Problem::Missing),
            ("type", "canary".into(), Problem::NotA { expected: "a known event type" }),
            ("sensitivity", "canary".into(), Problem::NotA { expected: "a known sensitivity" }),
            ("subject", 7.into(), Problem::NotA { expected: "text" }),
            ("isOrganizer", "canary".into(), Problem::NotA { expected: "true or false" }),
            ("end", "canary".into(), Problem::NotA { expected: "an object" }),
            ("attendees", "canary".into(), Problem::NotA { expected: "a list" }),
            ("recurrence", "canary".into(), Problem::NotA { expected: "an object" }),
            (
                "lastModifiedDateTime",
                "canary".into(),
                Problem::NotA { expected: "a date and time with an offset" },
            ),
        ] {
            let mut event = full();
            event[member] = value;
            assert_eq!(read(&event).unwrap_err(), MemberFault { member, problem: expected });
        }
        for text in ["canary", "2026-11-23T17:00:00Z", "2026-11-23T17:00:00+01:00", ""] {
            let mut event = full();
            event["start"]["dateTime"] = text.into();
            let fault = read(&event).unwrap_err();
            assert_eq!(fault, MemberFault::not_a("start", "a date and time without an offset"), "{text}");
        }
    }

    #[test]
    fn debug_shows_no_personal_data() {
        let shown = format!("{:?}", read(&full()).unwrap());
        for canary in ["canary", "contoso", "HQ", "version"] {
            assert!(!shown.contains(canary), "{shown}");
        }
    }

    #[test]
    fn the_head_alone_needs_no_listed_fields() {
        let body = serde_json::json!({
            "id": "AAMkAD=", "iCalUId": "u", "changeKey": "k", "lastModifiedDateTime": "2026-11-20T08:00:00Z",
            "isOrganizer": false, "type": "seriesMaster", "isCancelled": true,
        });
        let answer = one(body.to_string().as_bytes(), Shape::EventHead).unwrap();
        let head = EventHead::read(&answer.object, &manifest()).unwrap();
        assert_eq!((head.event_type, head.is_cancelled), (EventType::SeriesMaster, true));
        let answer = one(full().to_string().as_bytes(), Shape::EventHead).unwrap();
        assert_eq!(answer.unrequested.count(), 9);
    }
}
