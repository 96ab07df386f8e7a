//! Notifications per second that are answered 202 after they are on disk. Beside it, in the same run: the same server with
//! the queue's fsync off, and a handler that does nothing, which is what TLS, HTTP and the load generator leave.

pub(crate) mod server;

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, bail};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use roomkeeper_controlplane::process::{Program, Supervised, scratch_dir};
use roomkeeper_e2e::{certificates, certificates::ServerIdentity, world};
use roomkeeper_service::client_state::KeyRing;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::{
    load::{self, Load, Measured},
    report::Report,
};

/// Uid that the notifications claim; nothing looks it up on the way to the queue.
const UID: &str = "0b0f1d4e-6f0b-4f3c-9e2e-6b1d8a2c4e11";

/// Connections, each with one request in flight.
const CONNECTIONS: usize = 64;

/// Measured time of one load, and the time before it that does not count.
const MEASURED: Duration = Duration::from_secs(8);
const WARM_UP: Duration = Duration::from_secs(2);

pub(crate) async fn run() -> anyhow::Result<Report> {
    let folder = scratch_dir("roomkeeper-bench")?;
    let identity = certificates::loopback(folder.path())?;
    let keys = KeyRing::generate()?;
    fs::write(folder.path().join("keys.json"), serde_json::to_vec(&secret(keys.clone()))?)?;
    let ring = KeyRing::from_secret(&secret(keys))?;
    let state = ring.sign(UID, world::TENANT)?.expose_secret().to_owned();

    let mut report = Report::default();
    let single = measure(folder.path(), &identity, "fsync", &state, 1).await?;
    report.put("single_per_second", single.per_second);
    report.put("single_p50_ms", single.p50_ms);
    report.put("single_p99_ms", single.p99_ms);
    let batch = measure(folder.path(), &identity, "fsync", &state, 20).await?;
    report.put("batch20_per_second", batch.per_second * 20.0);
    report.put("batch20_p50_ms", batch.p50_ms);
    report.put("batch20_p99_ms", batch.p99_ms);
    let unsynced = measure(folder.path(), &identity, "no-fsync", &state, 1).await?;
    report.put("no_fsync_single_per_second", unsynced.per_second);
    report.put("no_fsync_single_p99_ms", unsynced.p99_ms);
    report.put("single_ratio_to_no_fsync", single.per_second / unsynced.per_second);
    let unsynced_batch = measure(folder.path(), &identity, "no-fsync", &state, 20).await?;
    report.put("no_fsync_batch20_per_second", unsynced_batch.per_second * 20.0);
    let empty = measure(folder.path(), &identity, "empty", &state, 1).await?;
    report.put("empty_handler_per_second", empty.per_second);
    report.put("empty_handler_p99_ms", empty.p99_ms);
    Ok(report)
}

fn secret(data: std::collections::BTreeMap<String, ByteString>) -> Secret {
    Secret { data: Some(data), ..Secret::default() }
}

async fn measure(
    folder: &Path,
    identity: &ServerIdentity,
    mode: &'static str,
    state: &str,
    items: usize,
) -> anyhow::Result<Measured> {
    eprintln!("ack: {mode}, {items} per POST, {} s", (WARM_UP + MEASURED).as_secs());
    let queue = folder.join(format!("queue-{mode}-{items}"));
    let program = Program::new(std::env::current_exe()?)
        .args(["serve-ack", "--mode", mode, "--keys"])
        .arg(folder.join("keys.json"))
        .arg("--queue-dir")
        .arg(&queue)
        .arg("--certificate")
        .arg(&identity.certificate)
        .arg("--key")
        .arg(&identity.key);
    let server = Supervised::spawn(program, &folder.join("server.log"))?;
    let address = match server.wait_line("ready ", Duration::from_secs(30)).await {
        Ok(address) => address.parse().with_context(|| format!("{address} is no address"))?,
        Err(error) => bail!("the server did not start: {error}\n{}", server.log_tail(20)),
    };
    let load = Load {
        address,
        ca: identity.ca.clone(),
        path: format!("/notifications/k/{UID}"),
        connections: CONNECTIONS,
        warm_up: WARM_UP,
        measured: MEASURED,
    };
    let state = state.to_owned();
    let measured = load::run(&load, move |number| body(&state, items, number)).await?;
    server.kill()?;
    fs::remove_dir_all(&queue).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })?;
    Ok(measured)
}

/// A POST of that many notifications, each of an event of its own so that none is merged into another.
fn body(state: &str, items: usize, number: u64) -> Vec<u8> {
    let value: Vec<Value> = (0..items)
        .map(|item| {
            let resource = format!("Users/{}/Events/AAMkADbench{number:012}{item:02}=", world::USER_1);
            json!({
                "subscriptionId": "f37536ac-b308-4bc7-b239-b2b51cd2ff24",
                "subscriptionExpirationDateTime": "2027-05-26T23:29:18.2277768+00:00",
                "changeType": "updated",
                "resource": resource,
                "resourceData": {
                    "@odata.type": "#Microsoft.Graph.Event", "@odata.id": resource,
                    "@odata.etag": "W/\"DwAAABYAAAAXxlVK8zI/TZLFIn9D86hXAAAEB/jr\"",
                    "id": format!("AAMkADbench{number:012}{item:02}="),
                },
                "clientState": state,
                "tenantId": world::TENANT,
            })
        })
        .collect();
    json!({ "value": value }).to_string().into_bytes()
}
