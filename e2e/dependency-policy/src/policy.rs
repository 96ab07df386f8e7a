//! The policy file.

use std::collections::BTreeMap;

use serde::Deserialize;

/// What is allowed.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Policy {
    /// SPDX ids of licences.
    pub(crate) licences: Vec<String>,
    /// Crates that must not be linked into a program, each with the reason.
    pub(crate) banned: Vec<Banned>,
    /// Crates of which there is exactly one version, and no other provider beside them.
    pub(crate) exactly_one: Vec<String>,
    /// Crates that may be there in several versions, each with the reason.
    pub(crate) duplicates: BTreeMap<String, String>,
    /// Per crate of the workspace, what it must not depend on, directly or not.
    pub(crate) layers: BTreeMap<String, Vec<String>>,
    /// Per crate that only some may use directly, who may.
    pub(crate) direct: BTreeMap<String, Vec<String>>,
}

/// A crate that must not be linked.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Banned {
    pub(crate) name: String,
    pub(crate) reason: String,
    /// Whether tests must not use it either.
    #[serde(default)]
    pub(crate) tests: bool,
}
