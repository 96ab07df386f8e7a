//! The spec of a BookingRecord: exactly the listed fields of an event, and nothing that does not fit.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use roomkeeper_crds::{
    access_scope::PrivateSubject,
    booking_record::{
        AddInProperties, BookedResource, BookingRecordSpec, BookingState, INVALID_LIMIT, Recurrence,
        SPEC_LIMIT_BYTES, Sensitivity, SubscriptionRef,
    },
};
use roomkeeper_graph::{Event, Sensitivity as GraphSensitivity};
use serde_json::Value;

/// Why an event does not fit into a BookingRecord. Holds nothing of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SpecError {
    /// A field or list is longer than the schema allows.
    #[error("{0} exceeds the limit of a BookingRecord")]
    Limit(&'static str),
    /// Pattern or range of a series are not of Graph's documented form.
    #[error("recurrence is not of the documented form")]
    Recurrence,
    /// The end lies before the start.
    #[error("end lies before start")]
    Order,
    /// The whole is too large.
    #[error("the record would exceed {SPEC_LIMIT_BYTES} bytes")]
    TooLarge,
}

/// Whose record it is, and what of the event goes into it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keeping<'a> {
    /// Whether the subject of a private or confidential event is kept.
    pub(super) private_subject: PrivateSubject,
    /// Name of the CalendarSubscription.
    pub(super) subscription: &'a str,
}

/// Builds the spec of a standing booking.
///
/// Times are cut to whole seconds, which is what the API server keeps: otherwise a record would never equal its event.
pub(super) fn build(
    event: &Event,
    resources: Vec<BookedResource>,
    recurrence: Option<Recurrence>,
    keeping: Keeping<'_>,
) -> Result<BookingRecordSpec, SpecError> {
    let private = matches!(event.sensitivity, GraphSensitivity::Private | GraphSensitivity::Confidential);
    let masked = private && keeping.private_subject == PrivateSubject::Mask;
    let subject = event.subject.clone().filter(|subject| !masked && !subject.is_empty());
    let mut attendees = event.attendees.clone();
    // Graph does not promise an order, and an order is no difference.
    attendees.sort_unstable();
    attendees.dedup();
    let spec = BookingRecordSpec {
        attendees,
        location: resources.iter().find_map(|resource| resource.location.clone()),
        organizer: event.organizer.clone(),
        subject,
        single_value_extended_properties: AddInProperties { invalid: None, resources },
        ..bare(event, recurrence, keeping)
    };
    check(&spec)?;
    Ok(spec)
}

/// Builds the spec of an event that cannot be booked: the reason, and of the event no more than tells which one it is and when it
/// is over.
pub(super) fn build_invalid(
    event: &Event,
    reason: &str,
    recurrence: Option<Recurrence>,
    keeping: Keeping<'_>,
) -> Result<BookingRecordSpec, SpecError> {
    let reason = reason.chars().take(INVALID_LIMIT).collect();
    let mut spec = bare(event, recurrence, keeping);
    spec.single_value_extended_properties = AddInProperties { invalid: Some(reason), resources: Vec::new() };
    // An end before its start is one of the reasons, and the schema does not take it.
    spec.date_time_to = spec.date_time_to.max(spec.date_time_from.clone());
    check(&spec)?;
    Ok(spec)
}

fn bare(event: &Event, recurrence: Option<Recurrence>, keeping: Keeping<'_>) -> BookingRecordSpec {
    BookingRecordSpec {
        attendees: Vec::new(),
        i_cal_u_id: event.head.i_cal_u_id.clone(),
        change_key: event.head.change_key.clone(),
        date_time_from: seconds(event.start),
        date_time_to: seconds(event.end),
        event_id: event.head.id.as_str().to_owned(),
        is_all_day: event.is_all_day,
        last_modified_date_time: seconds(event.head.last_modified),
        location: None,
        organizer: None,
        recurrence_pattern: recurrence,
        sensitivity: match event.sensitivity {
            GraphSensitivity::Normal => Sensitivity::Normal,
            GraphSensitivity::Personal => Sensitivity::Personal,
            GraphSensitivity::Private => Sensitivity::Private,
            GraphSensitivity::Confidential => Sensitivity::Confidential,
        },
        series_master_id: event.series_master_id.clone(),
        subject: None,
        single_value_extended_properties: AddInProperties::default(),
        state: BookingState::Booked,
        subscription_ref: SubscriptionRef { name: keeping.subscription.to_owned() },
    }
}

pub(super) fn seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

