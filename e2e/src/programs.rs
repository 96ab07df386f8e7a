//! Where the programs under test are.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// Path of a program of this workspace, in the folder that the running program was built into.
///
/// # Errors
/// When it was not built; the message says how to.
pub fn path(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("path of the running program")?;
    // Tests run from `deps/` below the folder of the programs.
    let found = own.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    match found {
        Some(path) => Ok(path),
        None => {
            bail!("program {name} is not built: run 'cargo build --workspace --bins' first (make test does)")
        }
    }
}

/// Root of the repository.
pub fn repository() -> &'static Path {
    // The crate lies one level below the root.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}
