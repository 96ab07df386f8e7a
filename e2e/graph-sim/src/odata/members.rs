//! Reading the members of a JSON body: each is taken once, and what is left over is refused.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::errors::GraphError;

/// A member that may be absent or null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Given<T> {
    Absent,
    Null,
    Value(T),
}

impl<T> Given<T> {
    /// The value; null counts as absent.
    pub(crate) fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// The value, where null is no value of this member.
    pub(crate) fn not_null(self, member: &str, expected: &str) -> Result<Option<T>, GraphError> {
        match self {
            Self::Absent => Ok(None),
            Self::Null => Err(GraphError::wrong_type(member, expected)),
            Self::Value(value) => Ok(Some(value)),
        }
    }
}

/// The members of an object of a type.
pub(crate) struct Members<'a> {
    type_name: &'static str,
    left: BTreeMap<&'a str, &'a Value>,
}

impl<'a> Members<'a> {
    pub(crate) fn new(value: &'a Value, member: &str, type_name: &'static str) -> Result<Self, GraphError> {
        let object = value
            .as_object()
            .ok_or_else(|| GraphError::wrong_type(member, &format!("microsoft.graph.{type_name}")))?;
        let mut left: BTreeMap<&str, &Value> =
            object.iter().map(|(name, value)| (name.as_str(), value)).collect();
        // Microsoft's libraries name the type.
        if let Some(named) = left.remove("@odata.type") {
            let expected = format!("#microsoft.graph.{type_name}");
            if !named.as_str().is_some_and(|named| named.eq_ignore_ascii_case(&expected)) {
                return Err(GraphError::wrong_type("@odata.type", &expected));
            }
        }
        Ok(Self { type_name, left })
    }

    pub(crate) fn take(&mut self, name: &str) -> Given<&'a Value> {
        match self.left.remove(name) {
            None => Given::Absent,
            Some(Value::Null) => Given::Null,
            Some(value) => Given::Value(value),
        }
    }

    fn typed<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Given<T>, GraphError> {
        match self.take(name) {
            Given::Absent => Ok(Given::Absent),
            Given::Null => Ok(Given::Null),
            Given::Value(value) => {
                read(value).map(Given::Value).ok_or_else(|| GraphError::wrong_type(name, expected))
            }
        }
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Given<&'a str>, GraphError> {
        self.typed(name, "Edm.String", Value::as_str)
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, GraphError> {
        Ok(self.typed(name, "Edm.Boolean", Value::as_bool)?.value())
    }

    pub(crate) fn int(&mut self, name: &str) -> Result<Option<i32>, GraphError> {
        let int = |value: &Value| value.as_i64().and_then(|int| i32::try_from(int).ok());
        Ok(self.typed(name, "Edm.Int32", int)?.value())
    }

    pub(crate) fn float(&mut self, name: &str) -> Result<Option<f64>, GraphError> {
        Ok(self.typed(name, "Edm.Double", Value::as_f64)?.value())
    }

    pub(crate) fn list(&mut self, name: &str) -> Result<Given<&'a Vec<Value>>, GraphError> {
        self.typed(name, "Collection", Value::as_array)
    }

    /// One of an enumeration's members.
    pub(crate) fn choice(
        &mut self,
        name: &str,
        choices: &[&'static str],
    ) -> Result<Option<&'static str>, GraphError> {
        let read = |value: &Value| {
            let text = value.as_str()?;
            choices.iter().find(|choice| **choice == text).copied()
        };
        Ok(self.typed(name, &format!("one of {}", choices.join(", ")), read)?.value())
    }

    /// Refuses what was not taken.
    pub(crate) fn end(self) -> Result<(), GraphError> {
        match self.left.keys().next() {
            Some(name) => Err(GraphError::unknown_member(name, self.type_name)),
            None => Ok(()),
        }
    }
}
