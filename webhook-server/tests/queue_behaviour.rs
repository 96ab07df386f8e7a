//! What the queue does with an item, call by call, on real files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[allow(dead_code)]
mod faults;

use faults::{event, event_id};
use jiff::Timestamp;
use redb::{Database, TableDefinition};
use roomkeeper_webhook_server::queue::embedded::{EmbeddedQueue, FolderError, OpenError, Options};
use roomkeeper_webhook_server::queue::{
    AppendError, DeadReason, Failure, Health, Item, LeaseError, Leased, LifecycleEvents, LifecycleItem,
    Queue, Retried,
};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::time::timeout;

const VISIBILITY: Duration = Duration::from_mins(1);
const LONG: Duration = Duration::from_mins(1);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn options() -> Options {
    Options { max_attempts: 3, ..Options::default() }
}

fn open(folder: &Path) -> EmbeddedQueue {
    EmbeddedQueue::open(folder, &options()).unwrap()
}

async fn lease(queue: &EmbeddedQueue, millis: i64) -> Vec<Leased> {
    queue.lease(at(millis), 100, VISIBILITY).await.unwrap()
}

async fn lease_one(queue: &EmbeddedQueue, millis: i64) -> Leased {
    let mut leased = lease(queue, millis).await;
    assert_eq!(leased.len(), 1, "{leased:?}");
    leased.remove(0)
}

fn is_deleted(item: &Item) -> bool {
    matches!(item, Item::V1Event(event) if event.deleted)
}

#[tokio::test]
async fn twins_become_one_item_and_deleted_sticks() {
    let folder = folder();
    let queue = open(folder.path());
    queue.append(vec![event("a", false, 0), event("a", false, 1)]).await.unwrap();
    queue.append(vec![event("a", true, 2)]).await.unwrap();
    queue.append(vec![event("a", false, 3)]).await.unwrap();
    assert_eq!(queue.stats().depth, 1);
    assert_eq!(queue.stats().coalesced_total, 3);
    queue.close().await;

    let queue = open(folder.path());
    let leased = lease_one(&queue, 60_000).await;
    assert!(is_deleted(&leased.item));
    assert_eq!(leased.item.received_at(), at(0), "the oldest arrival is kept");
    queue.ack(&leased.lease).await.unwrap();
    assert_eq!(queue.stats().depth, 0);
}

#[tokio::test]
async fn a_burst_is_waited_out_but_not_for_ever() {
    let folder = folder();
    let queue = open(folder.path());
    queue.append(vec![event("a", false, 0)]).await.unwrap();
    assert!(lease(&queue, 1_999).await.is_empty());
    for arrival in 1..20 {
        queue.append(vec![event("a", false, arrival * 1_000)]).await.unwrap();
        if arrival < 10 {
            assert!(lease(&queue, arrival * 1_000).await.is_empty(), "put off at {arrival} s");
        }
    }
    assert_eq!(queue.stats().next_due, Some(at(10_000)));
    lease_one(&queue, 10_000).await;
}

#[tokio::test]
async fn a_twin_that_arrives_during_the_work_is_worked_after_it() {
    let folder = folder();
    let queue = open(folder.path());
    queue.append(vec![event("a", false, 0)]).await.unwrap();
    let first = lease_one(&queue, 10_000).await;
    queue.append(vec![event("a", true, 10_001)]).await.unwrap();
    queue.append(vec![event("a", false, 10_002)]).await.unwrap();
    assert_eq!(queue.stats().depth, 2);
    assert!(lease(&queue, 20_000).await.is_empty(), "never two leases of one key");
    queue.ack(&first.lease).await.unwrap();
    let second = lease_one(&queue, 20_000).await;
    assert!(is_deleted(&second.item) && !is_deleted(&first.item));
    assert_eq!(second.attempt, 1);
    queue.ack(&second.lease).await.unwrap();
    assert!(lease(&queue, 1_000_000).await.is_empty());
}

#[tokio::test]
async fn a_twin_joins_an_item_that_is_tried_again() {
    let folder = folder();
    let queue = open(folder.path());
    queue.append(vec![event("a", false, 0)]).await.unwrap();
    let first = lease_one(&queue, 10_000).await;
    queue.append(vec![event("a", true, 10_001)]).await.unwrap();
    assert_eq!(queue.retry(&first.lease, at(30_000), Failure::Conflict).await, Ok(Retried::Again));
    assert_eq!(queue.stats().depth, 1);
    assert!(lease(&queue, 29_999).await.is_empty());
    let second = lease_one(&queue, 30_000).await;
    assert!(is_deleted(&second.item));
    assert_eq!(second.attempt, 2);
    assert_eq!(second.item.received_at(), at(0));
}

