//! Checks what the workspace of the current folder depends on: licences, banned crates, one TLS provider, duplicate versions, sources,
//! and which crate may depend on which.
//!
//! A reasoned equivalent of cargo-deny: that program takes minutes to compile wherever it is not installed, a prebuilt one is not to be
//! had for every machine, its advisory database is not reachable from every machine that has to pass `make check`, and it does not know
//! which crate of the workspace may depend on which. The checks here need nothing but cargo itself.
//! What each rule wants stands, with reasons, in `dependency-policy.yaml` at the workspace's root.
//!
//! Faults are printed on standard error, one a line; the exit status is then 1.

mod cargo;
mod checks;
mod graph;
mod policy;

use std::{fs, process::ExitCode};

use anyhow::Context as _;

use crate::{cargo::Workspace, graph::Graph, policy::Policy};

/// At the root of the workspace.
const POLICY: &str = "dependency-policy.yaml";

fn main() -> ExitCode {
    let faults = run().unwrap_or_else(|error| vec![format!("{error:#}")]);
    for fault in &faults {
        eprintln!("dependency-policy: {fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run() -> anyhow::Result<Vec<String>> {
    let workspace = Workspace::here()?;
    let file = workspace.root().join(POLICY);
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let policy = Policy::read(&text).context(POLICY)?;
    let graph = Graph::parse(&workspace.metadata()?, |member, kinds| workspace.tree(member, kinds))?;
    let faults = checks::all(&graph, &policy);
    if faults.is_empty() {
        println!(
            "dependency-policy: {} crates, {} of them in programs, {} of the workspace's own: nothing to object to",
            graph.len(),
            graph.in_programs().len(),
            graph.members().count()
        );
    }
    Ok(faults)
}
