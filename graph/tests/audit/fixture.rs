//! Writers, their exports, and what the API server keeps.

use std::path::PathBuf;

use aws_lc_rs::signature::Ed25519KeyPair;
use data_encoding::BASE64;
use jiff::{SignedDuration, Timestamp};
use roomkeeper_graph::audit::{
    AuditEntry, AuditSink, Cause,
    chain::{
        ChainedAudit, Checkpoint, CheckpointChain, File, Hash, Head, Known, LogName, Manifest, Part, Report,
        Signed, SigningKey, Start, verify,
    },
};

/// Scope of all entries.
pub(crate) const SCOPE: &str = "rooms/contoso";

/// A key from a fixed seed.
pub(crate) fn key(seed: u8) -> SigningKey {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let der = BASE64.encode(pair.to_pkcs8v1().unwrap().as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
    SigningKey::from_pem(pem.as_bytes()).unwrap()
}

/// The log of the scope.
pub(crate) fn log() -> LogName {
    LogName::of_scope(SCOPE).unwrap()
}

/// An entry of the scope, made `minute` minutes after ten.
pub(crate) fn note(minute: u64, text: &str) -> AuditEntry {
    AuditEntry::Note {
        time: at(minute),
        scope: SCOPE.into(),
        caused_by: Cause::new("Test/rooms/a"),
        text: text.into(),
    }
}

/// `minute` minutes after ten.
pub(crate) fn at(minute: u64) -> Timestamp {
    let ten: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    ten + SignedDuration::from_mins(minute.try_into().unwrap())
}

/// One writer with its log, its checkpoints and its exports.
pub(crate) struct Writer {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    pub(crate) audit: ChainedAudit,
    pub(crate) chain: CheckpointChain,
    /// Checkpoints since the last export.
    since: Vec<String>,
    manifest: Option<Signed<Manifest>>,
    pub(crate) exported: u64,
    minute: u64,
}

impl Writer {
    /// Opens a log; segments are full after about three lines.
    pub(crate) fn open(dir: PathBuf, name: &str) -> Self {
        let audit = ChainedAudit::open(&dir, name, 1_000).unwrap();
        let chain = CheckpointChain::resume(name, log(), None, Head::EMPTY).unwrap();
        Self { name: name.into(), dir, audit, chain, since: vec![], manifest: None, exported: 0, minute: 0 }
    }

    /// Opens the log again, as after a restart.
    pub(crate) fn reopen(&mut self) {
        self.audit = ChainedAudit::open(&self.dir, &self.name, 1_000).unwrap();
        let last = self.chain.last().cloned();
        self.chain = CheckpointChain::resume(&self.name, log(), last, self.head()).unwrap();
    }

    pub(crate) fn head(&self) -> Head {
        self.audit.heads().get(&log()).copied().unwrap_or(Head::EMPTY)
    }

    pub(crate) async fn write(&mut self, lines: u64, text: &str) {
        for _ in 0..lines {
            self.minute += 1;
            self.audit.record(note(self.minute, text)).await.unwrap();
        }
    }

    pub(crate) fn checkpoint(&mut self, start: Start) -> Signed<Checkpoint> {
        let head = self.head();
        let signed = self.chain.next(head, start, self.exported, at(self.minute), &key(1)).unwrap();
        self.since.push(signed.envelope.clone());
        signed.clone()
    }

    /// Exports what is new, two lines a file, and names these other writers.
    pub(crate) fn export(&mut self, others: &[&Writer]) -> Vec<File> {
        let start = self.audit.folder(&log()).start().unwrap();
        self.checkpoint(start);
        let own = std::mem::take(&mut self.since);
        let before = self.manifest.as_ref();
        let (number, previous) =
            before.map_or((1, Hash::ZERO), |before| (before.statement.number + 1, before.hash));
        let (files, signed) = self.carried(self.exported + 1, (number, previous), own, others);
        self.manifest = Some(signed);
        self.exported = self.head().number;
        self.checkpoint(start);
        files
    }

    /// What an auditor is given of the lines from this one on.
    pub(crate) fn copy(&mut self, first: u64, others: &[&Writer]) -> Vec<File> {
        let start = self.audit.folder(&log()).start().unwrap();
        let own = self.checkpoint(start).envelope;
        self.carried(first, (Manifest::COPY, Hash::ZERO), vec![own], others).0
    }

    fn carried(
        &self,
        mut first: u64,
        (number, previous): (u64, Hash),
        own: Vec<String>,
        others: &[&Writer],
    ) -> (Vec<File>, Signed<Manifest>) {
        let folder = self.audit.folder(&log());
        let (mut files, mut parts) = (Vec::new(), Vec::new());
        let end = self.head().number;
        while first <= end {
            let last = end.min(first + 1);
            let name = format!("{}.{}.{first}-{last}.jsonl", log().folder(), self.name);
            files.push(File { name: name.clone(), bytes: folder.lines(first, last).unwrap() });
            parts.push(Part { name, first, last, lines: last - first + 1 });
            first = last + 1;
        }
        let known = |w: &&Writer| Known {
            writer: w.name.clone(),
            checkpoints: w.chain.last().map(|c| c.envelope.clone()).into_iter().collect(),
        };
        let mut writers: Vec<_> = others.iter().map(known).collect();
        writers.push(Known { writer: self.name.clone(), checkpoints: own });
        let statement = Manifest {
            writer: self.name.clone(),
            scope: SCOPE.into(),
            number,
            previous,
            time: at(self.minute),
            files: parts,
            writers,
        };
        let signed = Signed::new(statement, &key(1)).unwrap();
        let name = format!("{}.{}.{number}.manifest.json", log().folder(), self.name);
        files.push(File { name, bytes: format!("{}\n", signed.envelope).into_bytes() });
        (files, signed)
    }
}

/// What the API server keeps: the last checkpoint of each writer.
pub(crate) fn kept(writers: &[&Writer]) -> File {
    let lines = writers.iter().filter_map(|w| w.chain.last()).map(|c| format!("{}\n", c.envelope));
    File { name: "kept.checkpoints.jsonl".into(), bytes: lines.collect::<String>().into_bytes() }
}

/// The verifier with the fixture's key.
pub(crate) fn judge(files: &[File]) -> Report {
    verify(files, &[key(1).public()])
}

/// Codes of the findings, each once.
pub(crate) fn codes(report: &Report) -> Vec<&'static str> {
    let mut codes: Vec<_> = report.findings.iter().map(|finding| finding.damage.code()).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// Two writers with two exports each, without what the API server keeps, and that.
pub(crate) async fn two_writers() -> (Vec<File>, File) {
    let dir = tempfile::tempdir().unwrap();
    let mut one = Writer::open(dir.path().join("one"), "operator-0");
    let mut two = Writer::open(dir.path().join("two"), "webhook-0");
    let mut files = Vec::new();
    for _ in 0..2 {
        one.write(5, "a").await;
        two.write(3, "b").await;
        files.extend(one.export(&[&two]));
        files.extend(two.export(&[&one]));
    }
    let kept = kept(&[&one, &two]);
    (files, kept)
}

/// Two writers' exports after the first writer's volume was put back to its first export and went on from there; the
/// API server keeps what it knew before.
pub(crate) async fn old_copy() -> Vec<File> {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path().join("real"), "operator-0");
    writer.write(5, "a").await;
    let mut files = writer.export(&[]);
    writer.write(5, "what happened").await;
    let mut old = Writer::open(dir.path().join("old"), "operator-0");
    old.write(5, "a").await;
    let same = old.export(&[]);
    assert_eq!(same, files);
    writer.export(&[]);
    files.push(kept(&[&writer]));
    old.write(6, "what is shown").await;
    files.extend(old.export(&[]));
    files
}
