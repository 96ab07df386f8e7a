//! From the end of a booking until its record is gone, with 10,000 records that end in the same minute: first spread over its
//! seconds, then all at once, as most meetings do. The latter shows the rate of the deletions, beside the limit that holds: the pace that
//! the operator is told to keep, or the API server's own rate for such deletions in the same run, whichever is less.
//!
//! The AccessScope names no booking product: ending a booking needs none.

use std::{collections::HashMap, time::Duration};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, PostParams, Preconditions},
};
use roomkeeper_crds::BookingRecord;
use roomkeeper_e2e::{scene::Scene, world};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, timeout},
};

use crate::{
    population::record,
    report::Report,
    sighting::{Sighting, quantile, watch},
};

const RECORDS: usize = 10_000;
/// Records that the API server's rate is measured with.
const PLAIN: usize = 4_000;
const IN_FLIGHT: usize = 32;
/// `--record-deletes-per-second`, which is its default.
const PACE: f64 = 500.0;
const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const WAIT: Duration = Duration::from_mins(5);

/// The scope without its product.
fn without_product(example: &str) -> String {
    let lines = example.lines().filter(|line| {
        let line = line.trim_start();
        !["booking:", "url: https://", "secretName: contoso-booking", "privateSubject:"]
            .iter()
            .any(|start| line.starts_with(start))
    });
    lines.collect::<Vec<&str>>().join("\n")
}

pub(crate) async fn run() -> anyhow::Result<Report> {
    eprintln!("expiry: starting");
    let scene = Scene::start(&world::contoso(1)).await?;
    let webhook = scene.system.webhook("webhook", &[]).await?;
    let _operator = scene.system.operator("operator", &["--record-deletes-per-second", "500"]).await?;
    webhook.ready().await?;
    let names = scene.subscribe(1, without_product).await?;
    let subscription = names.first().context("a CalendarSubscription")?;
    let mut bench =
        Bench { sightings: watch(scene.records.clone()), records: scene.records.clone(), subscription };

    let began = Instant::now();
    let far = Timestamp::from_second(Timestamp::now().as_second())? + SignedDuration::from_hours(100);
    let plain = bench.create("plain", &vec![far; PLAIN]).await?;
    let took = SignedDuration::try_from(began.elapsed())?;
    let api_rate = bench.delete(plain).await?;
    // As long as making so many takes, and a fifth more.
    let lead = took * 3 + SignedDuration::from_secs(5);

    let from = soon(lead)?;
    let share = |number: usize| {
        let seconds = number * 60 / RECORDS;
        i64::try_from(seconds).map(|seconds| from + SignedDuration::from_secs(seconds))
    };
    let ends = (0..RECORDS).map(share).collect::<Result<Vec<_>, _>>()?;
    let spread = bench.expire("spread", &ends).await?;
    let at_once = bench.expire("at-once", &vec![soon(lead)?; RECORDS]).await?;
    drop(bench);
    scene.end().await?;

    let limit = api_rate.min(PACE);
    #[allow(clippy::cast_precision_loss, reason = "ten thousand")]
    let rate = RECORDS as f64 / quantile(&at_once, 1.0);
    let mut report = Report::default();
    report.put("p50_s", quantile(&spread, 0.5));
    report.put("p99_s", quantile(&spread, 0.99));
    report.put("longest_s", quantile(&spread, 1.0));
    report.put("at_once_p50_s", quantile(&at_once, 0.5));
    report.put("at_once_p99_s", quantile(&at_once, 0.99));
    report.put("at_once_deletes_per_second", rate);
    report.put("api_server_deletes_per_second", api_rate);
    report.put("pace_per_second", PACE);
    report.put("ratio_to_delete_rate", rate / limit);
    Ok(report)
}

/// A whole second so far ahead.
fn soon(lead: SignedDuration) -> anyhow::Result<Timestamp> {
    Ok(Timestamp::from_second((Timestamp::now() + lead).as_second() + 1)?)
}

struct Bench<'a> {
    sightings: UnboundedReceiver<Sighting>,
    records: Api<BookingRecord>,
    subscription: &'a str,
}

impl Bench<'_> {
    /// Makes records that end then, and waits until the operator has looked at each.
    async fn create(&mut self, prefix: &str, ends: &[Timestamp]) -> anyhow::Result<Vec<BookingRecord>> {
        eprintln!("expiry: {} records are made", ends.len());
        let (api, subscription) = (&self.records, self.subscription);
        stream::iter(ends.iter().enumerate())
            .map(|(number, end)| async move {
                let record = ending(&format!("{prefix}-{number}"), subscription, *end)?;
                api.create(&PostParams::default(), &record).await?;
                anyhow::Ok(())
            })
            .buffer_unordered(IN_FLIGHT)
            .try_collect::<Vec<()>>()
            .await?;
        let mut known = HashMap::new();
        while known.len() < ends.len() {
            let sighting = self.next().await?;
            let name = sighting.record.name_any();
            let looked_at = sighting.record.status.as_ref().is_some_and(|status| status.expires_at.is_some());
            anyhow::ensure!(!(sighting.deleted && name.starts_with(prefix)), "{name} is gone too early");
            if looked_at && name.starts_with(prefix) {
                known.insert(name, sighting.record);
            }
        }
        Ok(known.into_values().collect())
    }

    /// Deletes as the operator does, and returns how many went in a second.
    async fn delete(&mut self, records: Vec<BookingRecord>) -> anyhow::Result<f64> {
        eprintln!("expiry: {} plain deletions", records.len());
        #[allow(clippy::cast_precision_loss, reason = "some thousands")]
        let count = records.len() as f64;
        let api = &self.records;
        let began = Instant::now();
        stream::iter(records)
            .map(|record| async move {
                let preconditions =
                    Preconditions { uid: record.uid(), resource_version: record.resource_version() };
                let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
                api.delete(&record.name_any(), &params).await.map(drop)
            })
            .buffer_unordered(IN_FLIGHT)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(count / began.elapsed().as_secs_f64())
    }

    /// Makes records that end then, and returns for each how many seconds later it was gone.
    async fn expire(&mut self, prefix: &str, ends: &[Timestamp]) -> anyhow::Result<Vec<f64>> {
        self.create(prefix, ends).await?;
        let first = ends.iter().min().context("an end")?;
        let early = first.duration_since(Timestamp::now());
        eprintln!("expiry: all are known {} s before the first ends", early.as_secs());
        anyhow::ensure!(early.is_positive(), "the first ended before all were made");
        let mut lags = Vec::new();
        while lags.len() < ends.len() {
            let sighting = self.next().await?;
            if sighting.deleted && sighting.record.name_any().starts_with(prefix) {
                let end = sighting.record.spec.date_time_to.0;
                lags.push(sighting.wall.duration_since(end).as_secs_f64());
            }
        }
        Ok(lags)
    }

    async fn next(&mut self) -> anyhow::Result<Sighting> {
        let next = timeout(WAIT, self.sightings.recv()).await.context("nothing happens any more")?;
        next.context("the watch has ended")
    }
}

/// A record of half an hour that ends then.
fn ending(name: &str, subscription: &str, end: Timestamp) -> anyhow::Result<BookingRecord> {
    let mut record = record(name, subscription)?;
    if let Some(spec) = record.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("eventId".to_owned(), name.into());
        spec.insert("dateTimeFrom".to_owned(), json!(end - MINUTE * 30));
        spec.insert("dateTimeTo".to_owned(), json!(end));
    }
    Ok(serde_json::from_value(record)?)
}
