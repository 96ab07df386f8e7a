//! A worker with a queue of its own, and what it does with a notification.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use prometheus::Registry;
use roomkeeper_crds::{
    BookingRecord, CalendarSubscription,
    booking_record::BookingState,
    calendar_subscription::{DeliveryState, LifecycleEvent},
};
use roomkeeper_graph::{
    EventId, EventType, Purpose,
    audit::{AuditEntry, AuditError, MemoryAudit},
};
use roomkeeper_service::health::Health;
use roomkeeper_webhook_server::{
    queue::{
        Backoff, Item, LifecycleEvents, LifecycleItem, Queue as _,
        embedded::{EmbeddedQueue, Options},
    },
    worker::{
        Horizon, Listing, LivePermissions, Permissions, Reader, RecordNames, ResyncMetrics, ResyncParts,
        Resyncs, Subscriptions, Waits, Worker, WorkerMetrics, WorkerParts,
    },
};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    calendar::{Calendar, Reads, event, subject},
    cluster::until,
    world::{EVENT, TENANT, USER, World},
};

pub struct Running {
    pub queue: Arc<EmbeddedQueue>,
    pub audit: Arc<MemoryAudit>,
    pub registry: Registry,
    worker: Arc<Worker>,
    stop: CancellationToken,
    _folder: TempDir,
    _guard: DropGuard,
    _task: JoinHandle<()>,
}

impl Running {
    pub async fn start(world: &World, reader: Arc<dyn Reader>) -> Self {
        let permissions = LivePermissions::new(world.cluster.webhook.clone());
        Self::with(world, reader, Arc::new(permissions)).await
    }

    pub async fn with(world: &World, reader: Arc<dyn Reader>, permissions: Arc<dyn Permissions>) -> Self {
        let names = RecordNames::new(vec![world.namespace.clone()]);
        tokio::spawn(names.clone().watch(world.cluster.webhook.clone(), CancellationToken::new()));
        Self::knowing(world, reader, permissions, names).await
    }

    /// One whose watch of the BookingRecords' names broke off when there was none, and which nobody told of it.
    pub async fn with_a_dead_watch(world: &World, reader: Arc<dyn Reader>) -> Self {
        let (names, stop) = (RecordNames::new(vec![world.namespace.clone()]), CancellationToken::new());
        let watch = tokio::spawn(names.clone().watch(world.cluster.webhook.clone(), stop.clone()));
        until("the list of names", async || names.listed().then_some(())).await;
        stop.cancel();
        watch.await.unwrap();
        let permissions = LivePermissions::new(world.cluster.webhook.clone());
        Self::knowing(world, reader, Arc::new(permissions), names).await
    }

    async fn knowing(
        world: &World,
        reader: Arc<dyn Reader>,
        permissions: Arc<dyn Permissions>,
        record_names: RecordNames,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options =
            Options { debounce: Duration::ZERO, max_debounce: Duration::ZERO, ..Options::default() };
        let queue = Arc::new(EmbeddedQueue::open(folder.path(), &options).unwrap());
        let stop = CancellationToken::new();
        let subscriptions = Subscriptions::new();
        let health = Health::new();
        tokio::spawn(subscriptions.clone().watch(
            world.cluster.webhook.clone(),
            vec![world.namespace.clone()],
            health.gate("kube"),
            stop.clone(),
        ));
        until("the index of CalendarSubscriptions", async || health.report().is_empty().then_some(())).await;
        let registry = Registry::new();
        let audit = Arc::new(MemoryAudit::new());
        let fast = Backoff { base: Duration::from_millis(10), cap: Duration::from_millis(50) };
        let worker = Worker::new(WorkerParts {
            queue: Arc::clone(&queue) as Arc<_>,
            client: world.cluster.webhook.clone(),
            subscriptions,
            record_names,
            permissions,
            reader,
            audit: Arc::clone(&audit) as Arc<_>,
            metrics: WorkerMetrics::new(&registry).unwrap(),
            workers: 4,
            mailbox_concurrency: 2,
            horizon: Horizon::of_days(365),
            waits: Waits { failed: fast, short: fast },
        });
        let running = tokio::spawn(Arc::clone(&worker).run(stop.clone()));
        let guard = stop.clone().drop_guard();
        Self { queue, audit, registry, worker, stop, _folder: folder, _guard: guard, _task: running }
    }

