//! helm against a control plane, as its administrator, with nothing of the caller's own settings.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};
use roomkeeper_controlplane::{ControlPlane, assets};

use crate::programs;

/// helm for one cluster.
pub struct Helm {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

impl Helm {
    /// The helm that the repository pins, built if need be, which takes minutes once.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn of(control_plane: &ControlPlane) -> anyhow::Result<Self> {
        Ok(Self {
            program: assets::helm()?,
            kubeconfig: control_plane.admin_kubeconfig_path().to_owned(),
            home: control_plane.dir().join("helm"),
        })
    }

    /// Runs it and returns what it printed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(&self.program)
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HELM_CACHE_HOME", self.home.join("cache"))
            .env("HELM_CONFIG_HOME", self.home.join("config"))
            .env("HELM_DATA_HOME", self.home.join("data"))
            .env_remove("HELM_NAMESPACE")
            .env_remove("HELM_DRIVER")
            .env_remove("HELM_KUBECONTEXT")
            .output()
            .with_context(|| format!("run {}", self.program.display()))?;
        if !output.status.success() {
            bail!("helm {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        String::from_utf8(output.stdout).context("output of helm")
    }
}

/// Folder of the chart.
pub fn chart() -> PathBuf {
    programs::repository().join("charts/roomkeeper")
}

/// A path as an argument.
///
/// # Errors
/// When it is not UTF-8.
pub fn argument(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
