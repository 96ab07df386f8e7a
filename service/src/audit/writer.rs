//! Who writes: the daemon's identity and an id made with its volume, so that an empty volume is a new writer.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aws_lc_rs::rand;
use data_encoding::HEXLOWER;

use crate::durable;

/// The file in the audit's folder that holds the volume's id.
const FILE: &str = "writer-id";

/// Longest identity: with the id it is a writer's name of at most 128 characters.
const IDENTITY_LIMIT: usize = 100;

/// Why there is no writer.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    /// A ConfigMap is named after the identity.
    #[error(
        "--identity {0:?} cannot be part of a ConfigMap's name: give 1 to 100 lower-case letters, digits, - and ., such as a pod's name"
    )]
    Identity(String),
    /// The volume's id cannot be read or made.
    #[error("--audit-dir: {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The volume's id is something else.
    #[error("--audit-dir: {0} does not hold 8 hexadecimal digits: remove it to begin as a new writer")]
    Malformed(PathBuf),
    /// No randomness to be had.
    #[error("the system's random generator failed")]
    Random,
}

/// Name of the writer with that identity on the volume with that id.
pub(super) fn name(identity: &str, id: &str) -> String {
    format!("{identity}-{id}")
}

/// Whether a ConfigMap can be named after the identity.
///
/// # Errors
/// It cannot.
pub(super) fn check_identity(identity: &str) -> Result<(), WriterError> {
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let label = |part: &str| {
        !part.is_empty() && part.bytes().all(known) && !part.starts_with('-') && !part.ends_with('-')
    };
    let fits = identity.len() <= IDENTITY_LIMIT && identity.split('.').all(label);
    if fits { Ok(()) } else { Err(WriterError::Identity(identity.chars().take(128).collect())) }
}

/// The volume's id, made if there is none.
///
/// # Errors
/// It cannot be read or made durable, or is none.
pub fn writer_id(dir: &Path) -> Result<String, WriterError> {
    let path = dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let id = text.trim_end_matches('\n');
            let fits = id.len() == 8 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            if fits { Ok(id.to_owned()) } else { Err(WriterError::Malformed(path)) }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => renew(dir),
        Err(source) => Err(WriterError::File { path, source }),
    }
}

/// Gives the volume a new id: whoever writes from now on is somebody else. The logs of the old one stay where they are.
///
/// # Errors
/// It cannot be made durable.
pub(super) fn renew(dir: &Path) -> Result<String, WriterError> {
    let mut id = [0_u8; 4];
    rand::fill(&mut id).map_err(|_| WriterError::Random)?;
    let id = HEXLOWER.encode(&id);
    let path = dir.join(FILE);
    durable::replace(&path, &dir.join(format!("{FILE}.new")), format!("{id}\n").as_bytes())
        .map_err(|source| WriterError::File { path, source })?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_has_one_id_until_it_is_renewed() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("new/audit");
        let id = writer_id(&dir).unwrap();
        assert_eq!(writer_id(&dir).unwrap(), id);
        let other = renew(&dir).unwrap();
        assert_ne!(other, id);
        assert_eq!(writer_id(&dir).unwrap(), other);
        for wrong in ["", "0123456\n", "0123456G", "../../ab"] {
            fs::write(dir.join(FILE), wrong).unwrap();
            assert!(matches!(writer_id(&dir), Err(WriterError::Malformed(_))), "{wrong}");
        }
    }

    #[test]
    fn an_identity_names_a_config_map() {
        for good in ["roomkeeper-operator-0", "a", "0", "host.example"] {
            check_identity(good).unwrap();
        }
        for bad in ["", "-a", "a-", "A", "a..b", ".a", "a_b", "a/b", &"a".repeat(101)] {
            assert!(check_identity(bad).is_err(), "{bad}");
        }
    }
}
