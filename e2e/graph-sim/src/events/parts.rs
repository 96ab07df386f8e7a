//! The structured members of an event's body: people, places, text.

use serde_json::{Map, Value, json};

use super::content::{Attendee, Person};
use crate::{
    errors::GraphError,
    odata::{Given, Members},
};

/// Most attendees of an event; Exchange's own limit is 500.
const ATTENDEES: usize = 500;

const RESPONSES: &[&str] =
    &["none", "organizer", "tentativelyAccepted", "accepted", "declined", "notResponded"];

pub(super) fn attendees(list: &[Value]) -> Result<Vec<Attendee>, GraphError> {
    if list.len() > ATTENDEES {
        return Err(GraphError::wrong_type("attendees", "at most 500 attendees"));
    }
    list.iter().map(attendee).collect()
}

fn attendee(value: &Value) -> Result<Attendee, GraphError> {
    let mut members = Members::new(value, "attendees", "attendee")?;
    let Given::Value(address) = members.take("emailAddress") else {
        return Err(GraphError::wrong_type("emailAddress", "microsoft.graph.emailAddress"));
    };
    let person = person(address)?;
    let kind = members.choice("type", &["required", "optional", "resource"])?.unwrap_or("required");
    // Clients send back what they read; who answered what is not theirs to say.
    if let Given::Value(status) = members.take("status") {
        let mut status = Members::new(status, "status", "responseStatus")?;
        status.choice("response", RESPONSES)?;
        status.text("time")?;
        status.end()?;
    }
    if !matches!(members.take("proposedNewTime"), Given::Absent | Given::Null) {
        return Err(GraphError::not_simulated("proposals of new times"));
    }
    members.end()?;
    Ok(Attendee { person, kind })
}

fn person(value: &Value) -> Result<Person, GraphError> {
    let mut members = Members::new(value, "emailAddress", "emailAddress")?;
    let address = members.text("address")?.value().unwrap_or_default();
    let name = members.text("name")?.value().unwrap_or(address);
    members.end()?;
    if address.split_once('@').is_none_or(|(local, domain)| local.is_empty() || domain.is_empty()) {
        return Err(GraphError::new(
            http::StatusCode::BAD_REQUEST,
            "ErrorInvalidRecipients",
            "At least one recipient isn't valid.",
        ));
    }
    Ok(Person { name: name.to_owned(), address: address.to_owned() })
}

/// Content type and content.
pub(super) fn body(value: &Value) -> Result<(&'static str, String), GraphError> {
    let mut members = Members::new(value, "body", "itemBody")?;
    let kind = members.choice("contentType", &["text", "html", "Text", "HTML"])?.unwrap_or("text");
    let content = members.text("content")?.value().unwrap_or_default().to_owned();
    members.end()?;
    Ok((if kind.eq_ignore_ascii_case("html") { "html" } else { "text" }, content))
}

/// A checked location, as it is shown.
pub(super) fn location(value: &Value, member: &str) -> Result<Value, GraphError> {
    let mut members = Members::new(value, member, "location")?;
    let mut shown = Map::new();
    let name = members.text("displayName")?.value().unwrap_or_default();
    shown.insert("displayName".to_owned(), name.into());
    let kinds = [
        "default",
        "conferenceRoom",
        "homeAddress",
        "businessAddress",
        "geoCoordinates",
        "streetAddress",
        "hotel",
        "restaurant",
        "localBusiness",
        "postalAddress",
    ];
    let kind = members.choice("locationType", &kinds)?.unwrap_or("default");
    shown.insert("locationType".to_owned(), kind.into());
    for name in ["locationUri", "locationEmailAddress", "uniqueId"] {
        if let Some(text) = members.text(name)?.value() {
            shown.insert(name.to_owned(), text.into());
        }
    }
    let unique =
        members.choice("uniqueIdType", &["unknown", "locationStore", "directory", "private", "bing"])?;
    shown.entry("uniqueId").or_insert_with(|| name.into());
    shown.insert("uniqueIdType".to_owned(), unique.unwrap_or("private").into());
    if let Given::Value(value) = members.take("address") {
        let mut parts = Members::new(value, "address", "physicalAddress")?;
        let mut address = Map::new();
        for name in ["street", "city", "state", "countryOrRegion", "postalCode"] {
            if let Some(text) = parts.text(name)?.value() {
                address.insert(name.to_owned(), text.into());
            }
        }
        parts.end()?;
        shown.insert("address".to_owned(), Value::Object(address));
    }
    if let Given::Value(value) = members.take("coordinates") {
        let mut parts = Members::new(value, "coordinates", "outlookGeoCoordinates")?;
        let mut coordinates = Map::new();
        for name in ["latitude", "longitude", "altitude", "accuracy", "altitudeAccuracy"] {
            if let Some(number) = parts.float(name)? {
                coordinates.insert(name.to_owned(), number.into());
            }
        }
        parts.end()?;
        shown.insert("coordinates".to_owned(), Value::Object(coordinates));
    }
    members.end()?;
    Ok(Value::Object(shown))
}

/// The location of an event that has none.
pub(super) fn nowhere() -> Value {
    json!({"displayName": "", "locationType": "default", "uniqueIdType": "unknown", "address": {}, "coordinates": {}})
}

pub(super) fn texts(list: &[Value], member: &str) -> Result<Vec<String>, GraphError> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    list.iter()
        .map(|value| text(value).ok_or_else(|| GraphError::wrong_type(member, "Collection(Edm.String)")))
        .collect()
}
