//! The add-in's property, version 1: which spaces an event books.
//!
//! All custom properties of an Outlook add-in are one flat JSON object, so lists may also be JSON text inside a string.
//! The value is written by whoever can write the event: everything is bounded by what a BookingRecord can hold, and
//! errors name the member and never the value.

use std::collections::HashSet;

use roomkeeper_crds::booking_record::BookedResource;
use roomkeeper_graph::ManifestId;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// Longest value that is looked at, in bytes: a BookingRecord holds no more.
pub const MAX_BYTES: usize = roomkeeper_crds::booking_record::SPEC_LIMIT_BYTES;

const MAX_RESOURCES: usize = 20;
const MAX_ATTENDEES: usize = 100;
const MAX_ATTRIBUTES: usize = 50;
const MAX_CAPACITY: u32 = 100_000;
const MAX_ADDRESS: usize = 320;

/// Why a value is no booking. Holds nothing of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddInError {
    /// More bytes than any booking needs.
    #[error("the add-in's property is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Not a JSON object.
    #[error("the add-in's property is no JSON object")]
    NotAnObject,
    /// A version that this program does not know.
    #[error("the add-in's property has another version than 1")]
    Version,
    /// A member has the wrong type, or is missing.
    #[error("the add-in's property: {0} is missing or not as documented")]
    Member(&'static str),
    /// A member is longer, or a list has more entries, than allowed.
    #[error("the add-in's property: {0} is empty or exceeds its limit")]
    Limit(&'static str),
    /// One space is named twice.
    #[error("the add-in's property names a resource twice")]
    Duplicate,
}

#[derive(Deserialize)]
struct Resource {
    id: String,
    #[serde(default)]
    location: Option<String>,
    #[serde(default)]
    capacity: Option<u32>,
    #[serde(default)]
    attributes: Option<Vec<String>>,
    #[serde(default)]
    mailbox: Option<String>,
}

/// Id of the extended property that holds an add-in's custom properties (MS-OXCEXT 2.2.5; graph documentation of
/// `singleValueLegacyExtendedProperty`).
pub fn property_id(manifest: &ManifestId) -> String {
    format!("String {{00020329-0000-0000-C000-000000000046}} Name cecp-{manifest}")
}

/// Reads a value. No resource means that the event books nothing (any more).
///
/// # Errors
/// When the value is not of version 1, or exceeds a limit.
pub fn parse(text: &str, manifest: &ManifestId) -> Result<Vec<BookedResource>, AddInError> {
    if text.len() > MAX_BYTES {
        return Err(AddInError::TooLong);
    }
    let mut members: Map<String, Value> = serde_json::from_str(text).map_err(|_| AddInError::NotAnObject)?;
    members.retain(|_, value| !value.is_null());
    // An add-in that removed all of ours leaves the object behind, perhaps with properties of another purpose.
    if !members.contains_key("version") && !members.contains_key("resources") {
        return Ok(Vec::new());
    }
    if members.get("version").and_then(Value::as_u64) != Some(1) {
        return Err(AddInError::Version);
    }
    let add_in_version = text_member(&mut members, "addInVersion", 64)?;
    let owner = text_member(&mut members, "owner", MAX_ADDRESS)?;
    let attendees: Vec<String> = list(&mut members, "attendees", MAX_ATTENDEES)?;
    for attendee in &attendees {
        bounded(attendee, 1, MAX_ADDRESS, "attendees")?;
    }
    let resources: Vec<Resource> = list(&mut members, "resources", MAX_RESOURCES)?;
    let mut seen = HashSet::new();
    let property_id = property_id(manifest);
    resources
        .into_iter()
        .map(|resource| {
            bounded(&resource.id, 1, 128, "resources[].id")?;
            if !seen.insert(resource.id.clone()) {
                return Err(AddInError::Duplicate);
            }
            let attributes = resource.attributes.unwrap_or_default();
            if attributes.len() > MAX_ATTRIBUTES {
                return Err(AddInError::Limit("resources[].attributes"));
            }
            for attribute in &attributes {
                bounded(attribute, 1, 128, "resources[].attributes")?;
            }
            if resource.capacity.is_some_and(|seats| seats > MAX_CAPACITY) {
                return Err(AddInError::Limit("resources[].capacity"));
            }
            Ok(BookedResource {
                resource_id: resource.id,
                property_id: property_id.clone(),
                manifest_id: manifest.as_str().to_owned(),
                location: optional(resource.location, 512, "resources[].location")?,
                add_in_version: add_in_version.clone(),
                attributes,
                capacity: resource.capacity,
                mailbox: optional(resource.mailbox, MAX_ADDRESS, "resources[].mailbox")?,
                attendees: attendees.clone(),
                owner: owner.clone(),
            })
        })
        .collect()
}

fn text_member(
    members: &mut Map<String, Value>,
    name: &'static str,
    limit: usize,
) -> Result<Option<String>, AddInError> {
    match members.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => optional(Some(text), limit, name),
        Some(_) => Err(AddInError::Member(name)),
    }
}

fn list<T: DeserializeOwned>(
    members: &mut Map<String, Value>,
    name: &'static str,
    limit: usize,
) -> Result<Vec<T>, AddInError> {
    let wrong = |_| AddInError::Member(name);
    let value = match members.remove(name) {
        None => return Ok(Vec::new()),
        Some(Value::String(text)) if text.is_empty() => return Ok(Vec::new()),
        Some(Value::String(text)) => serde_json::from_str(&text).map_err(wrong)?,
        Some(other) => other,
    };
    if value.as_array().is_some_and(|entries| entries.len() > limit) {
        return Err(AddInError::Limit(name));
    }
    serde_json::from_value(value).map_err(wrong)
}

