//! Temporary folders that are removed even when nobody is left to drop them.

use std::{env, fs, io, path::Path};

use tempfile::TempDir;

use super::watcher::{self, Held};

/// A temporary folder (mode 0700). Removed on drop, and by the watcher when this process ends without dropping it.
#[derive(Debug)]
pub struct ScratchDir {
    dir: TempDir,
}

impl ScratchDir {
    /// Makes a folder with a name that starts with `prefix` inside `parent`, which must exist.
    pub fn inside(parent: &Path, prefix: &str) -> io::Result<Self> {
        // Resolved, because the watcher works from another folder and links may change meanwhile.
        let parent = fs::canonicalize(parent)?;
        let dir = tempfile::Builder::new().prefix(&format!("{prefix}-")).tempdir_in(parent)?;
        watcher::hold(Held::Folder(dir.path()))?;
        Ok(Self { dir })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // Not reported: the folder is still held, so the watcher tries again at the end of this process.
        if fs::remove_dir_all(self.dir.path()).is_ok() {
            let _ = watcher::release(Held::Folder(self.dir.path()));
        }
    }
}

/// Makes a folder in the system's temporary folder (`TMPDIR`).
pub fn scratch_dir(prefix: &str) -> io::Result<ScratchDir> {
    ScratchDir::inside(&env::temp_dir(), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_removes_the_folder_with_its_content() {
        let dir = scratch_dir("roomkeeper-scratch").unwrap();
        let path = dir.path().to_owned();
        fs::create_dir(path.join("sub")).unwrap();
        fs::write(path.join("sub/file"), "x").unwrap();
        assert!(path.file_name().unwrap().to_string_lossy().starts_with("roomkeeper-scratch-"));
        drop(dir);
        assert!(!path.exists());
    }
}
