//! One worker is held between its read of Graph and its write, while the record changes under it: it must neither alter
//! nor recreate the record without a fresh read.

use std::sync::Arc;

use kube::api::DeleteParams;
use roomkeeper_crds::booking_record::BookingState;

use super::{
    calendar::{Calendar, Held, Reads, event},
    cluster::until,
    worker::Running,
    world::{EVENT, World},
};

struct Race {
    world: World,
    calendar: Arc<Calendar>,
    reads: Arc<Reads>,
    slow: Running,
    fast: Running,
}

impl Race {
    async fn new() -> Self {
        let world = World::new("race").await;
        let calendar = Arc::new(Calendar::default());
        let reads = Reads::of(&calendar);
        let slow = Running::start(&world, Arc::clone(&reads) as _).await;
        let fast = Running::start(&world, Reads::of(&calendar)).await;
        Self { world, calendar, reads, slow, fast }
    }

    /// The slow worker has read that version and has not written.
    async fn hold_at(&self, version: u32) -> Held {
        self.calendar.put(event(version));
        let mut held = self.reads.hold_next();
        self.slow.notify(self.world.told(version)).await;
        held.reached().await;
        held
    }

    async fn let_go(&self, held: Held) {
        held.release();
        self.slow.idle().await;
    }

    async fn delete_record(&self) {
        self.world.records().delete(&World::record_name(), &DeleteParams::default()).await.unwrap();
    }
}

#[tokio::test]
async fn a_record_that_another_worker_created_meanwhile_is_not_altered() {
    let race = Race::new().await;
    let held = race.hold_at(1).await;
    race.calendar.put(event(2));
    race.fast.work(race.world.item()).await;
    race.let_go(held).await;
    let record = race.world.record().await.unwrap();
    assert_eq!((record.spec.change_key.as_str(), record.metadata.generation), ("version-2", Some(1)));
    assert_eq!(race.reads.full_reads(), 2, "the loser reads afresh");
    assert_eq!(race.slow.done("unchanged"), 1);
}

#[tokio::test]
async fn a_record_that_another_worker_replaced_meanwhile_is_not_altered() {
    let race = Race::new().await;
    race.calendar.put(event(1));
    race.fast.work(race.world.item()).await;
    let held = race.hold_at(2).await;
    race.calendar.put(event(3));
    race.fast.work(race.world.item()).await;
    race.let_go(held).await;
    let record = race.world.record().await.unwrap();
    assert_eq!((record.spec.change_key.as_str(), record.metadata.generation), ("version-3", Some(2)));
    assert_eq!(race.reads.full_reads(), 2);
}

#[tokio::test]
async fn a_record_that_was_cancelled_meanwhile_stays_cancelled() {
    let race = Race::new().await;
    race.calendar.put(event(1));
    race.fast.work(race.world.item()).await;
    let held = race.hold_at(2).await;
    let mut cancelled = event(3);
    cancelled.head.is_cancelled = true;
    race.calendar.put(cancelled);
    race.fast.work(race.world.item()).await;
    race.let_go(held).await;
    let record = race.world.record().await.unwrap();
    assert_eq!((record.spec.state, record.metadata.generation), (BookingState::Cancelled, Some(2)));
    assert_eq!(race.slow.done("unchanged"), 1);
}

#[tokio::test]
async fn a_record_that_was_deleted_meanwhile_with_its_event_does_not_come_back() {
    let race = Race::new().await;
    race.calendar.put(event(1));
    race.fast.work(race.world.item()).await;
    let held = race.hold_at(2).await;
    race.calendar.remove(EVENT);
    race.delete_record().await;
    race.let_go(held).await;
    assert!(race.world.all_records().await.is_empty());
    assert!(race.reads.log().len() > 2, "it looked again");
    assert_eq!(race.slow.done("unbooked"), 1);
}