fn optional(text: Option<String>, limit: usize, name: &'static str) -> Result<Option<String>, AddInError> {
    let text = text.filter(|text| !text.is_empty());
    if let Some(text) = &text {
        bounded(text, 1, limit, name)?;
    }
    Ok(text)
}

/// Lengths are counted in characters, as the API server counts them.
fn bounded(text: &str, least: usize, most: usize, name: &'static str) -> Result<(), AddInError> {
    let length = text.chars().count();
    if length < least || length > most || text.chars().any(char::is_control) {
        return Err(AddInError::Limit(name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn manifest() -> ManifestId {
        ManifestId::parse("3F0C2C1E-8d0a-4b59-9a55-2f4b7c0d6e21").unwrap()
    }

    fn value() -> Value {
        json!({
            "version": 1, "addInVersion": "1.4.0", "owner": "user1@contoso.example",
            "attendees": ["user2@contoso.example"],
            "resources": [{"id": "room-101", "location": "HQ 1.01", "capacity": 8, "attributes": ["screen"],
                           "mailbox": "room101@contoso.example"}],
        })
    }

    fn with(member: &str, new: Value) -> String {
        let mut value = value();
        value[member] = new;
        value.to_string()
    }

    fn read(text: &str) -> Result<Vec<BookedResource>, AddInError> {
        parse(text, &manifest())
    }

    #[test]
    fn every_member_is_read() {
        let expected = BookedResource {
            resource_id: "room-101".to_owned(),
            property_id:
                "String {00020329-0000-0000-C000-000000000046} Name cecp-3f0c2c1e-8d0a-4b59-9a55-2f4b7c0d6e21"
                    .to_owned(),
            manifest_id: "3f0c2c1e-8d0a-4b59-9a55-2f4b7c0d6e21".to_owned(),
            location: Some("HQ 1.01".to_owned()),
            add_in_version: Some("1.4.0".to_owned()),
            attributes: vec!["screen".to_owned()],
            capacity: Some(8),
            mailbox: Some("room101@contoso.example".to_owned()),
            attendees: vec!["user2@contoso.example".to_owned()],
            owner: Some("user1@contoso.example".to_owned()),
        };
        assert_eq!(read(&value().to_string()).unwrap(), [expected]);
    }

    #[test]
    fn lists_inside_strings_read_the_same() {
        let mut flat = value();
        flat["resources"] = value()["resources"].to_string().into();
        flat["attendees"] = value()["attendees"].to_string().into();
        assert_eq!(read(&flat.to_string()), read(&value().to_string()));
    }

    #[test]
    fn no_space_is_no_booking() {
        for text in [
            "{}".to_owned(),
            r#"{"another add-in setting":"x"}"#.to_owned(),
            with("resources", json!([])),
            with("resources", json!("[]")),
            with("resources", json!("")),
            with("resources", Value::Null),
        ] {
            assert_eq!(read(&text), Ok(Vec::new()), "{text}");
        }
    }

    #[test]
    fn what_is_not_version_1_is_refused_by_name() {
        let rooms = |count: usize| (0..count).map(|i| json!({"id": format!("r{i}")})).collect::<Vec<_>>();
        assert_eq!(read(&with("resources", rooms(MAX_RESOURCES).into())).unwrap().len(), MAX_RESOURCES);
        let id = |value: Value| json!([{"id": value}]);
        for (text, error) in [
            (String::new(), AddInError::NotAnObject),
            ("[]".to_owned(), AddInError::NotAnObject),
            ("{\"version\":1".to_owned(), AddInError::NotAnObject),
            (" ".repeat(MAX_BYTES + 1), AddInError::TooLong),
            (with("version", json!(2)), AddInError::Version),
            (with("version", json!("1")), AddInError::Version),
            (with("version", json!(1.5)), AddInError::Version),
            (with("version", Value::Null), AddInError::Version),
            (with("owner", json!(7)), AddInError::Member("owner")),
            (with("owner", "x".repeat(321).into()), AddInError::Limit("owner")),
            (with("addInVersion", "1".repeat(65).into()), AddInError::Limit("addInVersion")),
            (with("attendees", json!([7])), AddInError::Member("attendees")),
            (with("attendees", json!([""])), AddInError::Limit("attendees")),
            (with("attendees", json!(["a\nb"])), AddInError::Limit("attendees")),
            (with("attendees", vec!["a"; MAX_ATTENDEES + 1].into()), AddInError::Limit("attendees")),
            (with("resources", json!({})), AddInError::Member("resources")),
            (with("resources", json!("{")), AddInError::Member("resources")),
            (with("resources", json!([{}])), AddInError::Member("resources")),
            (with("resources", id(json!(""))), AddInError::Limit("resources[].id")),
            (with("resources", id("x".repeat(129).into())), AddInError::Limit("resources[].id")),
            (with("resources", rooms(MAX_RESOURCES + 1).into()), AddInError::Limit("resources")),
            (with("resources", json!([{"id": "a"}, {"id": "a"}])), AddInError::Duplicate),
            (with("resources", json!([{"id": "a", "capacity": -1}])), AddInError::Member("resources")),
            (
                with("resources", json!([{"id": "a", "capacity": 100_001}])),
                AddInError::Limit("resources[].capacity"),
            ),
            (
                with("resources", json!([{"id": "a", "attributes": vec!["x"; 51]}])),
                AddInError::Limit("resources[].attributes"),
            ),
            (
                with("resources", json!([{"id": "a", "location": "x".repeat(513)}])),
                AddInError::Limit("resources[].location"),
            ),
        ] {
            assert_eq!(read(&text), Err(error), "{}", text.chars().take(80).collect::<String>());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".{0,400}") {
            let _ = read(&text);
        }
    }
}
