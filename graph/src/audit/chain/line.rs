//! One line of a log, and its hash: SHA-256 over its exact bytes without the line feed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Hash, LogName};
use crate::audit::AuditEntry;

/// A line as read back.
///
/// The entry is not interpreted: a log stays verifiable when it holds types that this version does not know.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// 1 for the first line of its log; each next one is one more.
    pub number: u64,
    /// When the entry was made.
    pub time: Timestamp,
    /// Who wrote it.
    pub writer: String,
    /// `namespace/name` of the `AccessScope`, or `system`.
    pub scope: String,
    /// Hash of the line before; zeros for line 1.
    pub previous: Hash,
    /// What is entered.
    pub entry: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct Outgoing<'a> {
    number: u64,
    time: Timestamp,
    writer: &'a str,
    scope: &'a str,
    previous: Hash,
    entry: &'a AuditEntry,
}

/// Where a log ends: the number and the hash of its last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of the last line; 0 if there is none.
    pub number: u64,
    /// Its hash; zeros if there is none.
    pub hash: Hash,
}

impl Head {
    /// Of a log without lines.
    pub const EMPTY: Self = Self { number: 0, hash: Hash::ZERO };
}

/// Appends the entry's line, line feed included, to `to`; the answer is the new head.
///
/// # Errors
/// The entry cannot be written as JSON; `to` is as before.
pub fn encode(
    to: &mut Vec<u8>,
    head: Head,
    writer: &str,
    log: &LogName,
    entry: &AuditEntry,
) -> Result<Head, serde_json::Error> {
    let number = head.number.saturating_add(1);
    let line = serde_json::to_vec(&Outgoing {
        number,
        time: entry.time(),
        writer,
        scope: log.as_str(),
        previous: head.hash,
        entry,
    })?;
    let hash = Hash::of(&line);
    to.extend_from_slice(&line);
    to.push(b'\n');
    Ok(Head { number, hash })
}

/// Reads a line without its line feed.
///
/// # Errors
/// It is no JSON object of exactly these fields.
pub fn decode(line: &[u8]) -> Result<Line, serde_json::Error> {
    serde_json::from_slice(line)
}

/// The lines of a file without their line feeds, and what follows the last line feed.
pub fn split(bytes: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut lines: Vec<_> = bytes.split(|b| *b == b'\n').collect();
    let rest = lines.pop().unwrap_or_default();
    (lines, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Cause;

    #[test]
    fn a_line_is_as_documented_and_chains_to_the_one_before() {
        let note = |text: &str| AuditEntry::Note {
            time: "2026-11-23T10:00:00Z".parse().unwrap(),
            scope: "rooms/contoso".into(),
            caused_by: Cause::new("Test/rooms/a"),
            text: text.into(),
        };
        let log = LogName::of_scope("rooms/contoso").unwrap();
        let mut bytes = Vec::new();
        let first = encode(&mut bytes, Head::EMPTY, "operator-0", &log, &note("one\ntwo")).unwrap();
        let second = encode(&mut bytes, first, "operator-0", &log, &note("three")).unwrap();
        let (lines, rest) = split(&bytes);
        assert_eq!((lines.len(), rest), (2, &b""[..]));
        assert_eq!(
            std::str::from_utf8(lines[0]).unwrap(),
            r#"{"number":1,"time":"2026-11-23T10:00:00Z","writer":"operator-0","scope":"rooms/contoso","previous":"0000000000000000000000000000000000000000000000000000000000000000","entry":{"type":"note","time":"2026-11-23T10:00:00Z","scope":"rooms/contoso","causedBy":"Test/rooms/a","text":"one\ntwo"}}"#
        );
        assert_eq!(first, Head { number: 1, hash: Hash::of(lines[0]) });
        let line = decode(lines[1]).unwrap();
        assert_eq!((line.number, line.previous), (2, first.hash));
        assert_eq!(second, Head { number: 2, hash: Hash::of(lines[1]) });
        let more = [b"{\"more\":1,", &lines[1][1..]].concat();
        assert!(decode(&more).is_err());
    }
}
