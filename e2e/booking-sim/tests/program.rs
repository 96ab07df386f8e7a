//! The program as people and harnesses start it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_booking-sim"));
    command.args(["--listen", "127.0.0.1:0", "--tls-dir"]).arg(dir);
    command
}

/// Killed when the test ends, however it ends.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn start(command: &mut Command) -> (Started, String) {
    let mut child = Started(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(child.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let origin = line.trim_end().strip_prefix("ready ").unwrap().to_owned();
    (child, origin)
}

/// What it says when it will not start.
fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn it_says_where_it_serves_obeys_its_flags_and_ends_on_a_signal() {
    for signal in ["-TERM", "-INT"] {
        let dir = tempfile::tempdir().unwrap();
        let tls = dir.path().join("tls");
        let flags = [
            "--require-header",
            "X-Api-Key: demo: key",
            "--require-header",
            "X-Tenant: t",
            "--rate-per-minute",
            "1",
        ];
        let (mut child, origin) = start(command(&tls).args(flags));
        assert!(origin.starts_with("https://127.0.0.1:") && !origin.ends_with(":0"), "{origin}");
        let files: Vec<_> = fs::read_dir(&tls).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert_eq!(files, ["ca.crt"], "the key is never stored");
        let ca = reqwest::Certificate::from_pem(&fs::read(tls.join("ca.crt")).unwrap()).unwrap();
        let http = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().build().unwrap();
        let get = || http.get(format!("{origin}/bookings"));
        let good = || get().header("x-api-key", "demo: key").header("x-tenant", "t");
        assert_eq!(get().send().await.unwrap().status(), 401);
        assert_eq!(good().send().await.unwrap().status(), 200);
        assert_eq!(good().send().await.unwrap().status(), 429);
        let pid = child.0.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        assert!(child.0.wait().unwrap().success());
    }
}

#[test]
fn each_run_has_an_authority_of_its_own_name() {
    let dir = tempfile::tempdir().unwrap();
    let name = || {
        let (_child, _origin) = start(&mut command(dir.path()));
        let pem = fs::read_to_string(dir.path().join("ca.crt")).unwrap();
        let encoded: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = data_encoding::BASE64.decode(encoded.as_bytes()).unwrap();
        let text = String::from_utf8_lossy(&der).into_owned();
        text.split_once("booking-sim ").unwrap().1.chars().take(36).collect::<String>()
    };
    let names = [name(), name()];
    assert!(names.iter().all(|name| uuid::Uuid::try_parse(name).is_ok()), "{names:?}");
    assert_ne!(names[0], names[1]);
}

#[test]
fn a_taken_address_is_named_and_the_authority_of_the_other_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (_first, origin) = start(&mut command(dir.path()));
    let before = fs::read(dir.path().join("ca.crt")).unwrap();
    let address = origin.strip_prefix("https://").unwrap();
    let mut second = Command::new(env!("CARGO_BIN_EXE_booking-sim"));
    let said = refused(second.args(["--listen", address, "--tls-dir"]).arg(dir.path()));
    assert!(said.contains(address), "{said}");
    assert_eq!(fs::read(dir.path().join("ca.crt")).unwrap(), before);
}

#[test]
fn wrong_arguments_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for (arguments, named) in [
        (["--require-header", "secret"], "Name: value"),
        (["--require-header", "a b: c"], "no header name"),
        (["--require-header", "a: c\nd"], "no header value"),
        (["--rate-per-minute", "0"], "--rate-per-minute"),
        (["--rate-per-minute", "many"], "--rate-per-minute"),
        (["--per-week", "0"], "--per-week"),
        (["--max-occurrences", "1001"], "--max-occurrences"),
        (["--oauth-client", "roomkeeper"], "ID:SECRET"),
        (["--oauth-scope", "bookings"], "--oauth-client"),
        (["--token-lifetime-seconds", "9"], "--oauth-client"),
        (["--colour", "red"], "--colour"),
    ] {
        let said = refused(command(dir.path()).args(arguments));
        assert!(said.contains(named), "{said}");
    }
    let said = refused(&mut command(&file));
    assert!(said.contains("ca.crt"), "{said}");
}
