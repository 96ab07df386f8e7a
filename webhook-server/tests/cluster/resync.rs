//! Calendars that are read again because the operator asks for it.

use std::sync::Arc;

use jiff::{Timestamp, ToSpan as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use roomkeeper_crds::{
    booking_record::BookingState,
    calendar_subscription::{Delivery, ResyncClaim},
    name,
};
use roomkeeper_graph::{Event, EventId};
use serde_json::json;

use super::{
    calendar::{Calendar, Lists, Reads, event},
    cluster::until,
    worker::Running,
    world::{EVENT, TENANT, USER, World},
};

fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap()
}

impl World {
    /// Asks as the operator does.
    async fn ask(&self) -> Timestamp {
        let requested = whole(Timestamp::now());
        let subscription = self.subscriptions().get("user1").await.unwrap();
        let status = subscription.status.unwrap();
        let status = json!({
            "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "CalendarSubscription",
            "status": {
                "userId": status.user_id, "consent": status.consent,
                "resync": {"requested": Time(requested), "reason": "Missed"},
            },
        });
        let operator = PatchParams::apply("roomkeeper-operator");
        self.subscriptions().patch_status("user1", &operator, &Patch::Apply(&status)).await.unwrap();
        requested
    }

    /// Puts a worker's claim there.
    async fn claimed(&self, holder: &str, until: Timestamp) {
        let claim = ResyncClaim { holder: holder.to_owned(), until: Time(whole(until)) };
        let status = json!({"status": {"delivery": {"resyncClaim": claim}}});
        let api = self.subscriptions();
        api.patch_status("user1", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    }

    async fn delivery(&self) -> Delivery {
        let subscription = self.subscriptions().get("user1").await.unwrap();
        subscription.status.unwrap().delivery.unwrap_or_default()
    }

    /// Waits for the answer.
    async fn answered(&self, requested: Timestamp) -> Delivery {
        until("the answer", async || {
            let delivery = self.delivery().await;
            delivery.resync_handled.as_ref().is_some_and(|handled| handled.0 == requested).then_some(delivery)
        })
        .await
    }

    async fn record_of(&self, event: &str) -> Option<(BookingState, String)> {
        let record = self.records().get_opt(&name::booking_record(TENANT, USER, event)).await.unwrap()?;
        Some((record.spec.state, record.spec.change_key))
    }
}

/// A booked event of that id, changed that many minutes ago.
fn booked(id: &str, version: u32, minutes: i64) -> Event {
    let mut event = event(version);
    event.head.id = EventId::parse(id).unwrap();
    event.head.last_modified = whole(Timestamp::now() - minutes.minutes());
    event
}

#[tokio::test]
async fn what_was_missed_is_read_recorded_and_counted() {
    let world = World::new("resync").await;
    let calendar = Arc::new(Calendar::default());
    calendar.put(event(1));
    calendar.put(booked("AAMkAD_changed=", 1, 90));
    calendar.put(booked("AAMkAD_same=", 1, 90));
    let reads = Reads::of(&calendar);
    let worker = Running::start(&world, Arc::clone(&reads) as _).await;
    let lists = Lists::of(&calendar);
    worker.resync(&world, Arc::clone(&lists) as _, "webhook-0");
    let first = world.ask().await;
    let delivery = world.answered(first).await;
    assert_eq!(delivery.unnotified_changes, Some(2), "the event of this moment may still be notified");
    worker.idle().await;
    assert_eq!(world.all_records().await.len(), 3);

    // Missed: a removal, a change, and a new event long ago; an event of now.
    calendar.remove(EVENT);
    calendar.put(booked("AAMkAD_changed=", 2, 30));
    calendar.put(booked("AAMkAD_new=", 1, 30));
    calendar.put(booked("AAMkAD_fresh=", 1, 0));
    let full = reads.full_reads();
    // Times are kept in whole seconds: the second request has to be of a later one.
    until("the next second", async || (whole(Timestamp::now()) > first).then_some(())).await;
    let second = world.ask().await;
    let delivery = world.answered(second).await;
    assert_eq!(delivery.unnotified_changes, Some(2), "a record has no time of its removal");
    assert_eq!(delivery.resync_claim, None);
    assert_eq!((delivery.state, delivery.last_received_at), (None, None), "nothing was notified");
    worker.idle().await;
    let version = |text: &str| Some((BookingState::Booked, text.to_owned()));
    assert_eq!(world.record_of(EVENT).await.unwrap().0, BookingState::Cancelled);
    assert_eq!(world.record_of("AAMkAD_changed=").await, version("version-2"));
    assert_eq!(world.record_of("AAMkAD_new=").await, version("version-1"));
    assert_eq!(world.record_of("AAMkAD_fresh=").await, version("version-1"));
    assert_eq!(reads.full_reads() - full, 3, "what is the same is not read");
    assert_eq!(lists.asked(), 2);
    assert_eq!(worker.notifications(), [], "the audit tells no notification that was none");
    for (kind, count) in [("new", 3 + 2), ("changed", 1), ("missing", 1)] {
        assert_eq!(worker.counter("roomkeeper_resync_differences_total", kind), count, "{kind}");
    }
}

#[tokio::test]
async fn of_two_workers_one_reads() {
    let world = World::new("resync-two").await;
    let calendar = Arc::new(Calendar::default());
    calendar.put(booked(EVENT, 1, 90));
    let lists = Lists::of(&calendar);
    let mut workers = Vec::new();
    for identity in ["webhook-0", "webhook-1"] {
        let worker = Running::start(&world, Reads::of(&calendar)).await;
        worker.resync(&world, Arc::clone(&lists) as _, identity);
        workers.push(worker);
    }
    let requested = world.ask().await;
    assert_eq!(world.answered(requested).await.unnotified_changes, Some(1));
    for worker in &workers {
        worker.idle().await;
        until("nobody waits", async || (worker.gauge("roomkeeper_resyncs_open") == 0).then_some(())).await;
    }
    assert_eq!(lists.asked(), 1);
    assert_eq!(world.record_of(EVENT).await, Some((BookingState::Booked, "version-1".to_owned())));
}

#[tokio::test]
async fn the_claim_of_a_worker_that_is_gone_runs_out() {
    let world = World::new("resync-gone").await;
    let calendar = Arc::new(Calendar::default());
    calendar.put(booked(EVENT, 1, 90));
    let until_then = Timestamp::now() + 3.seconds();
    world.claimed("webhook-9", until_then).await;
    let requested = world.ask().await;
    let worker = Running::start(&world, Reads::of(&calendar)).await;
    let lists = Lists::of(&calendar);
    worker.resync(&world, Arc::clone(&lists) as _, "webhook-0");
    world.answered(requested).await;
    assert!(Timestamp::now() >= whole(until_then), "the claim was respected");
    worker.idle().await;
    assert_eq!(lists.asked(), 1);
    assert!(world.record_of(EVENT).await.is_some());
}

#[tokio::test]
async fn without_a_consent_nothing_is_listed() {
    let world = World::new("resync-denied").await;
    let calendar = Arc::new(Calendar::default());
    calendar.put(booked(EVENT, 1, 90));
    world.withdraw().await;
    let worker = Running::start(&world, Reads::of(&calendar)).await;
    let lists = Lists::of(&calendar);
    worker.resync(&world, Arc::clone(&lists) as _, "webhook-0");
    let requested = world.ask().await;
    assert_eq!(world.answered(requested).await.unnotified_changes, Some(0));
    assert_eq!((lists.asked(), world.all_records().await.len()), (0, 0));
    until("the count", async || (worker.counter("roomkeeper_resyncs_total", "denied") == 1).then_some(()))
        .await;
}

#[tokio::test]
async fn a_list_that_fails_is_asked_for_again() {
    let world = World::new("resync-fails").await;
    let calendar = Arc::new(Calendar::default());
    calendar.put(booked(EVENT, 1, 90));
    let worker = Running::start(&world, Reads::of(&calendar)).await;
    let lists = Lists::failing(&calendar, 2);
    worker.resync(&world, Arc::clone(&lists) as _, "webhook-0");
    let requested = world.ask().await;
    assert_eq!(world.answered(requested).await.unnotified_changes, Some(1));
    worker.idle().await;
    assert_eq!(lists.asked(), 3);
    assert_eq!(worker.counter("roomkeeper_resyncs_total", "failed"), 2);
    assert!(world.record_of(EVENT).await.is_some());
}
