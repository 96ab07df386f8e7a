//! What became of each notification.

use std::{collections::VecDeque, sync::Mutex};

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::payload::LifecycleEvent;
use crate::{app::lock, subscriptions::ChangeType};

/// Notifications that are kept; older ones are dropped.
const KEPT: usize = 200_000;

/// How one notification stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum State {
    /// Not delivered yet; another attempt follows.
    Pending,
    /// Answered 2xx in time.
    Delivered,
    /// The subscription was gone before it could be delivered.
    SubscriptionGone,
    /// Tried for as long as Graph tries.
    GivenUp,
    /// Never tried: a fault lost it.
    Lost,
    /// Never tried: the subscription was not authorized any more.
    Paused,
    /// Never tried: too many waited already.
    Dropped,
}

/// One attempt: the answer's status, or none when there was no answer in time.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Attempt {
    time: Timestamp,
    status: Option<u16>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Delivery {
    time: Timestamp,
    subscription_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    change_type: Option<ChangeType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifecycle_event: Option<LifecycleEvent>,
    state: State,
    attempts: Vec<Attempt>,
}

/// What a notification tells of.
#[derive(Clone, Copy, Debug)]
pub(super) enum What<'a> {
    /// A change of that event.
    Change(ChangeType, &'a str),
    Lifecycle(LifecycleEvent),
}

/// Which notification of the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry(u64);

#[derive(Debug, Default)]
struct Inner {
    dropped: u64,
    all: VecDeque<Delivery>,
}

#[derive(Debug, Default)]
pub(super) struct Log(Mutex<Inner>);

impl Log {
    pub(super) fn add(&self, subscription_id: Uuid, what: What<'_>, state: State, time: Timestamp) -> Entry {
        let (change_type, event_id, lifecycle_event) = match what {
            What::Change(kind, event) => (Some(kind), Some(event.to_owned()), None),
            What::Lifecycle(event) => (None, None, Some(event)),
        };
        let mut inner = lock(&self.0);
        if inner.all.len() >= KEPT && inner.all.pop_front().is_some() {
            inner.dropped += 1;
        }
        let entry = Entry(inner.dropped + inner.all.len() as u64);
        inner.all.push_back(Delivery {
            time,
            subscription_id,
            change_type,
            event_id,
            lifecycle_event,
            state,
            attempts: Vec::new(),
        });
        entry
    }

    fn at(&self, entry: Entry, change: impl FnOnce(&mut Delivery)) {
        let mut inner = lock(&self.0);
        let index = entry.0.checked_sub(inner.dropped).and_then(|index| usize::try_from(index).ok());
        if let Some(delivery) = index.and_then(|index| inner.all.get_mut(index)) {
            change(delivery);
        }
    }

    pub(super) fn attempt(&self, entry: Entry, time: Timestamp, status: Option<u16>) {
        self.at(entry, |delivery| delivery.attempts.push(Attempt { time, status }));
    }

    pub(super) fn state(&self, entry: Entry, state: State) {
        self.at(entry, |delivery| delivery.state = state);
    }

    pub(super) fn all(&self) -> Vec<impl Serialize + use<>> {
        lock(&self.0).all.iter().cloned().collect()
    }
}
