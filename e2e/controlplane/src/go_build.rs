//! Builds the pinned Go tools once into the cache folder.

use std::{
    env,
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::{
    assets::missing,
    process::{ProcessError, Program, ScratchDir, Supervised},
};

const GO_MOD: &str = include_str!("../go/go.mod");
const GO_SUM: &str = include_str!("../go/go.sum");
const MODULE_DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/go");
const KUBERNETES: &str = "k8s.io/kubernetes";
/// Package, the name that `go build` gives the program, the name it gets here.
const TOOLS: [(&str, &str, &str); 3] = [
    ("go.etcd.io/etcd/server/v3", "server", "etcd"),
    ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver", "kube-apiserver"),
    ("k8s.io/kubernetes/cmd/kubectl", "kubectl", "kubectl"),
];
/// No C compiler, no paths of this machine in the binaries, no debug information.
const FLAGS: [&str; 4] = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-v"];
const LINK_FLAGS: &str = "-s -w";
const ENVIRONMENT: [(&str, &str); 2] = [("CGO_ENABLED", "0"), ("GOWORK", "off")];
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Why the tools could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No cache folder can be named.
    #[error(
        "none of ROOMKEEPER_CACHE, XDG_CACHE_HOME and HOME is set to an absolute path: set ROOMKEEPER_CACHE to a folder for the control plane's programs"
    )]
    NoCacheFolder,
    /// No Go compiler.
    #[error(
        "go is missing: install Go 1.26 or newer, or set KUBEBUILDER_ASSETS to a folder with kube-apiserver, etcd and kubectl"
    )]
    NoGo,
    /// The version is not where it is expected in `go.mod`.
    #[error(
        "e2e/controlplane/go/go.mod: {module} is required with version {version:?}; it must be like v1.37.2"
    )]
    Version {
        /// The Go module.
        module: &'static str,
        /// What was found.
        version: Option<String>,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// `go build` could not be run.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// `go build` failed.
    #[error("go build of kube-apiserver, etcd and kubectl failed ({status}):\n{messages}")]
    Failed {
        /// How it ended.
        status: std::process::ExitStatus,
        /// The last lines of what it wrote.
        messages: String,
    },
}

/// The folder for the programs of exactly these versions and build settings. It need not exist.
pub(crate) fn cache_folder() -> Result<PathBuf, BuildError> {
    let root = cache_root(|name| env::var_os(name)).ok_or(BuildError::NoCacheFolder)?;
    Ok(root.join("controlplane").join(key()))
}

