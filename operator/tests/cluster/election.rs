//! Who leads, and what becomes of it.

use std::time::{Duration, Instant};

use roomkeeper_controlplane::process::Signal;

use crate::site::{Operator, Site, until};

/// How long a replica that takes over may take beyond the lease.
const MARGIN: Duration = Duration::from_secs(5);
const LEASE: Duration = Duration::from_secs(5);

fn flags() -> Vec<String> {
    ["--public-url", "https://rooms.example"].map(str::to_owned).to_vec()
}

async fn two(site: &Site) -> (Operator, Operator) {
    let first = site.operator("first", &flags()).await;
    first.metric("roomkeeper_leader 1").await;
    let second = site.operator("second", &flags()).await;
    until("the standby is ready", async || match second.get("/readyz").await? {
        (200, _) => Ok(()),
        (_, text) => Err(text),
    })
    .await;
    second.metric("roomkeeper_leader 0").await;
    assert_eq!(site.holder().await.unwrap(), "first");
    (first, second)
}

#[tokio::test]
async fn a_killed_leader_is_replaced_when_its_lease_has_run_out() {
    let site = Site::new().await;
    let (first, second) = two(&site).await;
    first.process.kill().unwrap();
    let killed = Instant::now();
    second.metric("roomkeeper_leader 1").await;
    let took = killed.elapsed();
    assert!(took <= LEASE + MARGIN, "{took:?}");
    assert_eq!(site.holder().await.unwrap(), "second");
}

#[tokio::test]
async fn a_leader_that_is_asked_to_end_hands_over_at_once() {
    let site = Site::new().await;
    let (first, second) = two(&site).await;
    first.process.signal(Signal::SIGTERM).unwrap();
    let status = first.process.wait(Duration::from_secs(25)).await.unwrap();
    assert!(status.success(), "{status}\n{}", first.process.log_tail(20));
    second.metric("roomkeeper_leader 1").await;
    let log = first.process.log_tail(50);
    assert!(log.contains("lease released"), "{log}");
}

#[tokio::test]
async fn a_leader_that_was_stopped_stands_back_and_goes_on() {
    let site = Site::new().await;
    let (first, second) = two(&site).await;
    first.process.signal(Signal::SIGSTOP).unwrap();
    second.metric("roomkeeper_leader 1").await;
    first.process.signal(Signal::SIGCONT).unwrap();
    first.metric("roomkeeper_leader 0").await;
    first.process.still_running().unwrap();
    assert_eq!(site.holder().await.unwrap(), "second");
    second.process.kill().unwrap();
    first.metric("roomkeeper_leader 1").await;
}
