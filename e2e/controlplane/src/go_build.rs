//! Builds the pinned Go tools once into the cache folder.

use std::{
    env,
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::{
    process::{ProcessError, Program, ScratchDir, Supervised},
    toolset::{ENVIRONMENT, FLAGS, Toolset},
};

const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Why the tools could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No cache folder can be named.
    #[error(
        "none of ROOMKEEPER_CACHE, XDG_CACHE_HOME and HOME is set to an absolute path: set ROOMKEEPER_CACHE to a folder for the programs"
    )]
    NoCacheFolder,
    /// No Go compiler.
    #[error("go is missing: install Go 1.26 or newer, or {instead}")]
    NoGo {
        /// How to do without.
        instead: &'static str,
    },
    /// The version is not where it is expected in `go.mod`.
    #[error(
        "e2e/controlplane/go/go.mod: {module} is required with version {version:?}; it must be like v1.37.2"
    )]
    Version {
        /// The Go module.
        module: &'static str,
        /// What was found.
        version: Option<String>,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// `go build` could not be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// `go build` failed.
    #[error("go build of {what} failed ({status}):\n{messages}")]
    Failed {
        /// The programs.
        what: &'static str,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The last lines of what it wrote.
        messages: String,
    },
}

/// The folder with the programs of a set, built if need be.
pub(crate) fn built(set: &Toolset) -> Result<PathBuf, BuildError> {
    let root = cache_root(|name| env::var_os(name)).ok_or(BuildError::NoCacheFolder)?;
    let folder = set.folder(&root);
    if !set.missing(&folder).is_empty() {
        build(set, &folder)?;
    }
    Ok(folder)
}

fn cache_root(get: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name| get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("ROOMKEEPER_CACHE")
        .or_else(|| absolute("XDG_CACHE_HOME").map(|dir| dir.join("roomkeeper")))
        .or_else(|| absolute("HOME").map(|dir| dir.join(".cache/roomkeeper")))
}

/// Builds into `folder` unless another process has just done so. Progress goes to stderr. Blocks for minutes.
fn build(set: &Toolset, folder: &Path) -> Result<(), BuildError> {
    let parent = folder.parent().unwrap_or(folder);
    let file = |action, path: &Path| {
        let path = path.to_owned();
        move |source| BuildError::File { action, path, source }
    };
    fs::create_dir_all(parent).map_err(file("make the folder", parent))?;
    let lock_path = parent.join("lock");
    let _lock = lock(&lock_path).map_err(file("lock", &lock_path))?;
    if set.missing(folder).is_empty() {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(file("remove the incomplete folder", folder))?;
    }
    // The folder appears with one rename, complete; an interrupted build leaves nothing.
    let scratch = ScratchDir::inside(parent, "building").map_err(file("make a folder in", parent))?;
    let out = scratch.path().join("bin");
    fs::create_dir(&out).map_err(file("make the folder", &out))?;
    go_build(set, folder, scratch.path(), &out)?;
    for tool in set.tools {
        let built = out.join(tool.built);
        fs::rename(&built, out.join(tool.name)).map_err(file("rename", &built))?;
    }
    fs::rename(&out, folder).map_err(file("move the new programs to", folder))
}

fn lock(path: &Path) -> io::Result<File> {
    let lock = File::create(path)?;
    match lock.try_lock() {
        Ok(()) => return Ok(lock),
        Err(TryLockError::WouldBlock) => say("another process is building the programs; waiting for it"),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    lock.lock()?;
    Ok(lock)
}

fn go_build(set: &Toolset, folder: &Path, scratch: &Path, out: &Path) -> Result<(), BuildError> {
    let mut go = Program::new("go")
        .current_dir(set.module)
        .arg("build")
        .args(FLAGS)
        .arg("-ldflags")
        .arg(set.link_flags()?)
        .arg("-o")
        .arg(out)
        .args(set.tools.iter().map(|tool| tool.package));
    for (name, value) in ENVIRONMENT {
        go = go.env(name, value);
    }
    if go.resolve().is_none() {
        return Err(BuildError::NoGo { instead: set.instead });
    }

    let log = scratch.join("build.log");
    say(&format!("building {} into {}: some minutes, once only", set.what, folder.display()));
    let started = Instant::now();
    let mut reported = started;
    let build = Supervised::spawn(go, &log)?;
    let status = loop {
        if let Some(status) = build.try_wait()? {
            break status;
        }
        if reported.elapsed() >= REPORT_EVERY {
            reported = Instant::now();
            say(&progress(&fs::read_to_string(&log).unwrap_or_default(), started.elapsed()));
        }
        thread::sleep(Duration::from_millis(200));
    };
    if !status.success() {
        let messages = build.log_tail(30);
        return Err(BuildError::Failed { what: set.what, status, messages });
    }
    say(&format!("built in {} s", started.elapsed().as_secs()));
    Ok(())
}

fn progress(log: &str, elapsed: Duration) -> String {
    let (mut modules, mut packages) = (0, 0);
    for line in log.lines() {
        if line.starts_with("go: downloading ") {
            modules += 1;
        } else {
            packages += 1;
        }
    }
    format!("{} s: {modules} modules downloaded, {packages} packages compiled", elapsed.as_secs())
}

/// Past the test harness's capture, which would hold a line back until the test has ended.
fn say(text: &str) {
    // Progress only: a closed stderr must not fail the build.
    let _ = writeln!(io::stderr(), "controlplane: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_folder_follows_the_usual_variables() {
        let root = |set: &[(&str, &str)]| {
            cache_root(|name| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
            })
        };
        let all = [("ROOMKEEPER_CACHE", "/r"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(root(&all), Some("/r".into()));
        assert_eq!(root(&all[1..]), Some("/x/roomkeeper".into()));
        assert_eq!(root(&all[2..]), Some("/h/.cache/roomkeeper".into()));
        assert_eq!(root(&[("ROOMKEEPER_CACHE", ""), ("HOME", "/h")]), Some("/h/.cache/roomkeeper".into()));
        assert_eq!(root(&[("HOME", "relative")]), None);
    }

    #[test]
    fn progress_counts_modules_and_packages() {
        let text = progress("go: downloading a v1\nk8s.io/api/core/v1\nfmt\n", Duration::from_secs(21));
        assert_eq!(text, "21 s: 1 modules downloaded, 2 packages compiled");
    }
}
