//! A running program that dies with its owner.

use std::{
    fmt,
    fs::OpenOptions,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill, killpg},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};
use tokio::time::{Instant, sleep};

use super::{
    Program,
    log::{LineReader, tail},
    watcher::{self, Held},
};

/// The shell waits for a word before it *becomes* the program (same process id). An owner that is killed before it has told the
/// watcher about the process closes the pipe, and nothing is started at all.
const LAUNCHER: &str = r#"read -r go && [ "$go" = go ] && exec "$@" </dev/null"#;
const POLL: Duration = Duration::from_millis(15);

/// Why a supervised program did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// Nothing to run.
    #[error("{program} is not an executable file (or not in PATH): build or install it first")]
    NotFound {
        /// The program as it was given.
        program: PathBuf,
    },
    /// The operating system refused.
    #[error("{program}: cannot {action}: {source}")]
    System {
        /// Name of the program.
        program: String,
        /// What was tried.
        action: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
    /// It ended while a line was awaited, or before a signal was sent.
    #[error("{program} has ended ({status}); end of its log {}:\n{tail}", log.display())]
    Ended {
        /// Name of the program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// Its log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// It took longer than it was given.
    #[error("{program}: {awaited} did not come within {within:?}; end of its log {}:\n{tail}", log.display())]
    Timeout {
        /// Name of the program.
        program: String,
        /// What was waited for.
        awaited: String,
        /// How long.
        within: Duration,
        /// Its log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
}

/// A running program. Both of its output streams go to a log file; its stdin is empty; it leads a process group of its own.
///
/// Dropping it kills the whole group with SIGKILL; so does the end of this process, however it comes.
pub struct Supervised {
    name: String,
    pid: u32,
    log: PathBuf,
    log_start: u64,
    state: Mutex<State>,
}

struct State {
    child: Child,
    status: Option<ExitStatus>,
}

impl fmt::Debug for Supervised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervised").field("name", &self.name).field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl Supervised {
    /// Starts `program`; what it writes is appended to the file `log`.
    pub fn spawn(program: Program, log: &Path) -> Result<Self, ProcessError> {
        let name = program.name();
        let system = |action| {
            let program = name.clone();
            move |source| ProcessError::System { program, action, source }
        };
        let path =
            program.resolve().ok_or_else(|| ProcessError::NotFound { program: program.path.clone() })?;
        let out = OpenOptions::new().append(true).create(true).open(log).map_err(system("open its log"))?;
        let log_start = out.metadata().map_err(system("read its log"))?.len();
        let err = out.try_clone().map_err(system("open its log"))?;

        let mut command = Command::new("/bin/sh");
        if program.clear_env {
            command.env_clear();
            if let Some(search) = std::env::var_os("PATH") {
                command.env("PATH", search);
            }
        }
        for (key, value) in program.env {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(dir) = program.current_dir {
            command.current_dir(dir);
        }
        let mut child = command
            .args(["-c", LAUNCHER, "launch"])
            .arg(path)
            .args(program.args)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(system("start it"))?;
        let pid = child.id();
        let started = watcher::hold(Held::Group(pid)).and_then(|()| match child.stdin.take() {
            Some(mut go) => go.write_all(b"go\n"),
            None => Err(io::Error::other("started without a pipe")),
        });
        let this = Self {
            name,
            pid,
            log: log.to_owned(),
            log_start,
            state: Mutex::new(State { child, status: None }),
        };
        // On an error `this` is dropped here, which kills and reaps.
        started.map_err(|source| this.system("start it", source))?;
        Ok(this)
    }

    /// Process id of the program itself; also the id of its process group.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// File that holds what the program wrote to stdout and stderr.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of the log, for a failing test's message.
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log, lines).unwrap_or_else(|error| format!("(its log cannot be read: {error})"))
    }

    /// Waits until the program has written a line that starts with `prefix`, and returns the rest of that line, trimmed.
    ///
    /// Lines written before the call count; lines of an earlier program with the same log file do not.
    pub async fn wait_line(&self, prefix: &str, within: Duration) -> Result<String, ProcessError> {
        let deadline = Instant::now() + within;
        let mut reader = LineReader::open(&self.log, self.log_start)
            .map_err(|source| self.system("read its log", source))?;
        loop {
            // Asked first, so that what it wrote just before its end is still read.
            let ended = self.try_wait()?;
            if let Some(rest) = reader.find(prefix).map_err(|source| self.system("read its log", source))? {
                return Ok(rest);
            }
            if let Some(status) = ended {
                return Err(self.ended(status));
            }
            if Instant::now() >= deadline {
                return Err(self.timeout(format!("a line that starts with {prefix:?}"), within));
            }
            sleep(POLL).await;
        }
    }

    /// Sends a signal to exactly this process.
    pub fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        let mut state = self.lock();
        if let Some(status) = self.poll(&mut state)? {
            return Err(self.ended(status));
        }
        kill(self.target(), signal).map_err(|errno| self.system("signal it", errno.into()))
    }

    /// SIGKILL to the process and to all that it started in its group; returns when it is gone. An ended program is no error.
    pub fn kill(&self) -> Result<ExitStatus, ProcessError> {
        let mut state = self.lock();
        if let Some(status) = state.status {
            return Ok(status);
        }
        // Not reaped yet, so the group id cannot have become somebody else's.
        match killpg(self.target(), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(self.system("kill it", errno.into())),
        }
        self.reap(&mut state)
    }

    /// How it ended, if it has.
    pub fn try_wait(&self) -> Result<Option<ExitStatus>, ProcessError> {
        self.poll(&mut self.lock())
    }

    /// An error with the end of its log, if it has ended.
    pub fn still_running(&self) -> Result<(), ProcessError> {
        self.try_wait()?.map_or(Ok(()), |status| Err(self.ended(status)))
    }

    /// Waits for its end.
    pub async fn wait(&self, within: Duration) -> Result<ExitStatus, ProcessError> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                return Err(self.timeout("its end".to_owned(), within));
            }
            sleep(POLL).await;
        }
    }

    /// SIGTERM, and SIGKILL to the group if it has not ended after `grace`. An ended program is no error.
    pub async fn stop(&self, grace: Duration) -> Result<ExitStatus, ProcessError> {
        match self.signal(Signal::SIGTERM) {
            Ok(()) => {}
            Err(ProcessError::Ended { status, .. }) => return Ok(status),
            Err(error) => return Err(error),
        }
        match self.wait(grace).await {
            Err(ProcessError::Timeout { .. }) => self.kill(),
            other => other,
        }
    }

    fn poll(&self, state: &mut State) -> Result<Option<ExitStatus>, ProcessError> {
        if state.status.is_some() {
            return Ok(state.status);
        }
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        match waitid(Id::Pid(self.target()), flags) {
            Ok(WaitStatus::StillAlive) => Ok(None),
            Ok(_) => {
                // What it left in its group goes first: after reaping, the group id may be given to a stranger.
                match killpg(self.target(), Signal::SIGKILL) {
                    Ok(()) | Err(Errno::ESRCH | Errno::EPERM) => {}
                    Err(errno) => return Err(self.system("end its group", errno.into())),
                }
                self.reap(state).map(Some)
            }
            Err(errno) => Err(self.system("ask for its state", errno.into())),
        }
    }

    fn reap(&self, state: &mut State) -> Result<ExitStatus, ProcessError> {
        // Killed already: not to be killed again by the watcher under a reused id.
        let released = watcher::release(Held::Group(self.pid));
        let status = state.child.wait().map_err(|source| self.system("wait for it", source))?;
        state.status = Some(status);
        released.map_err(|source| self.system("tell the watcher of its end", source))?;
        Ok(status)
    }

    fn target(&self) -> Pid {
        Pid::from_raw(self.pid.cast_signed())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn system(&self, action: &'static str, source: io::Error) -> ProcessError {
        ProcessError::System { program: self.name.clone(), action, source }
    }

    fn ended(&self, status: ExitStatus) -> ProcessError {
        ProcessError::Ended {
            program: self.name.clone(),
            status,
            log: self.log.clone(),
            tail: self.log_tail(30),
        }
    }

    fn timeout(&self, awaited: String, within: Duration) -> ProcessError {
        let (program, log, tail) = (self.name.clone(), self.log.clone(), self.log_tail(30));
        ProcessError::Timeout { program, awaited, within, log, tail }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // Not reported: the watcher holds the group still and kills it when this process ends.
        let _ = self.kill();
    }
}