    /// Has it read calendars again where that is asked for.
    pub fn resync(&self, world: &World, listing: Arc<dyn Listing>, identity: &str) {
        let metrics = ResyncMetrics::new(&self.registry).unwrap();
        let client = world.cluster.webhook.clone();
        let parts = ResyncParts { client, listing, identity: identity.to_owned(), metrics };
        tokio::spawn(Resyncs::new(&self.worker, parts).run(self.stop.clone()));
    }

    pub async fn notify(&self, item: Item) {
        self.queue.append(vec![item]).await.unwrap();
    }

    /// Waits until every item is settled.
    pub async fn idle(&self) {
        until("the queue to be empty", async || (self.queue.stats().depth == 0).then_some(())).await;
    }

    pub async fn work(&self, item: Item) {
        self.notify(item).await;
        self.idle().await;
    }

    pub fn gauge(&self, metric: &str) -> i64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == metric).unwrap();
        format!("{}", family.get_metric()[0].get_gauge().get_value()).parse().unwrap()
    }

    pub fn counter(&self, metric: &str, label: &str) -> u64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == metric).unwrap();
        let of_label = |metric: &&prometheus::proto::Metric| metric.get_label()[0].value() == label;
        let value = family.get_metric().iter().find(of_label).unwrap().get_counter().get_value();
        format!("{value}").parse().unwrap()
    }

    pub fn done(&self, outcome: &str) -> u64 {
        self.counter("roomkeeper_worker_items_total", outcome)
    }

    pub fn again(&self, why: &str) -> u64 {
        self.counter("roomkeeper_worker_retries_total", why)
    }

    pub fn notifications(&self) -> Vec<(String, Option<String>)> {
        let entry = |entry| match entry {
            AuditEntry::Notification { event_id, i_cal_u_id, .. } => {
                Some((event_id.as_str().to_owned(), i_cal_u_id))
            }
            _ => None,
        };
        self.audit.entries().into_iter().filter_map(entry).collect()
    }
}

#[tokio::test]
async fn a_booked_event_becomes_a_record_with_exactly_its_fields() {
    let world = World::new("booked").await;
    let calendar = Arc::new(Calendar::default());
    let event = event(1);
    calendar.put(event.clone());
    let reads = Reads::of(&calendar);
    let worker = Running::start(&world, Arc::clone(&reads) as _).await;
    worker.work(world.item()).await;

    let record = world.record().await.unwrap();
    let time = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let property =
        format!("String {{00020329-0000-0000-C000-000000000046}} Name cecp-{}", super::world::MANIFEST);
    assert_eq!(
        serde_json::to_value(&record.spec).unwrap(),
        json!({
            "eventId": EVENT, "iCalUId": "040000008200E0", "changeKey": "version-1",
            "dateTimeFrom": time(event.start), "dateTimeTo": time(event.end),
            "lastModifiedDateTime": time(event.head.last_modified),
            "organizer": "user1@contoso.example", "sensitivity": "normal", "subject": subject(1),
            "singleValueExtendedProperties": {"resources": [{
                "resourceId": "room-101", "propertyId": property, "manifestId": super::world::MANIFEST,
            }]},
            "state": "Booked", "subscriptionRef": {"name": "user1"},
        })
    );
    assert_eq!(record.metadata.labels.unwrap()["roomkeeper.dev/scope"], "contoso");
    assert_eq!(record.metadata.owner_references, None);
    assert_eq!(reads.log(), [Purpose::EventMinimalRead, Purpose::EventFullRead]);
    assert_eq!(worker.notifications(), [(EVENT.to_owned(), Some("040000008200E0".to_owned()))]);

    worker.work(world.item()).await;
    assert_eq!((worker.done("created"), worker.done("unchanged")), (1, 1));
    assert_eq!(world.record().await.unwrap().metadata.generation, Some(1), "a repeat writes nothing");
}

