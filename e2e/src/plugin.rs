//! The kubectl plugin as a person runs it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::Context as _;
use roomkeeper_controlplane::ControlPlane;
use serde_json::Value;

use crate::programs;

/// The plugin's program with the kubeconfig of one user.
pub struct Plugin {
    program: PathBuf,
    kubeconfig: PathBuf,
}

/// What a run said.
#[derive(Debug)]
pub struct Said {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Plugin {
    /// For the user of that kubeconfig.
    ///
    /// # Errors
    /// When the plugin is not built.
    pub fn of(kubeconfig: &Path) -> anyhow::Result<Self> {
        Ok(Self { program: programs::path("kubectl-roomkeeper")?, kubeconfig: kubeconfig.to_owned() })
    }

    /// Runs it to its end, without a terminal.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<Said> {
        let mut command = Command::new(&self.program);
        said(command.env("KUBECONFIG", &self.kubeconfig).args(arguments))
    }

    /// Runs it and reads its answer as JSON.
    ///
    /// # Errors
    /// When it fails, or says something else.
    pub fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        let said = self.run(&all)?;
        anyhow::ensure!(said.code == 0, "{arguments:?}: {said:?}");
        serde_json::from_str(&said.out).with_context(|| format!("{arguments:?}: {}", said.out))
    }
}

/// Runs a shell block of a page of the guide with kubectl and the plugin on the path, as the user of that kubeconfig.
///
/// # Errors
/// When the page has no such block, or the shell cannot be started.
pub fn run_block(
    control_plane: &ControlPlane,
    kubeconfig: &Path,
    page: &str,
    edit: impl Fn(&str) -> String,
) -> anyhow::Result<Said> {
    let text = std::fs::read_to_string(programs::repository().join("docs").join(page))?;
    let block = text
        .split_once("```sh\n")
        .and_then(|(_, rest)| rest.split_once("```"))
        .map(|(block, _)| edit(block))
        .with_context(|| format!("docs/{page} has no shell block"))?;
    let folder = |path: &Path| path.parent().map(Path::to_owned);
    let plugin = programs::path("kubectl-roomkeeper")?;
    let own = folder(control_plane.kubectl_path()).into_iter().chain(folder(&plugin));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(own.chain(std::env::split_paths(&path)))?;
    let mut shell = Command::new("bash");
    said(
        shell
            .args(["-euo", "pipefail", "-c", &block])
            .env("PATH", path)
            .env("KUBECONFIG", kubeconfig)
            .env("KUBECACHEDIR", control_plane.dir().join("kubectl-cache"))
            .env("KUBERC", "off"),
    )
}

fn said(command: &mut Command) -> anyhow::Result<Said> {
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().with_context(|| format!("run {command:?}"))?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).context("what it said is no text");
    Ok(Said { code: status.code().unwrap_or(-1), out: text(stdout)?, err: text(stderr)? })
}
