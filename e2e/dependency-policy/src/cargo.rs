//! What cargo and rustc tell about the workspace.

use std::{
    env,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::graph::Kinds;

/// Cargo or rustc did not tell.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CargoError {
    /// The program is not there.
    #[error("cannot run {program:?}: {cause}; install Rust, or put it on the PATH")]
    Run { program: OsString, cause: io::Error },
    /// It ended with an error.
    #[error("{program:?} {arguments} failed: {said}")]
    Failed { program: OsString, arguments: String, said: String },
    /// Its answer is no text, or lacks what is looked for.
    #[error("{program:?} {arguments} answered in another form than expected")]
    Answer { program: OsString, arguments: String },
}

/// A workspace, seen from the platform that this program runs on.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    host: String,
}

impl Workspace {
    /// The workspace that the current folder belongs to.
    pub(crate) fn here() -> Result<Self, CargoError> {
        let arguments = ["locate-project", "--workspace", "--message-format", "plain"];
        let manifest = run("CARGO", "cargo", Path::new("."), &arguments)?;
        let root = Path::new(manifest.trim_end()).parent().map(Path::to_owned);
        let root = root.ok_or_else(|| answer("cargo", &arguments))?;
        let version = run("RUSTC", "rustc", &root, &["-vV"])?;
        let host = version.lines().find_map(|line| line.strip_prefix("host: "));
        let host = host.ok_or_else(|| answer("rustc", &["-vV"]))?.to_owned();
        Ok(Self { root, host })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Crates, licences and sources, with every feature of the workspace's own crates.
    pub(crate) fn metadata(&self) -> Result<String, CargoError> {
        let filter = ["--format-version", "1", "--all-features", "--filter-platform", &self.host];
        self.cargo(&[&["metadata", "--locked"], filter.as_slice()].concat())
    }

    /// What one crate of the workspace brings along when it is built alone, with each of its features.
    pub(crate) fn tree(&self, member: &str, kinds: Kinds) -> Result<String, CargoError> {
        let kinds = match kinds {
            Kinds::Programs => "normal,build",
            Kinds::Tests => "normal,build,dev",
        };
        let which = ["-p", member, "--all-features", "--target", &self.host, "-e", kinds];
        self.cargo(
            &[&["tree", "--locked", "--prefix", "depth", "--format", " {p}"], which.as_slice()].concat(),
        )
    }

    fn cargo(&self, arguments: &[&str]) -> Result<String, CargoError> {
        run("CARGO", "cargo", &self.root, arguments)
    }
}

fn run(variable: &str, program: &str, folder: &Path, arguments: &[&str]) -> Result<String, CargoError> {
    let program = env::var_os(variable).unwrap_or_else(|| program.into());
    let output = Command::new(&program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .map_err(|cause| CargoError::Run { program: program.clone(), cause })?;
    let arguments = arguments.join(" ");
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        return Err(CargoError::Failed { program, arguments, said });
    }
    String::from_utf8(output.stdout).map_err(|_| CargoError::Answer { program, arguments })
}

fn answer(program: &str, arguments: &[&str]) -> CargoError {
    CargoError::Answer { program: program.into(), arguments: arguments.join(" ") }
}
