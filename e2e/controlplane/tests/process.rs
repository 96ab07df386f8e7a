//! Supervised programs: what their handle promises.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{os::unix::process::ExitStatusExt, path::PathBuf, time::Duration};

use roomkeeper_controlplane::process::{ProcessError, Program, ScratchDir, Signal, Supervised, scratch_dir};

const LONG: Duration = Duration::from_secs(30);

fn shell(script: &str) -> Program {
    Program::new("sh").args(["-c", script])
}

fn log(dir: &ScratchDir) -> PathBuf {
    dir.path().join("log")
}

fn alive(pid: &str) -> bool {
    // A zombie has ended; in a container nobody may collect it.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

async fn gone(pid: &str) {
    let deadline = tokio::time::Instant::now() + LONG;
    while alive(pid) {
        assert!(tokio::time::Instant::now() < deadline, "process {pid} still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_pid_is_the_programs_own_and_a_signal_reaches_it() {
    let dir = scratch_dir("process").unwrap();
    let script = "trap 'echo caught; exit 7' TERM; echo pid $$; while :; do sleep 0.05; done";
    let program = Supervised::spawn(shell(script), &log(&dir)).unwrap();
    let told = program.wait_line("pid ", LONG).await.unwrap();
    assert_eq!(told, program.pid().to_string());
    program.signal(Signal::SIGTERM).unwrap();
    assert_eq!(program.wait(LONG).await.unwrap().code(), Some(7));
    program.wait_line("caught", LONG).await.unwrap();
    assert!(matches!(program.signal(Signal::SIGTERM), Err(ProcessError::Ended { .. })));
}

#[tokio::test]
async fn kill_is_sigkill_and_takes_the_group_along() {
    let dir = scratch_dir("process").unwrap();
    let program = Supervised::spawn(shell("sleep 1000 & echo child $!; wait"), &log(&dir)).unwrap();
    let child = program.wait_line("child ", LONG).await.unwrap();
    assert!(alive(&child));
    assert_eq!(program.kill().unwrap().signal(), Some(9));
    assert_eq!(program.kill().unwrap().signal(), Some(9), "a second time is no error");
    gone(&child).await;
}

#[tokio::test]
async fn dropping_kills() {
    let dir = scratch_dir("process").unwrap();
    let program = Supervised::spawn(shell("echo up; exec sleep 1000"), &log(&dir)).unwrap();
    program.wait_line("up", LONG).await.unwrap();
    let pid = program.pid().to_string();
    assert!(alive(&pid));
    drop(program);
    gone(&pid).await;
}

#[tokio::test]
async fn what_a_program_leaves_in_its_group_ends_with_it() {
    let dir = scratch_dir("process").unwrap();
    let program = Supervised::spawn(shell("sleep 1000 & echo child $!"), &log(&dir)).unwrap();
    assert!(program.wait(LONG).await.unwrap().success());
    gone(&program.wait_line("child ", LONG).await.unwrap()).await;
}

#[tokio::test]
async fn stop_asks_first_and_insists_then() {
    let dir = scratch_dir("process").unwrap();
    let polite =
        Supervised::spawn(shell("trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done"), &log(&dir))
            .unwrap();
    polite.wait_line("up", LONG).await.unwrap();
    assert_eq!(polite.stop(LONG).await.unwrap().code(), Some(3));
    assert_eq!(polite.stop(LONG).await.unwrap().code(), Some(3), "a second time is no error");

    let stubborn =
        Supervised::spawn(shell("trap '' TERM; echo deaf; while :; do sleep 0.05; done"), &log(&dir))
            .unwrap();
    stubborn.wait_line("deaf", LONG).await.unwrap();
    assert_eq!(stubborn.stop(Duration::from_millis(100)).await.unwrap().signal(), Some(9));
}

#[tokio::test]
async fn a_program_that_ends_too_early_is_told_with_its_log() {
    let dir = scratch_dir("process").unwrap();
    let program = Supervised::spawn(shell("echo no such door >&2; exit 4"), &log(&dir)).unwrap();
    let error = program.wait_line("ready ", LONG).await.unwrap_err().to_string();
    assert!(error.contains("exit status: 4") && error.contains("no such door"), "{error}");
}

#[tokio::test]
async fn a_line_that_does_not_come_is_told_and_half_a_line_does_not_count() {
    let dir = scratch_dir("process").unwrap();
    let program = Supervised::spawn(shell("printf 'ready now'; exec sleep 1000"), &log(&dir)).unwrap();
    let error = program.wait_line("ready ", Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(error, ProcessError::Timeout { .. }), "{error}");
    assert!(error.to_string().contains("\"ready \""), "{error}");
}

#[tokio::test]
async fn a_second_program_with_the_same_log_has_only_its_own_lines() {
    let dir = scratch_dir("process").unwrap();
    let first = Supervised::spawn(shell("echo ready one"), &log(&dir)).unwrap();
    assert_eq!(first.wait_line("ready ", LONG).await.unwrap(), "one");
    first.wait(LONG).await.unwrap();
    let second = Supervised::spawn(shell("echo ready two"), &log(&dir)).unwrap();
    assert_eq!(second.wait_line("ready ", LONG).await.unwrap(), "two");
    second.wait(LONG).await.unwrap();
    assert_eq!(second.log_tail(2), "ready one\nready two");
    assert_eq!(second.log_tail(1), "ready two");
}

#[tokio::test]
async fn environment_arguments_and_folder_arrive() {
    let dir = scratch_dir("process").unwrap();
    let script = r#"echo "got [$1] [$KEY] [${HOME-unset}] [$(pwd)]""#;
    let program =
        shell(script).args(["sh", "a b*"]).env("KEY", "two words").env_clear().current_dir(dir.path());
    let program = Supervised::spawn(program, &log(&dir)).unwrap();
    let line = program.wait_line("got ", LONG).await.unwrap();
    assert_eq!(line, format!("[a b*] [two words] [unset] [{}]", dir.path().display()));
}

#[test]
fn a_missing_program_is_named() {
    let dir = scratch_dir("process").unwrap();
    let error = Supervised::spawn(Program::new("/nowhere/daemon"), &log(&dir)).unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/daemon is not an executable file"), "{error}");
}
