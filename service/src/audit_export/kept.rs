//! The manifests that a writer keeps beside its log: the one of an export under way, and the one of the last that was finished.
//!
//! A manifest is on the disk before anything of its export is uploaded, so that whatever happens the export can be repeated with the same
//! manifest, byte for byte.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use roomkeeper_graph::audit::chain::{EnvelopeError, Folder, Manifest, Signed, VerifyingKey};

use crate::durable;

/// File of the export under way.
const PENDING: &str = "pending.manifest.json";
/// File of the last export that was finished.
const LAST: &str = "last.manifest.json";
/// What is being written; counts for nothing.
const NEW: &str = "new.manifest.tmp";

/// A manifest could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// The disk refused.
    #[error("cannot keep the manifest {path}: {cause}")]
    Disk {
        /// The file.
        path: String,
        /// The operating system's reason.
        cause: io::Error,
    },
    /// Something else stands in the file.
    #[error(
        "the manifest {path} {cause}: put it back from a copy, or let the pod begin with an empty volume"
    )]
    Envelope {
        /// The file.
        path: String,
        /// What is wrong with it.
        cause: EnvelopeError,
    },
}

/// Where the manifests of a log are.
#[derive(Debug, Clone)]
pub struct Manifests {
    folder: PathBuf,
}

/// What is kept.
#[derive(Debug, Default)]
pub struct Kept {
    /// Of an export that was begun and is not known to be finished.
    pub pending: Option<Signed<Manifest>>,
    /// Of the last export that was finished.
    pub last: Option<Signed<Manifest>>,
}

impl Manifests {
    /// Beside the segments of a log.
    pub fn of(folder: &Folder) -> Self {
        Self { folder: folder.path().to_owned() }
    }

    /// What is kept, its signatures proved by these keys.
    ///
    /// # Errors
    /// A file cannot be read, or is no manifest that one of the keys signed.
    pub fn read(&self, keys: &[VerifyingKey]) -> Result<Kept, KeptError> {
        Ok(Kept { pending: self.read_one(PENDING, keys)?, last: self.read_one(LAST, keys)? })
    }

    /// Keeps the manifest of an export that is about to begin. It is durable when this returns.
    ///
    /// # Errors
    /// It may not be durable; nothing must be uploaded.
    pub fn begin(&self, manifest: &Signed<Manifest>) -> Result<(), KeptError> {
        let (new, pending) = (self.folder.join(NEW), self.folder.join(PENDING));
        durable::replace(&pending, &new, &bytes(manifest)).map_err(|cause| disk(&pending, cause))
    }

    /// The pending export is finished: its manifest is the last one now.
    ///
    /// # Errors
    /// It may still be pending.
    pub fn finish(&self) -> Result<(), KeptError> {
        let (pending, last) = (self.folder.join(PENDING), self.folder.join(LAST));
        durable::rename(&pending, &last).map_err(|cause| disk(&last, cause))
    }

    fn read_one(&self, name: &str, keys: &[VerifyingKey]) -> Result<Option<Signed<Manifest>>, KeptError> {
        let path = self.folder.join(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(disk(&path, cause)),
        };
        let wrong = |cause| KeptError::Envelope { path: path.display().to_string(), cause };
        let envelope = text.strip_suffix('\n').ok_or_else(|| wrong(EnvelopeError::Malformed))?;
        Signed::open(envelope, keys).map(Some).map_err(wrong)
    }
}

/// A manifest as it is exported: the envelope and a line feed.
pub(super) fn bytes(manifest: &Signed<Manifest>) -> Vec<u8> {
    format!("{}\n", manifest.envelope).into_bytes()
}

fn disk(path: &Path, cause: io::Error) -> KeptError {
    KeptError::Disk { path: path.display().to_string(), cause }
}
