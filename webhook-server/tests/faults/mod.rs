//! A disk in memory that can refuse, hold back and lose: what was not synced is lost when the power is cut.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use redb::StorageBackend;
use roomkeeper_webhook_server::queue::embedded::QueueFiles;
use roomkeeper_webhook_server::queue::{EventItem, Item};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

#[derive(Clone, Debug)]
enum Change {
    Write { offset: u64, data: Vec<u8> },
    SetLen(u64),
}

#[derive(Debug, Default)]
struct FileState {
    /// What a read sees.
    current: Vec<u8>,
    /// What is left after a power cut, before any of `pending`.
    durable: Vec<u8>,
    /// Changes since the last sync, in order.
    pending: Vec<Change>,
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { offset, data } => {
            let start = usize::try_from(*offset).unwrap();
            if bytes.len() < start + data.len() {
                bytes.resize(start + data.len(), 0);
            }
            bytes[start..start + data.len()].copy_from_slice(data);
        }
        Change::SetLen(len) => bytes.resize(usize::try_from(*len).unwrap(), 0),
    }
}

#[derive(Debug, Default)]
struct State {
    files: Vec<FileState>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    off: bool,
    refused_syncs: u32,
    held: bool,
    waiting: u32,
    syncs: u64,
}

/// What becomes of changes that were not synced when the power is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unsynced {
    /// All are lost.
    Lost,
    /// Each reached the disk, or not, by chance: disks reorder.
    Scattered(u64),
}

/// A disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<(Mutex<State>, Condvar)>);

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }

    /// The next syncs fail with EIO, and, as on Linux, what they should have written counts as written from then on.
    pub(crate) fn refuse_syncs(&self, count: u32) {
        self.state().refused_syncs = count;
    }

    /// Syncs begin but do not end until `release_syncs`.
    pub(crate) fn hold_syncs(&self) {
        self.state().held = true;
    }

    pub(crate) fn release_syncs(&self) {
        self.state().held = false;
        self.0.1.notify_all();
    }

    /// Blocks until a sync is being held back.
    pub(crate) fn wait_for_a_held_sync(&self) {
        let (state, timeout) = self
            .0
            .1
            .wait_timeout_while(self.state(), Duration::from_secs(30), |state| state.waiting == 0)
            .unwrap();
        assert!(!timeout.timed_out(), "no sync began within 30 s");
        drop(state);
    }

    /// Syncs that succeeded.
    pub(crate) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Cuts the power: this disk refuses everything from now on. Returns the disk as found after the power is back.
    pub(crate) fn cut_power(&self, unsynced: Unsynced) -> Self {
        let mut state = self.state();
        state.off = true;
        state.held = false;
        self.0.1.notify_all();
        let mut random = match unsynced {
            Unsynced::Lost => None,
            Unsynced::Scattered(seed) => Some(StdRng::seed_from_u64(seed)),
        };
        let renamed = random.as_mut().is_some_and(|random| random.random_bool(0.5));
        let names = if renamed { state.names.clone() } else { state.durable_names.clone() };
        let files = state
            .files
            .iter()
            .map(|file| {
                let mut bytes = file.durable.clone();
                for change in &file.pending {
                    if random.as_mut().is_some_and(|random| random.random_bool(0.5)) {
                        apply(&mut bytes, change);
                    }
                }
                FileState { current: bytes.clone(), durable: bytes, pending: Vec::new() }
            })
            .collect();
        let after = State { files, names: names.clone(), durable_names: names, ..State::default() };
        Self(Arc::new((Mutex::new(after), Condvar::new())))
    }
}

fn gone() -> io::Error {
    io::Error::other("the power is off")
}

impl QueueFiles for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageBackend>> {
        let mut state = self.state();
        let known = state.names.get(name).copied();
        let file = known.unwrap_or(state.files.len());
        if known.is_none() {
            state.files.push(FileState::default());
            state.names.insert(name.to_owned(), file);
        }
        Ok(Box::new(DiskFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.state().names.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.off {
            return Err(gone());
        }
        state.durable_names = state.names.clone();
        Ok(())
    }
}

#[derive(Debug)]
struct DiskFile {
    disk: Disk,
    file: usize,
}

impl DiskFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.off {
            return Err(gone());
        }
        let file = &mut state.files[self.file];
        apply(&mut file.current, &change);
        file.pending.push(change);
        Ok(())
    }
}

impl StorageBackend for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().files[self.file].current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.disk.state();
        let start = usize::try_from(offset).unwrap();
        let bytes = state.files[self.file].current.get(start..start + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::SetLen(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.held {
            state.waiting += 1;
            self.disk.0.1.notify_all();
            state = self.disk.0.1.wait_while(state, |state| state.held).unwrap();
            state.waiting -= 1;
        }
        if state.off {
            return Err(gone());
        }
        if state.refused_syncs > 0 {
            state.refused_syncs -= 1;
            // The kernel reports the error once and marks the pages clean: no later sync writes them.
            state.files[self.file].pending.clear();
            return Err(io::Error::from_raw_os_error(5));
        }
        state.syncs += 1;
        let file = &mut state.files[self.file];
        for change in std::mem::take(&mut file.pending) {
            apply(&mut file.durable, &change);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write { offset, data: data.to_vec() })
    }
}

/// An event item that arrived at `millis`.
pub(crate) fn event(event_id: &str, deleted: bool, millis: i64) -> Item {
    Item::V1Event(EventItem {
        tenant_id: "7f1d0cb7-93b9-405a-8dad-c21703b7af18".to_owned(),
        user_id: "2189c720-90d5-44ff-818b-fe585706ee90".to_owned(),
        event_id: event_id.to_owned(),
        subscription_uid: "0b0f1d4e-6f0b-4f3c-9e2e-6b1d8a2c4e11".to_owned(),
        deleted,
        found: false,
        version: None,
        received_at: jiff::Timestamp::from_millisecond(millis).unwrap(),
    })
}

/// The event id of an item that `event` made.
pub(crate) fn event_id(item: &Item) -> String {
    match item {
        Item::V1Event(event) => event.event_id.clone(),
        Item::V1Lifecycle(_) => panic!("not an event"),
    }
}
