//! The files below the engine, behind a trait so that tests can let them fail and lose power.

use redb::StorageBackend;
use redb::backends::FileBackend;
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The folder of one queue.
pub trait QueueFiles: Send + Debug + 'static {
    /// Names of the files that exist.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens a file for reading and writing, creating it where it is absent.
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>>;
    /// Renames a file.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Deletes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes all names durable as they are: made, renamed, deleted.
    fn sync_names(&self) -> io::Result<()>;
}

/// Whether a commit waits for the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMode {
    /// Every commit is followed by an fsync: what the queue promises.
    #[default]
    Immediate,
    /// **Breaks the queue's promise: a power failure loses acknowledged notifications.** For measuring what the fsync costs,
    /// and nothing else.
    NoneForMeasurementOnly,
}

/// Why a folder cannot be used as a queue.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process holds it.
    #[error("queue folder {0} is in use by another process: each webhook server needs a folder of its own")]
    InUse(PathBuf),
    /// It cannot be made or locked.
    #[error("queue folder {path} cannot be {step}")]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// What failed: `made`, `locked`, …
        step: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
}

/// A folder of the file system, held exclusively as long as this value lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

const LOCK_FILE: &str = "lock";

impl Folder {
    /// Makes the folder where it is absent, and locks it.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let unusable = |step| move |source| FolderError::Unusable { path: path.to_owned(), step, source };
        if !path.is_dir() {
            fs::create_dir_all(path).map_err(unusable("made"))?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent).and_then(|parent| parent.sync_all()).map_err(unusable("synced"))?;
            }
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK_FILE))
            .map_err(unusable("locked"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(FolderError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(unusable("locked")(source)),
        }
    }
}

impl QueueFiles for Folder {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            if let Ok(name) = entry?.file_name().into_string()
                && name != LOCK_FILE
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(self.path.join(name))?;
        Ok(Box::new(FileBackend::new(file).map_err(io::Error::other)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

/// What the engine sees of a file: plain reads and writes. The folder's own lock replaces the engine's file locks.
#[derive(Debug)]
pub(super) struct Plain {
    pub(super) file: Box<dyn StorageBackend>,
    pub(super) sync: SyncMode,
}

impl StorageBackend for Plain {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.sync {
            SyncMode::Immediate => self.file.sync_data(),
            SyncMode::NoneForMeasurementOnly => Ok(()),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}
