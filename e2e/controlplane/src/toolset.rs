//! Which Go programs are built together, and how.

use std::{
    env,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::{go_build::BuildError, process};

const KUBERNETES: &str = "k8s.io/kubernetes";
/// No C compiler, no paths of this machine in the binaries, no debug information.
pub(crate) const FLAGS: [&str; 4] = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-v"];
const LINK_FLAGS: &str = "-s -w";
pub(crate) const ENVIRONMENT: [(&str, &str); 2] = [("CGO_ENABLED", "0"), ("GOWORK", "off")];

/// kube-apiserver, etcd and kubectl.
pub(crate) const CONTROL_PLANE: Toolset = Toolset {
    cache: "controlplane",
    what: "kube-apiserver, etcd and kubectl",
    instead: "set KUBEBUILDER_ASSETS to a folder with kube-apiserver, etcd and kubectl",
    module: concat!(env!("CARGO_MANIFEST_DIR"), "/go"),
    go_mod: include_str!("../go/go.mod"),
    go_sum: include_str!("../go/go.sum"),
    tools: &[
        Tool { package: "go.etcd.io/etcd/server/v3", built: "server", name: "etcd" },
        Tool {
            package: "k8s.io/kubernetes/cmd/kube-apiserver",
            built: "kube-apiserver",
            name: "kube-apiserver",
        },
        Tool { package: "k8s.io/kubernetes/cmd/kubectl", built: "kubectl", name: "kubectl" },
    ],
    kubernetes_version: true,
};

/// kube-controller-manager, which few tests need.
pub(crate) const CONTROLLER_MANAGER: Toolset = Toolset {
    cache: "controller-manager",
    what: "kube-controller-manager",
    instead: "set KUBE_CONTROLLER_MANAGER to the program kube-controller-manager",
    tools: &[Tool {
        package: "k8s.io/kubernetes/cmd/kube-controller-manager",
        built: "kube-controller-manager",
        name: "kube-controller-manager",
    }],
    ..CONTROL_PLANE
};

/// helm and kubeconform, whose libraries have versions of their own.
pub(crate) const CHART: Toolset = Toolset {
    cache: "chart",
    what: "helm and kubeconform",
    instead: "set HELM to the program helm",
    module: concat!(env!("CARGO_MANIFEST_DIR"), "/../chart"),
    go_mod: include_str!("../../chart/go.mod"),
    go_sum: include_str!("../../chart/go.sum"),
    tools: &[
        Tool { package: "helm.sh/helm/v4/cmd/helm", built: "helm", name: "helm" },
        Tool {
            package: "github.com/yannh/kubeconform/cmd/kubeconform",
            built: "kubeconform",
            name: "kubeconform",
        },
    ],
    kubernetes_version: false,
};

/// A program.
pub(crate) struct Tool {
    pub(crate) package: &'static str,
    /// The name that `go build` gives it.
    pub(crate) built: &'static str,
    /// The name it gets here.
    pub(crate) name: &'static str,
}

/// Programs of one Go module.
pub(crate) struct Toolset {
    /// Its folder within the cache.
    cache: &'static str,
    /// Its programs, in words.
    pub(crate) what: &'static str,
    /// What to do without Go.
    pub(crate) instead: &'static str,
    /// Where its `go.mod` is.
    pub(crate) module: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
    pub(crate) tools: &'static [Tool],
    /// Whether the programs are told which Kubernetes they are: without that, the server says that it is v0.0.0.
    kubernetes_version: bool,
}

impl Toolset {
    /// The folder for the programs of exactly these versions and build settings, below `root`. It need not exist.
    pub(crate) fn folder(&self, root: &Path) -> PathBuf {
        root.join(self.cache).join(self.key())
    }

    /// Names of the programs that a folder lacks.
    pub(crate) fn missing(&self, dir: &Path) -> Vec<&'static str> {
        let names = self.tools.iter().map(|tool| tool.name);
        names.filter(|name| !process::is_executable(&dir.join(name))).collect()
    }

    pub(crate) fn link_flags(&self) -> Result<String, BuildError> {
        if !self.kubernetes_version {
            return Ok(LINK_FLAGS.to_owned());
        }
        let version = required_version(self.go_mod, KUBERNETES);
        let [major, minor] = version
            .and_then(major_minor)
            .ok_or_else(|| BuildError::Version { module: KUBERNETES, version: version.map(str::to_owned) })?;
        let version = version.unwrap_or_default();
        let package = "k8s.io/component-base/version";
        Ok(format!(
            "{LINK_FLAGS} -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
        ))
    }

    fn key(&self) -> String {
        let mut hash = Sha256::new();
        let fixed = [self.go_mod, self.go_sum, LINK_FLAGS, env::consts::OS, env::consts::ARCH];
        let settings = FLAGS.iter().chain(ENVIRONMENT.iter().flat_map(|(name, value)| [name, value]));
        for part in fixed.iter().chain(settings) {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let mut hex = HEXLOWER.encode(&hash.finalize());
        hex.truncate(16);
        hex
    }
}

/// The version in a `require` line.
fn required_version<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip_while(|word| *word == "require");
        (words.next() == Some(module)).then(|| words.next()).flatten().filter(|word| word.starts_with('v'))
    })
}

fn major_minor(version: &str) -> Option<[u32; 2]> {
    let mut numbers = version.strip_prefix('v')?.split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor)), Some(Ok(_))) => Some([major, minor]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_has_a_tool_line() {
        for set in [CONTROL_PLANE, CONTROLLER_MANAGER, CHART] {
            for tool in set.tools {
                assert!(
                    set.go_mod.lines().any(|line| line.trim() == tool.package),
                    "no tool line for {}",
                    tool.package
                );
            }
        }
        assert_ne!(CONTROL_PLANE.folder(Path::new("/c")), CHART.folder(Path::new("/c")));
    }

    #[test]
    fn versions_come_from_go_mod() {
        let go_mod = CONTROL_PLANE.go_mod;
        let version = required_version(go_mod, KUBERNETES).unwrap();
        let [major, minor] = major_minor(version).unwrap();
        assert_eq!(major, 1);
        // The staging modules are published as v0.<minor>.<patch> and must be those of the same release.
        let staging = version.replacen("v1.", "v0.", 1);
        let replaced: Vec<&str> =
            go_mod.lines().filter_map(|line| line.split_once(" => ")).map(|(_, to)| to).collect();
        assert!(replaced.len() >= 30, "{}", replaced.len());
        for to in replaced {
            assert!(to.ends_with(&format!(" {staging}")), "{to} is not of release 1.{minor}");
        }
        assert!(CONTROL_PLANE.link_flags().unwrap().contains(&format!("gitVersion={version} ")));
        assert_eq!(CHART.link_flags().unwrap(), LINK_FLAGS);
    }

    #[test]
    fn odd_versions_are_refused() {
        assert_eq!(major_minor("v1.37.2"), Some([1, 37]));
        for odd in ["1.37.2", "v1", "v1.x.2", ""] {
            assert_eq!(major_minor(odd), None, "{odd}");
        }
        assert_eq!(required_version("require k8s.io/kubernetes v1.2.3", KUBERNETES), Some("v1.2.3"));
        assert_eq!(required_version("\tk8s.io/kubernetes => ../k", KUBERNETES), None);
    }
}
