//! Ids of extended properties (graph-facts §6.4).

use std::fmt;

use uuid::Uuid;

use super::guid;
use crate::errors::GraphError;

/// Types that an id may start with; the value of all but `String` has a form that is not simulated.
const TYPES: &[&str] =
    &["Binary", "Boolean", "CLSID", "Currency", "Double", "Float", "Integer", "Long", "Short", "SystemTime"];

/// `String {set} Name name`, or `String {set} Id 0x8001`. The name's case counts, the set's does not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PropertyId {
    set: Uuid,
    name: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Name {
    Text(String),
    Number(u32),
}

impl PropertyId {
    pub(crate) fn parse(text: &str) -> Result<Self, GraphError> {
        let invalid = || {
            GraphError::new(
                http::StatusCode::BAD_REQUEST,
                "ErrorInvalidProperty",
                "PropertyId values may only be in one of the following formats: 'MapiPropertyType namespaceGuid Name propertyName', 'MapiPropertyType namespaceGuid Id propertyId' or 'MapiPropertyType propertyTag'.",
            )
        };
        let (kind, rest) = text.split_once(' ').ok_or_else(invalid)?;
        if TYPES.contains(&kind) || kind.ends_with("Array") {
            return Err(GraphError::not_simulated("extended properties of other types than String"));
        }
        if kind != "String" {
            return Err(invalid());
        }
        let (set, rest) = rest.split_once(' ').ok_or_else(invalid)?;
        let set = set.strip_prefix('{').and_then(|set| set.strip_suffix('}')).ok_or_else(invalid)?;
        let set = guid(set).ok_or_else(invalid)?;
        let name = match rest.split_once(' ') {
            Some(("Name", name)) if !name.trim().is_empty() => Name::Text(name.to_owned()),
            Some(("Id", number)) => {
                let number = number.strip_prefix("0x").ok_or_else(invalid)?;
                Name::Number(u32::from_str_radix(number, 16).map_err(|_| invalid())?)
            }
            _ => return Err(invalid()),
        };
        Ok(Self { set, name })
    }
}

/// As Exchange writes it back: the set in lower case.
impl fmt::Display for PropertyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Name::Text(name) => write!(f, "String {{{}}} Name {name}", self.set),
            Name::Number(number) => write!(f, "String {{{}}} Id {number:#x}", self.set),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "String {00020329-0000-0000-C000-000000000046} Name cecp-X";

    #[test]
    fn ids_are_strict_and_come_back_in_lower_case() {
        let id = PropertyId::parse(ID).unwrap();
        assert_eq!(id.to_string(), "String {00020329-0000-0000-c000-000000000046} Name cecp-X");
        assert_ne!(id, PropertyId::parse(&ID.replace("cecp-X", "cecp-x")).unwrap());
        assert_eq!(
            PropertyId::parse("String {00020329-0000-0000-C000-000000000046} Id 0x8001").unwrap().to_string(),
            "String {00020329-0000-0000-c000-000000000046} Id 0x8001"
        );
        for bad in [
            "",
            "cecp-X",
            "string {00020329-0000-0000-C000-000000000046} Name x",
            "String 00020329-0000-0000-C000-000000000046 Name x",
            "String {00020329-0000-0000-C000-000000000046} Name ",
            "String {00020329-0000-0000-C000-000000000046} Id 8001",
            "Integer {00020329-0000-0000-C000-000000000046} Name x",
        ] {
            assert!(PropertyId::parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_shown_reads_back(set: u128, name in "[!-~]([ -~]*[!-~])?", number: u32) {
            for name in [Name::Text(name.clone()), Name::Number(number)] {
                let id = PropertyId { set: Uuid::from_u128(set), name };
                proptest::prop_assert_eq!(PropertyId::parse(&id.to_string()).unwrap(), id);
            }
        }
    }
}
