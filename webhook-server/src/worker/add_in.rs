//! The add-in's property, version 1: which spaces an event books.
//!
//! All custom properties of an Outlook add-in are one flat JSON object, so lists may also be JSON text inside a string.
//! The value is written by whoever can write the event: everything is bounded by what a BookingRecord can hold, and
//! errors name the member and never the value.

use std::collections::HashSet;

use roomkeeper_crds::booking_record::BookedResource;
use roomkeeper_graph::ManifestId;
use serde_json::{Map, Value};

/// Longest value that is looked at, in bytes: a BookingRecord holds no more.
pub const MAX_BYTES: usize = roomkeeper_crds::booking_record::SPEC_LIMIT_BYTES;

const MAX_RESOURCES: usize = 20;
const MAX_ATTENDEES: usize = 100;
const MAX_ATTRIBUTES: usize = 50;
const MAX_CAPACITY: u32 = 100_000;
const MAX_ADDRESS: usize = 320;
const MAX_ADD_IN_VERSION: usize = 64;
const MAX_ID: usize = 128;
const MAX_ATTRIBUTE: usize = 128;
const MAX_LOCATION: usize = 512;

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
    #[error("the add-in's property has no version, or another one than 1")]
    Version,
    /// A member has the wrong type, or a required one is missing.
    #[error("the add-in's property: {member} must be {wanted}")]
    Type {
        /// Which.
        member: &'static str,
        /// What belongs there.
        wanted: &'static str,
    },
    /// A number is out of its range.
    #[error("the add-in's property: {member} must be a whole number from 0 to {most}")]
    Range {
        /// Which.
        member: &'static str,
        /// Largest number.
        most: u32,
    },
    /// A text is empty where it must not be, or too long.
    #[error("the add-in's property: {member} must have 1 to {most} characters")]
    Length {
        /// Which.
        member: &'static str,
        /// Most characters.
        most: usize,
    },
    /// A text holds what cannot be shown.
    #[error("the add-in's property: {member} holds a control character")]
    Control {
        /// Which.
        member: &'static str,
    },
    /// A list is too long.
    #[error("the add-in's property: {member} has more than {most} entries")]
    Entries {
        /// Which.
        member: &'static str,
        /// Most entries.
        most: usize,
    },
    /// One space is named twice.
    #[error("the add-in's property: resources names an id twice")]
    Duplicate,
}

/// Id of the extended property that holds an add-in's custom properties (MS-OXCEXT 2.2.5; graph documentation of
/// `singleValueLegacyExtendedProperty`).
pub fn property_id(manifest: &ManifestId) -> String {
    format!("String {{00020329-0000-0000-C000-000000000046}} Name cecp-{manifest}")
}

/// Reads a value. No resource means that the event books nothing (any more).
///
/// The contract for those who write it is docs/add-in-property.md; what it says, its schema says too.
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
    if !members.get("version").is_some_and(is_version_1) {
        return Err(AddInError::Version);
    }
    let add_in_version = optional(members.get("addInVersion"), "addInVersion", MAX_ADD_IN_VERSION)?;
    let owner = optional(members.get("owner"), "owner", MAX_ADDRESS)?;
    let attendees = list_or_text(members.remove("attendees"), "attendees", MAX_ATTENDEES)?;
    let attendees = texts(&attendees, "attendees[]", MAX_ADDRESS)?;
    let resources = list_or_text(members.remove("resources"), "resources", MAX_RESOURCES)?;
    let mut seen = HashSet::new();
    let property_id = property_id(manifest);
    resources
        .iter()
        .map(|resource| {
            let of = |name| resource.get(name).filter(|value| !value.is_null());
            if !resource.is_object() {
                return Err(AddInError::Type { member: "resources[]", wanted: "an object" });
            }
            let id = required(of("id"), "resources[].id", MAX_ID)?;
            if !seen.insert(id.clone()) {
                return Err(AddInError::Duplicate);
            }
            let attributes = list(of("attributes"), "resources[].attributes", MAX_ATTRIBUTES)?;
            Ok(BookedResource {
                resource_id: id,
                property_id: property_id.clone(),
                manifest_id: manifest.as_str().to_owned(),
                location: optional(of("location"), "resources[].location", MAX_LOCATION)?,
                add_in_version: add_in_version.clone(),
                attributes: texts(attributes, "resources[].attributes[]", MAX_ATTRIBUTE)?,
                capacity: of("capacity").map(capacity).transpose()?,
                mailbox: optional(of("mailbox"), "resources[].mailbox", MAX_ADDRESS)?,
                attendees: attendees.clone(),
                owner: owner.clone(),
            })
        })
        .collect()
}

