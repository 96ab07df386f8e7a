//! The program as people and harnesses start it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

const WORLD: &str = "
tenants:
- id: 7f1d0cb7-93b9-405a-8dad-c21703b7af18
  domain: contoso.example
  apps:   [{clientId: 9b0fbe07-0f3e-4f0f-8d6c-1c9f6f6c0a11, secret: demo, roles: [Calendars.Read, Calendars.ReadWrite, User.Read.All, GroupMember.Read.All]}]
  users:  [{id: 2189c720-90d5-44ff-818b-fe585706ee90, userPrincipalName: user1@contoso.example, displayName: User One}]
  groups: [{id: 5d6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a10, displayName: Room pilot, mailEnabled: true, securityEnabled: true, members: [2189c720-90d5-44ff-818b-fe585706ee90]}]
";

fn command(dir: &Path, world: &str) -> Command {
    let file = dir.join("world.yaml");
    fs::write(&file, world).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_graph-sim"));
    command.env_remove("GRAPH_SIM_REQUEST_LOG");
    command.args(["--listen", "127.0.0.1:0", "--world"]).arg(file).arg("--tls-dir").arg(dir.join("tls"));
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
    (child, line)
}

fn refused(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(!status.success());
    assert_eq!(String::from_utf8(stdout).unwrap(), "");
    String::from_utf8(stderr).unwrap()
}

#[tokio::test]
async fn it_says_where_it_serves_and_ends_on_sigterm() {
    for signal in ["-TERM", "-INT"] {
        let dir = tempfile::tempdir().unwrap();
        let (mut child, line) = start(&mut command(dir.path(), WORLD));
        let origin = line.strip_prefix("ready ").unwrap().trim_end();
        assert!(origin.starts_with("https://127.0.0.1:") && !origin.ends_with(":0"), "{line}");
        let files: Vec<_> =
            fs::read_dir(dir.path().join("tls")).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert_eq!(files, ["ca.crt"], "the key is never stored");
        let pem = fs::read(dir.path().join("tls/ca.crt")).unwrap();
        let ca = reqwest::Certificate::from_pem(&pem).unwrap();
        let http = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().build().unwrap();
        let url = format!("{origin}/contoso.example/v2.0/.well-known/openid-configuration");
        assert_eq!(http.get(url).send().await.unwrap().status().as_u16(), 200);
        let pid = child.0.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        assert!(child.0.wait().unwrap().success());
    }
}

#[tokio::test]
async fn every_request_line_is_appended_to_a_file_of_its_own_and_no_header_or_body_is() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("requests");
    let (_child, line) = start(command(dir.path(), WORLD).env("GRAPH_SIM_REQUEST_LOG", &folder));
    let origin = line.strip_prefix("ready ").unwrap().trim_end();
    let ca = reqwest::Certificate::from_pem(&fs::read(dir.path().join("tls/ca.crt")).unwrap()).unwrap();
    let http =
        reqwest::Client::builder().tls_certs_only([ca]).no_proxy().user_agent("one/1").build().unwrap();
    let tenant = "/7f1d0cb7-93b9-405a-8dad-c21703b7af18/oauth2/v2.0/token";
    let form = format!(
        "grant_type=client_credentials&client_id=9b0fbe07-0f3e-4f0f-8d6c-1c9f6f6c0a11&client_secret=demo&scope={origin}/.default"
    );
    let request = http.post(format!("{origin}{tenant}"));
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
    let token: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
    let token = token["access_token"].as_str().unwrap();
    let user = "/v1.0/users/2189c720-90d5-44ff-818b-fe585706ee90";
    http.get(format!("{origin}{user}")).bearer_auth(token).send().await.unwrap();
    let events = format!("{user}/events?$select=id,body");
    http.get(format!("{origin}{events}")).bearer_auth(token).send().await.unwrap();
    http.get(format!("{origin}/_sim/counters")).send().await.unwrap();
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    let lines: Vec<serde_json::Value> = fs::read_to_string(&files[0])
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let agent = "one/1";
    assert_eq!(
        serde_json::Value::from(lines),
        serde_json::json!([
            {"kind": "request", "method": "POST", "path": tenant, "userAgent": agent},
            {"kind": "request", "method": "GET", "path": user, "userAgent": agent},
            {"kind": "withoutSelect", "template": "/users/{id}", "userAgent": agent},
            {"kind": "request", "method": "GET", "path": events, "userAgent": agent},
            {"kind": "forbidden", "field": "body", "userAgent": agent},
        ])
    );
}

