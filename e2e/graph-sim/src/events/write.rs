//! Reading the body of POST and PATCH: what an event becomes.

use std::sync::Arc;

use http::StatusCode;
use serde_json::Value;

use super::{
    content::{Private, Shared},
    parts, recurrence,
    series::{is_retimed, settle},
    zone::Moment,
};
use crate::{
    errors::GraphError,
    odata::{Given, Members, PropertyId},
};

/// Members that the service sets; a client that writes them is refused.
const READ_ONLY: &[&str] = &[
    "id",
    "changeKey",
    "createdDateTime",
    "lastModifiedDateTime",
    "iCalUId",
    "isOrganizer",
    "isCancelled",
    "isDraft",
    "organizer",
    "originalStart",
    "originalStartTimeZone",
    "originalEndTimeZone",
    "responseStatus",
    "seriesMasterId",
    "type",
    "webLink",
    "bodyPreview",
    "hasAttachments",
    "onlineMeeting",
    "onlineMeetingUrl",
    "cancelledOccurrences",
];

fn failed(why: &str) -> GraphError {
    GraphError::new(
        StatusCode::BAD_REQUEST,
        "ErrorPropertyValidationFailure",
        format!("At least one property failed validation. {why}").trim_end().to_owned(),
    )
}

/// Reads a moment that may not be null.
fn moment(members: &mut Members<'_>, name: &str) -> Result<Option<Moment>, GraphError> {
    let value = members.take(name).not_null(name, "microsoft.graph.dateTimeTimeZone")?;
    value.map(|value| Moment::read(value, name)).transpose()
}

/// What a new event is. Start and end are needed.
pub(super) fn create(body: &Value) -> Result<(Shared, Private), GraphError> {
    let mut members = Members::new(body, "body", "event")?;
    let start = moment(&mut members, "start")?.ok_or_else(|| failed("The property 'start' is required."))?;
    let end = moment(&mut members, "end")?.ok_or_else(|| failed("The property 'end' is required."))?;
    let mut shared = Shared {
        subject: None,
        body_type: "html",
        body: String::new(),
        start,
        end,
        is_all_day: false,
        location: parts::nowhere(),
        locations: Vec::new(),
        attendees: Vec::new(),
        importance: "normal",
        sensitivity: "normal",
        recurrence: None,
        changes: Arc::default(),
        response_requested: true,
        allow_new_time_proposals: true,
        hide_attendees: false,
    };
    let transaction_id = members.text("transactionId")?.value().map(str::to_owned);
    let mut private = Private { transaction_id, ..Private::default() };
    rest(members, &mut shared, &mut private)?;
    settle(&mut shared, false)?;
    Ok((shared, private))
}

/// Applies a PATCH.
pub(super) fn update(body: &Value, shared: &mut Shared, private: &mut Private) -> Result<(), GraphError> {
    let mut members = Members::new(body, "body", "event")?;
    let before = shared.clone();
    if let Some(start) = moment(&mut members, "start")? {
        shared.start = start;
    }
    if let Some(end) = moment(&mut members, "end")? {
        shared.end = end;
    }
    rest(members, shared, private)?;
    settle(shared, body.get("recurrence").is_none())?;
    if is_retimed(&before, shared) {
        shared.changes = Arc::default();
        private.changes = Arc::default();
    }
    Ok(())
}

