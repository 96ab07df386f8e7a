//! Where the control plane's programs are.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::{
    go_build::{self, BuildError},
    toolset::{CHART, CONTROL_PLANE, CONTROLLER_MANAGER},
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

/// The programs of the folder `KUBEBUILDER_ASSETS` if that is set, or else of the cache folder, where they are built if need be:
/// minutes, once, with progress on stderr.
pub fn locate_or_build() -> Result<Assets, AssetsError> {
    if let Some(dir) = env::var_os("KUBEBUILDER_ASSETS").filter(|dir| !dir.is_empty()) {
        return given(Path::new(&dir));
    }
    Ok(Assets::of(&go_build::built(&CONTROL_PLANE)?))
}

/// The program that `KUBE_CONTROLLER_MANAGER` names if that is set, or else one built like the control plane.
pub fn controller_manager() -> Result<PathBuf, AssetsError> {
    match env::var_os("KUBE_CONTROLLER_MANAGER").filter(|given| !given.is_empty()) {
        Some(given) => Ok(given.into()),
        None => Ok(go_build::built(&CONTROLLER_MANAGER)?.join("kube-controller-manager")),
    }
}

/// The folder with helm and kubeconform, built like the control plane.
pub fn chart_tools() -> Result<PathBuf, AssetsError> {
    Ok(go_build::built(&CHART)?)
}

/// The program that `HELM` names if that is set, or else the one of [`chart_tools`].
pub fn helm() -> Result<PathBuf, AssetsError> {
    match env::var_os("HELM").filter(|given| !given.is_empty()) {
        Some(given) => Ok(given.into()),
        None => Ok(chart_tools()?.join("helm")),
    }
}

fn given(dir: &Path) -> Result<Assets, AssetsError> {
    match CONTROL_PLANE.missing(dir) {
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

        for name in ["etcd", "kube-apiserver", "kubectl"] {
            fs::write(dir.path().join(name), "").unwrap();
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        assert_eq!(given(dir.path()).unwrap().etcd, etcd);
    }
}