#[test]
fn each_run_has_an_authority_of_its_own_name() {
    let dir = tempfile::tempdir().unwrap();
    let name = || {
        let (_child, _line) = start(&mut command(dir.path(), WORLD));
        let pem = fs::read_to_string(dir.path().join("tls/ca.crt")).unwrap();
        let encoded: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = data_encoding::BASE64.decode(encoded.as_bytes()).unwrap();
        let text = String::from_utf8_lossy(&der).into_owned();
        text.split_once("graph-sim ").unwrap().1.chars().take(36).collect::<String>()
    };
    let names = [name(), name()];
    assert!(names.iter().all(|name| uuid::Uuid::try_parse(name).is_ok()), "{names:?}");
    assert_ne!(names[0], names[1]);
}

#[test]
fn a_wrong_world_is_refused_with_the_name_of_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    for (from, to, named) in [
        ("domain:", "domein:", "domein"),
        ("secret: demo", "secret: demo, certificate: x", "certificate"),
        ("Calendars.ReadWrite", "Calendars.Write", "Calendars.Write"),
        ("members: [2189c720", "members: [0189c720", "tenants[0].groups[0].members"),
    ] {
        let message = refused(&mut command(dir.path(), &WORLD.replacen(from, to, 1)));
        assert!(message.contains(named) && message.contains("world.yaml"), "{message}");
    }
}

#[test]
fn wrong_arguments_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut first, line) = start(&mut command(dir.path(), WORLD));
    let taken = line.trim_end().strip_prefix("ready https://").unwrap().to_owned();
    let mut second = command(dir.path(), WORLD);
    // The last one of an option repeated would be silently taken; clap refuses it.
    assert!(refused(second.args(["--listen", &taken])).contains("--listen"));
    let mut clash = Command::new(env!("CARGO_BIN_EXE_graph-sim"));
    clash.args(["--listen", &taken, "--world"]).arg(dir.path().join("world.yaml"));
    clash.arg("--tls-dir").arg(dir.path().join("tls"));
    assert!(refused(&mut clash).contains(&taken));
    let missing = refused(command(dir.path(), WORLD).args(["--trust", "/nowhere/ca.pem"]));
    assert!(missing.contains("/nowhere/ca.pem"), "{missing}");
    let empty = dir.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let empty = refused(command(dir.path(), WORLD).arg("--trust").arg(empty));
    assert!(empty.contains("no certificate"), "{empty}");
    let mut rest = String::new();
    first.0.kill().unwrap();
    first.0.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "one line is all it says");
}

#[test]
fn a_failed_start_leaves_the_certificate_of_the_running_one() {
    let dir = tempfile::tempdir().unwrap();
    let (_running, line) = start(&mut command(dir.path(), WORLD));
    let address = line.trim_end().strip_prefix("ready https://").unwrap();
    let written = fs::read(dir.path().join("tls/ca.crt")).unwrap();
    let mut second = Command::new(env!("CARGO_BIN_EXE_graph-sim"));
    second.args(["--listen", address, "--world"]).arg(dir.path().join("world.yaml"));
    let error = refused(second.arg("--tls-dir").arg(dir.path().join("tls")));
    assert!(error.contains("cannot listen at"), "{error}");
    assert_eq!(fs::read(dir.path().join("tls/ca.crt")).unwrap(), written);
}