#[tokio::test]
async fn a_record_that_was_deleted_meanwhile_comes_back_only_from_a_fresh_read() {
    let race = Race::new().await;
    race.calendar.put(event(1));
    race.fast.work(race.world.item()).await;
    let held = race.hold_at(2).await;
    race.calendar.put(event(3));
    race.delete_record().await;
    race.let_go(held).await;
    let record = race.world.record().await.unwrap();
    assert_eq!((record.spec.change_key.as_str(), record.metadata.generation), ("version-3", Some(1)));
    assert_eq!(race.reads.full_reads(), 2);
}

/// The uid tells the new object from the one that was read, whatever its resourceVersion.
#[tokio::test]
async fn a_record_that_was_deleted_and_made_again_meanwhile_is_not_altered() {
    let race = Race::new().await;
    race.calendar.put(event(1));
    race.fast.work(race.world.item()).await;
    let held = race.hold_at(2).await;
    race.delete_record().await;
    race.calendar.put(event(3));
    race.fast.work(race.world.item()).await;
    race.let_go(held).await;
    let record = race.world.record().await.unwrap();
    assert_eq!(
        (record.spec.change_key.as_str(), record.metadata.generation),
        ("version-3", Some(1)),
        "the new object of the same name was not replaced"
    );
}

/// A create cannot be made to depend on what was looked at.
#[tokio::test]
async fn a_record_that_was_made_and_deleted_meanwhile_comes_back_only_as_the_event_is_now() {
    let race = Race::new().await;
    let held = race.hold_at(1).await;
    let looked = std::time::Instant::now();
    race.calendar.put(event(2));
    race.fast.work(race.world.item()).await;
    race.calendar.remove(EVENT);
    race.delete_record().await;
    let slow = std::time::Duration::from_secs(1);
    until("the look to be old", async || (looked.elapsed() > slow).then_some(())).await;
    race.let_go(held).await;
    let record = race.world.record().await.unwrap();
    assert_eq!(record.spec.state, BookingState::Cancelled, "it looked again, and the event was gone");
    assert_eq!(race.slow.done("cancelled"), 1);
}

/// What one worker takes for absent was made by another, of an older version: neither is that left standing, nor made twice.
#[tokio::test]
async fn a_record_that_a_dead_watch_did_not_tell_of_is_found() {
    let unbooked = || {
        let mut event = event(2);
        event.head.add_in_value = None;
        Some(event)
    };
    for (now, state, version) in [
        (Some(event(2)), BookingState::Booked, "version-2"),
        (unbooked(), BookingState::Cancelled, "version-1"),
        (None, BookingState::Cancelled, "version-1"),
    ] {
        let world = World::new("dead-watch").await;
        let calendar = Arc::new(Calendar::default());
        let behind = Running::with_a_dead_watch(&world, Reads::of(&calendar)).await;
        let other = Running::start(&world, Reads::of(&calendar)).await;
        calendar.put(event(1));
        other.work(world.item()).await;
        match now {
            Some(event) => calendar.put(event),
            None => calendar.remove(EVENT),
        }
        behind.work(world.item()).await;
        let record = world.record().await.unwrap();
        assert_eq!((record.spec.state, record.spec.change_key.as_str()), (state, version));
        assert_eq!(world.all_records().await.len(), 1);
    }
}

#[tokio::test]
async fn a_version_that_was_read_is_no_duplicate_where_a_dead_watch_hides_an_older_record() {
    let world = World::new("dead-watch").await;
    let calendar = Arc::new(Calendar::default());
    let behind = Running::with_a_dead_watch(&world, Reads::of(&calendar)).await;
    let late = Arc::new(Calendar::default());
    late.put(event(1));
    let mut unbooked = event(2);
    unbooked.head.add_in_value = None;
    calendar.put(unbooked);
    behind.work(world.told(2)).await;
    assert_eq!(behind.done("unbooked"), 1);
    // It read before, and writes after.
    let other = Running::start(&world, Reads::of(&late)).await;
    other.work(world.told(1)).await;
    behind.work(world.told(2)).await;
    assert_eq!(world.record().await.unwrap().spec.state, BookingState::Cancelled);
}