/// `CustomProperties.set` takes any type and may hand it on as text, so that `1` can arrive as `"1"` (reference of Office.js).
fn is_version_1(value: &Value) -> bool {
    whole(value) == Some(1) || value == "1"
}

fn capacity(value: &Value) -> Result<u32, AddInError> {
    whole(value)
        .filter(|seats| *seats <= MAX_CAPACITY)
        .ok_or(AddInError::Range { member: "resources[].capacity", most: MAX_CAPACITY })
}

/// A whole number however it is written, as JSON Schema counts: `8.0` is one.
fn whole(value: &Value) -> Option<u32> {
    let number = value.as_f64()?;
    let fits = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was just seen to fit")]
    fits.then_some(number as u32)
}

/// A list, or JSON text of one: all custom properties of an add-in are texts or become texts.
fn list_or_text(value: Option<Value>, member: &'static str, most: usize) -> Result<Vec<Value>, AddInError> {
    let wrong = AddInError::Type { member, wanted: "a list, or JSON text of one" };
    let entries = match value {
        None => Vec::new(),
        Some(Value::Array(entries)) => entries,
        Some(Value::String(text)) if text.is_empty() => Vec::new(),
        Some(Value::String(text)) => serde_json::from_str(&text).map_err(|_| wrong)?,
        Some(_) => return Err(wrong),
    };
    limited(&entries, member, most)?;
    Ok(entries)
}

fn list<'a>(value: Option<&'a Value>, member: &'static str, most: usize) -> Result<&'a [Value], AddInError> {
    let entries = match value {
        None => &[],
        Some(Value::Array(entries)) => entries.as_slice(),
        Some(_) => return Err(AddInError::Type { member, wanted: "a list" }),
    };
    limited(entries, member, most)?;
    Ok(entries)
}

fn limited(entries: &[Value], member: &'static str, most: usize) -> Result<(), AddInError> {
    if entries.len() > most { Err(AddInError::Entries { member, most }) } else { Ok(()) }
}

fn texts(entries: &[Value], member: &'static str, most: usize) -> Result<Vec<String>, AddInError> {
    entries.iter().map(|entry| required(Some(entry), member, most)).collect()
}

fn optional(value: Option<&Value>, member: &'static str, most: usize) -> Result<Option<String>, AddInError> {
    value.filter(|value| *value != "").map(|value| required(Some(value), member, most)).transpose()
}