#[tokio::test]
async fn a_lease_that_runs_out_is_void_and_the_item_comes_again() {
    let folder = folder();
    let queue = open(folder.path());
    queue.append(vec![event("a", false, 0)]).await.unwrap();
    let first = lease_one(&queue, 10_000).await;
    queue.extend(&first.lease, at(100_000)).await.unwrap();
    assert!(lease(&queue, 99_999).await.is_empty());
    let second = lease_one(&queue, 100_000).await;
    assert_eq!(second.attempt, 2);
    assert_eq!(queue.stats().redeliveries_total, 1);
    assert_eq!(queue.ack(&first.lease).await, Err(LeaseError::NotHeld));
    assert_eq!(queue.extend(&first.lease, at(1)).await, Err(LeaseError::NotHeld));
    assert_eq!(queue.retry(&first.lease, at(1), Failure::Internal).await, Err(LeaseError::NotHeld));
    queue.ack(&second.lease).await.unwrap();
}

#[tokio::test]
async fn the_attempt_is_counted_before_it_begins() {
    let folder = folder();
    for attempt in 1..=3 {
        let queue = open(folder.path());
        queue.append(vec![event("a", false, 0)]).await.unwrap();
        assert_eq!(lease_one(&queue, 10_000).await.attempt, attempt);
        queue.close().await;
    }
    let queue = open(folder.path());
    assert!(lease(&queue, 10_000).await.is_empty());
    assert_eq!(queue.dead_letters(None, 10).await.unwrap()[0].reason, DeadReason::AttemptsExhausted);
}

#[tokio::test]
async fn after_the_last_attempt_an_item_is_dead_until_redriven() {
    let folder = folder();
    let queue = open(folder.path());
    queue.append(vec![event("a", true, 0), event("b", false, 0)]).await.unwrap();
    for (attempt, outcome) in [(1, Retried::Again), (2, Retried::Again), (3, Retried::Dead)] {
        for leased in lease(&queue, 10_000).await {
            assert_eq!(leased.attempt, attempt);
            assert_eq!(queue.retry(&leased.lease, at(10_000), Failure::Rejected).await, Ok(outcome));
        }
    }
    let stats = queue.stats();
    assert_eq!((stats.depth, stats.dead, stats.exhausted_total), (0, 2, 2));
    queue.close().await;

    let queue = open(folder.path());
    assert_eq!(queue.stats().dead, 2);
    let dead = queue.dead_letters(None, 1).await.unwrap();
    assert_eq!((dead[0].failure, dead[0].attempts), (Some(Failure::Rejected), 3));
    let rest = queue.dead_letters(Some(dead[0].id), 10).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(queue.redrive(&[dead[0].id, 999], at(20_000)).await, Ok(1));
    assert_eq!(queue.purge(&[rest[0].id, 999]).await, Ok(1));
    assert_eq!(queue.stats().dead, 0);
    let again = lease_one(&queue, 20_000).await;
    assert_eq!(again.attempt, 1);
    assert_eq!(Some(again.item), dead[0].item);
}

#[tokio::test]
async fn failures_of_the_surroundings_never_kill_an_item() {
    let folder = folder();
    let queue = open(folder.path());
    queue.append(vec![event("a", false, 0)]).await.unwrap();
    for round in 1..20 {
        let leased = lease_one(&queue, round * 10_000).await;
        assert_eq!(leased.attempt, 1);
        let retried = queue.retry(&leased.lease, at(round * 10_000), Failure::GraphUnavailable).await;
        assert_eq!(retried, Ok(Retried::Again));
    }
    assert_eq!(queue.stats().dead, 0);
}

#[tokio::test]
async fn lifecycle_events_add_up_and_the_newest_counts() {
    let lifecycle = |subscription_id: &str, events, millis| {
        Item::V1Lifecycle(LifecycleItem {
            tenant_id: "t".to_owned(),
            subscription_uid: "u".to_owned(),
            subscription_id: subscription_id.to_owned(),
            events,
            received_at: at(millis),
        })
    };
    let stored = |leased: &Leased| match &leased.item {
        Item::V1Lifecycle(item) => item.clone(),
        Item::V1Event(_) => panic!("not a lifecycle item"),
    };
    let none = LifecycleEvents::default();
    let folder = folder();
    let queue = open(folder.path());
    let missed = LifecycleEvents { missed: true, ..none };
    let removed = LifecycleEvents { subscription_removed: true, ..none };
    queue.append(vec![lifecycle("old", missed, 0), lifecycle("new", removed, 5)]).await.unwrap();
    // The same once more: a request made after the first one does not answer it.
    queue.append(vec![lifecycle("new", removed, 7_000)]).await.unwrap();
    let first = lease_one(&queue, 7_000).await;
    let item = stored(&first);
    assert_eq!(item.events, LifecycleEvents { missed: true, subscription_removed: true, ..none });
    assert_eq!((item.subscription_id.as_str(), item.received_at), ("new", at(7_000)));
    // One that comes while it is being worked, and then waits with it.
    queue.append(vec![lifecycle("new", missed, 8_000)]).await.unwrap();
    queue.append(vec![lifecycle("new", missed, 9_000)]).await.unwrap();
    queue.retry(&first.lease, at(9_000), Failure::GraphUnavailable).await.unwrap();
    let item = stored(&lease_one(&queue, 9_000).await);
    assert_eq!(item.events, LifecycleEvents { missed: true, subscription_removed: true, ..none });
    assert_eq!(item.received_at, at(9_000));
}

