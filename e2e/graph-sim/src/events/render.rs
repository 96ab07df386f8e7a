//! An event as Graph shows it.

use serde_json::{Map, Value, json};

use super::{
    content::{Attendee, Event, PartOf, Person},
    series::Rule,
    zone::Zone,
};
use crate::odata::{Prefer, PropertyId};

/// All properties of the type in v1.0 (graph-facts §6.1).
pub(super) const PROPERTIES: &[&str] = &[
    "id",
    "categories",
    "changeKey",
    "createdDateTime",
    "lastModifiedDateTime",
    "allowNewTimeProposals",
    "attendees",
    "body",
    "bodyPreview",
    "cancelledOccurrences",
    "end",
    "hasAttachments",
    "hideAttendees",
    "iCalUId",
    "importance",
    "isAllDay",
    "isCancelled",
    "isDraft",
    "isOnlineMeeting",
    "isOrganizer",
    "isReminderOn",
    "location",
    "locations",
    "onlineMeeting",
    "onlineMeetingProvider",
    "onlineMeetingUrl",
    "organizer",
    "originalEndTimeZone",
    "originalStart",
    "originalStartTimeZone",
    "recurrence",
    "reminderMinutesBeforeStart",
    "responseRequested",
    "responseStatus",
    "sensitivity",
    "seriesMasterId",
    "showAs",
    "start",
    "subject",
    "transactionId",
    "type",
    "webLink",
];

/// Properties that come only when they are asked for by name (graph-facts §6.2).
const ONLY_SELECTED: &[&str] = &["cancelledOccurrences", "originalStart"];

/// Characters of `bodyPreview`.
const PREVIEW: usize = 255;
/// A time that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The event with the properties asked for; the id and the etag are always there.
pub(super) fn event(
    event: &Event,
    selected: Option<&[&'static str]>,
    expanded: &[PropertyId],
    prefer: &Prefer,
) -> Map<String, Value> {
    let utc = Zone::utc();
    let zone = prefer.zone.as_ref().unwrap_or(&utc);
    let mut shown = Map::new();
    shown.insert("@odata.etag".to_owned(), event.etag().into());
    shown.insert("id".to_owned(), id(event, prefer).into());
    let by_default = PROPERTIES.iter().copied().filter(|name| !ONLY_SELECTED.contains(name));
    let names: Vec<&str> = selected.map_or_else(|| by_default.collect(), <[&str]>::to_vec);
    for name in names {
        shown.insert(name.to_owned(), property(event, name, zone, prefer));
    }
    let properties: Vec<Value> = expanded
        .iter()
        .filter_map(|id| {
            event.private.extended.get(id).map(|value| json!({"id": id.to_string(), "value": value}))
        })
        .collect();
    // Without any of them the member is missing (graph-facts §6.4).
    if !properties.is_empty() {
        shown.insert("singleValueExtendedProperties".to_owned(), Value::Array(properties));
    }
    shown
}

/// The id in the form that the client prefers.
pub(super) fn id<'a>(event: &'a Event, prefer: &Prefer) -> &'a str {
    if prefer.immutable_ids { &event.immutable_id } else { &event.id }
}

fn property(event: &Event, name: &str, zone: &Zone, prefer: &Prefer) -> Value {
    let (shared, private) = (&event.shared, &event.private);
    match name {
        "id" => json!(id(event, prefer)),
        "categories" => json!(private.categories),
        "changeKey" => json!(event.change_key),
        "createdDateTime" => json!(format!("{:.7}", event.created)),
        "lastModifiedDateTime" => json!(format!("{:.7}", event.modified)),
        "allowNewTimeProposals" => json!(shared.allow_new_time_proposals),
        "attendees" => shared.attendees.iter().map(attendee).collect(),
        "body" => json!({"contentType": shared.body_type, "content": shared.body}),
        "bodyPreview" => json!(shared.body.chars().take(PREVIEW).collect::<String>()),
        "cancelledOccurrences" => {
            let cancelled = shared.changes.cancelled.iter();
            cancelled.map(|date| json!(format!("OID.{}.{date}", id(event, prefer)))).collect()
        }
        "end" => shared.end.render(zone, shared.is_all_day),
        "start" => shared.start.render(zone, shared.is_all_day),
        "hasAttachments" | "isDraft" | "isOnlineMeeting" => json!(false),
        "hideAttendees" => json!(shared.hide_attendees),
        "iCalUId" => json!(event.i_cal_u_id),
        "importance" => json!(shared.importance),
        "isAllDay" => json!(shared.is_all_day),
        "isCancelled" => json!(event.is_cancelled),
        "isOrganizer" => json!(event.is_organizer),
        "isReminderOn" => json!(private.is_reminder_on),
        "location" => shared.location.clone(),
        "locations" => json!(shared.locations),
        "onlineMeetingProvider" => json!("unknown"),
        "organizer" => json!({"emailAddress": person(&event.organizer)}),
        "originalEndTimeZone" => json!(shared.end.zone.name()),
        "originalStartTimeZone" => json!(shared.start.zone.name()),
        "originalStart" => json!(event.part_of.as_ref().map(|part| part.original_start)),
        "recurrence" => json!(shared.recurrence.as_ref().map(Rule::show)),
        "reminderMinutesBeforeStart" => json!(private.reminder_minutes),
        "responseRequested" => json!(shared.response_requested),
        "responseStatus" => {
            let response = if event.is_organizer { "organizer" } else { "notResponded" };
            json!({"response": response, "time": NEVER})
        }
        "sensitivity" => json!(shared.sensitivity),
        "seriesMasterId" => {
            let master = |part: &PartOf| {
                if prefer.immutable_ids { part.master_immutable_id.clone() } else { part.master_id.clone() }
            };
            json!(event.part_of.as_ref().map(master))
        }
        "showAs" => json!(private.show_as),
        "subject" => json!(shared.subject),
        "transactionId" => json!(private.transaction_id),
        "type" => json!(match &event.part_of {
            Some(part) if part.is_exception => "exception",
            Some(_) => "occurrence",
            None if shared.recurrence.is_some() => "seriesMaster",
            None => "singleInstance",
        }),
        "webLink" => {
            let id: String = url::form_urlencoded::byte_serialize(event.id.as_bytes()).collect();
            json!(format!("https://outlook.office365.com/owa/?itemid={id}&exvsurl=1&path=/calendar/item"))
        }
        // onlineMeeting, onlineMeetingUrl: of things that are not simulated.
        _ => Value::Null,
    }
}

fn person(person: &Person) -> Value {
    json!({"name": person.name, "address": person.address})
}

fn attendee(attendee: &Attendee) -> Value {
    json!({
        "type": attendee.kind,
        "status": {"response": "none", "time": NEVER},
        "emailAddress": person(&attendee.person),
    })
}
