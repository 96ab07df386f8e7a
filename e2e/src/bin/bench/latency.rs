//! From a change in a calendar to its BookingRecord, one change after the other: through the notification, the webhook server
//! without debounce, both reads and the write, until a watch shows the record. Between two changes everything is at rest.
//!
//! Beside it, in the same run, the least that the API server allows: a plain create of such a record until the same watch shows it.

use std::time::Duration;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use kube::api::PostParams;
use roomkeeper_crds::BookingRecord;
use roomkeeper_e2e::{
    outlook::Meeting,
    scene::{NAMESPACE, Scene, ample_quota},
    world,
};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep, timeout},
};

use crate::{
    report::Report,
    sighting::{Sighting, quantile, watch},
};

/// Meetings that are made and renamed.
const MEETINGS: usize = 150;
/// The first of them, which open connections and get tokens, do not count.
const WARM_UP: usize = 10;
/// The simulator tells of each change once more after 150 ms, and the operator books: both are over by then.
const REST: Duration = Duration::from_millis(400);
const WAIT: Duration = Duration::from_mins(1);

pub(crate) async fn run() -> anyhow::Result<Report> {
    eprintln!("latency: starting");
    let scene = Scene::start(&world::contoso(1)).await?;
    let webhook = scene.system.webhook("webhook", &["--debounce", "0s"]).await?;
    let _operator = scene.system.operator("operator", &[]).await?;
    webhook.ready().await?;
    scene.subscribe(1, ample_quota).await?;
    let outlook = scene.system.outlook().await?;
    let user = world::user_id(1);
    let mut sightings = watch(scene.records.clone());
    let (mut created, mut renamed, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    eprintln!("latency: {MEETINGS} meetings, each made and renamed");
    let first = Timestamp::from_second(Timestamp::now().as_second())? + SignedDuration::from_hours(48);
    for number in 0..MEETINGS {
        let from = first + SignedDuration::from_hours(i64::try_from(number)?);
        let mut meeting = Meeting {
            subject: format!("Meeting {number}"),
            from,
            to: from + SignedDuration::from_mins(30),
            rooms: vec![format!("room-{number}")],
        };
        let began = Instant::now();
        let event = outlook.create(&user, &meeting).await?;
        let (record, took) = seen(&mut sightings, &meeting.subject, began).await?;
        created.push(took);
        sleep(REST).await;

        meeting.subject = format!("Renamed {number}");
        let began = Instant::now();
        outlook.rename(&user, &event, &meeting.subject).await?;
        renamed.push(seen(&mut sightings, &meeting.subject, began).await?.1);
        sleep(REST).await;

        let copy = copied(record, number);
        let began = Instant::now();
        scene.records.create(&PostParams::default(), &copy).await?;
        plain.push(seen(&mut sightings, &format!("Plain {number}"), began).await?.1);
        sleep(REST).await;
    }
    drop(sightings);
    scene.end().await?;

    let counted = |values: &[f64]| values.get(WARM_UP..).unwrap_or_default().to_vec();
    let (created, renamed, plain) = (counted(&created), counted(&renamed), counted(&plain));
    let all = [created.as_slice(), renamed.as_slice()].concat();
    let mut report = Report::default();
    report.count("changes", all.len());
    report.put("p50_ms", quantile(&all, 0.5));
    report.put("p99_ms", quantile(&all, 0.99));
    report.put("longest_ms", quantile(&all, 1.0));
    report.put("created_p50_ms", quantile(&created, 0.5));
    report.put("renamed_p50_ms", quantile(&renamed, 0.5));
    report.put("plain_create_p50_ms", quantile(&plain, 0.5));
    report.put("plain_create_p99_ms", quantile(&plain, 0.99));
    report.put("ratio_to_plain_create", quantile(&all, 0.5) / quantile(&plain, 0.5));
    Ok(report)
}

/// Waits for the record of that subject; returns it, and how many milliseconds it took.
async fn seen(
    sightings: &mut UnboundedReceiver<Sighting>,
    subject: &str,
    began: Instant,
) -> anyhow::Result<(BookingRecord, f64)> {
    let search = async {
        while let Some(sighting) = sightings.recv().await {
            if sighting.record.spec.subject.as_deref() == Some(subject) {
                return Ok((sighting.record, sighting.at.duration_since(began).as_secs_f64() * 1_000.0));
            }
        }
        anyhow::bail!("the watch has ended")
    };
    timeout(WAIT, search).await.with_context(|| format!("no record shows {subject:?}"))?
}

/// The record of another event, in another space.
fn copied(record: BookingRecord, number: usize) -> BookingRecord {
    let mut spec = record.spec;
    spec.subject = Some(format!("Plain {number}"));
    spec.event_id = format!("plain-{number}");
    for resource in &mut spec.single_value_extended_properties.resources {
        resource.resource_id = format!("plain-{number}");
    }
    let mut copy = BookingRecord::new(&format!("plain-{number}"), spec);
    copy.metadata.namespace = Some(NAMESPACE.to_owned());
    copy.metadata.labels = record.metadata.labels;
    copy
}
