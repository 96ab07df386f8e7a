//! `audit verify`: whether exported logs are whole, judged offline.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
};

use anyhow::Context as _;
use jiff::Timestamp;
use roomkeeper_graph::audit::chain::{
    Checkpoint, File, FileKind, Finding, LogName, LogReport, Signed, VerifyingKey, decode, split, verify,
};
use serde::Serialize;

use super::{
    files::{self, Exported},
    words,
};
use crate::{args::AuditVerify, exit::Failure, output, table::Table};

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    /// Nothing of what was exported is missing or changed.
    intact: bool,
    /// Intact, and nothing is known that was not exported yet.
    complete: bool,
    logs: Vec<Log>,
    findings: Vec<Found>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Log {
    scope: String,
    writer: String,
    /// How many lines are here.
    lines: usize,
    /// Number of the last one; 0 without any.
    last_line: u64,
    /// Time of the first one.
    from: Option<Timestamp>,
    /// Time of the last checkpoint whose lines are all here.
    until: Option<Timestamp>,
    /// Last line that a checkpoint tells of, where no export has carried it away yet.
    pending_to_line: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Found {
    code: &'static str,
    /// File and line, where the finding is in one.
    file: String,
    line: u64,
    /// The finding with its figures.
    text: String,
    meaning: &'static str,
}

/// Verifies, prints, and fails with damage.
pub(super) fn run(request: &AuditVerify) -> anyhow::Result<()> {
    let mut keys = Vec::new();
    for path in &request.keys {
        let pem =
            fs::read_to_string(path).with_context(|| format!("--key {}: cannot be read", path.display()))?;
        keys.extend(read_keys(&pem).map_err(|error| {
            Failure::Usage(format!("--key {}: {error}: give public keys", path.display()))
        })?);
    }
    let mut exported = files::read(&request.files)?;
    if let Some(scope) = &request.scope {
        if LogName::of_scope(scope).is_none() {
            return Err(Failure::Usage(format!("--scope {scope}: write NAMESPACE/NAME, or system")).into());
        }
        narrow(&mut exported.files, scope, &keys);
    }
    let answer = judge(exported, &keys);
    output::print(request.output.map(Into::into), &answer, &[], &answer)?;
    if answer.intact {
        return Ok(());
    }
    Err(Failure::Damaged(format!("{} findings: the logs are damaged or incomplete", answer.findings.len()))
        .into())
}

/// Every key of a file: keys of different times may stand below each other.
fn read_keys(pem: &str) -> Result<Vec<VerifyingKey>, roomkeeper_graph::audit::chain::KeyError> {
    let blocks: Vec<&str> = pem
        .split_inclusive("-----END PUBLIC KEY-----")
        .filter(|block| block.contains("-----BEGIN"))
        .collect();
    if blocks.is_empty() {
        return VerifyingKey::from_pem(pem.as_bytes()).map(|key| vec![key]);
    }
    blocks.into_iter().map(|block| VerifyingKey::from_pem(block.as_bytes())).collect()
}

/// Takes checkpoints of other scopes out of what the API server keeps. What is no signed checkpoint stays, to be found.
fn narrow(files: &mut [File], scope: &str, keys: &[VerifyingKey]) {
    let is_other = |line: &[u8]| {
        std::str::from_utf8(line)
            .ok()
            .and_then(|line| Signed::<Checkpoint>::open(line.trim_end_matches('\n'), keys).ok())
            .is_some_and(|signed| signed.statement.scope != scope)
    };
    for file in files.iter_mut().filter(|file| file.kind() == FileKind::Checkpoints) {
        let lines = file.bytes.split_inclusive(|byte| *byte == b'\n');
        file.bytes = lines.filter(|line| !is_other(line)).flatten().copied().collect();
    }
}

fn judge(Exported { files, unreadable }: Exported, keys: &[VerifyingKey]) -> Answer {
    let report = verify(&files, keys);
    let (is_intact, is_complete) = (report.is_intact(), report.is_complete());
    let seen = seen(&files);
    let logs = report.logs.into_iter().map(|log| Log::new(log, &seen)).collect();
    let broken = unreadable.iter().map(|name| Found {
        code: "unreadable",
        file: name.clone(),
        line: 0,
        text: format!("{name}: unreadable"),
        meaning: words::finding("unreadable"),
    });
    let findings: Vec<Found> = broken.chain(report.findings.iter().map(Found::new)).collect();
    Answer {
        intact: is_intact && unreadable.is_empty(),
        complete: is_complete && unreadable.is_empty(),
        logs,
        findings,
    }
}

/// Line numbers of each log, and the time of its first line.
type Seen = BTreeMap<(String, String), (BTreeSet<u64>, Option<(u64, Timestamp)>)>;

fn seen(files: &[File]) -> Seen {
    let mut seen = Seen::new();
    let parts = files.iter().filter(|file| file.kind() == FileKind::Part);
    for line in parts.flat_map(|file| split(&file.bytes).0).filter_map(|line| decode(line).ok()) {
        let (numbers, first) = seen.entry((line.scope, line.writer)).or_default();
        numbers.insert(line.number);
        if first.is_none_or(|(number, _)| line.number < number) {
            *first = Some((line.number, line.time));
        }
    }
    seen
}

impl Log {
    fn new(log: LogReport, seen: &Seen) -> Self {
        let found = seen.get(&(log.scope.clone(), log.writer.clone()));
        Self {
            lines: found.map_or(0, |(numbers, _)| numbers.len()),
            from: found.and_then(|(_, first)| first.map(|(_, time)| time)),
            scope: log.scope,
            writer: log.writer,
            last_line: log.last,
            until: log.until,
            pending_to_line: log.pending,
        }
    }

    fn state(&self, intact: bool) -> String {
        match (self.until, self.pending_to_line) {
            (Some(until), Some(line)) => format!("pending since {until}, to line {line}"),
            (None, Some(line)) => format!("pending from the start, to line {line}"),
            (None, None) => "nothing stated yet".to_owned(),
            (Some(_), None) if intact => "all here".to_owned(),
            // Which log a finding is of cannot always be told.
            (Some(_), None) => "see the findings".to_owned(),
        }
    }
}

impl Found {
    fn new(finding: &Finding) -> Self {
        let code = finding.damage.code();
        Self {
            code,
            file: finding.file.clone(),
            line: finding.line,
            text: finding.to_string(),
            meaning: words::finding(code),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        let mut table = Table::new(&["SCOPE", "WRITER", "LINES", "LAST", "FROM", "UNTIL", "STATE"]);
        for log in &self.logs {
            table.row(vec![
                log.scope.clone(),
                log.writer.clone(),
                log.lines.to_string(),
                log.last_line.to_string(),
                time(log.from),
                time(log.until),
                log.state(self.intact),
            ]);
        }
        write!(f, "{table}")?;
        if !self.findings.is_empty() {
            let mut table = Table::new(&["FINDING", "MEANS"]);
            for one in &self.findings {
                table.row(vec![one.text.clone(), one.meaning.to_owned()]);
            }
            write!(f, "\n{table}")?;
        }
        let verdict = match (self.intact, self.complete) {
            (_, true) => {
                "Complete: nothing that was exported is missing or changed, and nothing is waiting to be exported."
            }
            (true, false) => {
                "Intact: nothing that was exported is missing or changed; what is pending was not exported yet."
            }
            (false, false) => "Damaged: see the findings.",
        };
        writeln!(f, "\n{verdict}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_may_stand_below_each_other() {
        // Two keys of RFC 8410's form whose 32 bytes are all the same.
        let pem = |byte: u8| {
            let der =
                [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], &[byte; 32]]
                    .concat();
            format!(
                "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
                data_encoding::BASE64.encode(&der)
            )
        };
        let both = read_keys(&format!("{}{}", pem(1), pem(2))).unwrap();
        assert_eq!(both.len(), 2);
        assert_ne!(both[0].id(), both[1].id());
        for wrong in ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
            assert!(read_keys(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_finding_has_its_words() {
        let source = include_str!("../../../graph/src/audit/chain/finding.rs");
        let codes = source.lines().filter_map(|line| {
            line.trim().strip_prefix("Self::")?.split_once("=> \"")?.1.strip_suffix("\",")
        });
        let codes: Vec<&str> = codes.collect();
        assert!(codes.len() >= 22, "{codes:?}");
        let page = include_str!("../../../docs/audit.md");
        for code in codes {
            assert_ne!(words::finding(code), words::finding(""), "{code}");
            assert!(page.contains(&format!("\n| `{code}` | ")), "{code}");
        }
    }
}
