//! Strings that are planted where personal data and secrets are, and the search for them where neither may be.

use std::{
    collections::BTreeSet,
    env, fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// Part of the subject of every meeting in tests.
pub const SUBJECT: &str = "Canary merger talks 7c1f";
/// Attendee of every meeting in tests.
pub const ATTENDEE: &str = "canary.attendee.7c1f@fabrikam.example";
/// Text of every meeting in tests, which nothing of Roomkeeper ever sees.
pub const BODY: &str = "canary body 7c1f";
/// Client secret of Roomkeeper's app registration in tests.
pub const CLIENT_SECRET: &str = "canary-client-secret-7c1f";
/// Key of the booking product, as in `docs/examples`.
pub const BOOKING_KEY: &str = "demo-booking-key";

/// What each planted string is.
const PLANTED: [(&str, &str); 5] = [
    ("subject", SUBJECT),
    ("attendee", ATTENDEE),
    ("body", BODY),
    ("client secret", CLIENT_SECRET),
    ("key of the booking product", BOOKING_KEY),
];

/// Folder below which what was written is kept for a last search over everything.
const KEEP: &str = "ROOMKEEPER_KEEP_WRITTEN";

/// Bytes of a signature or HMAC in base64url: shorter ones are something else.
const LONG: usize = 20;

/// A canary where none may be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{}: holds the {what} that was planted", file.display())]
pub struct Hit {
    /// Where.
    pub file: PathBuf,
    /// What of.
    pub what: &'static str,
}

/// The search could not be made, or found something.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// A file or folder cannot be read, or not be kept.
    #[error("cannot search {}: {cause}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Canaries were found.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Found(BTreeSet<Hit>),
}

/// What a text holds that must not be there. Of the planted kinds, and by their form tokens and clientStates, which are made anew
/// for each run.
pub fn found_in(bytes: &[u8]) -> BTreeSet<&'static str> {
    let planted = PLANTED.iter().filter(|(_, text)| holds(bytes, text.as_bytes())).map(|(what, _)| *what);
    let made = [("token", holds_token(bytes)), ("clientState", holds_client_state(bytes))];
    planted.chain(made.into_iter().filter(|(_, there)| *there).map(|(what, _)| what)).collect()
}

/// Files that daemons and tests write into the folder of one test: logs of the daemons, their metrics, what the API server shows of
/// events and status, queue and audit. Not what the simulators write, which are Microsoft and the booking product.
///
/// # Errors
/// When a folder cannot be read.
pub fn written(folder: &Path) -> Result<Vec<PathBuf>, SearchError> {
    let mut found = Vec::new();
    for entry in entries(folder)? {
        let name = entry.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if entry.is_dir() {
            if name.starts_with("audit-") || name.starts_with("queue-") {
                collect(&entry, &mut found)?;
            }
        } else if name.starts_with("shown-")
            || (entry.extension().is_some_and(|extension| extension == "log")
                && !matches!(name.as_str(), "graph-sim.log" | "booking-sim.log"))
        {
            found.push(entry);
        }
    }
    Ok(found)
}

/// Searches what was written in the folder of one test, and keeps a copy for the last search where `ROOMKEEPER_KEEP_WRITTEN`
/// says.
///
/// # Errors
/// When something was found, or a file cannot be read or kept.
pub fn finish(folder: &Path) -> Result<(), SearchError> {
    let keep = env::var_os(KEEP).filter(|keep| !keep.is_empty());
    finish_and_keep(folder, keep.as_deref().map(Path::new))
}

fn finish_and_keep(folder: &Path, keep: Option<&Path>) -> Result<(), SearchError> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let files = written(folder)?;
    if let Some(keep) = keep {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let target = keep.join(format!("{}-{number}", std::process::id()));
        for file in &files {
            let to = target.join(file.strip_prefix(folder).unwrap_or(file));
            let io = |cause| SearchError::Io { path: to.clone(), cause };
            fs::create_dir_all(to.parent().unwrap_or(&target)).map_err(io)?;
            // Queues delete their files while they run.
            match fs::copy(file, &to) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(io(cause)),
                _ => {}
            }
        }
    }
    search(&files)
}

/// Searches every file below a folder; returns how many there are.
///
/// # Errors
/// When something was found, or a file cannot be read.
pub fn search_all(folder: &Path) -> Result<usize, SearchError> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    search(&files).map(|()| files.len())
}

