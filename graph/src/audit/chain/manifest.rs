//! Manifests: what one export of one log carries, and every writer of the scope that its writer knows.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Hash, envelope::Statement};

/// What an export states. The manifests of a log are a chain of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Whose log it is.
    pub writer: String,
    /// `namespace/name` of the `AccessScope`, or `system`.
    pub scope: String,
    /// 1 for the first export of the log; each next one is one more. [`Manifest::COPY`] for a copy.
    pub number: u64,
    /// Hash of the payload of the manifest before; zeros for the first.
    pub previous: Hash,
    /// When it was made.
    pub time: Timestamp,
    /// The files, in the order of their lines; none if nothing was new.
    pub files: Vec<Part>,
    /// Every writer of the scope that is known, this one included.
    pub writers: Vec<Known>,
}

/// One exported file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its name, without a folder.
    pub name: String,
    /// Number of its first line.
    pub first: u64,
    /// Number of its last line.
    pub last: u64,
    /// How many lines it has.
    pub lines: u64,
}

/// A writer and its last known checkpoints in the scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Its name.
    pub writer: String,
    /// Envelopes of its checkpoints; none if it never made one.
    pub checkpoints: Vec<String>,
}

impl Manifest {
    /// Number of the manifest of a copy: lines that an auditor was given. It is not in the chain of exports, so that no export is missing
    /// where a copy got lost.
    pub const COPY: u64 = 0;
}

impl Statement for Manifest {
    const TYPE: &'static str = "application/vnd.roomkeeper.audit.manifest.v1+json";
}
