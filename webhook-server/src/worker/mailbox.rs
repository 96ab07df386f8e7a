//! Limits per mailbox: how many reads are in flight, and until when Graph asked to wait.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// Mailboxes kept before those at rest are dropped.
const KEPT: usize = 10_000;

/// The mailboxes in use.
#[derive(Debug)]
pub(super) struct Mailboxes {
    /// Reads in flight of one mailbox.
    in_flight: usize,
    all: Mutex<HashMap<(String, String), Arc<Mailbox>>>,
}

#[derive(Debug)]
pub(super) struct Mailbox {
    slots: Arc<Semaphore>,
    /// Before this time Graph does not want to be asked.
    held_until: Mutex<Option<Instant>>,
}

/// A place in a mailbox, for as long as it is kept.
pub(super) struct Place {
    mailbox: Arc<Mailbox>,
    _slot: OwnedSemaphorePermit,
}

impl Mailboxes {
    pub(super) fn new(in_flight: usize) -> Self {
        Self { in_flight, all: Mutex::default() }
    }

    /// The mailbox of a user.
    pub(super) fn of(&self, tenant_id: &str, user_id: &str) -> Arc<Mailbox> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEPT {
            all.retain(|_, mailbox| Arc::strong_count(mailbox) > 1 || mailbox.left().is_some());
        }
        let mailbox = all.entry((tenant_id.to_owned(), user_id.to_owned())).or_insert_with(|| {
            Arc::new(Mailbox {
                slots: Arc::new(Semaphore::new(self.in_flight)),
                held_until: Mutex::new(None),
            })
        });
        Arc::clone(mailbox)
    }
}

impl Mailbox {
    /// Waits for a place; `Err` tells how long Graph still wants to be left alone.
    pub(super) async fn enter(self: Arc<Self>) -> Result<Place, Duration> {
        if let Some(left) = self.left() {
            return Err(left);
        }
        // The semaphore is never closed; were it, waiting is the safe answer.
        let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else {
            return Err(Duration::from_secs(1));
        };
        match self.left() {
            Some(left) => Err(left),
            None => Ok(Place { mailbox: self, _slot: slot }),
        }
    }

    fn left(&self) -> Option<Duration> {
        let until = *self.held();
        until.and_then(|until| until.checked_duration_since(Instant::now())).filter(|left| !left.is_zero())
    }

    fn held(&self) -> MutexGuard<'_, Option<Instant>> {
        self.held_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Graph asked to wait: nobody enters this mailbox for that time.
    pub(super) fn hold(&self, wait: Duration) {
        let mut held = self.mailbox.held();
        let until = Instant::now() + wait;
        *held = Some(held.map_or(until, |earlier| earlier.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn two_at_a_time_per_mailbox() {
        let all = Mailboxes::new(2);
        let first = all.of("t", "u").enter().await.unwrap();
        let _second = all.of("t", "u").enter().await.unwrap();
        let mut third = Box::pin(all.of("t", "u").enter());
        assert!((&mut third).now_or_never().is_none());
        assert!(all.of("t", "v").enter().now_or_never().is_some(), "another mailbox is not held up");
        drop(first);
        assert!(third.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_graph_asked_holds_for_everybody_and_ends() {
        let all = Mailboxes::new(2);
        let place = all.of("t", "u").enter().await.unwrap();
        place.hold(Duration::from_secs(7));
        place.hold(Duration::from_secs(3));
        assert_eq!(all.of("t", "u").enter().await.err(), Some(Duration::from_secs(7)));
        tokio::time::advance(Duration::from_secs(7)).await;
        assert!(all.of("t", "u").enter().await.is_ok());
    }
}