#[tokio::test]
async fn a_lifecycle_event_that_comes_back_from_the_dead_hides_no_newer_one() {
    let missed = |subscription_id: &str, millis| {
        Item::V1Lifecycle(LifecycleItem {
            tenant_id: "t".to_owned(),
            subscription_uid: "u".to_owned(),
            subscription_id: subscription_id.to_owned(),
            events: LifecycleEvents { missed: true, ..LifecycleEvents::default() },
            received_at: at(millis),
        })
    };
    let folder = folder();
    let queue = EmbeddedQueue::open(folder.path(), &Options { max_attempts: 1, ..options() }).unwrap();
    queue.append(vec![missed("old", 0)]).await.unwrap();
    let lease = lease_one(&queue, 0).await.lease;
    assert_eq!(queue.retry(&lease, at(0), Failure::Rejected).await, Ok(Retried::Dead));
    queue.append(vec![missed("new", 5_000)]).await.unwrap();
    let dead = queue.dead_letters(None, 1).await.unwrap();
    assert_eq!(queue.redrive(&[dead[0].id], at(6_000)).await, Ok(1));
    let Item::V1Lifecycle(item) = lease_one(&queue, 6_000).await.item else { panic!("not a lifecycle item") };
    assert_eq!((item.subscription_id.as_str(), item.received_at), ("new", at(5_000)));
}

#[tokio::test]
async fn a_full_queue_refuses_all_of_a_call_and_drops_nothing() {
    let folder = folder();
    let queue = EmbeddedQueue::open(folder.path(), &Options { max_items: 2, ..options() }).unwrap();
    queue.append(vec![event("a", false, 0)]).await.unwrap();
    let refused = queue.append(vec![event("b", false, 0), event("c", false, 0)]).await;
    assert_eq!(refused, Err(AppendError::Full));
    assert_eq!(queue.stats().depth, 1);
    queue.append(vec![event("a", true, 0), event("b", false, 0), event("b", true, 0)]).await.unwrap();
    assert_eq!(queue.append(vec![event("c", false, 0)]).await, Err(AppendError::Full));
    let leased = lease(&queue, 10_000).await;
    queue.ack(&leased[0].lease).await.unwrap();
    queue.append(vec![event("c", false, 0)]).await.unwrap();
}

#[tokio::test]
async fn a_folder_serves_one_queue() {
    let folder = folder();
    let queue = open(folder.path());
    let second = EmbeddedQueue::open(folder.path(), &options()).unwrap_err();
    assert!(matches!(second, OpenError::Folder(FolderError::InUse(_))), "{second:?}");
    queue.close().await;
    assert_eq!(queue.health(), Health::Closed);
    assert_eq!(queue.append(vec![event("a", false, 0)]).await, Err(AppendError::Storage));
    open(folder.path()).close().await;
}

#[tokio::test]
async fn rows_that_cannot_be_read_stop_nothing() {
    let folder = folder();
    let queue = open(folder.path());
    queue.append(vec![event("a", false, 0), event("b", false, 0)]).await.unwrap();
    queue.close().await;

    let is_file = |path: &std::path::PathBuf| path.extension().is_some_and(|kind| kind == "redb");
    let mut paths = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let database = Database::open(paths.find(is_file).unwrap()).unwrap();
    let writing = database.begin_write().unwrap();
    {
        let mut items = writing.open_table(TableDefinition::<u64, &[u8]>::new("items")).unwrap();
        let mut known_head = items.remove(1).unwrap().unwrap().value().to_vec();
        known_head.truncate(60);
        items.insert(1, known_head.as_slice()).unwrap();
        items.insert(70, b"\x02 of a later version".as_slice()).unwrap();
        items.insert(71, b"".as_slice()).unwrap();
    }
    writing.commit().unwrap();
    drop(database);

    let queue = open(folder.path());
    assert_eq!(event_id(&lease_one(&queue, 10_000).await.item), "b");
    let dead = queue.dead_letters(None, 10).await.unwrap();
    assert_eq!(dead.len(), 3);
    assert!(dead.iter().all(|letter| letter.reason == DeadReason::Undecodable && letter.item.is_none()));
    assert_eq!(queue.stats().undecodable_total, 3);
    let ids: Vec<u64> = dead.iter().map(|letter| letter.id).collect();
    assert_eq!(queue.purge(&ids).await, Ok(3));
}