fn cache_root(get: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name| get(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("ROOMKEEPER_CACHE")
        .or_else(|| absolute("XDG_CACHE_HOME").map(|dir| dir.join("roomkeeper")))
        .or_else(|| absolute("HOME").map(|dir| dir.join(".cache/roomkeeper")))
}

fn key() -> String {
    let mut hash = Sha256::new();
    for part in [GO_MOD, GO_SUM, LINK_FLAGS, env::consts::OS, env::consts::ARCH] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    for part in FLAGS.iter().chain(ENVIRONMENT.iter().flat_map(|(name, value)| [name, value])) {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let mut hex = HEXLOWER.encode(&hash.finalize());
    hex.truncate(16);
    hex
}

/// Builds into `folder` unless another process has just done so. Progress goes to stderr. Blocks for minutes.
pub(crate) fn build(folder: &Path) -> Result<(), BuildError> {
    let parent = folder.parent().unwrap_or(folder);
    let file = |action, path: &Path| {
        let path = path.to_owned();
        move |source| BuildError::File { action, path, source }
    };
    fs::create_dir_all(parent).map_err(file("make the folder", parent))?;
    let lock_path = parent.join("lock");
    let _lock = lock(&lock_path).map_err(file("lock", &lock_path))?;
    if missing(folder).is_empty() {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(file("remove the incomplete folder", folder))?;
    }
    // The folder appears with one rename, complete; an interrupted build leaves nothing.
    let scratch = ScratchDir::inside(parent, "building").map_err(file("make a folder in", parent))?;
    let out = scratch.path().join("bin");
    fs::create_dir(&out).map_err(file("make the folder", &out))?;
    go_build(folder, scratch.path(), &out)?;
    for (_, built, name) in TOOLS {
        fs::rename(out.join(built), out.join(name)).map_err(file("rename", &out.join(built)))?;
    }
    fs::rename(&out, folder).map_err(file("move the new programs to", folder))
}

fn lock(path: &Path) -> io::Result<File> {
    let lock = File::create(path)?;
    match lock.try_lock() {
        Ok(()) => return Ok(lock),
        Err(TryLockError::WouldBlock) => say("another process is building the programs; waiting for it"),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    lock.lock()?;
    Ok(lock)
}

fn go_build(folder: &Path, scratch: &Path, out: &Path) -> Result<(), BuildError> {
    let version = required_version(GO_MOD, KUBERNETES);
    let [major, minor] = version
        .and_then(major_minor)
        .ok_or_else(|| BuildError::Version { module: KUBERNETES, version: version.map(str::to_owned) })?;
    let version = version.unwrap_or_default();
    // Without these, the server says that it is v0.0.0.
    let package = "k8s.io/component-base/version";
    let link_flags = format!(
        "{LINK_FLAGS} -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    );
    let mut go = Program::new("go")
        .current_dir(MODULE_DIR)
        .arg("build")
        .args(FLAGS)
        .arg("-ldflags")
        .arg(link_flags)
        .arg("-o")
        .arg(out)
        .args(TOOLS.map(|(package, ..)| package));
    for (name, value) in ENVIRONMENT {
        go = go.env(name, value);
    }
    if go.resolve().is_none() {
        return Err(BuildError::NoGo);
    }

    let log = scratch.join("build.log");
    say(&format!(
        "building kube-apiserver and kubectl {version} and etcd into {}: some minutes, once only",
        folder.display()
    ));
    let started = Instant::now();
    let mut reported = started;
    let build = Supervised::spawn(go, &log)?;
    let status = loop {
        if let Some(status) = build.try_wait()? {
            break status;
        }
        if reported.elapsed() >= REPORT_EVERY {
            reported = Instant::now();
            say(&progress(&fs::read_to_string(&log).unwrap_or_default(), started.elapsed()));
        }
        thread::sleep(Duration::from_millis(200));
    };
    if !status.success() {
        let messages = build.log_tail(30);
        return Err(BuildError::Failed { status, messages });
    }
    say(&format!("built in {} s", started.elapsed().as_secs()));
    Ok(())
}

fn progress(log: &str, elapsed: Duration) -> String {
    let (mut modules, mut packages) = (0, 0);
    for line in log.lines() {
        if line.starts_with("go: downloading ") {
            modules += 1;
        } else {
            packages += 1;
        }
    }
    format!("{} s: {modules} modules downloaded, {packages} packages compiled", elapsed.as_secs())
}

/// Past the test harness's capture, which would hold a line back until the test has ended.
fn say(text: &str) {
    // Progress only: a closed stderr must not fail the build.
    let _ = writeln!(io::stderr(), "controlplane: {text}");
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
    fn the_cache_folder_follows_the_usual_variables() {
        let root = |set: &[(&str, &str)]| {
            cache_root(|name| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
            })
        };
        let all = [("ROOMKEEPER_CACHE", "/r"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(root(&all), Some("/r".into()));
        assert_eq!(root(&all[1..]), Some("/x/roomkeeper".into()));
        assert_eq!(root(&all[2..]), Some("/h/.cache/roomkeeper".into()));
        assert_eq!(root(&[("ROOMKEEPER_CACHE", ""), ("HOME", "/h")]), Some("/h/.cache/roomkeeper".into()));
        assert_eq!(root(&[("HOME", "relative")]), None);
    }

    #[test]
    fn versions_come_from_go_mod() {
        let version = required_version(GO_MOD, KUBERNETES).unwrap();
        let [major, minor] = major_minor(version).unwrap();
        assert_eq!(major, 1);
        // The staging modules are published as v0.<minor>.<patch> and must be those of the same release.
        let staging = version.replacen("v1.", "v0.", 1);
        let replaced: Vec<&str> =
            GO_MOD.lines().filter_map(|line| line.split_once(" => ")).map(|(_, to)| to).collect();
        assert!(replaced.len() >= 30, "{}", replaced.len());
        for to in replaced {
            assert!(to.ends_with(&format!(" {staging}")), "{to} is not of release 1.{minor}");
        }
        for (package, ..) in TOOLS {
            assert!(GO_MOD.lines().any(|line| line.trim() == package), "no tool line for {package}");
        }
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

    #[test]
    fn progress_counts_modules_and_packages() {
        let text = progress("go: downloading a v1\nk8s.io/api/core/v1\nfmt\n", Duration::from_secs(21));
        assert_eq!(text, "21 s: 1 modules downloaded, 2 packages compiled");
    }
}
