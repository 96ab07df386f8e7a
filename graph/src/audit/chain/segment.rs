//! The log of one writer and scope: appends to the last segment and begins a new one when that is full.

use std::{
    fs::File,
    io::{self, Write},
};

use super::{Folder, Head, LogName, line};
use crate::audit::{AuditEntry, AuditError};

/// What is needed of a file; tests put a failing one in its place.
pub(super) trait Log: Send + 'static {
    /// Writes all bytes at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns once everything appended is on the device.
    fn sync(&mut self) -> io::Result<()>;
}

impl Log for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Where segments are; tests put failing ones in its place.
pub(super) trait Segments: Send + 'static {
    type File: Log;

    /// Opens or makes the segment that starts with this line, cut to this length.
    fn open(&self, first: u64, len: u64) -> io::Result<Self::File>;
}

impl Segments for Folder {
    type File = File;

    fn open(&self, first: u64, len: u64) -> io::Result<File> {
        Self::open(self, first, len)
    }
}

/// A log that is written to.
pub(super) struct ScopeLog<S: Segments> {
    segments: S,
    writer: String,
    name: LogName,
    /// Length from which on a segment is full.
    full: u64,
    head: Head,
    /// The segment that is written to: its first line, and the length of what is durable in it.
    first: u64,
    len: u64,
    /// `None` after an error: the file may then hold what was refused, and is cut to `len` before it is used again.
    file: Option<S::File>,
}

impl ScopeLog<Folder> {
    /// Finds the end of the log; an empty folder, or none, is a new log.
    pub(super) fn recover(folder: Folder, writer: &str, name: LogName, full: u64) -> io::Result<Self> {
        let found = folder.recover()?;
        let mut log = Self::new(folder, writer, name, full);
        (log.head, log.first, log.len) = (found.head, found.first, found.len);
        log.file = Some(log.segments.open(log.first, log.len)?);
        Ok(log)
    }
}

impl<S: Segments> ScopeLog<S> {
    fn new(segments: S, writer: &str, name: LogName, full: u64) -> Self {
        let writer = writer.to_owned();
        Self { segments, writer, name, full, head: Head::EMPTY, first: 1, len: 0, file: None }
    }

    /// The last durable line.
    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// Appends the entries; all are durable or none counts.
    pub(super) fn append(&mut self, entries: &[&AuditEntry]) -> Result<(), AuditError> {
        let (mut bytes, mut head) = (Vec::new(), self.head);
        for entry in entries {
            head = line::encode(&mut bytes, head, &self.writer, &self.name, entry)
                .map_err(|e| AuditError::Encode { cause: e.to_string() })?;
        }
        self.write(&bytes).map_err(|e| AuditError::Write { cause: e.to_string() })?;
        self.head = head;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Back in its place only after success.
        let open = self.file.take();
        let mut file = if self.len >= self.full && self.len > 0 {
            let first = self.head.number.saturating_add(1);
            let file = self.segments.open(first, 0)?;
            (self.first, self.len) = (first, 0);
            file
        } else {
            match open {
                Some(file) => file,
                None => self.segments.open(self.first, self.len)?,
            }
        };
        file.append(bytes)?;
        file.sync()?;
        self.len = self.len.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.file = Some(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::audit::{Cause, chain::line::decode};

    #[derive(Clone, Default)]
    struct FakeSegments(Arc<Mutex<Disk>>);

    #[derive(Default)]
    struct Disk {
        files: BTreeMap<u64, Vec<u8>>,
        fail_open: bool,
        fail_append: bool,
        fail_sync: bool,
    }

    struct FakeFile(FakeSegments, u64);

    impl Segments for FakeSegments {
        type File = FakeFile;

        fn open(&self, first: u64, len: u64) -> io::Result<FakeFile> {
            let mut disk = self.0.lock().unwrap();
            if disk.fail_open {
                return Err(io::Error::other("read-only"));
            }
            disk.files.entry(first).or_default().resize(usize::try_from(len).unwrap(), 0);
            Ok(FakeFile(self.clone(), first))
        }
    }

    impl Log for FakeFile {
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            let mut disk = self.0.0.lock().unwrap();
            let part = if disk.fail_append { &bytes[..bytes.len() / 2] } else { bytes };
            let part = part.to_vec();
            disk.files.get_mut(&self.1).unwrap().extend(part);
            if disk.fail_append { Err(io::Error::other("no space")) } else { Ok(()) }
        }

        fn sync(&mut self) -> io::Result<()> {
            let disk = self.0.0.lock().unwrap();
            if disk.fail_sync { Err(io::Error::other("sync failed")) } else { Ok(()) }
        }
    }

    fn note(text: &str) -> AuditEntry {
        AuditEntry::Note {
            time: "2026-11-23T10:00:00Z".parse().unwrap(),
            scope: "rooms/contoso".into(),
            caused_by: Cause::new("Test/rooms/a"),
            text: text.into(),
        }
    }

    #[test]
    fn what_was_refused_is_not_in_the_log_and_its_numbers_are_used_again() {
        for full in [1, 1_000_000] {
            let segments = FakeSegments::default();
            let name = LogName::of_scope("rooms/contoso").unwrap();
            let mut log = ScopeLog::new(segments.clone(), "w", name, full);
            log.append(&[&note("1"), &note("2")]).unwrap();
            for (n, cause) in ["read-only", "no space", "sync failed"].into_iter().enumerate() {
                let set = |to: bool| {
                    let mut disk = segments.0.lock().unwrap();
                    match n {
                        0 => disk.fail_open = to,
                        1 => disk.fail_append = to,
                        _ => disk.fail_sync = to,
                    }
                };
                set(true);
                let refused = log.append(&[&note("refused")]);
                // An open segment is not opened again.
                if full == 1 || n > 0 {
                    assert_eq!(refused, Err(AuditError::Write { cause: cause.into() }));
                }
                set(false);
                log.append(&[&note("after")]).unwrap();
            }
            let mut previous = Head::EMPTY;
            for (first, bytes) in &segments.0.lock().unwrap().files {
                assert_eq!(*first, previous.number + 1);
                for bytes in line::split(bytes).0 {
                    let line = decode(bytes).unwrap();
                    assert_eq!((line.number, line.previous), (previous.number + 1, previous.hash));
                    previous = Head { number: line.number, hash: crate::audit::chain::Hash::of(bytes) };
                }
            }
            assert_eq!(previous, log.head());
            assert_eq!(previous.number, if full == 1 { 5 } else { 6 });
        }
    }
}
