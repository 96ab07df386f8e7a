//! JSON lines in a file; concurrent entries share one fsync.
//!
//! A thread of its own takes whatever entries wait, writes them at once, syncs, and only then answers their callers.
//! After an error the file is opened anew for the next batch, so the log recovers as soon as the disk does.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{
    AuditEntry, AuditError, AuditSink,
    commit::{self, Commit, Waiting},
    is_writer_name,
};

/// An append-only log `<dir>/<writer>.jsonl`, one JSON object a line.
///
/// Exactly one open `FileAudit` may use a file: each writer has a name of its own.
#[derive(Debug)]
pub struct FileAudit {
    queue: mpsc::Sender<Waiting<Vec<u8>>>,
}

impl FileAudit {
    /// Opens or makes the log. A last line that a crash cut off stays as it is; new entries start on a line of their own.
    ///
    /// # Errors
    /// The writer's name is not fit for a file name, or the folder or file cannot be made, opened and synced.
    pub fn open(dir: &Path, writer: &str) -> Result<Self, AuditError> {
        if !is_writer_name(writer) {
            return Err(AuditError::WriterName { writer: writer.chars().take(128).collect() });
        }
        let place = Place { dir: dir.to_owned(), file: dir.join(format!("{writer}.jsonl")) };
        let log = place
            .open()
            .map_err(|e| AuditError::Open { path: place.file.display().to_string(), cause: e.to_string() })?;
        Self::start(log, move || place.open())
            .map_err(|e| AuditError::Open { path: dir.display().to_string(), cause: e.to_string() })
    }

    fn start<L: Log>(log: L, reopen: impl FnMut() -> io::Result<L> + Send + 'static) -> io::Result<Self> {
        Ok(Self { queue: commit::start(Reopening { log: Some(log), reopen })? })
    }
}

/// A log that is opened anew after an error.
struct Reopening<L, R> {
    log: Option<L>,
    reopen: R,
}

impl<L: Log, R: FnMut() -> io::Result<L> + Send + 'static> Reopening<L, R> {
    fn write(&mut self, batch: &[Vec<u8>]) -> io::Result<()> {
        let log = match &mut self.log {
            Some(log) => log,
            None => self.log.insert((self.reopen)()?),
        };
        log.append(&batch.concat())?;
        log.sync()
    }
}

impl<L: Log, R: FnMut() -> io::Result<L> + Send + 'static> Commit for Reopening<L, R> {
    type Item = Vec<u8>;

    fn commit(&mut self, batch: &[Vec<u8>]) -> Vec<Result<(), AuditError>> {
        let result = self.write(batch).map_err(|e| AuditError::Write { cause: e.to_string() });
        if result.is_err() {
            self.log = None;
        }
        vec![result; batch.len()]
    }
}

#[async_trait]
impl AuditSink for FileAudit {
    async fn record(&self, entry: AuditEntry) -> Result<(), AuditError> {
        let mut bytes =
            serde_json::to_vec(&entry).map_err(|e| AuditError::Encode { cause: e.to_string() })?;
        bytes.push(b'\n');
        commit::submit(&self.queue, bytes).await
    }
}

/// What the thread needs of a file; tests put a failing one in its place.
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

struct Place {
    dir: PathBuf,
    file: PathBuf,
}

