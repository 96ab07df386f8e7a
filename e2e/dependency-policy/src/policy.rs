//! The policy file.

use std::collections::BTreeMap;

use serde::Deserialize;
use spdx::Licensee;

/// The file is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyError {
    /// No YAML, or another form.
    #[error(transparent)]
    Form(#[from] serde_yaml::Error),
    /// A licence that SPDX does not know.
    #[error("licences: {name:?} is no SPDX licence: {cause}")]
    Licence { name: String, cause: spdx::error::Reason },
    /// An exception or a ban that nobody can judge later.
    #[error("{0}: the reason is empty: say why")]
    Reason(String),
    /// A pattern that would match nothing.
    #[error(
        "layers.{layer}: {pattern:?} has its * elsewhere than at the end: write whole names or beginnings"
    )]
    Pattern { layer: String, pattern: String },
    /// An exception for what is no duplicate.
    #[error("duplicates.{0}: fewer than two versions are named: name each of them")]
    Versions(String),
}

/// What is allowed.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    /// One of them has to satisfy each licence expression.
    pub(crate) licences: Vec<Licensee>,
    /// Crates that nobody may use, each with the reason.
    pub(crate) banned: Vec<Banned>,
    /// Crates of which there is exactly one version.
    pub(crate) exactly_one: Vec<String>,
    /// Crates that may be there in the versions named.
    pub(crate) duplicates: BTreeMap<String, Duplicate>,
    /// Per crate of the workspace, what it must not depend on, directly or not. A name may end in `*`.
    pub(crate) layers: BTreeMap<String, Vec<String>>,
    /// Per crate that only some of the workspace may name as a dependency, who may.
    pub(crate) direct: BTreeMap<String, Vec<String>>,
}

/// A crate that must not be used.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Banned {
    pub(crate) name: String,
    pub(crate) reason: String,
    /// What to use in its place.
    pub(crate) fix: String,
    /// Crates through which it is tolerated.
    #[serde(default)]
    pub(crate) only_by: Vec<String>,
    /// Crates through which it is tolerated in tests.
    #[serde(default)]
    pub(crate) in_tests_only_by: Vec<String>,
}

/// A crate in several versions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Duplicate {
    /// Leading parts of the versions, such as `0.22`; each stands for one.
    pub(crate) versions: Vec<String>,
    pub(crate) reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    licences: Vec<String>,
    banned: Vec<Banned>,
    exactly_one: Vec<String>,
    duplicates: BTreeMap<String, Duplicate>,
    layers: BTreeMap<String, Vec<String>>,
    direct: BTreeMap<String, Vec<String>>,
}

impl Policy {
    /// Reads the file.
    pub(crate) fn read(text: &str) -> Result<Self, PolicyError> {
        let File { licences, banned, exactly_one, duplicates, layers, direct } = serde_yaml::from_str(text)?;
        for one in &banned {
            if one.reason.trim().is_empty() || one.fix.trim().is_empty() {
                return Err(PolicyError::Reason(format!("banned: {}", one.name)));
            }
        }
        for (name, one) in &duplicates {
            if one.reason.trim().is_empty() {
                return Err(PolicyError::Reason(format!("duplicates.{name}")));
            }
            if one.versions.len() < 2 {
                return Err(PolicyError::Versions(name.clone()));
            }
        }
        for (layer, forbidden) in &layers {
            let wrong = |pattern: &&String| pattern.strip_suffix('*').unwrap_or(pattern).contains('*');
            if let Some(pattern) = forbidden.iter().find(wrong) {
                return Err(PolicyError::Pattern { layer: layer.clone(), pattern: pattern.clone() });
            }
        }
        let licences = licences
            .into_iter()
            .map(|name| {
                Licensee::parse(&name).map_err(|error| PolicyError::Licence { name, cause: error.reason })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { licences, banned, exactly_one, duplicates, layers, direct })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_judged_is_refused() {
        let read = |change: &str| {
            let mut file = serde_json::json!({
                "licences": ["MIT", "Apache-2.0 WITH LLVM-exception"], "banned": [], "exactlyOne": [],
                "duplicates": {}, "layers": {}, "direct": {},
            });
            let change: serde_json::Value = serde_yaml::from_str(change).unwrap();
            file.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            Policy::read(&file.to_string()).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(read("{}"), Ok(()));
        for (change, named) in [
            ("{licences: [MTI]}", "MTI"),
            ("{licenses: []}", "licenses"),
            ("{banned: [{name: ring, reason: '', fix: x}]}", "ring"),
            ("{banned: [{name: ring, reason: x}]}", "fix"),
            ("{banned: [{name: ring, reason: x, fix: x, onlyFor: []}]}", "onlyFor"),
            ("{duplicates: {syn: {versions: ['1', '2'], reason: ' '}}}", "duplicates.syn"),
            ("{duplicates: {syn: {versions: ['1'], reason: x}}}", "fewer than two"),
            ("{layers: {app: ['*-sim']}}", "*-sim"),
        ] {
            let error = read(change).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }
}