/// Lengths are counted in characters, as the API server counts them.
fn required(value: Option<&Value>, member: &'static str, most: usize) -> Result<String, AddInError> {
    let Some(text) = value.and_then(Value::as_str) else {
        return Err(AddInError::Type { member, wanted: "a text" });
    };
    if text.is_empty() || text.chars().count() > most {
        return Err(AddInError::Length { member, most });
    }
    if text.chars().any(char::is_control) {
        return Err(AddInError::Control { member });
    }
    Ok(text.to_owned())
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
    fn what_is_not_version_1_is_refused_by_member_and_limit() {
        let rooms = |count: usize| (0..count).map(|i| json!({"id": format!("r{i}")})).collect::<Vec<_>>();
        assert_eq!(read(&with("resources", rooms(MAX_RESOURCES).into())).unwrap().len(), MAX_RESOURCES);
        let room = |member: &str, value: Value| {
            let mut room = json!({"id": "a"});
            room[member] = value;
            with("resources", json!([room]))
        };
        for (text, reason) in [
            (String::new(), "is no JSON object"),
            ("[]".to_owned(), "is no JSON object"),
            ("{\"version\":1".to_owned(), "is no JSON object"),
            (" ".repeat(MAX_BYTES + 1), "is longer than 32768 bytes"),
            (with("version", json!(2)), "has no version, or another one than 1"),
            (with("version", json!("01")), "has no version, or another one than 1"),
            (with("version", json!(1.5)), "has no version, or another one than 1"),
            (with("version", Value::Null), "has no version, or another one than 1"),
            (with("owner", json!(7)), ": owner must be a text"),
            (with("owner", "x".repeat(321).into()), ": owner must have 1 to 320 characters"),
            (with("addInVersion", "1".repeat(65).into()), ": addInVersion must have 1 to 64 characters"),
            (with("attendees", json!({})), ": attendees must be a list, or JSON text of one"),
            (with("attendees", json!([7])), ": attendees[] must be a text"),
            (with("attendees", json!([""])), ": attendees[] must have 1 to 320 characters"),
            (with("attendees", json!(["a\nb"])), ": attendees[] holds a control character"),
            (with("attendees", vec!["a"; MAX_ATTENDEES + 1].into()), ": attendees has more than 100 entries"),
            (with("resources", json!({})), ": resources must be a list, or JSON text of one"),
            (with("resources", json!("{")), ": resources must be a list, or JSON text of one"),
            (with("resources", json!(["a"])), ": resources[] must be an object"),
            (with("resources", json!([["a"]])), ": resources[] must be an object"),
            (with("resources", json!([{}])), ": resources[].id must be a text"),
            (room("id", json!("")), ": resources[].id must have 1 to 128 characters"),
            (room("id", "x".repeat(129).into()), ": resources[].id must have 1 to 128 characters"),
            (with("resources", rooms(MAX_RESOURCES + 1).into()), ": resources has more than 20 entries"),
            (with("resources", json!([{"id": "a"}, {"id": "a"}])), ": resources names an id twice"),
            (room("capacity", json!(-1)), ": resources[].capacity must be a whole number from 0 to 100000"),
            (
                room("capacity", json!(100_001)),
                ": resources[].capacity must be a whole number from 0 to 100000",
            ),
            (room("capacity", json!("8")), ": resources[].capacity must be a whole number from 0 to 100000"),
            (room("attributes", json!("x")), ": resources[].attributes must be a list"),
            (room("attributes", vec!["x"; 51].into()), ": resources[].attributes has more than 50 entries"),
            (room("attributes", json!([""])), ": resources[].attributes[] must have 1 to 128 characters"),
            (
                room("location", "x".repeat(513).into()),
                ": resources[].location must have 1 to 512 characters",
            ),
            (room("mailbox", "x".repeat(321).into()), ": resources[].mailbox must have 1 to 320 characters"),
        ] {
            let told = read(&text).unwrap_err().to_string();
            assert_eq!(told.strip_prefix("the add-in's property").unwrap().trim_start(), reason.trim_start());
        }
    }

    #[test]
    fn a_version_or_a_number_may_be_written_otherwise() {
        for version in [json!("1"), json!(1.0)] {
            assert_eq!(read(&with("version", version)), read(&value().to_string()));
        }
        let seats = with("resources", json!([{"id": "a", "capacity": 8.0}]));
        assert_eq!(read(&seats).unwrap()[0].capacity, Some(8));
    }

    #[test]
    fn what_is_empty_is_left_out_and_what_is_unknown_is_ignored() {
        let mut odd = value();
        odd["theme"] = json!({"dark": true});
        odd["owner"] = json!("");
        odd["addInVersion"] = Value::Null;
        odd["resources"] =
            json!([{"id": "a", "location": "", "capacity": null, "attributes": null, "floor": 3}]);
        let [room] = &read(&odd.to_string()).unwrap()[..] else { panic!() };
        assert_eq!((&room.owner, &room.add_in_version), (&None, &None));
        assert_eq!((&room.location, room.capacity, room.attributes.len()), (&None, None, 0));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".{0,400}") {
            let _ = read(&text);
        }
    }
}
