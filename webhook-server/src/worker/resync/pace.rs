//! What resyncs put into the queue, little at a time: a notification waits behind a few found events at most, however many
//! a calendar has.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use crate::queue::{AppendError, Failure, Item, Key, LeaseError, Queue};

/// Found events in the queue at a time, of all resyncs of this process.
const IN_QUEUE: usize = 48;

/// Time between two looks at the queue.
const LOOK: Duration = Duration::from_millis(100);

/// Longest wait for room. What is in the queue for longer is held up by itself and in nobody's way.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Pace {
    queue: Arc<dyn Queue>,
    /// Held while waiting for room, so that resyncs take turns.
    waiting: Mutex<Vec<Key>>,
}

impl Pace {
    pub(super) const CHUNK: usize = IN_QUEUE / 3;

    pub(super) fn new(queue: Arc<dyn Queue>) -> Self {
        Self { queue, waiting: Mutex::default() }
    }

    /// Which of the items are in the queue already.
    pub(super) async fn held(&self, items: &[Item]) -> Result<Vec<bool>, Failure> {
        let keys: Vec<Key> = items.iter().map(Item::key).collect();
        self.queue.holds(&keys).await.map_err(lease_failure)
    }

    /// Appends at most [`Self::CHUNK`] items once there is room; they are durable when it returns.
    pub(super) async fn append(&self, items: Vec<Item>) -> Result<(), Failure> {
        let mut waiting = self.waiting.lock().await;
        let began = Instant::now();
        while waiting.len() + items.len() > IN_QUEUE {
            let held = self.queue.holds(&waiting).await.map_err(lease_failure)?;
            let mut held = held.into_iter();
            waiting.retain(|_| held.next().unwrap_or(false));
            if waiting.len() + items.len() <= IN_QUEUE {
                break;
            }
            if began.elapsed() >= PATIENCE {
                waiting.clear();
                break;
            }
            sleep(LOOK).await;
        }
        let keys: Vec<Key> = items.iter().map(Item::key).collect();
        self.queue.append(items).await.map_err(|error| match error {
            // Room comes with time.
            AppendError::Full => Failure::Throttled,
            AppendError::Storage => Failure::Interrupted,
        })?;
        waiting.extend(keys);
        Ok(())
    }
}

fn lease_failure(error: LeaseError) -> Failure {
    match error {
        LeaseError::Busy => Failure::Throttled,
        LeaseError::NotHeld | LeaseError::Storage => Failure::Interrupted,
    }
}
