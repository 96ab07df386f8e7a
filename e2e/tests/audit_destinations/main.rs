//! Audit exports to real storage: S3 as moto has it, and Azure Blob Storage as azurite has it, both over TLS. What lies there afterwards
//! is judged by the kubectl plugin and by the independent verifier.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod account;
mod aws;
mod daemon;
mod entra;
mod exchanges;
mod export;
mod heard;
mod install;
mod redirects;
mod server;
mod service_account;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use roomkeeper_crds::audit_export::Destination;
use roomkeeper_e2e::programs;
use roomkeeper_service::{
    audit_export::{Credential, Put as _, StoreSettings, Target, open},
    scope_access::AllowedHosts,
    tls,
};

use self::{
    export::{Log, bring_home},
    server::{ACCOUNT, Server, account_key},
};

fn settings(server: &Server) -> StoreSettings {
    StoreSettings { extra_ca_pem: Some(fs::read(&server.identity.ca).unwrap()), ..StoreSettings::default() }
}

/// A destination of a storage at that port.
fn destination(url: &str, port: u16) -> Destination {
    let is_s3 = url.starts_with("s3:");
    let path = if is_s3 { String::new() } else { format!("/{ACCOUNT}") };
    Destination {
        url: url.to_owned(),
        endpoint: Some(format!("https://127.0.0.1:{port}{path}")),
        region: is_s3.then(|| "eu-central-1".to_owned()),
        secret_name: Some("s".to_owned()),
        service_account_name: None,
    }
}

fn target(destination: &Destination, port: u16) -> Target {
    let allowed = AllowedHosts::new([format!("127.0.0.1:{port}")]).unwrap();
    Target::new(destination, &allowed, None).unwrap()
}

fn at(server: &Server, url: &str) -> Target {
    target(&destination(url, server.port), server.port)
}

fn secret(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
}

fn access_key(target: &Target) -> Credential {
    let data = secret(&[("accessKeyId", "AKIAEXAMPLE"), ("secretAccessKey", "secret")]);
    Credential::of_secret(target, "s", &data).unwrap()
}

/// Both verifiers on a folder: exit codes of the plugin and of the script.
fn verdicts(folder: &Path, key: &Path) -> (i32, i32) {
    let plugin = Command::new(programs::path("kubectl-roomkeeper").unwrap())
        .args(["audit", "verify"])
        .arg(folder)
        .arg("--key")
        .arg(key)
        .output()
        .unwrap();
    let mut files: Vec<PathBuf> = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    let script = Command::new("python3")
        .env("PYTHONPATH", install::python().unwrap())
        .arg(programs::repository().join("e2e/audit_verify.py"))
        .arg(key)
        .args(files)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(script.stderr).unwrap(), "");
    (plugin.status.code().unwrap(), script.status.code().unwrap())
}

/// Exports twice, carries everything home from where it can be read, and has it judged, whole and damaged.
async fn exported_and_judged(
    target: &Target,
    credential: &Credential,
    settings: &StoreSettings,
    read: &Target,
) {
    let store = open(target, credential, settings).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path());
    for lines in [5, 3] {
        log.write(lines).await;
        log.export(&store).await.unwrap();
    }
    let home = tempfile::tempdir().unwrap();
    bring_home(read, settings, home.path()).await;
    let key = dir.path().join("key.pem");
    log.write_key(&key);
    let names: Vec<String> = files(home.path());
    assert_eq!(
        names,
        [
            "rooms_contoso.operator-0.00000000000000000001-00000000000000000005.jsonl.gz",
            "rooms_contoso.operator-0.00000000000000000001.manifest.json",
            "rooms_contoso.operator-0.00000000000000000002.manifest.json",
            "rooms_contoso.operator-0.00000000000000000006-00000000000000000008.jsonl.gz",
        ]
    );
    assert_eq!(verdicts(home.path(), &key), (0, 0));
    let path = home.path().join("rooms_contoso/operator-0").join(&names[3]);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(verdicts(home.path(), &key), (6, 1));
}

fn files(home: &Path) -> Vec<String> {
    let folder = home.join("rooms_contoso/operator-0");
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn to_s3() {
    tls::install_provider();
    let server = Server::s3().await.unwrap();
    let client = server.client().unwrap();
    let made = client.put(server.url("contoso-audit")).send().await.unwrap();
    assert!(made.status().is_success(), "{}", made.status());
    let target = at(&server, "s3://contoso-audit/roomkeeper/prod");
    exported_and_judged(&target, &access_key(&target), &settings(&server), &target).await;

    // A bucket that is not there, and a certificate that nobody vouches for.
    let target = at(&server, "s3://elsewhere");
    let store = open(&target, &access_key(&target), &settings(&server)).unwrap();
    let error = store.put("a/b", vec![1]).await.unwrap_err();
    assert_eq!(error.cause, "the bucket, container or folder does not exist");
    let short = StoreSettings { retry_timeout: std::time::Duration::ZERO, ..StoreSettings::default() };
    let error = open(&target, &access_key(&target), &short).unwrap().put("a/b", vec![1]).await.unwrap_err();
    assert_eq!(error.cause, "the storage's certificate is not trusted: give its authority to the daemons");
}

#[tokio::test(flavor = "multi_thread")]
async fn to_azure() {
    tls::install_provider();
    let server = Server::azure(false).await.unwrap();
    server.make_container("logs").unwrap();
    let target = at(&server, &format!("az://{ACCOUNT}/logs/roomkeeper"));
    let key = |key: &str| Credential::of_secret(&target, "s", &secret(&[("accountKey", key)])).unwrap();
    exported_and_judged(&target, &key(&account_key(1)), &settings(&server), &target).await;

    // Another account's key, and a container that is not there.
    let store = open(&target, &key(&account_key(2)), &settings(&server)).unwrap();
    let error = store.put("a/b", vec![1]).await.unwrap_err();
    assert!(error.cause.starts_with("the storage refuses it (403)"), "{error}");
    let target = at(&server, &format!("az://{ACCOUNT}/elsewhere"));
    let store = open(&target, &key(&account_key(1)), &settings(&server)).unwrap();
    let error = store.put("a/b", vec![1]).await.unwrap_err();
    assert_eq!(error.cause, "the bucket, container or folder does not exist");
}
