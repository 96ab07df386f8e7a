//! The command `roomkeeper-controlplane`: where the programs come from, and running a control plane by hand.
//!
//! The builds here run a stand-in for `go`: what is tested is everything around the compiler.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use roomkeeper_controlplane::assets;
use tempfile::TempDir;

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomkeeper-controlplane"));
    command.env_remove("KUBEBUILDER_ASSETS").env_remove("ROOMKEEPER_E2E_USE_KUBECONFIG");
    command
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn alive(pid: u32) -> bool {
    // A zombie has ended; in a container nobody may collect it.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A cache folder, and a folder with a program called `go`.
struct Machine {
    dir: TempDir,
}

impl Machine {
    fn new(go: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        if let Some(script) = go {
            let path = dir.path().join("bin/go");
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, subcommand: &str) -> Command {
        let mut command = command();
        let own = self.path("bin").display().to_string();
        // Without a stand-in, nothing else is found either.
        let search =
            if self.path("bin/go").exists() { format!("{own}:{}", env::var("PATH").unwrap()) } else { own };
        command
            .arg(subcommand)
            .env("PATH", search)
            .env("ROOMKEEPER_CACHE", self.path("cache"))
            .env("NOTES", self.path("notes"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// What is in the cache folder, beside the lock.
    fn cached(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("cache/controlplane")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "lock").collect()
    }
}

/// Notes that it ran, waits until the file `go-on` is there, and makes the three programs in the folder after `-o`.
const MAKES_PROGRAMS: &str = r#"
echo "$$" >> "$NOTES"
while [ ! -e "$NOTES.go-on" ]; do sleep 0.02; done
while [ "$1" != -o ]; do shift; done
for name in server kube-apiserver kubectl; do printf '#!/bin/sh\n' > "$2/$name"; chmod +x "$2/$name"; done"#;

#[test]
fn two_builds_at_once_compile_once() {
    let machine = Machine::new(Some(MAKES_PROGRAMS));
    let first = machine.command("build").spawn().unwrap();
    wait_until("the first build runs", || machine.path("notes").exists());
    let mut second = machine.command("assets").spawn().unwrap();
    let mut said = String::new();
    BufReader::new(second.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("another process is building"), "{said}");
    fs::write(machine.path("notes.go-on"), "").unwrap();

    let first = first.wait_with_output().unwrap();
    assert!(first.status.success(), "{}", stderr(&first));
    assert!(stderr(&first).contains("once only"), "{}", stderr(&first));
    let second = second.wait_with_output().unwrap();
    assert!(second.status.success());
    assert_eq!(fs::read_to_string(machine.path("notes")).unwrap().lines().count(), 1, "runs of the compiler");
    let folder = PathBuf::from(String::from_utf8(second.stdout).unwrap().trim());
    assert!(["etcd", "kube-apiserver", "kubectl"].iter().all(|name| folder.join(name).is_file()));
    assert_eq!(machine.cached().len(), 1, "{:?}", machine.cached());

    // A folder that has lost a program is made again.
    fs::remove_file(folder.join("etcd")).unwrap();
    let third = machine.command("build").output().unwrap();
    assert!(third.status.success() && folder.join("etcd").is_file(), "{}", stderr(&third));
}

#[test]
fn a_build_whose_owner_is_killed_ends_and_leaves_nothing() {
    let machine = Machine::new(Some(MAKES_PROGRAMS));
    let mut build = machine.command("build").spawn().unwrap();
    let notes = || fs::read_to_string(machine.path("notes")).unwrap_or_default();
    wait_until("the build runs", || notes().ends_with('\n'));
    let compiler: u32 = notes().trim().parse().unwrap();
    assert!(alive(compiler));
    send(&build, Signal::SIGKILL);
    build.wait().unwrap();
    wait_until("the compiler ends", || !alive(compiler));
    wait_until("the unfinished folder goes", || machine.cached().is_empty());
}

#[test]
fn a_failed_build_shows_the_compilers_words_and_leaves_nothing() {
    let machine = Machine::new(Some("echo 'missing go.sum entry' >&2; exit 3"));
    let output = machine.command("build").output().unwrap();
    assert!(!output.status.success());
    assert!(
        stderr(&output).contains("exit status: 3") && stderr(&output).contains("missing go.sum entry"),
        "{}",
        stderr(&output)
    );
    assert_eq!(machine.cached(), [""; 0]);
}

#[test]
fn a_missing_go_is_one_clear_line() {
    let machine = Machine::new(None);
    let output = machine.command("build").output().unwrap();
    assert!(!output.status.success());
    let error = stderr(&output);
    let error = error.lines().find(|line| line.starts_with("Error: ")).unwrap();
    assert!(
        error.contains("go is missing: install Go 1.26") && error.contains("KUBEBUILDER_ASSETS"),
        "{error}"
    );
}

#[test]
fn given_programs_are_checked_and_used_without_a_build() {
    let machine = Machine::new(None);
    let output = machine.command("assets").env("KUBEBUILDER_ASSETS", machine.path("bin")).output().unwrap();
    assert!(!output.status.success());
    assert!(
        stderr(&output).contains("no executable etcd, kube-apiserver, kubectl there"),
        "{}",
        stderr(&output)
    );

    let real = assets::locate_or_build().unwrap().dir;
    let output = machine.command("assets").env("KUBEBUILDER_ASSETS", &real).output().unwrap();
    assert_eq!(Path::new(String::from_utf8(output.stdout).unwrap().trim()), real);
}

#[test]
fn a_live_cluster_needs_its_kubeconfig() {
    for (value, word) in [("1", "KUBECONFIG is not set"), ("yes", "set it to 1")] {
        let mut command = command();
        command.arg("run").env("ROOMKEEPER_E2E_USE_KUBECONFIG", value).env_remove("KUBECONFIG");
        let output = command.output().unwrap();
        assert!(!output.status.success() && stderr(&output).contains(word), "{}", stderr(&output));
    }
}

#[test]
fn a_wrong_flag_is_shown_with_the_servers_words() {
    let mut command = command();
    command.args(["run", "--api-server-flag=--no-such-flag"]);
    if let Some(dir) = env::var_os("KUBEBUILDER_ASSETS") {
        command.env("KUBEBUILDER_ASSETS", dir);
    }
    let output = command.output().unwrap();
    assert!(!output.status.success());
    assert!(stderr(&output).contains("unknown flag: --no-such-flag"), "{}", stderr(&output));
}

#[test]
fn run_prints_its_kubeconfig_and_ends_on_ctrl_c() {
    let mut command = command();
    command.arg("run").stdout(Stdio::piped());
    if let Some(dir) = env::var_os("KUBEBUILDER_ASSETS") {
        command.env("KUBEBUILDER_ASSETS", dir);
    }
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let export = lines.next().unwrap().unwrap();
    let file = PathBuf::from(export.strip_prefix("export KUBECONFIG=").unwrap());
    assert!(file.is_file());
    assert!(lines.next().unwrap().unwrap().starts_with("ready https://127.0.0.1:"));
    send(&child, Signal::SIGINT);
    assert!(child.wait().unwrap().success());
    assert!(!file.parent().unwrap().exists());
}