/// All members but start and end.
fn rest(mut members: Members<'_>, shared: &mut Shared, private: &mut Private) -> Result<(), GraphError> {
    match members.text("subject")? {
        Given::Absent => {}
        Given::Null => shared.subject = None,
        Given::Value(subject) => shared.subject = Some(subject.to_owned()),
    }
    if let Some(body) = members.take("body").value() {
        (shared.body_type, shared.body) = parts::body(body)?;
    }
    set(&mut shared.is_all_day, members.flag("isAllDay")?);
    set(&mut shared.response_requested, members.flag("responseRequested")?);
    set(&mut shared.allow_new_time_proposals, members.flag("allowNewTimeProposals")?);
    set(&mut shared.hide_attendees, members.flag("hideAttendees")?);
    set(&mut shared.importance, members.choice("importance", &["low", "normal", "high"])?);
    let sensitivities = ["normal", "personal", "private", "confidential"];
    set(&mut shared.sensitivity, members.choice("sensitivity", &sensitivities)?);
    let shown = ["unknown", "free", "tentative", "busy", "oof", "workingElsewhere"];
    set(&mut private.show_as, members.choice("showAs", &shown)?);
    set(&mut private.is_reminder_on, members.flag("isReminderOn")?);
    set(&mut private.reminder_minutes, members.int("reminderMinutesBeforeStart")?);
    places(&mut members, shared)?;
    match members.list("attendees")? {
        Given::Absent => {}
        Given::Null => shared.attendees.clear(),
        Given::Value(list) => shared.attendees = parts::attendees(list)?,
    }
    if let Some(list) = members.list("categories")?.value() {
        private.categories = parts::texts(list, "categories")?;
    }
    match members.take("recurrence") {
        Given::Absent => {}
        Given::Null => shared.recurrence = None,
        Given::Value(value) => shared.recurrence = Some(recurrence::read(value, &shared.start.zone)?),
    }
    if let Some(list) = members.list("singleValueExtendedProperties")?.value() {
        extended(list, private)?;
    }
    if members.flag("isOnlineMeeting")? == Some(true) {
        return Err(GraphError::not_simulated("online meetings"));
    }
    let providers = ["unknown", "skypeForBusiness", "skypeForConsumer", "teamsForBusiness"];
    if members.choice("onlineMeetingProvider", &providers)?.is_some_and(|provider| provider != "unknown") {
        return Err(GraphError::not_simulated("online meetings"));
    }
    if !matches!(members.take("transactionId"), Given::Absent) {
        return Err(GraphError::not_simulated("a change of transactionId"));
    }
    let links = [
        "attachments",
        "calendar",
        "exceptionOccurrences",
        "extensions",
        "instances",
        "multiValueExtendedProperties",
    ];
    for name in links {
        if !matches!(members.take(name), Given::Absent | Given::Null) {
            return Err(GraphError::not_simulated(name));
        }
    }
    for name in READ_ONLY {
        if !matches!(members.take(name), Given::Absent) {
            return Err(failed(&format!("The property '{name}' is read-only.")));
        }
    }
    members.end()?;
    check(shared)
}

fn set<T>(member: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *member = given;
    }
}

/// Setting `location` replaces `locations`, and the other way round (graph-facts §6.1).
fn places(members: &mut Members<'_>, shared: &mut Shared) -> Result<(), GraphError> {
    match members.take("location") {
        Given::Absent => {}
        Given::Null => (shared.location, shared.locations) = (parts::nowhere(), Vec::new()),
        Given::Value(value) => {
            let location = parts::location(value, "location")?;
            shared.locations = vec![location.clone()];
            shared.location = location;
        }
    }
    if let Some(list) = members.list("locations")?.value() {
        let places =
            list.iter().map(|value| parts::location(value, "locations")).collect::<Result<Vec<_>, _>>()?;
        shared.location = places.first().cloned().unwrap_or_else(parts::nowhere);
        shared.locations = places;
    }
    Ok(())
}

/// Adds and replaces; the value null takes the property away.
fn extended(list: &[Value], private: &mut Private) -> Result<(), GraphError> {
    for value in list {
        let mut members =
            Members::new(value, "singleValueExtendedProperties", "singleValueLegacyExtendedProperty")?;
        let id = members.text("id")?.value().unwrap_or_default();
        let id = PropertyId::parse(id)?;
        match members.text("value")? {
            Given::Value(value) => {
                private.extended.insert(id, value.to_owned());
            }
            Given::Null => {
                private.extended.remove(&id);
            }
            Given::Absent => return Err(failed("An extended property needs a value.")),
        }
        members.end()?;
    }
    Ok(())
}

fn check(shared: &Shared) -> Result<(), GraphError> {
    if shared.end.instant() < shared.start.instant() {
        return Err(failed(""));
    }
    if shared.is_all_day {
        let midnight = jiff::civil::Time::midnight();
        let (start, end) = (shared.start.local, shared.end.local);
        if start.time() != midnight || end.time() != midnight || shared.start.zone != shared.end.zone {
            return Err(failed(
                "The start and end of an all-day event need to be set to midnight, in the same time zone.",
            ));
        }
        if end.date() <= start.date() {
            return Err(failed("The duration of an all-day event must be at least 24 hours."));
        }
    }
    Ok(())
}
