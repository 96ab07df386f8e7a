//! One small shell per process that outlives it just long enough to destroy what the process leaves behind.
//!
//! A destructor does not run after SIGKILL, Ctrl-C or `abort`, nor for a static. `PR_SET_PDEATHSIG` follows the parent *thread*, and
//! test threads end early. A pipe closes whenever and however its owner ends, so a reader at the other end is what is relied on.

use std::{
    io::{self, Write},
    os::unix::{ffi::OsStrExt, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

const SCRIPT: &str = include_str!("watcher.sh");

/// Something that must not outlive this process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Held<'a> {
    /// A process group, by the id of its leader. It is killed.
    Group(u32),
    /// A folder. It is removed with all that is in it.
    Folder(&'a Path),
}

/// From now on `held` is destroyed when this process ends.
pub(crate) fn hold(held: Held<'_>) -> io::Result<()> {
    send("hold", held)
}

/// `held` is gone already, or has become somebody else's.
pub(crate) fn release(held: Held<'_>) -> io::Result<()> {
    send("drop", held)
}

struct Watcher {
    child: Child,
}

static WATCHER: Mutex<Option<Watcher>> = Mutex::new(None);

fn send(verb: &str, held: Held<'_>) -> io::Result<()> {
    let line = line(verb, held)?;
    let mut slot = WATCHER.lock().unwrap_or_else(PoisonError::into_inner);
    let watcher = match &mut *slot {
        Some(watcher) => watcher,
        empty @ None => empty.insert(start()?),
    };
    match &mut watcher.child.stdin {
        // One write of less than PIPE_BUF bytes: the watcher never sees half a line.
        Some(pipe) => pipe.write_all(&line),
        None => Err(io::Error::other("the watcher was started without a pipe")),
    }
}

fn line(verb: &str, held: Held<'_>) -> io::Result<Vec<u8>> {
    let mut line = match held {
        Held::Group(leader) => format!("{verb}-group {leader}").into_bytes(),
        Held::Folder(path) => {
            let path = path.as_os_str().as_bytes();
            if !path.starts_with(b"/") || path.contains(&b'\n') || path.len() > 2048 {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "a watched folder needs an absolute path of at most 2048 bytes without a line break: set TMPDIR to another place",
                ));
            }
            [verb.as_bytes(), b"-folder ", path].concat()
        }
    };
    line.push(b'\n');
    Ok(line)
}

fn start() -> io::Result<Watcher> {
    // Its own process group: Ctrl-C in a terminal and `kill -- -GROUP` do not reach it.
    let child = Command::new("/bin/sh")
        .args(["-c", SCRIPT, "roomkeeper-watcher"])
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(Watcher { child })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_what_is_held() {
        assert_eq!(line("hold", Held::Group(42)).unwrap(), b"hold-group 42\n");
        assert_eq!(line("drop", Held::Folder(Path::new("/a b/c"))).unwrap(), b"drop-folder /a b/c\n");
    }

    #[test]
    fn a_path_that_would_be_misread_is_refused() {
        for path in ["relative", "/two\nlines"] {
            let error = line("hold", Held::Folder(Path::new(path))).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path}");
        }
    }
}
