//! A file that outlives the simulator: every request line, and what the simulator itself found to count in it. No header but the
//! user agent, no body.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::app::lock;

/// Environment variable that names the folder of request logs.
pub(crate) const FOLDER: &str = "GRAPH_SIM_REQUEST_LOG";

/// The folder that the environment names for request logs, for tests that start the simulator in their own process.
pub fn request_log_folder() -> Option<PathBuf> {
    env::var_os(FOLDER).filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// One line of the file.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Line<'a> {
    /// A request, as it came.
    Request { method: &'a str, path: &'a str, user_agent: Option<&'a str> },
    /// A read without `$select` of what takes one.
    WithoutSelect { template: &'a str, user_agent: Option<&'a str> },
    /// A request that names a member which must never be asked for.
    Forbidden { field: &'a str, user_agent: Option<&'a str> },
}

/// Where lines go. One file per simulator.
#[derive(Debug)]
pub(crate) struct RequestLog {
    file: Mutex<File>,
    /// A log with a hole would prove nothing: the simulator ends instead.
    shutdown: CancellationToken,
}

impl RequestLog {
    pub(crate) fn open(folder: &Path, shutdown: CancellationToken) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        fs::create_dir_all(folder)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // Process ids come again; what another process wrote stays.
        let path = folder.join(format!("{}-{number}.jsonl", std::process::id()));
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { file: Mutex::new(file), shutdown })
    }

    pub(crate) fn write(&self, line: &Line<'_>) {
        let written = serde_json::to_vec(line).map_err(io::Error::from).and_then(|mut bytes| {
            bytes.push(b'\n');
            lock(&self.file).write_all(&bytes)
        });
        if let Err(error) = written {
            tracing::error!(%error, "the request log cannot be written; the simulator ends");
            self.shutdown.cancel();
        }
    }
}
