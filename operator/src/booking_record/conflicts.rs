//! Bookings that the product refused because the space is taken: tried again slowly, and at once when we free the space.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use roomkeeper_crds::booking_record::Booking;

use super::{plan::Refusal, validate::Validated};
use crate::{backoff::jitter_of, context::Context, holds::Attempt, key::Key};

/// After the first refusal; it doubles with each.
const FIRST: Duration = Duration::from_mins(1);
/// Longest time between two tries.
const LONGEST: Duration = Duration::from_mins(30);
/// What an earlier leadership was refused is tried again within this time, spread so that not all come at once.
const INHERITED: Duration = Duration::from_mins(5);

/// A space at a product: the product's URL and the space's id.
type Space = (String, String);

#[derive(Debug, Default)]
struct Inner {
    waiting: HashMap<Space, HashSet<Key>>,
    records: HashMap<Key, HashSet<Space>>,
}

/// Which records wait for which spaces.
#[derive(Debug, Default)]
pub struct Conflicts(Mutex<Inner>);

impl Conflicts {
    /// A record waits for exactly these spaces.
    pub fn put(&self, record: &Key, url: &str, bookings: &[Booking]) {
        let conflicts = bookings.iter().filter(|booking| is_conflict(booking));
        let spaces: HashSet<Space> =
            conflicts.map(|booking| (url.to_owned(), booking.resource_id.clone())).collect();
        let mut inner = self.inner();
        inner.remove(record);
        if spaces.is_empty() {
            return;
        }
        for space in &spaces {
            inner.waiting.entry(space.clone()).or_default().insert(record.clone());
        }
        inner.records.insert(record.clone(), spaces);
    }

    /// A record is gone.
    pub fn remove(&self, record: &Key) {
        self.inner().remove(record);
    }

    /// The records that wait for a space.
    pub fn waiting(&self, url: &str, resource_id: &str) -> Vec<Key> {
        let space = (url.to_owned(), resource_id.to_owned());
        self.inner().waiting.get(&space).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn remove(&mut self, record: &Key) {
        for space in self.records.remove(record).unwrap_or_default() {
            if let Some(keys) = self.waiting.get_mut(&space) {
                keys.remove(record);
                if keys.is_empty() {
                    self.waiting.remove(&space);
                }
            }
        }
    }
}

/// Slot in which a refusal is held.
pub fn slot(uid: &str) -> String {
    format!("{uid}/refused")
}

fn is_conflict(booking: &Booking) -> bool {
    Refusal::of(booking).is_some_and(|(why, _)| why == Refusal::Conflict)
}

/// What was refused.
fn attempt(bookings: &[Booking]) -> Option<Attempt> {
    let conflicts: Vec<_> = bookings
        .iter()
        .filter(|booking| is_conflict(booking))
        .map(|booking| (&booking.resource_id, &booking.sent))
        .collect();
    (!conflicts.is_empty()).then(|| Attempt::of(conflicts))
}

/// How long what was refused must still wait; `None` without any conflict.
pub fn wait(context: &Context, record: &Validated) -> Option<Duration> {
    let attempt = attempt(&record.status.bookings)?;
    let slot = slot(&record.uid);
    if !context.holds.knows(&slot) {
        context.holds.wait(&slot, attempt, INHERITED.mul_f64(jitter_of(&record.uid)));
    }
    Some(context.holds.remaining(&slot, attempt).unwrap_or_default())
}

/// The product was asked; returns when conflicts are tried again.
pub fn asked(context: &Context, record: &Validated, bookings: &[Booking]) -> Option<Duration> {
    let slot = slot(&record.uid);
    let Some(attempt) = attempt(bookings) else {
        context.holds.clear(&slot);
        return None;
    };
    Some(context.holds.slow_down(&slot, attempt, FIRST, LONGEST, rand::random()))
}

/// Something of these spaces may have become free: whoever waits for them tries again at once.
pub fn freed(context: &Context, by: &Key, url: &str, resource_ids: impl IntoIterator<Item = String>) {
    for resource_id in resource_ids {
        for key in context.conflicts.waiting(url, &resource_id) {
            if key == *by {
                continue;
            }
            if let Some(uid) = context.bookings.get(&key).and_then(|record| record.metadata.uid) {
                context.holds.release(&slot(&uid));
                context.bookings.trigger(&key);
            }
        }
    }
}
