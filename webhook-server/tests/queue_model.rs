//! Random calls against a model that knows only the promise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[allow(dead_code)]
mod faults;

use faults::{Disk, event, event_id};
use jiff::Timestamp;
use proptest::prelude::*;
use roomkeeper_webhook_server::queue::embedded::{EmbeddedQueue, Options};
use roomkeeper_webhook_server::queue::{Failure, Item, Lease, LeaseError, Leased, Queue, Retried};
use std::collections::BTreeMap;
use std::time::Duration;

const VISIBILITY: i64 = 5_000;
const DEBOUNCE: i64 = 1_000;
const MAX_DEBOUNCE: i64 = 3_000;

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(u8, bool)>),
    Lease(usize),
    Ack(usize),
    Retry(usize, i64),
    Extend(usize),
    Pass(i64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec((0u8..4, prop::bool::weighted(0.2)), 1..4).prop_map(Step::Append),
        3 => (1usize..4).prop_map(Step::Lease),
        3 => (0usize..8).prop_map(Step::Ack),
        2 => (0usize..8, 0i64..4_000).prop_map(|(lease, wait)| Step::Retry(lease, wait)),
        1 => (0usize..8).prop_map(Step::Extend),
        3 => (0i64..3_000).prop_map(Step::Pass),
        1 => Just(Step::Reopen),
    ]
}

/// One acknowledged notification that no acknowledged lease covers yet.
#[derive(Clone, Copy, Debug)]
struct Owed {
    deleted: bool,
    at: i64,
}

#[derive(Debug)]
struct Out {
    key: String,
    lease: Lease,
    /// How many of the key's notifications it covers.
    covers: usize,
    deadline: i64,
    /// Another lease of the key was handed out after it, or the queue was opened again.
    superseded: bool,
}

#[derive(Debug, Default)]
struct Model {
    now: i64,
    owed: BTreeMap<String, Vec<Owed>>,
    out: Vec<Out>,
}

impl Model {
    fn appended(&mut self, items: &[(u8, bool)]) {
        for (key, deleted) in items {
            self.owed
                .entry(format!("event-{key}"))
                .or_default()
                .push(Owed { deleted: *deleted, at: self.now });
        }
    }

    fn leased(&mut self, leased: &Leased) {
        let key = event_id(&leased.item);
        for out in self.out.iter_mut().filter(|out| out.key == key && !out.superseded) {
            assert!(out.deadline <= self.now, "{key} is leased twice at a time");
            out.superseded = true;
        }
        let owed = self
            .owed
            .get(&key)
            .filter(|owed| !owed.is_empty())
            .expect("only what was appended is handed out");
        let Item::V1Event(item) = &leased.item else { panic!("not an event") };
        assert_eq!(item.deleted, owed.iter().any(|owed| owed.deleted), "{key}: deleted sticks");
        assert_eq!(item.received_at.as_millisecond(), owed[0].at, "{key}: the oldest arrival counts");
        if leased.attempt == 1 {
            assert!(self.now >= owed[0].at + DEBOUNCE, "{key}: handed out before the debounce");
        }
        self.out.push(Out {
            key,
            lease: leased.lease.clone(),
            covers: owed.len(),
            deadline: self.now + VISIBILITY,
            superseded: false,
        });
    }

    /// The lease was settled; returns what it covered.
    fn settled(&mut self, index: usize, result_is_held: bool) -> Option<(String, usize)> {
        let out = self.out.remove(index);
        if out.superseded {
            assert!(!result_is_held, "{}: a void lease was taken for a valid one", out.key);
            return None;
        }
        if !result_is_held {
            assert!(out.deadline <= self.now, "{}: a valid lease was taken for a void one", out.key);
            return None;
        }
        Some((out.key, out.covers))
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

fn open(disk: &Disk) -> EmbeddedQueue {
    let options = Options {
        max_attempts: u16::MAX,
        debounce: Duration::from_millis(DEBOUNCE.unsigned_abs()),
        max_debounce: Duration::from_millis(MAX_DEBOUNCE.unsigned_abs()),
        ..Options::default()
    };
    EmbeddedQueue::open_on(Box::new(disk.clone()), &options).unwrap()
}

async fn run(steps: Vec<Step>) {
    let disk = Disk::default();
    let mut queue = open(&disk);
    let mut model = Model::default();
    let visibility = Duration::from_millis(VISIBILITY.unsigned_abs());
    for step in steps {
        match step {
            Step::Append(items) => {
                let arriving =
                    items.iter().map(|(key, deleted)| event(&format!("event-{key}"), *deleted, model.now));
                queue.append(arriving.collect()).await.unwrap();
                model.appended(&items);
            }
            Step::Lease(max) => {
                let leased = queue.lease(at(model.now), max, visibility).await.unwrap();
                assert!(leased.len() <= max);
                for leased in &leased {
                    model.leased(leased);
                }
            }
            Step::Ack(index) if index < model.out.len() => {
                let result = queue.ack(&model.out[index].lease).await;
                assert!(matches!(result, Ok(()) | Err(LeaseError::NotHeld)));
                if let Some((key, covers)) = model.settled(index, result.is_ok()) {
                    model.owed.get_mut(&key).unwrap().drain(..covers);
                }
            }
            Step::Retry(index, wait) if index < model.out.len() => {
                let lease = &model.out[index].lease;
                let result = queue.retry(lease, at(model.now + wait), Failure::Conflict).await;
                assert!(matches!(result, Ok(Retried::Again) | Err(LeaseError::NotHeld)));
                model.settled(index, result.is_ok());
            }
            Step::Extend(index) if index < model.out.len() => {
                let until = model.now + VISIBILITY;
                let result = queue.extend(&model.out[index].lease, at(until)).await;
                let out = &mut model.out[index];
                if result.is_ok() {
                    assert!(!out.superseded, "{}: a void lease was extended", out.key);
                    out.deadline = until;
                } else {
                    assert!(
                        out.superseded || out.deadline <= model.now,
                        "{}: a valid lease is void",
                        out.key
                    );
                }
            }
            Step::Pass(millis) => model.now += millis,
            Step::Reopen => {
                queue.close().await;
                queue = open(&disk);
                model.out.iter_mut().for_each(|out| out.superseded = true);
            }
            Step::Ack(_) | Step::Retry(..) | Step::Extend(_) => {}
        }
        let keys = model.owed.values().filter(|owed| !owed.is_empty()).count() as u64;
        let depth = queue.stats().depth;
        assert!(depth >= keys && depth <= 2 * keys, "{depth} rows for {keys} keys");
    }
    drain(&queue, model).await;
}

/// Whatever is still owed is handed out in the end, once, and then the queue is empty.
async fn drain(queue: &EmbeddedQueue, mut model: Model) {
    for _ in 0..2 {
        model.now += 1_000_000;
        for leased in
            queue.lease(at(model.now), 100, Duration::from_millis(VISIBILITY.unsigned_abs())).await.unwrap()
        {
            model.leased(&leased);
            queue.ack(&leased.lease).await.unwrap();
            let out = model.out.pop().unwrap();
            model.owed.get_mut(&out.key).unwrap().drain(..out.covers);
        }
    }
    assert!(model.owed.values().all(Vec::is_empty), "never handed out: {:?}", model.owed);
    assert_eq!(queue.stats().depth, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_no_key_is_worked_twice_at_a_time(steps in prop::collection::vec(step(), 1..80)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(steps));
    }
}
