//! Files that a crash leaves either as they were or as they were to be.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

/// Writes `bytes` to `new` and puts that in the place of `path`, in the same folder, which is made if it is not there. Durable when this
/// returns.
///
/// # Errors
/// After an error the old content may still stand, or the new one already.
pub(crate) fn replace(path: &Path, new: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    let mut file = File::create(new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    rename(new, path)
}

/// Gives a file another name in the same folder. Durable when this returns.
///
/// # Errors
/// After an error either name may stand.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    File::open(to.parent().ok_or(io::ErrorKind::InvalidInput)?)?.sync_all()
}
