//! `audit export`: a copy of a scope's log straight from every writer, for whoever cannot wait for the schedule or does not trust its
//! destination.

mod connection;
mod receive;
mod register;
mod token;

use std::{fmt, fs};

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use roomkeeper_crds::audit::{COPY_SYSTEM_PATH, copy_path};
use roomkeeper_graph::audit::chain::{LogName, SYSTEM};
use serde::Serialize;

use self::{
    connection::Writer,
    receive::{Received, Receiver, create},
    register::{Known, Register},
};
use crate::{
    api::Where,
    args::{AuditExport, Connection},
    exit::Failure,
    output,
    table::Table,
};

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    /// Every line that is known of was copied; with `--pending`, every line that no export has carried away.
    complete: bool,
    scope: String,
    writers: Vec<Row>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    writer: String,
    /// How many lines were copied.
    lines: u64,
    /// The last line that is known of.
    last_line: u64,
    /// The last line that an export has carried away.
    exported_line: u64,
    /// Why not all that was asked for was copied.
    trouble: Option<String>,
}

/// Copies, prints, and fails if something that is known of was not copied.
pub(super) async fn run(connection: &Connection, request: &AuditExport) -> anyhow::Result<()> {
    let cluster = connection.cluster().await?;
    let Where::Namespace(namespace) = &cluster.place else {
        return Err(Failure::Usage(
            "-A: a copy is made of one AccessScope: give its namespace with -n".to_owned(),
        )
        .into());
    };
    let (scope, path) = match &request.scope {
        Some(name) => (format!("{namespace}/{name}"), copy_path(namespace, name)),
        None => (SYSTEM.to_owned(), COPY_SYSTEM_PATH.to_owned()),
    };
    let log = LogName::of_scope(&scope)
        .ok_or_else(|| Failure::Usage(format!("SCOPE {scope}: not the name of an AccessScope")))?;
    let path = if request.pending { format!("{path}?pending=true") } else { path };
    let register = Register::read(&cluster, &request.installation).await?;
    let token = token::get(&cluster, namespace, request.service_account.as_deref()).await?;
    let folder = &request.to;
    fs::create_dir_all(folder).with_context(|| format!("--to {}: cannot be made", folder.display()))?;
    let kept = register.kept(&log);
    create(folder, &format!("{}.checkpoints.jsonl", log.folder()), kept.as_bytes())?;

    let limit = connection.limit();
    let pods: Api<Pod> = cluster.api(&request.installation);
    let mut copied = Vec::new();
    let mut troubles = Vec::new();
    for pod in &register.pods {
        let into = Receiver { folder, keys: &register.keys, log: &log, pod: &pod.name };
        let writer = Writer { pods: &pods, pod, token: &token, limit };
        match writer.copy(&path, into).await {
            Ok(Some(received)) => copied.push(received),
            Ok(None) => {}
            Err(error) => troubles.push((pod.name.clone(), format!("{error:#}"))),
        }
    }
    let answer = Answer::new(&log, &register.known(&log), &copied, &troubles, request.pending);
    output::print(request.output.map(Into::into), &answer, &[], &answer)?;
    if answer.complete {
        return Ok(());
    }
    Err(Failure::Damaged("the copy is incomplete: see what the rows say".to_owned()).into())
}

impl Answer {
    fn new(
        log: &LogName,
        known: &[Known],
        copied: &[Received],
        troubles: &[(String, String)],
        pending: bool,
    ) -> Self {
        let mut writers: Vec<Row> = copied
            .iter()
            .map(|received| Row {
                writer: received.writer.clone(),
                lines: received.lines,
                last_line: received.last,
                exported_line: received.exported,
                trouble: None,
            })
            .collect();
        for known in known.iter().filter(|known| copied.iter().all(|one| one.writer != known.writer)) {
            let is_needed = known.last >= known.start && (!pending || known.last > known.exported);
            let trouble = is_needed.then(|| {
                let told = troubles.iter().find(|(pod, _)| known.pod == *pod).map(|(_, told)| told.clone());
                told.unwrap_or_else(|| "this writer is gone, and its lines with it".to_owned())
            });
            writers.push(Row {
                writer: known.writer.clone(),
                lines: 0,
                last_line: known.last,
                exported_line: known.exported,
                trouble,
            });
        }
        // Whether a pod that nothing is known of has lines cannot be told without it.
        for (pod, told) in troubles.iter().filter(|(pod, _)| known.iter().all(|known| known.pod != *pod)) {
            writers.push(Row {
                writer: pod.clone(),
                lines: 0,
                last_line: 0,
                exported_line: 0,
                trouble: Some(told.clone()),
            });
        }
        writers.sort_by(|a, b| a.writer.cmp(&b.writer));
        let complete = writers.iter().all(|row| row.trouble.is_none());
        Self { complete, scope: log.to_string(), writers }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&["WRITER", "COPIED", "LAST", "EXPORTED", "STATE"]);
        for row in &self.writers {
            table.row(vec![
                row.writer.clone(),
                row.lines.to_string(),
                row.last_line.to_string(),
                row.exported_line.to_string(),
                match &row.trouble {
                    Some(trouble) => format!("not copied: {trouble}"),
                    None if row.lines == 0 => "nothing to copy".to_owned(),
                    None => "copied".to_owned(),
                },
            ]);
        }
        write!(f, "{table}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(pod: &str, id: &str, last: u64, exported: u64) -> Known {
        Known { pod: pod.to_owned(), writer: format!("{pod}-{id}"), start: 1, last, exported }
    }

    fn judged(pending: bool) -> Answer {
        let log = LogName::of_scope("rooms/contoso").unwrap();
        let copied = [Received { writer: "operator-0-a".to_owned(), lines: 3, last: 9, exported: 6 }];
        let known = [
            known("operator-0", "a", 8, 6),
            known("operator-0", "gone", 5, 5),
            known("webhook-0", "b", 4, 2),
        ];
        let told = |pod: &str| (pod.to_owned(), "no answer".to_owned());
        Answer::new(&log, &known, &copied, &[told("webhook-0"), told("webhook-1")], pending)
    }

    #[test]
    fn what_is_known_of_and_was_not_copied_is_named() {
        let troubles = |answer: &Answer| {
            let rows = answer.writers.iter();
            rows.map(|row| (row.writer.clone(), row.trouble.clone())).collect::<Vec<_>>()
        };
        let row = |writer: &str, trouble: Option<&str>| (writer.to_owned(), trouble.map(str::to_owned));
        let whole = judged(false);
        let gone = "this writer is gone, and its lines with it";
        let expected = |gone| {
            [
                row("operator-0-a", None),
                row("operator-0-gone", gone),
                row("webhook-0-b", Some("no answer")),
                row("webhook-1", Some("no answer")),
            ]
        };
        assert_eq!(troubles(&whole), expected(Some(gone)));
        // What an export has carried away is not needed from the writer.
        assert_eq!(troubles(&judged(true)), expected(None));
        assert!(!whole.complete);
    }
}
