//! Manifests and checkpoints: signatures, their own chains, and that they take nothing back.

use std::collections::BTreeMap;

use super::{Case, File, Listed, Log};
use crate::audit::chain::{
    Checkpoint, Damage, EnvelopeError, Hash, Manifest, Signed, Start, Statement, VerifyingKey, split,
};

/// A statement and the file and line where it stands.
pub(super) struct Placed<'a, T> {
    pub(super) signed: Signed<T>,
    pub(super) file: &'a str,
    pub(super) line: usize,
}

impl Log<'_> {
    /// Where retention says that the log starts.
    pub(super) fn start(&self) -> Start {
        let starts = self.checkpoints.iter().map(|c| c.signed.statement.start);
        starts.max_by_key(|start| start.number).unwrap_or(Start::FIRST)
    }
}

impl<'a> Case<'a> {
    pub(super) fn read_manifest(&mut self, file: &'a File, keys: &[VerifyingKey]) {
        let name = file.name.as_str();
        let signed = match split(&file.bytes) {
            (lines, []) => match lines.as_slice() {
                [line] => open::<Manifest>(line, keys),
                _ => Err(EnvelopeError::Malformed),
            },
            _ => Err(EnvelopeError::Malformed),
        };
        let signed = match signed {
            Ok(signed) => signed,
            Err(error) => return self.found(name, 0, Damage::Envelope(error)),
        };
        let Manifest { scope, writer, files, writers, .. } = &signed.statement;
        let (mut own, needed) = (false, files.iter().map(|part| part.last).max().unwrap_or(0));
        for known in writers {
            self.log(scope, &known.writer);
            for envelope in &known.checkpoints {
                match open::<Checkpoint>(envelope.as_bytes(), keys) {
                    Err(error) => self.found(name, 0, Damage::Envelope(error)),
                    Ok(c) if c.statement.scope != *scope || c.statement.writer != known.writer => {
                        self.found(name, 0, Damage::WrongStatement);
                    }
                    Ok(signed) => {
                        own |= known.writer == *writer && signed.statement.number >= needed;
                        self.log(scope, &known.writer).checkpoints.push(Placed {
                            signed,
                            file: name,
                            line: 0,
                        });
                    }
                }
            }
        }
        if !own {
            self.found(name, 0, Damage::WrongStatement);
        }
        let (scope, writer) = (scope.clone(), writer.clone());
        self.log(&scope, &writer).manifests.push(Placed { signed, file: name, line: 0 });
    }

    pub(super) fn read_checkpoints(&mut self, file: &'a File, keys: &[VerifyingKey]) {
        let name = file.name.as_str();
        let (lines, rest) = split(&file.bytes);
        if !rest.is_empty() {
            self.found(name, lines.len() + 1, Damage::CutLine);
        }
        for (line, bytes) in (1..).zip(lines) {
            match open::<Checkpoint>(bytes, keys) {
                Err(error) => self.found(name, line, Damage::Envelope(error)),
                Ok(signed) => {
                    let Checkpoint { scope, writer, .. } = signed.statement.clone();
                    self.log(&scope, &writer).checkpoints.push(Placed { signed, file: name, line });
                }
            }
        }
    }

    /// Judges the chains of statements; the answer is what manifests list.
    pub(super) fn judge_statements(&mut self) -> BTreeMap<String, Listed> {
        let (mut listed, mut found) = (BTreeMap::new(), Vec::new());
        for (owner, log) in &mut self.logs {
            chain(&mut log.manifests, |m| (m.number, m.previous), &mut found);
            chain(&mut log.checkpoints, |c| (c.sequence, c.previous), &mut found);
            let stated = log.checkpoints.iter().map(|c| &c.signed.statement);
            log.stated = stated.clone().map(|c| (c.number, c.hash)).collect();
            log.starts = stated.map(|c| c.start).map(|start| (start.number, start.previous)).collect();
            let mut last = 0;
            for pair in log.manifests.windows(2) {
                let [before, after] = pair else { continue };
                let missing = before.signed.statement.number.saturating_add(1);
                if missing < after.signed.statement.number {
                    found.push((after.file, 0, Damage::MissingManifest { number: missing }));
                }
            }
            for manifest in &log.manifests {
                for part in &manifest.signed.statement.files {
                    let part = part.clone();
                    if part.first <= last {
                        found.push((manifest.file, 0, Damage::Overlap));
                    }
                    last = last.max(part.last);
                    listed.insert(part.name.clone(), Listed { owner: owner.clone(), part });
                }
            }
            for pair in log.checkpoints.windows(2) {
                let [before, after] = pair else { continue };
                let (a, b) = (&before.signed.statement, &after.signed.statement);
                if a.number == b.number && a.hash != b.hash {
                    found.push((after.file, after.line, Damage::Fork));
                }
                if b.number < a.number || b.start.number < a.start.number || b.exported < a.exported {
                    found.push((after.file, after.line, Damage::Backwards));
                }
            }
        }
        for (file, line, damage) in found {
            self.found(file, line, damage);
        }
        listed
    }
}

fn open<T: Statement>(envelope: &[u8], keys: &[VerifyingKey]) -> Result<Signed<T>, EnvelopeError> {
    let text = std::str::from_utf8(envelope).map_err(|_| EnvelopeError::Malformed)?;
    Signed::open(text, keys)
}

/// Sorts statements, keeps one of each, and looks whether neighbours belong together. Those without a number, which are the manifests of
/// copies, belong to no chain and come last.
fn chain<'a, T>(
    all: &mut Vec<Placed<'a, T>>,
    position: impl Fn(&T) -> (u64, Hash),
    found: &mut Vec<(&'a str, usize, Damage)>,
) {
    all.sort_by_key(|placed| {
        let number = position(&placed.signed.statement).0;
        (number == Manifest::COPY, number, placed.signed.hash, placed.line)
    });
    all.dedup_by_key(|placed| placed.signed.hash);
    let mut before: Option<(u64, Hash)> = None;
    for placed in all.iter() {
        let (number, previous) = position(&placed.signed.statement);
        if number == Manifest::COPY {
            continue;
        }
        match before {
            Some((last, _)) if last == number => found.push((placed.file, placed.line, Damage::Fork)),
            Some((last, hash)) if last.checked_add(1) == Some(number) && hash != previous => {
                found.push((placed.file, placed.line, Damage::StatementChain));
            }
            None if number == 1 && previous != Hash::ZERO => {
                found.push((placed.file, placed.line, Damage::StatementChain));
            }
            _ => {}
        }
        before = Some((number, placed.signed.hash));
    }
}
