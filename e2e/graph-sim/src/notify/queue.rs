//! What waits for each host, and in which order it goes.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;
use url::Url;
use uuid::Uuid;

use super::{delivery, log, payload::Payload};
use crate::app::{App, lock};

/// POSTs under way to one host.
const IN_FLIGHT: usize = 16;
/// Items of one POST.
const BATCH: usize = 20;
/// How far behind the first item others for the same URL are looked for.
const LOOK_AHEAD: usize = 200;
/// For how long a notification is held back so that a later one overtakes it, when none comes.
const HOLD: Duration = Duration::from_secs(2);

/// A notification for one subscription, on its way.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) subscription: Uuid,
    pub(super) url: String,
    pub(super) notification: Payload,
    /// Its line in the log.
    pub(super) entry: log::Entry,
    /// Whether it is sent although the subscription is gone.
    pub(super) last: bool,
    /// What was held back for this one to overtake it.
    pub(super) then: Option<Box<Item>>,
    pub(super) _place: Place,
}

/// A place among those that wait; free again when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

impl Place {
    /// `None` when as many as may wait do already.
    pub(super) fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let place = Self(Arc::clone(taken));
        (taken.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One host: what waits for it, and whether somebody takes care of that.
#[derive(Debug)]
pub(super) struct Host {
    waiting: VecDeque<Item>,
    /// What is held back, and its number among all that ever were.
    held: Option<(u64, Item)>,
    holds: u64,
    tended: bool,
    permits: Arc<Semaphore>,
}

impl Default for Host {
    fn default() -> Self {
        let permits = Arc::new(Semaphore::new(IN_FLIGHT));
        Self { waiting: VecDeque::new(), held: None, holds: 0, tended: false, permits }
    }
}

fn host_of(item: &Item) -> String {
    Url::parse(&item.url).map_or_else(|_| item.url.clone(), |url| url.origin().ascii_serialization())
}

pub(super) fn enqueue(app: &Arc<App>, mut item: Item) {
    if app.faults.reorders() {
        let host = host_of(&item);
        let mut hosts = lock(&app.notifier.hosts);
        let at = hosts.entry(host.clone()).or_default();
        if let Some((_, held)) = at.held.take() {
            item.then = Some(Box::new(held));
        } else {
            at.holds += 1;
            let number = at.holds;
            at.held = Some((number, item));
            app.tasks.spawn(let_go(Arc::clone(app), host, number));
            return;
        }
    }
    push(app, item);
}

/// Ends the hold when nothing came to overtake what is held.
async fn let_go(app: Arc<App>, host: String, number: u64) {
    tokio::select! {
        () = app.shutdown.cancelled() => return,
        () = app.clock.pause(HOLD) => {}
    }
    let held =
        lock(&app.notifier.hosts).get_mut(&host).and_then(|at| at.held.take_if(|(held, _)| *held == number));
    if let Some((_, item)) = held {
        push(&app, item);
    }
}

pub(super) fn push(app: &Arc<App>, item: Item) {
    let host = host_of(&item);
    let mut hosts = lock(&app.notifier.hosts);
    let at = hosts.entry(host.clone()).or_default();
    at.waiting.push_back(item);
    if !std::mem::replace(&mut at.tended, true) {
        app.tasks.spawn(tend(Arc::clone(app), host, Arc::clone(&at.permits)));
    }
}

/// Sends what waits for a host until nothing does.
async fn tend(app: Arc<App>, host: String, permits: Arc<Semaphore>) {
    loop {
        // Items that come while all permits are out go together.
        let permit = tokio::select! {
            () = app.shutdown.cancelled() => return,
            permit = Arc::clone(&permits).acquire_owned() => permit,
        };
        let Some(batch) = next_batch(&app, &host) else { return };
        app.tasks.spawn(delivery::deliver(Arc::clone(&app), batch, permit.ok()));
    }
}

/// The next items for one URL. Without any, the host is no longer tended.
fn next_batch(app: &App, host: &str) -> Option<Vec<Item>> {
    let mut hosts = lock(&app.notifier.hosts);
    let at = hosts.get_mut(host)?;
    let Some(first) = at.waiting.pop_front() else {
        at.tended = false;
        // The caller's permit is one of them.
        if at.held.is_none() && at.permits.available_permits() + 1 >= IN_FLIGHT {
            hosts.remove(host);
        }
        return None;
    };
    let queue = &mut at.waiting;
    let mut batch = vec![first];
    let mut index = 0;
    while index < queue.len().min(LOOK_AHEAD) && batch.len() < BATCH {
        let same = queue.get(index).zip(batch.first()).is_some_and(|(item, first)| item.url == first.url);
        match if same { queue.remove(index) } else { None } {
            Some(item) => batch.push(item),
            None => index += 1,
        }
    }
    Some(batch)
}
