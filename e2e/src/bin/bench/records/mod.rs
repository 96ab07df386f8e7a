//! BookingRecords per second that the worker writes out of its queue, against the API server's own rate for such objects in
//! the same run: plain creates of the same specs, as many in flight.
//!
//! Calendars and permissions are answered from memory, so that `ratio_to_api_server` is the worker's writing and nothing else. Then once
//! more over the whole path, where reading and proving what was read is part of it.

mod whole_path;

use std::{sync::Arc, time::Duration, time::Instant};

use anyhow::Context as _;
use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{Span, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, Client, ResourceExt as _, api::PostParams};
use roomkeeper_controlplane::{ControlPlane, StartOptions, apply, process::scratch_dir};
use roomkeeper_crds::{
    AccessScope, BookingRecord, BookingRecordSpec, CalendarSubscription, CalendarSubscriptionStatus,
    calendar_subscription::{Delivery, DeliveryState},
    name,
};
use roomkeeper_e2e::{install, programs, wait, world};
use roomkeeper_graph::{
    Cause, Event, EventHead, EventId, EventType, OccurrencePage, PageToken, Sensitivity, Window,
    audit::MemoryAudit,
};
use roomkeeper_service::{health::Health, metrics};
use roomkeeper_webhook_server::{
    queue::{
        EventItem, Failure, Item, Queue as _,
        embedded::{EmbeddedQueue, Options},
    },
    worker::{
        Answer, Horizon, ObjectName, Permissions, Permit, ReadError, Reader, RecordNames, Subscriptions,
        Waits, Wanted, Worker, WorkerMetrics, WorkerParts,
    },
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{population::record, report::Report};

const NAMESPACE: &str = "bench";
/// Records written by each side.
const RECORDS: usize = 4000;
/// Writes in flight on each side.
const IN_FLIGHT: usize = 32;
/// Calendars, so that the worker's limit per mailbox does not bind.
const MAILBOXES: usize = 64;

pub(crate) async fn run() -> anyhow::Result<Report> {
    eprintln!("records: starting kube-apiserver");
    let control_plane = ControlPlane::start(StartOptions::default()).await?;
    let client = control_plane.admin_client().await?;
    apply::apply_crds(&client, &programs::repository().join("crds/yaml")).await?;
    install::namespace(&client, NAMESPACE).await?;
    let subscriptions = calendar_subscriptions(&client).await?;
    let folder = scratch_dir("roomkeeper-bench")?;

    // The server's first thousand writes are slower than the rest, whoever makes them.
    let sample = spec_of(&event_id(0))?;
    plain_creates(&client, "warm-up", &sample, RECORDS / 4).await?;
    let before = plain_creates(&client, "before", &sample, RECORDS).await?;
    let worker = by_the_worker(&client, folder.path(), &subscriptions).await?;
    let after = plain_creates(&client, "after", &sample, RECORDS).await?;
    let plain = f64::midpoint(before, after);
    control_plane.stop().await?;
    let whole = whole_path::run().await?;

    let mut report = Report::default();
    report.put("worker_per_second", worker);
    report.put("api_server_before_per_second", before);
    report.put("api_server_after_per_second", after);
    report.put("ratio_to_api_server", worker / plain);
    report.put("whole_path_per_second", whole.worker);
    report.put("whole_path_api_server_per_second", whole.api_server);
    report.put("whole_path_ratio", whole.worker / whole.api_server);
    Ok(report)
}

/// Rate of plain creates of that spec, as many in flight as the worker has.
async fn plain_creates(
    client: &Client,
    prefix: &str,
    spec: &BookingRecordSpec,
    count: usize,
) -> anyhow::Result<f64> {
    eprintln!("records: {count} plain creates");
    let api: Api<BookingRecord> = Api::namespaced(client.clone(), NAMESPACE);
    let began = Instant::now();
    stream::iter(0..count)
        .map(|number| {
            let (api, record) =
                (api.clone(), BookingRecord::new(&format!("{prefix}-{number}"), spec.clone()));
            async move { api.create(&PostParams::default(), &record).await.map(drop) }
        })
        .buffer_unordered(IN_FLIGHT)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(rate(count, began.elapsed()))
}

fn rate(count: usize, elapsed: Duration) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
    let count = count as f64;
    count / elapsed.as_secs_f64()
}

