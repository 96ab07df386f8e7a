//! What is written onto an event: one named property of our own, and nothing else can be expressed.

use serde::Serialize;

use crate::{
    error::ArgumentError,
    fields::{self, EXTENDED_PROPERTIES},
    ids::ManifestId,
};

/// What became of an event's bookings, as the add-in reads it. Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BookingNote {
    version: u8,
    bookings: Vec<NotedBooking>,
}

/// One space's booking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotedBooking {
    /// Id of the space.
    pub resource_id: String,
    /// Id of the booking at the product.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub booking_id: Option<String>,
    /// `Accepted`, `Rejected`, `Pending` or `Cancelled`.
    pub state: &'static str,
}

#[derive(Serialize)]
struct Property<'a> {
    id: String,
    value: &'a str,
}

impl BookingNote {
    /// A note of these bookings.
    pub fn new(bookings: Vec<NotedBooking>) -> Self {
        Self { version: 1, bookings }
    }

    /// The property's value: JSON text.
    ///
    /// # Errors
    /// It cannot be written as JSON, which its type rules out.
    pub fn value(&self) -> Result<String, ArgumentError> {
        serde_json::to_string(self)
            .map_err(|_| ArgumentError::Field { field: "bookings", rule: "must be expressible as JSON" })
    }

    pub(crate) fn body(&self, manifest: &ManifestId) -> Result<Vec<u8>, ArgumentError> {
        let value = self.value()?;
        let property = Property { id: fields::booking_property(manifest), value: &value };
        let members = std::collections::BTreeMap::from([(EXTENDED_PROPERTIES, [property])]);
        serde_json::to_vec(&members)
            .map_err(|_| ArgumentError::Field { field: "bookings", rule: "must be expressible as JSON" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_our_property_and_nothing_else() {
        let note = BookingNote::new(vec![NotedBooking {
            resource_id: "room-101".to_owned(),
            booking_id: Some("b-1".to_owned()),
            state: "Accepted",
        }]);
        let manifest = ManifestId::parse("0c64d6b6-cc36-4b6a-8f9c-0e3a4b6c2d1f").unwrap();
        let body = String::from_utf8(note.body(&manifest).unwrap()).unwrap();
        assert_eq!(
            body,
            r#"{"singleValueExtendedProperties":[{"id":"String {00020329-0000-0000-C000-000000000046} Name roomkeeper-0c64d6b6-cc36-4b6a-8f9c-0e3a4b6c2d1f","value":"{\"version\":1,\"bookings\":[{\"resourceId\":\"room-101\",\"bookingId\":\"b-1\",\"state\":\"Accepted\"}]}"}]}"#
        );
    }
}
