//! Where the control plane's programs are.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::{
    go_build::{self, BuildError},
    process,
};

/// Why there are no programs to start.
#[derive(Debug, thiserror::Error)]
pub enum AssetsError {
    /// `KUBEBUILDER_ASSETS` names a folder that does not have them all.
    #[error("KUBEBUILDER_ASSETS={}: no executable {} there; put it there or unset KUBEBUILDER_ASSETS to build it", dir.display(), missing.join(", "))]
    Incomplete {
        /// The folder.
        dir: PathBuf,
        /// The names not found.
        missing: Vec<&'static str>,
    },
    /// They could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// The programs of a control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assets {
    /// The folder that holds them all.
    pub dir: PathBuf,
    /// The key-value store.
    pub etcd: PathBuf,
    /// The API server.
    pub kube_apiserver: PathBuf,
    /// The command line of Kubernetes.
    pub kubectl: PathBuf,
}

const NAMES: [&str; 3] = ["etcd", "kube-apiserver", "kubectl"];

impl Assets {
    fn of(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            etcd: dir.join("etcd"),
            kube_apiserver: dir.join("kube-apiserver"),
            kubectl: dir.join("kubectl"),
        }
    }
}

/// Names of the programs that a folder lacks.
pub(crate) fn missing(dir: &Path) -> Vec<&'static str> {
    NAMES.into_iter().filter(|name| !process::is_executable(&dir.join(name))).collect()
}

/// The programs of the folder `KUBEBUILDER_ASSETS` if that is set, or else of the cache folder, where they are built if need be:
/// minutes, once, with progress on stderr.
pub fn locate_or_build() -> Result<Assets, AssetsError> {
    if let Some(dir) = env::var_os("KUBEBUILDER_ASSETS").filter(|dir| !dir.is_empty()) {
        return given(Path::new(&dir));
    }
    let folder = go_build::cache_folder()?;
    if !missing(&folder).is_empty() {
        go_build::build(&folder)?;
    }
    Ok(Assets::of(&folder))
}

fn given(dir: &Path) -> Result<Assets, AssetsError> {
    match missing(dir) {
        missing if missing.is_empty() => Ok(Assets::of(dir)),
        missing => Err(AssetsError::Incomplete { dir: dir.to_owned(), missing }),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_given_folder_must_have_all_programs() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("kubectl"), "not executable").unwrap();
        let etcd = dir.path().join("etcd");
        fs::write(&etcd, "").unwrap();
        fs::set_permissions(&etcd, fs::Permissions::from_mode(0o755)).unwrap();

        let error = given(dir.path()).unwrap_err().to_string();
        assert!(error.contains("kube-apiserver, kubectl") && !error.contains("etcd,"), "{error}");

        for name in NAMES {
            fs::write(dir.path().join(name), "").unwrap();
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        assert_eq!(given(dir.path()).unwrap().etcd, etcd);
    }
}