/// Graph writes unused members as null; the record leaves them out.
pub(super) fn recurrence(value: &Value) -> Result<Recurrence, SpecError> {
    let mut value = value.clone();
    for part in ["pattern", "range"] {
        if let Some(members) = value.get_mut(part).and_then(Value::as_object_mut) {
            members.retain(|_, member| !member.is_null());
        }
    }
    serde_json::from_value(value).map_err(|_| SpecError::Recurrence)
}

/// The schema's limits, so that an event that cannot be stored is told apart from an API server that refuses.
fn check(spec: &BookingRecordSpec) -> Result<(), SpecError> {
    let text = |text: &str, most: usize, name: &'static str| {
        if text.chars().count() > most { Err(SpecError::Limit(name)) } else { Ok(()) }
    };
    let optional =
        |value: &Option<String>, most: usize, name| value.as_deref().map_or(Ok(()), |v| text(v, most, name));
    if spec.date_time_to < spec.date_time_from {
        return Err(SpecError::Order);
    }
    if spec.i_cal_u_id.is_empty() || spec.change_key.is_empty() {
        return Err(SpecError::Limit("iCalUId or changeKey"));
    }
    text(&spec.i_cal_u_id, 1_024, "iCalUId")?;
    text(&spec.change_key, 256, "changeKey")?;
    optional(&spec.organizer, 320, "organizer")?;
    optional(&spec.series_master_id, 1_024, "seriesMasterId")?;
    optional(&spec.subject, 1_024, "subject")?;
    if spec.attendees.len() > 500 {
        return Err(SpecError::Limit("attendees"));
    }
    for attendee in &spec.attendees {
        text(attendee, 320, "attendees")?;
    }
    if let Some(recurrence) = &spec.recurrence_pattern {
        let (pattern, range) = (&recurrence.pattern, &recurrence.range);
        text(&pattern.type_, 32, "recurrencePattern")?;
        optional(&pattern.first_day_of_week, 16, "recurrencePattern")?;
        optional(&pattern.index, 16, "recurrencePattern")?;
        if pattern.days_of_week.len() > 7 {
            return Err(SpecError::Limit("recurrencePattern"));
        }
        for day in &pattern.days_of_week {
            text(day, 16, "recurrencePattern")?;
        }
        text(&range.type_, 16, "recurrencePattern")?;
        text(&range.start_date, 10, "recurrencePattern")?;
        optional(&range.end_date, 10, "recurrencePattern")?;
        optional(&range.recurrence_time_zone, 128, "recurrencePattern")?;
    }
    match serde_json::to_vec(spec) {
        Ok(bytes) if bytes.len() <= SPEC_LIMIT_BYTES => Ok(()),
        Ok(_) | Err(_) => Err(SpecError::TooLarge),
    }
}

#[cfg(test)]
mod tests {
    use roomkeeper_graph::{EventHead, EventId, EventType, ManifestId};
    use serde_json::json;

    use super::*;
    use crate::worker::add_in;

    fn event() -> Event {
        Event {
            head: EventHead {
                id: EventId::parse("AAMk=").unwrap(),
                i_cal_u_id: "040000008200E0".to_owned(),
                change_key: "DwAAABYAAAA=".to_owned(),
                last_modified: "2026-11-20T08:00:00.1234567Z".parse().unwrap(),
                is_organizer: true,
                event_type: EventType::SingleInstance,
                is_cancelled: false,
                add_in_value: None,
            },
            subject: Some("Budget".to_owned()),
            start: "2026-11-24T09:00:00Z".parse().unwrap(),
            end: "2026-11-24T10:00:00Z".parse().unwrap(),
            is_all_day: false,
            organizer: Some("user1@contoso.example".to_owned()),
            attendees: vec!["b@contoso.example".to_owned(), "a@contoso.example".to_owned()],
            sensitivity: GraphSensitivity::Normal,
            series_master_id: None,
            recurrence: None,
        }
    }

    fn resources() -> Vec<BookedResource> {
        let manifest = ManifestId::parse("3f0c2c1e-8d0a-4b59-9a55-2f4b7c0d6e21").unwrap();
        let value =
            json!({"version": 1, "resources": [{"id": "room-101", "location": "HQ 1.01"}, {"id": "r2"}]});
        add_in::parse(&value.to_string(), &manifest).unwrap()
    }

    fn keep(event: &Event, private_subject: PrivateSubject) -> Result<BookingRecordSpec, SpecError> {
        let recurrence = event.recurrence.as_ref().map(recurrence).transpose()?;
        build(event, resources(), recurrence, Keeping { private_subject, subscription: "user1" })
    }

    fn built(event: &Event) -> Result<BookingRecordSpec, SpecError> {
        keep(event, PrivateSubject::Mask)
    }