/// Fills the queue, lets the worker go, and stops the clock when every record is there.
async fn by_the_worker(
    client: &Client,
    folder: &std::path::Path,
    subscriptions: &[CalendarSubscription],
) -> anyhow::Result<f64> {
    let options = Options { debounce: Duration::ZERO, max_debounce: Duration::ZERO, ..Options::default() };
    let queue = Arc::new(EmbeddedQueue::open(&folder.join("queue"), &options)?);
    let items = (0..RECORDS)
        .map(|number| {
            let subscription = subscriptions.get(number % MAILBOXES).context("a subscription")?;
            Ok(Item::V1Event(EventItem {
                tenant_id: world::TENANT.to_owned(),
                user_id: world::user_id(number % MAILBOXES + 1),
                event_id: event_id(number),
                subscription_uid: subscription.uid().context("uid")?,
                deleted: false,
                found: false,
                version: None,
                received_at: Timestamp::now(),
            }))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    for batch in items.chunks(500) {
        queue.append(batch.to_vec()).await?;
    }
    let stop = CancellationToken::new();
    let index = Subscriptions::new();
    let gate = Health::new().gate("subscriptions");
    tokio::spawn(index.clone().watch(client.clone(), vec![NAMESPACE.to_owned()], gate, stop.clone()));
    index.listed().await;
    let record_names = RecordNames::new(vec![NAMESPACE.to_owned()]);
    tokio::spawn(record_names.clone().watch(client.clone(), stop.clone()));
    // What the records of the turn before cost is no part of this one.
    let listed = async || Ok(record_names.listed().then_some(()));
    wait::until("the names of the records", Duration::from_mins(1), listed).await?;
    let memory = Arc::new(Memory { scope: scope()?, subscriptions: subscriptions.to_vec() });
    let worker = Worker::new(WorkerParts {
        queue: Arc::clone(&queue) as Arc<dyn roomkeeper_webhook_server::queue::Queue>,
        client: client.clone(),
        subscriptions: index,
        record_names,
        permissions: Arc::clone(&memory) as Arc<dyn Permissions>,
        reader: memory,
        audit: Arc::new(MemoryAudit::default()),
        metrics: WorkerMetrics::new(&metrics::registry()?)?,
        workers: IN_FLIGHT,
        mailbox_concurrency: 2,
        horizon: Horizon::of_days(365),
        waits: Waits::default(),
    });
    eprintln!("records: {RECORDS} by the worker");
    let began = Instant::now();
    let running = tokio::spawn(worker.run(stop.clone()));
    let api: Api<BookingRecord> = Api::namespaced(client.clone(), NAMESPACE);
    let last = name::booking_record(
        world::TENANT,
        &world::user_id((RECORDS - 1) % MAILBOXES + 1),
        &event_id(RECORDS - 1),
    );
    wait::until("the last BookingRecord", Duration::from_mins(2), || async {
        let waiting = queue.stats();
        Ok((waiting.depth == 0 && api.get_opt(&last).await?.is_some()).then_some(()))
    })
    .await?;
    let per_second = rate(RECORDS, began.elapsed());
    stop.cancel();
    running.await?;
    Ok(per_second)
}

async fn calendar_subscriptions(client: &Client) -> anyhow::Result<Vec<CalendarSubscription>> {
    let api: Api<CalendarSubscription> = Api::namespaced(client.clone(), NAMESPACE);
    let mut made = Vec::new();
    for number in 1..=MAILBOXES {
        let subscription = serde_json::from_value(json!({
            "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "CalendarSubscription",
            "metadata": {"name": name::calendar_subscription("bench", &world::user_id(number))},
            "spec": {"scopeRef": {"name": "contoso"}, "user": world::user_id(number)},
        }))?;
        let mut subscription = api.create(&PostParams::default(), &subscription).await?;
        // As it is once the first notification came: the worker reports that once, not per record.
        subscription.status = Some(CalendarSubscriptionStatus {
            delivery: Some(Delivery {
                state: Some(DeliveryState::Receiving),
                last_received_at: Some(Time(Timestamp::now())),
                ..Delivery::default()
            }),
            ..CalendarSubscriptionStatus::default()
        });
        made.push(subscription);
    }
    Ok(made)
}

fn scope() -> anyhow::Result<AccessScope> {
    let text = std::fs::read_to_string(programs::repository().join("docs/examples/03-access-scope.yaml"))?;
    serde_yaml::from_str(&text).context("the example of an AccessScope")
}

/// The spec that the worker makes of an event of [`Memory`], by its size.
fn spec_of(event: &str) -> anyhow::Result<BookingRecordSpec> {
    let subscription = name::calendar_subscription("bench", world::USER_1);
    let record: BookingRecord = serde_json::from_value(record("sample", &subscription)?)?;
    Ok(BookingRecordSpec {
        event_id: event.to_owned(),
        i_cal_u_id: format!("{}{event}", record.spec.i_cal_u_id),
        ..record.spec
    })
}

fn event_id(number: usize) -> String {
    format!("AAkALgAAbench{number:08}=")
}

/// Permissions and calendars without a wait.
struct Memory {
    scope: AccessScope,
    subscriptions: Vec<CalendarSubscription>,
}

#[async_trait]
impl Permissions for Memory {
    async fn ask(&self, name: &ObjectName, _: &EventItem) -> Result<Answer, Failure> {
        let found = self.subscriptions.iter().find(|subscription| subscription.name_any() == name.name);
        let subscription = found.cloned().ok_or(Failure::Internal)?;
        let permit = Permit::new(subscription, self.scope.clone(), tokio::time::Instant::now());
        Ok(Answer::Allowed(Box::new(permit)))
    }
}

#[async_trait]
impl Reader for Memory {
    async fn prepare(&self, _: &AccessScope, _: &Cause) -> Result<(), ReadError> {
        Ok(())
    }

    async fn head(&self, _: &AccessScope, wanted: &Wanted) -> Result<EventHead, ReadError> {
        Ok(head(&wanted.event))
    }

    async fn full(&self, _: &AccessScope, wanted: &Wanted) -> Result<Event, ReadError> {
        let start = Timestamp::now().checked_add(Span::new().hours(2)).unwrap_or(Timestamp::MAX);
        Ok(Event {
            head: head(&wanted.event),
            subject: Some("Planning of the next quarter".to_owned()),
            start,
            end: start.checked_add(Span::new().hours(1)).unwrap_or(Timestamp::MAX),
            is_all_day: false,
            organizer: Some(world::principal_name(1)),
            attendees: (2..8).map(world::principal_name).collect(),
            sensitivity: Sensitivity::Normal,
            series_master_id: None,
            recurrence: None,
        })
    }

    async fn master(&self, _: &AccessScope, _: &Wanted) -> Result<Option<EventId>, ReadError> {
        Ok(None)
    }

    async fn occurrences(
        &self,
        _: &AccessScope,
        _: &Wanted,
        _: &Window,
        _: Option<&PageToken>,
    ) -> Result<OccurrencePage, ReadError> {
        Ok(OccurrencePage { occurrences: Vec::new(), next: None })
    }
}

fn head(event: &EventId) -> EventHead {
    let value = json!({
        "version": 1, "addInVersion": "1.4.0", "owner": world::principal_name(1), "attendees": [world::principal_name(2)],
        "resources": [{"id": "room-101", "location": "Headquarters, room-101", "capacity": 8, "attributes": ["screen", "phone"]}],
    });
    EventHead {
        id: event.clone(),
        i_cal_u_id: format!("040000008200E00074C5B7101A82E008{event}"),
        change_key: "DwAAABYAAAAXxlVK8zI/TZLFIn9D86hXAAAEB/jr".to_owned(),
        last_modified: Timestamp::now(),
        is_organizer: true,
        event_type: EventType::SingleInstance,
        is_cancelled: false,
        add_in_value: Some(value.to_string()),
    }
}
