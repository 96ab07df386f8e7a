//! What an app proves itself with: the credentials that are registered, and assertions checked against them.

mod assertion;
mod certificate;
mod federated;
mod refusal;

use serde_json::Value;

pub(in crate::login) use self::assertion::{Endpoint, check};
pub(crate) use self::{
    certificate::Certificate,
    federated::{Entry as FederatedEntry, Federated},
};

/// What is registered on an app beside its secret.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) federated: Vec<Federated>,
}

/// Where an entry of the world file is wrong: its field, its value and the rule.
#[derive(Debug)]
pub(crate) struct Unusable {
    pub(crate) field: &'static str,
    pub(crate) value: String,
    pub(crate) rule: String,
}

impl Unusable {
    fn new(field: &'static str, value: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { field, value: value.into(), rule: rule.into() }
    }
}

/// A member that is a text.
fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}