    #[test]
    fn of_an_event_that_cannot_be_booked_only_reason_and_time_are_kept() {
        let keeping = Keeping { private_subject: PrivateSubject::Store, subscription: "user1" };
        let spec = build_invalid(&event(), &"why ".repeat(100), None, keeping).unwrap();
        let properties = &spec.single_value_extended_properties;
        assert_eq!(properties.invalid.as_ref().unwrap().chars().count(), INVALID_LIMIT);
        assert!(properties.resources.is_empty() && spec.attendees.is_empty());
        assert_eq!((spec.subject, spec.organizer, spec.location), (None, None, None));
        let odd = Event { end: "2026-11-24T08:00:00Z".parse().unwrap(), ..event() };
        let spec = build_invalid(&odd, "why", None, keeping).unwrap();
        assert_eq!(spec.date_time_to, spec.date_time_from, "the schema takes no end before the start");
    }

    #[test]
    fn the_listed_fields_and_the_resources_own_location() {
        let expected = json!({
            "attendees": ["a@contoso.example", "b@contoso.example"],
            "iCalUId": "040000008200E0",
            "changeKey": "DwAAABYAAAA=",
            "dateTimeFrom": "2026-11-24T09:00:00Z",
            "dateTimeTo": "2026-11-24T10:00:00Z",
            "eventId": "AAMk=",
            "lastModifiedDateTime": "2026-11-20T08:00:00Z",
            "location": "HQ 1.01",
            "organizer": "user1@contoso.example",
            "sensitivity": "normal",
            "subject": "Budget",
            "singleValueExtendedProperties": {"resources": serde_json::to_value(resources()).unwrap()},
            "state": "Booked",
            "subscriptionRef": {"name": "user1"},
        });
        let spec = built(&event()).unwrap();
        assert_eq!(serde_json::to_value(&spec).unwrap(), expected);
        let read_back: BookingRecordSpec = serde_json::from_value(expected).unwrap();
        assert_eq!(read_back, spec, "what the API server keeps equals what was built");
    }

    #[test]
    fn the_subject_of_a_private_event_is_masked_unless_it_is_to_be_stored() {
        for (sensitivity, masked) in [
            (GraphSensitivity::Normal, false),
            (GraphSensitivity::Personal, false),
            (GraphSensitivity::Private, true),
            (GraphSensitivity::Confidential, true),
        ] {
            let event = Event { sensitivity, ..event() };
            assert_eq!(built(&event).unwrap().subject.is_none(), masked, "{sensitivity:?}");
            let stored = keep(&event, PrivateSubject::Store).unwrap();
            assert_eq!(stored.subject.as_deref(), Some("Budget"));
        }
    }

    #[test]
    fn a_series_keeps_pattern_and_range() {
        let recurrence = json!({
            "pattern": {"type": "weekly", "interval": 1, "month": 0, "dayOfMonth": 0, "daysOfWeek": ["monday"],
                        "firstDayOfWeek": "sunday", "index": null},
            "range": {"type": "noEnd", "startDate": "2026-11-23", "endDate": "0001-01-01",
                      "recurrenceTimeZone": "W. Europe Standard Time", "numberOfOccurrences": 0},
        });
        let spec = built(&Event { recurrence: Some(recurrence), ..event() }).unwrap();
        let kept = spec.recurrence_pattern.unwrap();
        assert_eq!(kept.pattern.days_of_week, ["monday"]);
        assert_eq!(kept.pattern.index, None);
        assert_eq!(kept.range.recurrence_time_zone.as_deref(), Some("W. Europe Standard Time"));
        let odd = built(&Event { recurrence: Some(json!({"pattern": {}})), ..event() });
        assert_eq!(odd, Err(SpecError::Recurrence));
    }

    #[test]
    fn what_does_not_fit_is_told_by_name() {
        let many = |count: usize| (0..count).map(|i| format!("u{i:03}@contoso.example")).collect::<Vec<_>>();
        assert!(built(&Event { attendees: many(500), ..event() }).is_ok());
        let long = format!("{}@contoso.example", "x".repeat(100));
        let large = (0..400).map(|i| format!("{i}{long}")).collect();
        for (event, error) in [
            (Event { attendees: many(501), ..event() }, SpecError::Limit("attendees")),
            (Event { attendees: vec!["x".repeat(321)], ..event() }, SpecError::Limit("attendees")),
            (Event { subject: Some("x".repeat(1_025)), ..event() }, SpecError::Limit("subject")),
            (Event { end: "2026-11-24T08:00:00Z".parse().unwrap(), ..event() }, SpecError::Order),
            (Event { attendees: large, ..event() }, SpecError::TooLarge),
        ] {
            assert_eq!(built(&event), Err(error));
        }
    }
}