impl Place {
    fn open(&self) -> io::Result<File> {
        fs::create_dir_all(&self.dir)?;
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(&self.file)?;
        // Without this the file's name itself could be lost with the machine.
        File::open(&self.dir)?.sync_all()?;
        if file.metadata()?.len() > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
            }
        }
        file.sync_all()?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        sync::{Arc, Mutex, mpsc as std_mpsc},
    };

    use super::*;
    use crate::audit::Cause;

    fn note(text: &str) -> AuditEntry {
        AuditEntry::Note {
            time: "2026-11-23T10:00:00Z".parse().unwrap(),
            scope: "rooms/contoso".into(),
            caused_by: Cause::new("Test/rooms/a"),
            text: text.into(),
        }
    }

    fn texts(path: &Path) -> Vec<String> {
        let all = fs::read_to_string(path).unwrap();
        all.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .map(|entry| match entry {
                AuditEntry::Note { text, .. } => text,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[tokio::test]
    async fn an_entry_is_in_the_file_when_record_returns() {
        let dir = tempfile::tempdir().unwrap();
        let audit = FileAudit::open(&dir.path().join("new/folder"), "writer-0").unwrap();
        let path = dir.path().join("new/folder/writer-0.jsonl");
        for n in 0..20 {
            audit.record(note(&n.to_string())).await.unwrap();
            assert_eq!(texts(&path).last().unwrap(), &n.to_string());
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn concurrent_entries_do_not_mix() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Arc::new(FileAudit::open(dir.path(), "w").unwrap());
        let tasks: Vec<_> = (0..500)
            .map(|n| {
                let audit = audit.clone();
                tokio::spawn(async move { audit.record(note(&format!("{n} {}", "x".repeat(n)))).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        let path = dir.path().join("w.jsonl");
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 500);
        let seen: HashSet<_> = texts(&path).into_iter().collect();
        assert_eq!(seen, (0..500).map(|n| format!("{n} {}", "x".repeat(n))).collect());
    }

    #[tokio::test]
    async fn a_line_that_a_crash_cut_off_does_not_swallow_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.jsonl");
        let audit = FileAudit::open(dir.path(), "w").unwrap();
        audit.record(note("before")).await.unwrap();
        drop(audit);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(br#"{"type":"no"#).unwrap();
        let audit = FileAudit::open(dir.path(), "w").unwrap();
        audit.record(note("after")).await.unwrap();
        assert_eq!(texts(&path), ["before", "after"]);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().nth(1).unwrap(), r#"{"type":"no"#);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), b"").unwrap();
        let error = FileAudit::open(&dir.path().join("file/sub"), "w").unwrap_err();
        assert!(error.to_string().contains("file/sub/w.jsonl"), "{error}");
        for writer in ["", ".", "..", "a/b", "a b"] {
            assert!(
                matches!(FileAudit::open(dir.path(), writer), Err(AuditError::WriterName { .. })),
                "{writer}"
            );
        }
    }

    /// What the disk holds, what is appended but not synced, and what to do at the next steps.
    #[derive(Default)]
    struct Disk {
        synced: Vec<u8>,
        pending: Vec<u8>,
        syncs: usize,
        fail_append: bool,
        fail_sync: bool,
        fail_open: bool,
        /// When set, each sync tells that it began and waits for leave.
        hold: Option<(std_mpsc::Sender<()>, std_mpsc::Receiver<()>)>,
    }

    #[derive(Clone, Default)]
    struct FakeLog(Arc<Mutex<Disk>>);

    impl Log for FakeLog {
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            let mut disk = self.0.lock().unwrap();
            if disk.fail_append {
                return Err(io::Error::other("no space"));
            }
            disk.pending.extend_from_slice(bytes);
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            let mut disk = self.0.lock().unwrap();
            if let Some((began, leave)) = disk.hold.take() {
                drop(disk);
                began.send(()).unwrap();
                leave.recv().unwrap();
                disk = self.0.lock().unwrap();
                disk.hold = Some((began, leave));
            }
            disk.syncs += 1;
            if disk.fail_sync {
                return Err(io::Error::other("sync failed"));
            }
            let pending = std::mem::take(&mut disk.pending);
            disk.synced.extend(pending);
            Ok(())
        }
    }

    fn on_fake() -> (Arc<FileAudit>, Arc<Mutex<Disk>>) {
        let log = FakeLog::default();
        let again = log.clone();
        let reopen = move || {
            if again.0.lock().unwrap().fail_open {
                Err(io::Error::other("read-only"))
            } else {
                Ok(again.clone())
            }
        };
        (Arc::new(FileAudit::start(log.clone(), reopen).unwrap()), log.0)
    }

    #[tokio::test]
    async fn errors_refuse_the_entry_and_the_log_recovers_by_itself() {
        let (audit, disk) = on_fake();
        audit.record(note("1")).await.unwrap();
        disk.lock().unwrap().fail_sync = true;
        let error = audit.record(note("2")).await.unwrap_err();
        assert_eq!(error, AuditError::Write { cause: "sync failed".into() });
        {
            let mut disk = disk.lock().unwrap();
            disk.fail_sync = false;
            disk.fail_open = true;
            disk.pending.clear();
        }
        let error = audit.record(note("3")).await.unwrap_err();
        assert_eq!(error, AuditError::Write { cause: "read-only".into() });
        {
            let mut disk = disk.lock().unwrap();
            disk.fail_open = false;
            disk.fail_append = true;
        }
        let error = audit.record(note("4")).await.unwrap_err();
        assert_eq!(error, AuditError::Write { cause: "no space".into() });
        disk.lock().unwrap().fail_append = false;
        audit.record(note("5")).await.unwrap();
        let synced = String::from_utf8(disk.lock().unwrap().synced.clone()).unwrap();
        assert!(synced.contains(r#""text":"1""#) && synced.contains(r#""text":"5""#), "{synced}");
        assert_eq!(synced.lines().count(), 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn callers_wait_for_the_sync_and_share_it() {
        let (audit, disk) = on_fake();
        let (began, at_sync) = std_mpsc::channel();
        let (leave, wait) = std_mpsc::channel();
        disk.lock().unwrap().hold = Some((began, wait));
        let record = |text: String| {
            let audit = audit.clone();
            tokio::spawn(async move { audit.record(note(&text)).await })
        };
        let first = record("first".into());
        let at_sync = tokio::task::spawn_blocking(move || {
            at_sync.recv().unwrap();
            at_sync
        })
        .await
        .unwrap();
        let rest: Vec<_> = (0..50).map(|n| record(n.to_string())).collect();
        // The queue holds all of them while the first one's sync is held.
        while audit.queue.max_capacity() - audit.queue.capacity() < rest.len() {
            tokio::task::yield_now().await;
        }
        assert!(!first.is_finished());
        assert!(rest.iter().all(|task| !task.is_finished()));
        leave.send(()).unwrap();
        first.await.unwrap().unwrap();
        leave.send(()).unwrap();
        for task in rest {
            task.await.unwrap().unwrap();
        }
        assert_eq!(disk.lock().unwrap().syncs, 2);
        drop(at_sync);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_failed_sync_fails_every_entry_of_its_batch() {
        let (audit, disk) = on_fake();
        let (began, at_sync) = std_mpsc::channel();
        let (leave, wait) = std_mpsc::channel();
        disk.lock().unwrap().hold = Some((began, wait));
        let record = |text: String| {
            let audit = audit.clone();
            tokio::spawn(async move { audit.record(note(&text)).await })
        };
        let first = record("first".into());
        let at_sync = tokio::task::spawn_blocking(move || {
            at_sync.recv().unwrap();
            at_sync
        })
        .await
        .unwrap();
        let rest: Vec<_> = (0..10).map(|n| record(n.to_string())).collect();
        while audit.queue.max_capacity() - audit.queue.capacity() < rest.len() {
            tokio::task::yield_now().await;
        }
        leave.send(()).unwrap();
        first.await.unwrap().unwrap();
        disk.lock().unwrap().fail_sync = true;
        leave.send(()).unwrap();
        for task in rest {
            assert_eq!(task.await.unwrap(), Err(AuditError::Write { cause: "sync failed".into() }));
        }
        drop(at_sync);
    }
}
