//! The same over the whole system: real notifications in the queue, a real worker with its audit on the disk, permissions asked of the
//! API server, events read from the Graph simulator. All of them share the cores with the API server, whose own rate is taken in the same
//! run.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use kube::api::ListParams;
use roomkeeper_e2e::{
    install,
    outlook::Meeting,
    scene::{Scene, ample_quota},
    wait, world,
};

use super::{IN_FLIGHT, MAILBOXES, NAMESPACE, RECORDS, plain_creates, rate};

const WAIT: Duration = Duration::from_mins(5);

/// Rates per second.
pub(super) struct Rates {
    pub(super) worker: f64,
    pub(super) api_server: f64,
}

pub(super) async fn run() -> anyhow::Result<Rates> {
    eprintln!("records: the whole system is started");
    let scene = Scene::start(&world::contoso(MAILBOXES)).await?;
    let ingest = scene.system.webhook("webhook", &["--role", "ingest", "--debounce", "0s"]).await?;
    let operator = scene.system.operator("operator", &[]).await?;
    let scope_uid = scene.install(ample_quota).await?;
    for number in 1..=MAILBOXES {
        scene.consent(&scope_uid, number).await?;
    }
    let subscribed =
        async || Ok((scene.system.graph.subscriptions().await?.len() == MAILBOXES).then_some(()));
    wait::until("the subscriptions", WAIT, subscribed).await?;
    // Nothing is booked: the operator would take its part of the cores.
    drop(operator);

    eprintln!("records: {RECORDS} meetings are made");
    let outlook = scene.system.outlook().await?;
    let first = Timestamp::from_second(Timestamp::now().as_second())? + SignedDuration::from_hours(48);
    stream::iter(0..RECORDS)
        .map(|number| {
            let outlook = &outlook;
            let meeting = Meeting {
                subject: "Planning of the next quarter".to_owned(),
                from: first,
                to: first + SignedDuration::from_hours(1),
                rooms: vec![format!("room-{number}")],
            };
            async move { outlook.create(&world::user_id(number % MAILBOXES + 1), &meeting).await }
        })
        .buffer_unordered(8)
        .try_for_each(async |_| Ok(()))
        .await?;
    wait::until("the notifications", WAIT, async || {
        Ok((ingest.queue_depth().await? >= RECORDS).then_some(()))
    })
    .await?;
    drop(ingest);

    eprintln!("records: {RECORDS} over the whole path");
    let workers = IN_FLIGHT.to_string();
    let flags = ["--role", "worker", "--workers", &workers, "--mailbox-concurrency", "4"];
    let began = Instant::now();
    let worker = scene.system.webhook("webhook", &flags).await?;
    wait::until("an empty queue", WAIT, async || Ok((worker.queue_depth().await? == 0).then_some(())))
        .await?;
    let per_second = rate(RECORDS, began.elapsed());
    let records = scene.record_count().await?;
    anyhow::ensure!(records == RECORDS, "{records} BookingRecords of {RECORDS} meetings");
    drop(worker);

    let one = scene.records.list(&ListParams::default().limit(1)).await?.items;
    let spec = one.into_iter().next().context("no BookingRecord")?.spec;
    install::namespace(&scene.client, NAMESPACE).await?;
    let api_server = plain_creates(&scene.client, "plain", &spec, RECORDS).await?;
    scene.end().await?;
    Ok(Rates { worker: per_second, api_server })
}
