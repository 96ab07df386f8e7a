//! Nothing outlives the process that started a control plane, however that process ends.
//!
//! Each case runs this same test binary once more as the owner, tells it by an environment variable what to do, and looks at what is
//! left when the owner has ended.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    env,
    io::{BufRead, BufReader, Lines, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use roomkeeper_controlplane::{
    ControlPlane, StartOptions, USE_KUBECONFIG,
    process::{Program, Supervised},
};

const ENDING: &str = "ROOMKEEPER_TEST_OWNER_ENDING";

struct Owner {
    child: Child,
    pids: Vec<u32>,
    dir: PathBuf,
    /// Open, so that what the test harness writes at its end does not fail.
    _stdout: Lines<BufReader<ChildStdout>>,
}

/// Runs [`after_a_return`] as the owner, in a process (and process group) of its own until its control plane is up.
fn start_owner(ending: &str) -> Owner {
    // A shell that runs tests in the background has them ignore SIGINT, and that would be inherited.
    let mut child = Command::new("env")
        .arg("--default-signal=INT")
        .arg(env::current_exe().unwrap())
        .args(["--exact", "after_a_return", "--nocapture", "--test-threads=1"])
        .env(ENDING, ending)
        .env_remove(USE_KUBECONFIG)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let held = lines.find_map(|line| line.unwrap().split_once("held ").map(|(_, held)| held.to_owned()));
    let held = held.expect("the owner told what it holds");
    let mut words = held.split(' ');
    let dir = PathBuf::from(words.next().unwrap());
    let pids: Vec<u32> = words.map(|pid| pid.parse().unwrap()).collect();
    assert_eq!(pids.len(), 3, "kube-apiserver, etcd and a program");
    assert!(pids.iter().all(|pid| alive(*pid)) && dir.is_dir(), "the owner runs");
    Owner { child, pids, dir, _stdout: lines }
}

impl Owner {
    fn go(&mut self) {
        self.child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }

    fn nothing_left(mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.pids.iter().any(|pid| alive(*pid)) || self.dir.exists() {
            let left: Vec<_> = self.pids.iter().filter(|pid| alive(**pid)).collect();
            assert!(Instant::now() < deadline, "left: processes {left:?}, folder: {}", self.dir.exists());
            thread::sleep(Duration::from_millis(20));
        }
        status
    }
}

fn alive(pid: u32) -> bool {
    // A zombie has ended; in a container nobody may collect it.
    std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))
        .is_ok_and(|stat| !stat.contains(") Z "))
}

/// Also the program that every other case here starts.
#[tokio::test]
async fn after_a_return() {
    if let Ok(ending) = env::var(ENDING) {
        own(&ending).await;
    } else {
        let mut owner = start_owner("drop");
        owner.go();
        assert!(owner.nothing_left().success());
    }
}

async fn own(ending: &str) {
    let started;
    let cp = if ending == "shared" {
        ControlPlane::shared().await.unwrap()
    } else {
        started = ControlPlane::start(StartOptions::default()).await.unwrap();
        &started
    };
    let program = Supervised::spawn(Program::new("sleep").arg("1000"), &cp.dir().join("sleep.log")).unwrap();
    let mut held = cp.pids();
    held.push(program.pid());
    let held: Vec<String> = held.iter().map(u32::to_string).collect();
    println!("held {} {}", cp.dir().display(), held.join(" "));
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
    match ending {
        "drop" | "shared" => {}
        "panic" => panic!("on purpose"),
        "abort" => std::process::abort(),
        "exit" => std::process::exit(5),
        other => panic!("unknown ending {other}"),
    }
}

#[test]
fn after_the_end_of_a_test_binary_with_a_shared_control_plane() {
    let mut owner = start_owner("shared");
    owner.go();
    assert!(owner.nothing_left().success());
}

#[test]
fn after_a_panic() {
    let mut owner = start_owner("panic");
    owner.go();
    assert_eq!(owner.nothing_left().code(), Some(101));
}

#[test]
fn after_exit_without_destructors() {
    let mut owner = start_owner("exit");
    owner.go();
    assert_eq!(owner.nothing_left().code(), Some(5));
}

#[test]
fn after_abort() {
    let mut owner = start_owner("abort");
    owner.go();
    assert_eq!(owner.nothing_left().signal(), Some(Signal::SIGABRT as i32));
}

#[test]
fn after_kill_9_of_the_owner() {
    let owner = start_owner("drop");
    kill(Pid::from_raw(owner.child.id().cast_signed()), Signal::SIGKILL).unwrap();
    assert_eq!(owner.nothing_left().signal(), Some(9));
}

/// What a terminal does: the signal goes to the whole process group.
#[test]
fn after_ctrl_c() {
    let owner = start_owner("drop");
    killpg(Pid::from_raw(owner.child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(owner.nothing_left().signal(), Some(Signal::SIGINT as i32));
}
