//! kill -9 cannot show a missing fsync, because the kernel keeps what was written. Here the power is cut.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[allow(dead_code)]
mod faults;

use faults::{Disk, Unsynced, event, event_id};
use jiff::Timestamp;
use roomkeeper_webhook_server::queue::embedded::{EmbeddedQueue, Options, SyncMode};
use roomkeeper_webhook_server::queue::{AppendError, Health, Item, Queue};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_mins(1);

fn open(disk: &Disk) -> Arc<EmbeddedQueue> {
    open_with(disk, &Options::default())
}

fn open_with(disk: &Disk, options: &Options) -> Arc<EmbeddedQueue> {
    Arc::new(EmbeddedQueue::open_on(Box::new(disk.clone()), options).unwrap())
}

/// Ids of all items that the queue holds.
async fn found(queue: &EmbeddedQueue) -> BTreeSet<String> {
    let later = Timestamp::from_second(1_000_000).unwrap();
    let mut ids = BTreeSet::new();
    loop {
        let leased = queue.lease(later, 1000, Duration::from_hours(1)).await.unwrap();
        if leased.is_empty() {
            return ids;
        }
        ids.extend(leased.iter().map(|leased| event_id(&leased.item)));
    }
}

/// Appends from eight tasks until the power is cut after `cut_after` calls were answered with Ok; returns the ids that
/// were, and the disk as found afterwards.
async fn load_until_power_cut(
    sync: SyncMode,
    cut_after: usize,
    unsynced: Unsynced,
) -> (BTreeSet<String>, Disk) {
    let disk = Disk::default();
    // So that the power also fails while a new file takes the place of the old one.
    let renew_after = Duration::from_millis(5);
    let queue = open_with(&disk, &Options { sync, renew_after, ..Options::default() });
    let answered = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let (queue, answered) = (Arc::clone(&queue), Arc::clone(&answered));
        tasks.spawn(async move {
            let mut acknowledged = Vec::new();
            for call in 0.. {
                let ids: Vec<String> = (0..=call % 3).map(|item| format!("{task}-{call}-{item}")).collect();
                if queue.append(ids.iter().map(|id| event(id, false, call)).collect()).await.is_err() {
                    break;
                }
                acknowledged.extend(ids);
                answered.fetch_add(1, Ordering::SeqCst);
            }
            acknowledged
        });
    }
    timeout(DEADLINE, async {
        while answered.load(Ordering::SeqCst) < cut_after {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let after = disk.cut_power(unsynced);
    let acknowledged = timeout(DEADLINE, tasks.join_all()).await.unwrap();
    (acknowledged.into_iter().flatten().collect(), after)
}

/// How many acknowledged items are gone; all, where the file cannot even be opened.
async fn lost(sync: SyncMode, cut_after: usize, unsynced: Unsynced) -> usize {
    let (acknowledged, disk) = load_until_power_cut(sync, cut_after, unsynced).await;
    assert!(!acknowledged.is_empty());
    match EmbeddedQueue::open_on(Box::new(disk), &Options::default()) {
        Ok(queue) => acknowledged.difference(&found(&queue).await).count(),
        Err(_) => acknowledged.len(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_power_is_cut() {
    for round in 0..40 {
        for unsynced in [Unsynced::Lost, Unsynced::Scattered(round)] {
            let cut_after = 1 + usize::try_from(round).unwrap() * 7;
            assert_eq!(
                lost(SyncMode::Immediate, cut_after, unsynced).await,
                0,
                "cut after {cut_after}, {unsynced:?}"
            );
        }
    }
}

/// The test above must be able to fail: without fsync it does.
#[tokio::test(flavor = "multi_thread")]
async fn without_fsync_the_loss_is_seen() {
    assert!(lost(SyncMode::NoneForMeasurementOnly, 50, Unsynced::Lost).await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_append_returns_before_its_sync() {
    let disk = Disk::default();
    let queue = open(&disk);
    queue.append(vec![event("before", false, 0)]).await.unwrap();
    let syncs = disk.syncs();
    disk.hold_syncs();
    let appending = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.append(vec![event("held", false, 0)]).await }
    });
    tokio::task::spawn_blocking({
        let disk = disk.clone();
        move || disk.wait_for_a_held_sync()
    })
    .await
    .unwrap();
    assert!(!appending.is_finished(), "the append returned while its sync was held back");
    let lost = disk.cut_power(Unsynced::Lost);
    assert_eq!(timeout(DEADLINE, appending).await.unwrap().unwrap(), Err(AppendError::Storage));
    assert_eq!(disk.syncs(), syncs);
    assert_eq!(found(&open(&lost)).await, BTreeSet::from(["before".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_is_never_a_success_and_the_queue_repairs_itself() {
    let disk = Disk::default();
    let queue = open(&disk);
    let mut acknowledged = BTreeSet::new();
    let batch = |name: String, rows: i64| {
        (0..rows).map(move |row| event(&format!("{name}-{row}"), false, 0)).collect()
    };
    for round in 0..10 {
        let good: Vec<Item> = batch(format!("good-{round}"), 5);
        acknowledged.extend(good.iter().map(event_id));
        queue.append(good).await.unwrap();

        let errors = queue.stats().storage_errors_total;
        disk.refuse_syncs(1 + round % 3);
        // Many rows, so that pages of the failed commit are not written once more by the next one.
        let bad = batch(format!("bad-{round}"), 100);
        assert_eq!(queue.append(bad).await, Err(AppendError::Storage));
        timeout(DEADLINE, async {
            while queue.stats().storage_errors_total == errors || queue.health() != Health::Serving {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the queue repairs itself once the disk works again");
    }
    assert!(queue.stats().storage_errors_total >= 10);
    queue.append(vec![event("last", false, 0)]).await.unwrap();
    acknowledged.insert("last".to_owned());

    // Pages whose sync failed count as clean, so only a new file holds all that was acknowledged.
    let found = found(&open(&disk.cut_power(Unsynced::Lost))).await;
    assert!(acknowledged.is_subset(&found), "{acknowledged:?} not within {found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_outlives_a_repair() {
    let disk = Disk::default();
    let queue = open(&disk);
    queue.append(vec![event("worked", false, 0)]).await.unwrap();
    let now = Timestamp::from_second(100).unwrap();
    let leased = queue.lease(now, 10, Duration::from_mins(1)).await.unwrap();
    assert_eq!(leased.len(), 1);

    disk.refuse_syncs(1);
    assert_eq!(queue.append(vec![event("other", false, 0)]).await, Err(AppendError::Storage));
    let again = timeout(DEADLINE, async {
        loop {
            match queue.lease(now, 10, Duration::from_mins(1)).await {
                Ok(leased) => return leased,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await
    .unwrap();
    assert!(
        again.iter().all(|leased| event_id(&leased.item) != "worked"),
        "an item must not be leased twice at a time"
    );
    queue.ack(&leased[0].lease).await.unwrap();
}
