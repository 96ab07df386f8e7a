//! What an app proves itself with: the credentials that are registered, and assertions checked against them.

mod assertion;
mod certificate;
mod federated;
mod refusal;
mod registration;

use serde_json::Value;

pub(in crate::login) use self::assertion::{Endpoint, check};
pub(crate) use self::{
    certificate::Certificate,
    federated::{Entry as FederatedEntry, Federated},
    registration::{CredentialChange, Secret},
};

/// What is registered on an app.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    /// Several while one replaces another.
    pub(crate) secrets: Vec<Secret>,
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) federated: Vec<Federated>,
}

impl Credentials {
    pub(crate) fn is_empty(&self) -> bool {
        self.secrets.is_empty() && self.certificates.is_empty() && self.federated.is_empty()
    }
}

/// Where an entry of the world file is wrong: its field, its value and the rule.
#[derive(Debug)]
pub(crate) struct Unusable {
    pub(crate) field: String,
    pub(crate) value: String,
    pub(crate) rule: String,
}

impl Unusable {
    fn new(field: impl Into<String>, value: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { field: field.into(), value: value.into(), rule: rule.into() }
    }
}

/// A member that is a text.
fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}
