//! The storage servers, installed once from pinned versions into `target/audit-destinations`.
//!
//! Versions and hashes are in `e2e/destinations`. The folder's name holds the hash of those files, so that another version is another
//! folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, ensure};
use data_encoding::HEXLOWER;
use roomkeeper_e2e::programs;
use sha2::{Digest as _, Sha256};

/// One installation at a time: the tests of this program run side by side.
static INSTALLING: Mutex<()> = Mutex::new(());

fn pins() -> PathBuf {
    programs::repository().join("e2e/destinations")
}

/// Folder of Python's packages, for `PYTHONPATH`: moto's server, and with it `cryptography`.
///
/// # Errors
/// When pip cannot be run or refuses.
pub(crate) fn python() -> anyhow::Result<PathBuf> {
    once("python", &["requirements.txt"], |folder| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"])
            .args(["--only-binary", ":all:", "--target"])
            .arg(folder)
            .arg("--requirement")
            .arg(pins().join("requirements.txt"));
        run(&mut pip, "python3 with pip (Debian: python3-pip)")
    })
}

/// Folder of Node's packages: azurite.
///
/// # Errors
/// When npm cannot be run or refuses.
pub(crate) fn node() -> anyhow::Result<PathBuf> {
    once("node", &["package.json", "package-lock.json", ".npmrc"], |folder| {
        for file in ["package.json", "package-lock.json", ".npmrc"] {
            fs::copy(pins().join(file), folder.join(file)).with_context(|| format!("copy {file}"))?;
        }
        // No package's own script runs.
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder);
        run(&mut npm, "node and npm (Debian: nodejs, npm)")
    })
}

fn once(
    kind: &str,
    pins_of: &[&str],
    install: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let _alone = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut hash = Sha256::new();
    for file in pins_of {
        hash.update(fs::read(pins().join(file)).with_context(|| format!("read e2e/destinations/{file}"))?);
    }
    let hash: String = HEXLOWER.encode(&hash.finalize()).chars().take(12).collect();
    let root = target()?.join("audit-destinations");
    let (folder, complete) =
        (root.join(format!("{kind}-{hash}")), root.join(format!("{kind}-{hash}.complete")));
    if complete.is_file() {
        return Ok(folder);
    }
    // What an earlier run left half done.
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    install(&folder)?;
    fs::write(&complete, "")?;
    Ok(folder)
}

fn run(command: &mut Command, needed: &str) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{needed} is missing: install it"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}

/// The folder that this program was built into.
fn target() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("path of the running program")?;
    // target/debug/deps/program
    own.ancestors().nth(3).map(Path::to_owned).context("the program does not lie in a target folder")
}