#[tokio::test]
async fn an_unbooked_event_is_entered_in_the_audit_and_nothing_further_is_read() {
    let world = World::new("unbooked").await;
    let calendar = Arc::new(Calendar::default());
    let mut unbooked = event(1);
    unbooked.head.add_in_value = None;
    calendar.put(unbooked);
    let reads = Reads::of(&calendar);
    let worker = Running::start(&world, Arc::clone(&reads) as _).await;
    worker.work(world.item()).await;
    assert_eq!(reads.log(), [Purpose::EventMinimalRead]);
    assert_eq!(worker.notifications(), [(EVENT.to_owned(), Some("040000008200E0".to_owned()))]);
    assert!(world.all_records().await.is_empty());
}

#[tokio::test]
async fn taking_the_space_away_or_cancelling_cancels_the_record() {
    for change in ["property", "empty", "cancelled"] {
        let world = World::new("cancel").await;
        let calendar = Arc::new(Calendar::default());
        calendar.put(event(1));
        let reads = Reads::of(&calendar);
        let worker = Running::start(&world, Arc::clone(&reads) as _).await;
        worker.work(world.item()).await;
        let mut changed = event(2);
        match change {
            "property" => changed.head.add_in_value = None,
            "empty" => changed.head.add_in_value = Some(r#"{"version":1,"resources":[]}"#.to_owned()),
            _ => changed.head.is_cancelled = true,
        }
        calendar.put(changed);
        worker.work(world.item()).await;
        let record = world.record().await.unwrap();
        assert_eq!(record.spec.state, BookingState::Cancelled, "{change}");
        assert_eq!(record.spec.change_key, "version-1", "nothing further was read: {change}");
        assert_eq!(reads.full_reads(), 1, "{change}");
        worker.work(world.item()).await;
        assert_eq!(world.record().await.unwrap().metadata.generation, Some(2), "{change}");
    }
}

#[tokio::test]
async fn an_event_that_is_not_found_is_looked_for_again_before_it_counts_as_gone() {
    let world = World::new("missing").await;
    let calendar = Arc::new(Calendar::default());
    calendar.put(event(1));
    let reads = Reads::of(&calendar);
    let worker = Running::start(&world, Arc::clone(&reads) as _).await;
    worker.work(world.item()).await;
    calendar.remove(EVENT);
    worker.work(world.item()).await;
    assert_eq!(worker.again("missing"), 2);
    assert_eq!(reads.log().len(), 2 + 3);
    assert_eq!(world.record().await.unwrap().spec.state, BookingState::Cancelled);
    assert_eq!(
        worker.notifications(),
        [(EVENT.to_owned(), Some("040000008200E0".to_owned())), (EVENT.to_owned(), None)]
    );
}

#[tokio::test]
async fn an_event_that_graph_said_was_deleted_is_gone_at_once() {
    let world = World::new("deleted").await;
    let calendar = Arc::new(Calendar::default());
    calendar.put(event(1));
    let worker = Running::start(&world, Reads::of(&calendar)).await;
    worker.work(world.item()).await;
    calendar.remove(EVENT);
    worker.work(world.deleted_item()).await;
    assert_eq!(worker.again("missing"), 0);
    assert_eq!(world.record().await.unwrap().spec.state, BookingState::Cancelled);
}

#[tokio::test]
async fn a_malformed_property_books_nothing_and_says_why() {
    let world = World::new("malformed").await;
    let calendar = Arc::new(Calendar::default());
    calendar.put(event(1));
    let worker = Running::start(&world, Reads::of(&calendar)).await;
    worker.work(world.item()).await;
    let mut malformed = event(2);
    malformed.head.add_in_value = Some(r#"{"version":2}"#.to_owned());
    calendar.put(malformed);
    worker.work(world.item()).await;
    let record = world.record().await.unwrap();
    assert_eq!((record.spec.state, record.metadata.generation), (BookingState::Booked, Some(2)));
    let properties = &record.spec.single_value_extended_properties;
    assert_eq!(
        properties.invalid.as_deref(),
        Some("the add-in's property has no version, or another one than 1")
    );
    assert!(properties.resources.is_empty());
    assert_eq!((record.spec.subject, record.spec.organizer), (None, None), "no more than tells when it ends");
    calendar.put(event(3));
    worker.work(world.item()).await;
    let record = world.record().await.unwrap();
    assert_eq!(record.spec.single_value_extended_properties.invalid, None);
    assert_eq!(record.spec.single_value_extended_properties.resources.len(), 1);
}

/// Two to four notifications tell of one version, in any order and again later.
#[tokio::test]
async fn what_was_read_costs_no_further_read() {
    let world = World::new("coalesced").await;
    let calendar = Arc::new(Calendar::default());
    let reads = Reads::of(&calendar);
    let worker = Running::start(&world, Arc::clone(&reads) as _).await;
    let other = Reads::of(&calendar);
    let second = Running::start(&world, Arc::clone(&other) as _).await;
    let told = |version| world.told(version);
    calendar.put(event(1));
    worker.work(told(1)).await;
    for _ in 0..3 {
        worker.work(told(1)).await;
        second.work(told(1)).await;
    }
    calendar.put(event(2));
    worker.work(told(2)).await;
    // What is late of the first version is news to the second pod, once.
    for version in [1, 2, 1, 2] {
        worker.work(told(version)).await;
        second.work(told(version)).await;
    }
    let minimal =
        |reads: &Reads| reads.log().iter().filter(|purpose| **purpose == Purpose::EventMinimalRead).count();
    assert_eq!((minimal(&reads), minimal(&other)), (2, 1));
    assert_eq!(world.record().await.unwrap().spec.change_key, "version-2");
    assert_eq!(worker.done("duplicate"), 7);
    assert_eq!(worker.notifications().len(), 9, "each notification has its entry");
    second.work(world.item()).await;
    assert_eq!(minimal(&other), 2, "a notification that names no version is read");
}

#[tokio::test]
async fn what_has_ended_is_not_recorded() {
    let world = World::new("ended").await;
    let calendar = Arc::new(Calendar::default());
    let mut past = event(1);
    (past.start, past.end) =
        (past.start - jiff::Span::new().hours(48), past.end - jiff::Span::new().hours(48));
    calendar.put(past);
    let worker = Running::start(&world, Reads::of(&calendar)).await;
    worker.work(world.item()).await;
    assert_eq!(worker.done("ended"), 1);
    assert!(world.all_records().await.is_empty());
}

#[tokio::test]
async fn an_occurrence_is_recorded_under_its_series() {
    let world = World::new("series").await;
    let calendar = Arc::new(Calendar::default());
    let mut occurrence = event(1);
    occurrence.head.event_type = EventType::Occurrence;
    occurrence.series_master_id = Some("AAMkAD_master=".to_owned());
    // Whether an occurrence shows what its series carries is not documented.
    occurrence.head.add_in_value = None;
    calendar.put(occurrence);
    let mut master = event(7);
    master.head.id = EventId::parse("AAMkAD_master=").unwrap();
    master.head.event_type = EventType::SeriesMaster;
    master.recurrence = Some(json!({
        "pattern": {"type": "weekly", "interval": 1, "month": 0, "dayOfMonth": 0, "daysOfWeek": ["monday"],
                    "firstDayOfWeek": "sunday", "index": "first"},
        "range": {"type": "noEnd", "startDate": "2026-11-23", "endDate": "0001-01-01",
                  "recurrenceTimeZone": "UTC", "numberOfOccurrences": 0},
    }));
    calendar.put(master);
    let worker = Running::start(&world, Reads::of(&calendar)).await;
    worker.work(world.item()).await;
    let records = world.all_records().await;
    assert_eq!(records.len(), 1);
    assert_eq!(
        records[0].metadata.name.as_deref(),
        Some(roomkeeper_crds::name::booking_record(TENANT, USER, "AAMkAD_master=").as_str())
    );
    assert_eq!(records[0].spec.event_id, "AAMkAD_master=");
    let recurrence = records[0].spec.recurrence_pattern.as_ref().unwrap();
    assert_eq!(recurrence.pattern.type_, "weekly");
    assert_eq!(recurrence.occurrences, [records[0].spec.date_time_from.clone()]);
    assert!(recurrence.listed_until.is_some() && recurrence.exceptions.is_empty());
}

#[tokio::test]
async fn without_an_audit_nothing_is_concluded() {
    let world = World::new("audit").await;
    let calendar = Arc::new(Calendar::default());
    calendar.put(event(1));
    let reads = Reads::of(&calendar);
    let worker = Running::start(&world, Arc::clone(&reads) as _).await;
    worker.audit.refuse(Some(AuditError::Closed));
    worker.notify(world.item()).await;
    until("a retry", async || (worker.again("audit_unavailable") > 0).then_some(())).await;
    assert_eq!(reads.full_reads(), 0);
    assert!(world.all_records().await.is_empty());
    worker.audit.refuse(None);
    worker.idle().await;
    assert!(world.record().await.is_some(), "the notification was not lost");
}

/// The worker's client may do what it does, and no more.
#[tokio::test]
async fn the_worker_may_delete_neither_records_nor_consents_and_takes_no_withdrawal_back() {
    let world = World::new("rights").await;
    let refused = |error: kube::Error| matches!(error, kube::Error::Api(status) if status.code == 403);
    let client: Client = world.cluster.webhook.clone();
    let records: Api<BookingRecord> = Api::namespaced(client.clone(), &world.namespace);
    assert!(refused(records.delete("any", &DeleteParams::default()).await.unwrap_err()));
    let subscriptions: Api<CalendarSubscription> = Api::namespaced(client.clone(), &world.namespace);
    let suspend = Patch::Merge(json!({"spec": {"suspend": true}}));
    assert!(refused(subscriptions.patch("user1", &PatchParams::default(), &suspend).await.unwrap_err()));
    let mut other = world.subscription.clone();
    other.metadata = kube::core::ObjectMeta { name: Some("other".to_owned()), ..Default::default() };
    assert!(refused(subscriptions.create(&PostParams::default(), &other).await.unwrap_err()));
    let consents: Api<roomkeeper_crds::ConsentRecord> = Api::namespaced(client, &world.namespace);
    let name = world.consent.metadata.name.as_deref().unwrap();
    assert!(refused(consents.delete(name, &DeleteParams::default()).await.unwrap_err()));
    let withdrawn = json!({"at": "2026-11-24T10:00:00Z", "by": "webhook", "reason": "T-1"});
    let patch = async |withdrawn: &serde_json::Value| {
        let patch = Patch::Merge(json!({"spec": {"withdrawn": withdrawn}}));
        consents.patch(name, &PatchParams::default(), &patch).await
    };
    patch(&withdrawn).await.unwrap();
    let kube::Error::Api(status) = patch(&serde_json::Value::Null).await.unwrap_err() else {
        panic!("not the API server's answer")
    };
    assert!(status.message.contains("withdrawn is set once"), "{}", status.message);
}

pub fn lifecycle(world: &World, events: LifecycleEvents) -> Item {
    Item::V1Lifecycle(LifecycleItem {
        tenant_id: TENANT.to_owned(),
        subscription_uid: world.subscription.metadata.uid.clone().unwrap(),
        subscription_id: "f37536ac-b308-4bc7-b239-b2b51cd2ff24".to_owned(),
        events,
        received_at: Timestamp::now(),
    })
}

/// What is reported: the state, and which lifecycle notifications.
pub fn said(subscription: &CalendarSubscription) -> (Option<DeliveryState>, Vec<LifecycleEvent>) {
    let delivery = subscription.status.as_ref().and_then(|status| status.delivery.as_ref());
    let lifecycle = delivery.and_then(|delivery| delivery.lifecycle.clone()).unwrap_or_default();
    let told = LifecycleEvent::ALL.into_iter().filter(|event| lifecycle.of(*event).is_some()).collect();
    (delivery.and_then(|delivery| delivery.state), told)
}
