//! Checks what the workspace depends on: licences, banned crates, one TLS provider, duplicate versions, sources, and which crate may
//! depend on which.
//!
//! A reasoned equivalent of cargo-deny: that program takes minutes to compile wherever it is not installed, and its advisory
//! database is not reachable from every machine that has to pass `make check`. The checks here need nothing but cargo itself.
//! What each rule wants stands, with reasons, in `dependency-policy.yaml`.

mod checks;
mod graph;
mod policy;

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, ensure};

use crate::{
    graph::{Graph, Kinds},
    policy::Policy,
};

fn main() -> ExitCode {
    match run() {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            for fault in &faults {
                eprintln!("dependency-policy: {fault}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("dependency-policy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let file = root.join("dependency-policy.yaml");
    let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
    let policy: Policy = serde_yaml::from_str(&text).context("dependency-policy.yaml")?;
    let metadata = cargo(&root, &["metadata", "--format-version", "1", "--locked"])?;
    let graph = Graph::parse(&metadata, |member, kinds| {
        let kinds = if kinds == Kinds::Programs { "normal,build" } else { "normal,build,dev" };
        let tree = ["tree", "--locked", "-p", member, "-e", kinds, "--prefix", "depth", "--format", " {p}"];
        Ok(String::from_utf8(cargo(&root, &tree)?)?)
    })?;
    let faults = checks::all(&graph, &policy);
    if faults.is_empty() {
        println!(
            "dependency-policy: {} crates, {} of them in programs: nothing to object to",
            graph.len(),
            graph.in_programs().len()
        );
    }
    Ok(faults)
}

fn cargo(root: &Path, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program).args(arguments).current_dir(root).output().context("run cargo")?;
    ensure!(
        output.status.success(),
        "cargo {arguments:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}