#[tokio::test]
async fn the_file_of_settled_items_is_unlinked() {
    let folder = folder();
    let options = Options { renew_after: Duration::from_millis(1), ..options() };
    let queue = EmbeddedQueue::open(folder.path(), &options).unwrap();
    queue.append(vec![event("settled-event", false, 0), event("kept-event", false, 0)]).await.unwrap();
    let leased = lease(&queue, 10_000).await;
    let settled = leased.iter().find(|leased| event_id(&leased.item) == "settled-event").unwrap();
    queue.ack(&settled.lease).await.unwrap();
    timeout(LONG, async {
        while holds(folder.path(), "settled-event") {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the identifier leaves the disk");
    assert!(lease(&queue, 20_000).await.is_empty(), "the lease goes on in the new file");
    queue.close().await;
    assert!(holds(folder.path(), "kept-event"));
    let queue = open(folder.path());
    assert_eq!(event_id(&lease_one(&queue, 10_000).await.item), "kept-event");
}

/// Whether any file of the folder holds this text.
fn holds(folder: &Path, text: &str) -> bool {
    let files = std::fs::read_dir(folder).unwrap();
    files
        .map(|file| std::fs::read(file.unwrap().path()).unwrap_or_default())
        .any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

/// A process that restarts more often than files are replaced must not keep one for ever.
#[tokio::test]
async fn a_start_leaves_no_identifier_of_a_settled_item_behind() {
    let folder = folder();
    let queue = open(folder.path());
    // Enough of them that not all of their pages are used again.
    let settled = (0..300).map(|number| event(&format!("settled-canary-{number}"), false, 0)).collect();
    queue.append(settled).await.unwrap();
    for _ in 0..3 {
        for leased in lease(&queue, 60_000).await {
            queue.ack(&leased.lease).await.unwrap();
        }
    }
    queue.append(vec![event("waiting-canary", false, 60_000)]).await.unwrap();
    // As a kill leaves it: a file that is closed in order may be tidied up.
    let killed = self::folder();
    for file in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), killed.path().join(file.file_name())).unwrap();
    }
    let folder = killed;
    assert!(holds(folder.path(), "settled-canary"), "what is settled stays in its file");
    let queue = open(folder.path());
    assert!(!holds(folder.path(), "settled-canary") && holds(folder.path(), "waiting-canary"));
    assert_eq!(event_id(&lease_one(&queue, 120_000).await.item), "waiting-canary");
}

/// Many rows put it off, but not for ever.
#[tokio::test]
async fn a_full_file_is_replaced_in_the_end() {
    let folder = folder();
    let options = Options { renew_after: Duration::from_millis(50), renew_max_rows: 0, ..options() };
    let queue = EmbeddedQueue::open(folder.path(), &options).unwrap();
    queue.append(vec![event("settled-canary", false, 0)]).await.unwrap();
    let leased = lease_one(&queue, 60_000).await;
    queue.append(vec![event("waiting-canary", false, 60_000)]).await.unwrap();
    queue.ack(&leased.lease).await.unwrap();
    let gone = async {
        while holds(folder.path(), "settled-canary") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, gone).await.unwrap();
    assert!(holds(folder.path(), "waiting-canary"));
}

#[tokio::test]
async fn waiting_ends_when_something_is_due_or_arrives() {
    let folder = folder();
    let queue = open(folder.path());
    let mut waiting = queue.wait_for_work(at(1_900));
    assert!(futures::poll!(&mut waiting).is_pending(), "nothing to wait for");
    let began = Instant::now();
    queue.append(vec![event("a", false, 0)]).await.unwrap();
    timeout(LONG, waiting).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(90), "the item is due at 2,000 ms");
    timeout(LONG, queue.wait_for_work(at(2_000))).await.unwrap();

    let leased = lease_one(&queue, 2_000).await;
    let runs_out = at(2_000).as_millisecond() + i64::try_from(VISIBILITY.as_millis()).unwrap();
    assert!(futures::poll!(queue.wait_for_work(at(2_000))).is_pending());
    timeout(LONG, queue.wait_for_work(at(runs_out))).await.unwrap();
    queue.ack(&leased.lease).await.unwrap();
}
