//! The simulator's request logs, held against the allow list.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::allow_list::AllowList;

/// User agents of people, administrators and tests begin so: what they send is theirs. Whoever does not say so is checked.
const STAND_IN: &str = "stand-in/";

/// Faults that are told one by one; the rest is only counted.
const TOLD: usize = 50;

/// The logs cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A line is not one that the simulator writes.
    #[error("{}:{number}: not a line of a request log: {cause}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counts from 1.
        number: usize,
        /// What the parser said.
        cause: serde_json::Error,
    },
    /// There is nothing to check, which proves nothing.
    #[error("{} holds no request of Roomkeeper: was GRAPH_SIM_REQUEST_LOG set to it while the tests ran?", folder.display())]
    Nothing {
        /// Where requests were looked for.
        folder: PathBuf,
    },
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
enum Line {
    Request { method: String, path: String, user_agent: Option<String> },
    WithoutSelect { template: String, user_agent: Option<String> },
    Forbidden { field: String, user_agent: Option<String> },
}

impl Line {
    fn is_a_stand_ins(&self) -> bool {
        let (Self::Request { user_agent, .. }
        | Self::WithoutSelect { user_agent, .. }
        | Self::Forbidden { user_agent, .. }) = self;
        user_agent.as_ref().is_some_and(|agent| agent.starts_with(STAND_IN))
    }
}

/// What the logs tell.
#[derive(Debug, Default)]
pub struct Report {
    /// Requests of Roomkeeper.
    pub checked: u64,
    /// Requests of those that stand in for people.
    pub stand_ins: u64,
    /// How often each entry of the allow list was used.
    pub used: BTreeMap<String, u64>,
    /// Entries that nothing was sent by.
    pub unused: Vec<String>,
    /// Reads without `$select`, as the simulator counted them. Must be 0.
    pub without_select: u64,
    /// Requests that named a body or an attachment, as the simulator counted them. Must be 0.
    pub forbidden: u64,
    /// What must not be, one sentence each; at most fifty, and then how many more.
    pub faults: Vec<String>,
}

/// Reads every log of a folder.
///
/// # Errors
/// When one cannot be read, or there is no request of Roomkeeper in any.
pub fn check(folder: &Path, allowed: &AllowList) -> Result<Report, LogError> {
    let read = |path: &Path, cause| LogError::Read { path: path.to_owned(), cause };
    let mut report = Report::default();
    let mut faults = BTreeSet::new();
    for file in fs::read_dir(folder).map_err(|cause| read(folder, cause))? {
        let path = file.map_err(|cause| read(folder, cause))?.path();
        let text = fs::read_to_string(&path).map_err(|cause| read(&path, cause))?;
        for (number, line) in text.lines().enumerate() {
            let line: Line = serde_json::from_str(line).map_err(|cause| LogError::Line {
                path: path.clone(),
                number: number + 1,
                cause,
            })?;
            report.add(&line, allowed, &mut faults);
        }
    }
    if report.checked == 0 {
        return Err(LogError::Nothing { folder: folder.to_owned() });
    }
    report.unused =
        allowed.entries().filter(|what| !report.used.contains_key(*what)).map(str::to_owned).collect();
    let more = faults.len().saturating_sub(TOLD);
    report.faults = faults.into_iter().take(TOLD).collect();
    if more > 0 {
        report.faults.push(format!("and {more} more"));
    }
    Ok(report)
}

impl Report {
    fn add(&mut self, line: &Line, allowed: &AllowList, faults: &mut BTreeSet<String>) {
        if line.is_a_stand_ins() {
            self.stand_ins += u64::from(matches!(line, Line::Request { .. }));
            return;
        }
        match line {
            Line::Request { method, path, .. } => {
                self.checked += 1;
                match allowed.allows(method, path) {
                    Ok(what) => *self.used.entry(what.to_owned()).or_default() += 1,
                    Err(why) => drop(faults.insert(format!("not allowed: {method} {path}: {why}"))),
                }
            }
            Line::WithoutSelect { template, .. } => {
                self.without_select += 1;
                faults.insert(format!("read without $select: {template}"));
            }
            Line::Forbidden { field, .. } => {
                self.forbidden += 1;
                faults.insert(format!("asked for what must never be asked for: {field}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(lines: &str) -> Result<Report, LogError> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("1-0.jsonl"), lines).unwrap();
        check(folder.path(), &AllowList::of_the_repository().unwrap())
    }

    const GOOD: &str = r#"{"kind":"request","method":"GET","path":"/v1.0/users/a@b?$select=id,userPrincipalName","userAgent":"roomkeeper/0.1.0"}"#;

    #[test]
    fn allowed_requests_are_counted_by_entry() {
        let report = checked(&format!("{GOOD}\n{GOOD}\n")).unwrap();
        assert_eq!((report.checked, report.stand_ins, report.used["look a user up"]), (2, 0, 2));
        assert_eq!(report.faults, [""; 0]);
        assert!(report.unused.contains(&"first read of an event".to_owned()));
    }

    #[test]
    fn whoever_does_not_say_that_it_stands_in_is_checked() {
        let bad = |agent: &str| {
            format!(r#"{{"kind":"request","method":"GET","path":"/v1.0/me/messages","userAgent":{agent}}}"#)
        };
        for agent in ["null", "\"roomkeeper/0.1.0\"", "\"reqwest\""] {
            let report = checked(&format!("{GOOD}\n{}\n", bad(agent))).unwrap();
            assert_eq!(report.faults.len(), 1, "{agent}");
            assert!(report.faults[0].contains("/v1.0/me/messages"), "{:?}", report.faults);
        }
        let report = checked(&format!("{GOOD}\n{}\n", bad("\"stand-in/people\""))).unwrap();
        assert_eq!((report.faults.len(), report.stand_ins), (0, 1));
    }

    #[test]
    fn what_the_simulator_counted_is_a_fault() {
        let counted = format!(
            "{GOOD}\n{}\n{}\n",
            r#"{"kind":"withoutSelect","template":"/users/{id}","userAgent":null}"#,
            r#"{"kind":"forbidden","field":"body","userAgent":"roomkeeper/0.1.0"}"#,
        );
        let report = checked(&counted).unwrap();
        assert_eq!((report.without_select, report.forbidden, report.faults.len()), (1, 1, 2));
    }

    #[test]
    fn nothing_to_check_and_lines_cut_off_are_errors() {
        assert!(matches!(checked(""), Err(LogError::Nothing { .. })));
        assert!(matches!(checked(&format!("{GOOD}\n{{\"kind\"")), Err(LogError::Line { number: 2, .. })));
    }
}
