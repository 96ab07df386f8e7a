//! The lines of one file: numbers, chain, and what checkpoints state of them.

use std::collections::BTreeSet;

use super::{Case, File, Listed, Log, Owner};
use crate::audit::chain::{Damage, Hash, Line, decode, split};

/// Lines that follow each other in one file.
pub(super) struct Run<'a> {
    pub(super) first: u64,
    /// What the first line says of the line before it.
    pub(super) previous: Hash,
    pub(super) last: u64,
    pub(super) hash: Hash,
    /// Where the first line stands.
    pub(super) file: &'a str,
    pub(super) line: usize,
}

impl<'a> Case<'a> {
    pub(super) fn read_part(&mut self, file: &'a File, listed: Option<&Listed>) {
        let name = file.name.as_str();
        let (lines, rest) = split(&file.bytes);
        let mut owner = listed.map(|listed| listed.owner.clone());
        // First and last line number seen, for the manifest's range.
        let mut range: Option<(u64, u64)> = None;
        let mut run: Option<Run<'a>> = None;
        for (place, bytes) in (1..).zip(&lines) {
            let Some(line) = decode(bytes).ok().filter(|line| line.number > 0) else {
                self.found(name, place, Damage::BadLine);
                self.close(owner.as_ref(), run.take());
                continue;
            };
            let (scope, writer) = owner.get_or_insert_with(|| (line.scope.clone(), line.writer.clone()));
            if *scope != line.scope || *writer != line.writer {
                self.found(name, place, Damage::Foreign);
                self.close(owner.as_ref(), run.take());
                continue;
            }
            let hash = Hash::of(bytes);
            let stated = self.log(scope, writer).judge(&line, hash);
            if let Some(damage) = stated {
                self.found(name, place, damage);
            }
            range = Some((range.map_or(line.number, |(first, _)| first), line.number));
            run = Some(match run.take() {
                Some(run) if run.last.checked_add(1) == Some(line.number) => {
                    if run.hash != line.previous {
                        self.found(name, place, Damage::Chain);
                    }
                    Run { last: line.number, hash, ..run }
                }
                before => {
                    if let Some(before) = before {
                        let expected = before.last.saturating_add(1);
                        self.found(name, place, Damage::Number { expected, found: line.number });
                        self.close(owner.as_ref(), Some(before));
                    }
                    let (number, previous) = (line.number, line.previous);
                    Run { first: number, previous, last: number, hash, file: name, line: place }
                }
            });
        }
        self.close(owner.as_ref(), run);
        if !rest.is_empty() {
            self.found(name, lines.len() + 1, Damage::CutLine);
        }
        match listed {
            None => self.found(name, 0, Damage::Unlisted),
            Some(Listed { part, .. }) => {
                let all = u64::try_from(lines.len()) == Ok(part.lines);
                if range != Some((part.first, part.last)) || !all {
                    self.found(name, 0, Damage::Range);
                }
            }
        }
    }

    fn close(&mut self, owner: Option<&Owner>, run: Option<Run<'a>>) {
        if let (Some((scope, writer)), Some(run)) = (owner, run) {
            self.log(scope, writer).runs.push(run);
        }
    }
}

impl Log<'_> {
    /// Compares a line with what checkpoints state.
    fn judge(&self, line: &Line, hash: Hash) -> Option<Damage> {
        let differs = |all: &BTreeSet<(u64, Hash)>, hash| {
            all.range((line.number, Hash::ZERO)..)
                .take_while(|(n, _)| *n == line.number)
                .any(|(_, h)| *h != hash)
        };
        if differs(&self.stated, hash) {
            return Some(Damage::NotAsStated);
        }
        let no_start = line.number == 1 && line.previous != Hash::ZERO;
        (no_start || differs(&self.starts, line.previous)).then_some(Damage::Start)
    }
}