fn search(files: &[PathBuf]) -> Result<(), SearchError> {
    let mut hits = BTreeSet::new();
    for file in files {
        let bytes = match fs::read(file) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            Err(cause) => return Err(SearchError::Io { path: file.clone(), cause }),
        };
        hits.extend(found_in(&bytes).into_iter().map(|what| Hit { file: file.clone(), what }));
    }
    if hits.is_empty() { Ok(()) } else { Err(SearchError::Found(hits)) }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), SearchError> {
    for entry in entries(folder)? {
        if entry.is_dir() { collect(&entry, files)? } else { files.push(entry) }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, SearchError> {
    let io = |cause| SearchError::Io { path: folder.to_owned(), cause };
    fs::read_dir(folder).map_err(io)?.map(|entry| entry.map(|entry| entry.path()).map_err(io)).collect()
}

fn holds(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

fn run_of_base64url(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_base64url(**byte)).count()
}

/// Two JSON objects in base64url with a point between: a JWT. Both begin with `{"`, which is `eyJ`.
fn holds_token(bytes: &[u8]) -> bool {
    starts(bytes, b"eyJ").any(|rest| {
        let header = run_of_base64url(rest);
        rest.get(header..)
            .and_then(|rest| rest.strip_prefix(b".eyJ"))
            .is_some_and(|claims| run_of_base64url(claims) >= LONG)
    })
}

/// `v1.<key id>.<uid>.<HMAC>`.
fn holds_client_state(bytes: &[u8]) -> bool {
    starts(bytes, b"v1.").any(|rest| {
        let mut parts = rest.split(|byte| *byte == b'.').skip(1);
        let (Some(key), Some(uid), Some(mac)) = (parts.next(), parts.next(), parts.next()) else {
            return false;
        };
        key.len() <= 16
            && key.iter().all(u8::is_ascii_alphanumeric)
            && uid.len() == 36
            && std::str::from_utf8(uid).is_ok_and(|uid| uuid::Uuid::try_parse(uid).is_ok())
            && run_of_base64url(mac) >= LONG
    })
}

/// The rest of the bytes from each place where `wanted` begins.
fn starts<'a>(bytes: &'a [u8], wanted: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    (0..bytes.len()).filter_map(|at| bytes.get(at..)).filter(move |rest| rest.starts_with(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_found_in_text_and_among_bytes() {
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJodHRwczovL2dyYXBoIn0.c2lnbmF0dXJl";
        let state = "v1.a1.6f1b0f7e-1111-4222-8333-444455556666.dGhpcyBpcyBhIG1hYyBvZiAzMiBieXRlcyBvciBzbw";
        for (text, what) in [
            (SUBJECT, "subject"),
            (ATTENDEE, "attendee"),
            (BODY, "body"),
            (CLIENT_SECRET, "client secret"),
            (BOOKING_KEY, "key of the booking product"),
            (token, "token"),
            (state, "clientState"),
        ] {
            let mut bytes = b"\x00\xff {\"line\": \"".to_vec();
            bytes.extend_from_slice(text.as_bytes());
            bytes.extend_from_slice(b"\"}\xff");
            assert_eq!(found_in(&bytes), [what].into(), "{text}");
        }
    }

    #[test]
    fn what_only_looks_alike_is_not_found() {
        for text in [
            "",
            "eyJhbGciOiJSUzI1NiJ9",
            "eyJhbGciOiJSUzI1NiJ9.x",
            "https://graph.microsoft.com/v1.0/users/6f1b0f7e-1111-4222-8333-444455556666",
            "v1.a1.6f1b0f7e-1111-4222-8333-444455556666",
            "secret contoso-graph has no key clientSecret",
        ] {
            assert!(found_in(text.as_bytes()).is_empty(), "{text}");
        }
    }

    #[test]
    fn what_daemons_write_is_searched_and_what_simulators_write_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for harmless in ["graph-sim.log", "booking-sim.log", "world.yaml", "tls/key.pem"] {
            write(harmless, SUBJECT);
        }
        write("operator-0.log", "nothing");
        // Kept nowhere: the last search is to find what the suite left, not what is planted here.
        finish_and_keep(folder.path(), None).unwrap();
        for (file, what) in [
            ("operator-0.log", "subject"),
            ("audit-operator-0/operator-0.jsonl", "attendee"),
            ("queue-webhook-0/epochs/1.redb", "client secret"),
            ("shown-metrics-operator-0", "body"),
        ] {
            let text = PLANTED.iter().find(|(planted, _)| *planted == what).unwrap().1;
            write(file, text);
            let Err(SearchError::Found(hits)) = finish_and_keep(folder.path(), None) else {
                panic!("{file}")
            };
            assert_eq!(hits, [Hit { file: folder.path().join(file), what }].into());
            write(file, "nothing");
        }
    }
}
