//! The verifier: pure, over the bytes of the files.

mod cover;
mod lines;
mod statements;

use std::collections::{BTreeMap, BTreeSet};

use self::{lines::Run, statements::Placed};
use super::{Checkpoint, Damage, Finding, Hash, Manifest, Part, Report, VerifyingKey};

/// A file to be judged. Its name says what it is: see [`FileKind`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name, without a folder.
    pub name: String,
    /// What it holds, not compressed.
    pub bytes: Vec<u8>,
}

/// What a file is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// `….manifest.json`.
    Manifest,
    /// `….checkpoints.jsonl`: what the API server keeps.
    Checkpoints,
    /// Anything else: a part of a log.
    Part,
}

impl File {
    /// What it is.
    pub fn kind(&self) -> FileKind {
        if self.name.ends_with(".manifest.json") {
            FileKind::Manifest
        } else if self.name.ends_with(".checkpoints.jsonl") {
            FileKind::Checkpoints
        } else {
            FileKind::Part
        }
    }
}

/// Scope and writer of a log.
type Owner = (String, String);

/// What the files say of one log.
#[derive(Default)]
struct Log<'a> {
    checkpoints: Vec<Placed<'a, Checkpoint>>,
    manifests: Vec<Placed<'a, Manifest>>,
    /// Numbers and hashes of the lines that checkpoints state.
    stated: BTreeSet<(u64, Hash)>,
    /// Numbers of the lines that a log may start with, and the hashes of those before.
    starts: BTreeSet<(u64, Hash)>,
    runs: Vec<Run<'a>>,
}

/// What is known while judging.
#[derive(Default)]
struct Case<'a> {
    logs: BTreeMap<Owner, Log<'a>>,
    findings: Vec<Finding>,
}

impl<'a> Case<'a> {
    fn found(&mut self, file: &str, line: usize, damage: Damage) {
        let line = u64::try_from(line).unwrap_or(u64::MAX);
        self.findings.push(Finding { file: file.to_owned(), line, damage });
    }

    fn log(&mut self, scope: &str, writer: &str) -> &mut Log<'a> {
        self.logs.entry((scope.to_owned(), writer.to_owned())).or_default()
    }
}

/// Judges exported files together with whatever checkpoints were kept elsewhere.
///
/// Every log that a manifest or checkpoint names has to be there, from where retention left it to the last line that
/// was exported. Nothing is asked of logs that nothing names: the newest checkpoints belong to the evidence.
pub fn verify(files: &[File], keys: &[VerifyingKey]) -> Report {
    let mut case = Case::default();
    let mut parts = Vec::new();
    for file in files {
        match file.kind() {
            FileKind::Manifest => case.read_manifest(file, keys),
            FileKind::Checkpoints => case.read_checkpoints(file, keys),
            FileKind::Part => parts.push(file),
        }
    }
    let listed = case.judge_statements();
    for file in parts {
        case.read_part(file, listed.get(&file.name));
    }
    let missing = listed.iter().filter(|(name, listed)| {
        let start = case.logs.get(&listed.owner).map_or(1, |log| log.start().number);
        listed.part.last >= start && !files.iter().any(|file| file.name == **name)
    });
    let missing: Vec<_> = missing.map(|(name, _)| name.clone()).collect();
    for name in missing {
        case.found(&name, 0, Damage::MissingFile);
    }
    case.judge_cover()
}

/// What a manifest says of a file.
struct Listed {
    owner: Owner,
    part: Part,
}
