//! Exports of the audit in a folder, as whoever gets them sees them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use roomkeeper_crds::{AccessScope, condition::Type};

use crate::condition;

/// Exit code of `kubectl roomkeeper audit verify` where a log is damaged or not whole.
pub const DAMAGED: i32 = 6;

/// Exported files below a folder whose names end so, in the order of their paths.
///
/// # Errors
/// When a folder cannot be read.
pub fn files(folder: &Path, end: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, end)?);
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Whether the scope says that the operator has exported since that moment.
pub fn told_since(scope: &AccessScope, asked: Timestamp) -> bool {
    let Some(status) = &scope.status else { return false };
    let said = condition::among(&status.conditions, Type::AuditExported.as_str());
    let last = status.audit.as_ref().and_then(|audit| audit.last_exported_at.as_ref());
    // Times in a status are whole seconds.
    let is_new = last.is_some_and(|last| last.0.as_second() >= asked.as_second());
    is_new && said.as_deref() == Some("True/Exported")
}
