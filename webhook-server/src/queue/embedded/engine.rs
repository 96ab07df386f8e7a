//! One redb file and what is done to a whole file: make, open, carry over into a new one.
//!
//! A queue lives in one file `epoch-<number>.redb`. Carrying the live rows over into the next epoch and unlinking the
//! old file serves two ends. After a failed write or fsync the old file is not to be built upon: the kernel may count
//! pages as written that never reached the disk. And rows that were deleted leave their bytes in the file until it is
//! unlinked, while identifiers are not to linger.

use super::storage::{Plain, QueueFiles, SyncMode};
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction};
use std::io;

/// Sequence number → row. Numbers only grow, so that appends touch the right edge of the tree alone.
pub(super) const ITEMS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("items");
/// Dead letter id → reason, row.
pub(super) const DEAD: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("dead");

const PREFIX: &str = "epoch-";
const SUFFIX: &str = ".redb";
/// A file that was not complete when the process ended.
const UNFINISHED: &str = "unfinished.redb";
const CACHE_BYTES: usize = 64 << 20;
/// Rows carried over per transaction, so that memory stays bounded.
const CHUNK: usize = 16_384;

/// Why the file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The operating system refused.
    #[error("queue folder: {step}")]
    Files {
        /// What was tried.
        step: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The database refused.
    #[error("queue database: {step}")]
    Database {
        /// What was tried.
        step: &'static str,
        /// The database's answer.
        source: Box<redb::Error>,
    },
}

fn files(step: &'static str) -> impl FnOnce(io::Error) -> EngineError {
    move |source| EngineError::Files { step, source }
}

pub(super) fn database<E: Into<redb::Error>>(step: &'static str) -> impl FnOnce(E) -> EngineError {
    move |source| EngineError::Database { step, source: Box::new(source.into()) }
}

/// The open file of the current epoch.
#[derive(Debug)]
pub(super) struct Engine {
    epoch: u64,
    database: Database,
}

/// Both tables of one write transaction.
#[derive(Debug)]
pub(super) struct Tables<'t> {
    pub(super) items: Table<'t, u64, &'static [u8]>,
    pub(super) dead: Table<'t, u64, &'static [u8]>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, EngineError> {
        Ok(Self {
            items: transaction.open_table(ITEMS).map_err(database("open items"))?,
            dead: transaction.open_table(DEAD).map_err(database("open dead letters"))?,
        })
    }
}

impl Engine {
    /// Opens the newest epoch, or makes the first; removes what an interrupted change of epochs left behind.
    pub(super) fn open(files_of: &dyn QueueFiles, sync: SyncMode) -> Result<Self, EngineError> {
        let names = files_of.list().map_err(files("list"))?;
        if names.iter().any(|name| name == UNFINISHED) {
            files_of.remove(UNFINISHED).map_err(files("remove an unfinished file"))?;
        }
        let mut epochs: Vec<u64> = names.iter().filter_map(|name| epoch_of(name)).collect();
        epochs.sort_unstable();
        let Some(newest) = epochs.pop() else {
            return Self::make(files_of, sync, 1, None);
        };
        // The newest got its name only when it held everything, so older ones are superseded.
        // Its name may not be durable yet, though, and nothing may be stored under a name that can be lost.
        files_of.sync_names().map_err(files("sync names"))?;
        for old in epochs {
            files_of.remove(&name_of(old)).map_err(files("remove a superseded file"))?;
        }
        let database = open_database(files_of, &name_of(newest), sync)?;
        Ok(Self { epoch: newest, database })
    }

    /// Carries all rows over into a new file and unlinks this one.
    pub(super) fn renew(self, files_of: &dyn QueueFiles, sync: SyncMode) -> Result<Self, EngineError> {
        let next = Self::make(files_of, sync, self.epoch + 1, Some(&self.database))?;
        let old = name_of(self.epoch);
        drop(self);
        files_of.remove(&old).map_err(files("remove the previous file"))?;
        files_of.sync_names().map_err(files("sync names"))?;
        Ok(next)
    }

    fn make(
        files_of: &dyn QueueFiles,
        sync: SyncMode,
        epoch: u64,
        from: Option<&Database>,
    ) -> Result<Self, EngineError> {
        if files_of.list().map_err(files("list"))?.iter().any(|name| name == UNFINISHED) {
            files_of.remove(UNFINISHED).map_err(files("remove an unfinished file"))?;
        }
        let database = open_database(files_of, UNFINISHED, sync)?;
        for table in [ITEMS, DEAD] {
            copy(from, &database, table)?;
        }
        files_of.rename(UNFINISHED, &name_of(epoch)).map_err(files("name the new file"))?;
        files_of.sync_names().map_err(files("sync names"))?;
        Ok(Self { epoch, database })
    }

    pub(super) fn begin(&self) -> Result<WriteTransaction, EngineError> {
        self.database.begin_write().map_err(database("begin"))
    }

    /// Calls `each` with every row of a table, in order.
    pub(super) fn scan(
        &self,
        table: TableDefinition<'_, u64, &'static [u8]>,
        mut each: impl FnMut(u64, &[u8]),
    ) -> Result<(), EngineError> {
        let reading = self.database.begin_read().map_err(database("begin to read"))?;
        let rows = reading.open_table(table).map_err(database("open a table"))?;
        for row in rows.iter().map_err(database("read rows"))? {
            let (id, value) = row.map_err(database("read a row"))?;
            each(id.value(), value.value());
        }
        Ok(())
    }
}

fn open_database(files_of: &dyn QueueFiles, name: &str, sync: SyncMode) -> Result<Database, EngineError> {
    let file = files_of.open(name).map_err(files("open the file"))?;
    Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(Plain { file, sync })
        .map_err(database("open"))
}

/// Copies a table in transactions of bounded size; makes it where there is nothing to copy.
fn copy(
    from: Option<&Database>,
    to: &Database,
    table: TableDefinition<'_, u64, &'static [u8]>,
) -> Result<(), EngineError> {
    let mut after = None;
    loop {
        let writing = to.begin_write().map_err(database("begin"))?;
        let mut copied = 0;
        {
            let mut target = writing.open_table(table).map_err(database("make a table"))?;
            if let Some(from) = from {
                let reading = from.begin_read().map_err(database("begin to read"))?;
                let source = reading.open_table(table).map_err(database("open a table"))?;
                let start = after.map_or(0, |last: u64| last.saturating_add(1));
                for row in source.range(start..).map_err(database("read rows"))?.take(CHUNK) {
                    let (id, value) = row.map_err(database("read a row"))?;
                    target.insert(id.value(), value.value()).map_err(database("copy a row"))?;
                    after = Some(id.value());
                    copied += 1;
                }
            }
        }
        writing.commit().map_err(database("commit"))?;
        if copied < CHUNK {
            return Ok(());
        }
    }
}

fn name_of(epoch: u64) -> String {
    format!("{PREFIX}{epoch:010}{SUFFIX}")
}

fn epoch_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
}
