//! Checks what tests and demo left behind. Faults are printed on standard error, one a line; the exit status is then 1.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use least_data::{allow_list::AllowList, canary, requests};

/// Check from outside that Roomkeeper asked for the listed data only, and wrote none of it where it must not stand.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    check: Check,
}

#[derive(Subcommand)]
enum Check {
    /// Hold the request logs of the Graph simulator against the allow list
    Requests {
        /// Folder that GRAPH_SIM_REQUEST_LOG named while the tests ran
        folder: PathBuf,
    },
    /// Search logs, metrics, events, queue and audit for planted strings, tokens and clientStates
    Canaries {
        /// Folder that ROOMKEEPER_KEEP_WRITTEN named while the tests ran
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    let faults = run(&Args::parse().check).unwrap_or_else(|error| vec![format!("{error:#}")]);
    for fault in &faults {
        eprintln!("least-data: {fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(check: &Check) -> anyhow::Result<Vec<String>> {
    match check {
        Check::Requests { folder } => {
            let report = requests::check(folder, &AllowList::of_the_repository()?)?;
            println!(
                "least-data: {} requests of Roomkeeper ({} of stand-ins left out), {} without $select, {} for bodies or attachments",
                report.checked, report.stand_ins, report.without_select, report.forbidden
            );
            for (what, count) in &report.used {
                println!("least-data: {count:>8} {what}");
            }
            for what in &report.unused {
                println!("least-data:     none {what}");
            }
            Ok(report.faults)
        }
        Check::Canaries { folder } => match canary::search_all(folder) {
            Ok(0) => anyhow::bail!(
                "{} holds no file: was ROOMKEEPER_KEEP_WRITTEN set to it while the tests ran?",
                folder.display()
            ),
            Ok(files) => {
                println!(
                    "least-data: {files} files of logs, metrics, events, queue and audit hold no canary"
                );
                Ok(Vec::new())
            }
            Err(canary::SearchError::Found(hits)) => Ok(hits.iter().map(ToString::to_string).collect()),
            Err(error) => Err(error.into()),
        },
    }
}
