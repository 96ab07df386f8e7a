//! Whether the lines of a log are all there.

use super::{Case, Log};
use crate::audit::chain::{Checkpoint, Damage, Finding, LogReport, Report};

impl Case<'_> {
    pub(super) fn judge_cover(mut self) -> Report {
        let mut logs = Vec::new();
        for ((scope, writer), log) in &mut self.logs {
            log.runs.sort_by_key(|run| (run.first, run.file, run.line));
            logs.push(log.cover(scope, writer, &mut self.findings));
        }
        self.findings.sort();
        self.findings.dedup();
        Report { findings: self.findings, logs }
    }
}

impl Log<'_> {
    fn cover(&self, scope: &str, writer: &str, findings: &mut Vec<Finding>) -> LogReport {
        let (scope, writer) = (scope.to_owned(), writer.to_owned());
        let mut found = |file: &str, line: usize, damage| {
            let line = u64::try_from(line).unwrap_or(u64::MAX);
            findings.push(Finding { file: file.to_owned(), line, damage });
        };
        let missing =
            |first, last| Damage::MissingLines { writer: writer.clone(), scope: scope.clone(), first, last };
        let start = self.start().number.max(1);
        let (mut last, mut hash) = (0, None);
        for run in &self.runs {
            let next = start.max(u64::saturating_add(last, 1));
            if run.first <= last {
                found(run.file, run.line, Damage::Overlap);
            } else if run.first > next {
                found("", 0, missing(next, run.first - 1));
            } else if hash.is_some_and(|hash| run.first - 1 == last && run.previous != hash) {
                found(run.file, run.line, Damage::Chain);
            }
            if run.last > last {
                (last, hash) = (run.last, Some(run.hash));
            }
        }
        let stated = || self.checkpoints.iter().map(|c| &c.signed.statement);
        let listed = self.manifests.iter().flat_map(|m| &m.signed.statement.files).map(|part| part.last);
        let needed = stated().map(|c| c.exported).chain(listed).max().unwrap_or(0);
        let known = stated().map(|c| c.number).max().unwrap_or(0);
        let next = start.max(last.saturating_add(1));
        if needed >= next {
            if self.runs.is_empty() {
                let (writer, scope) = (writer.clone(), scope.clone());
                found("", 0, Damage::MissingWriter { writer, scope });
            } else {
                found("", 0, missing(next, needed));
            }
        }
        if last > known {
            let (writer, scope, first) = (writer.clone(), scope.clone(), known.saturating_add(1));
            found("", 0, Damage::NotCovered { writer, scope, first, last });
        }
        let until = stated().filter(|c| c.number <= last).map(|c: &Checkpoint| c.time).max();
        let pending = (known > last && known > needed).then_some(known);
        LogReport { writer, scope, last, until, pending }
    }
}
