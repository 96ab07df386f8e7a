//! Notifications of changes (graph-facts §3).

mod delivery;
mod log;
mod payload;
mod queue;

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use uuid::Uuid;

pub(crate) use self::payload::LifecycleEvent;
use self::{
    log::{Log, State, What},
    payload::{Lifecycle, Notification, Payload},
    queue::{Host, Item, Place, enqueue},
};
use crate::{
    app::{App, lock},
    events::Change,
    faults::Fate,
    subscriptions::{Subscription, is_authorized},
};

/// After a change, how long until it shows a second time (graph-facts §3.4).
const ECHO: Duration = Duration::from_millis(150);

/// Losses of one subscription that come within this time are told by one `missed`.
const MERGE: Duration = Duration::from_millis(400);

#[derive(Debug, Default)]
pub(crate) struct Notifier {
    hosts: Mutex<HashMap<String, Host>>,
    log: Log,
    /// Notifications that wait for their first or a further attempt.
    pending: Arc<AtomicUsize>,
    dropped: AtomicU64,
    /// Subscriptions that are about to be told that something was missed.
    missed: Mutex<HashSet<Uuid>>,
}

impl Notifier {
    /// The delivery log, oldest first.
    pub(crate) fn deliveries(&self) -> Vec<impl Serialize + use<>> {
        self.log.all()
    }

    /// How many were dropped because too many waited.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The client that all notification URLs are called with.
pub(crate) fn client(trust_pem: Option<&[u8]>) -> Result<reqwest::Client, String> {
    let roots = match trust_pem {
        Some(pem) => reqwest::Certificate::from_pem_bundle(pem).map_err(|error| error.to_string())?,
        None => Vec::new(),
    };
    if trust_pem.is_some() && roots.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    reqwest::Client::builder()
        .tls_certs_only(roots)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .https_only(true)
        .build()
        .map_err(|error| error.to_string())
}

/// Tells everybody who listens, now and, where Exchange does so, once more a moment later.
pub(crate) fn publish(app: &Arc<App>, changes: Vec<Change>) {
    for change in changes {
        announce(app, &change);
        if let Some(echo) = change.echo() {
            let app = Arc::clone(app);
            let tracker = app.tasks.clone();
            tracker.spawn(async move {
                tokio::select! {
                    () = app.shutdown.cancelled() => {}
                    () = app.clock.pause(ECHO) => announce(&app, &echo),
                }
            });
        }
    }
}

fn announce(app: &Arc<App>, change: &Change) {
    let now = app.clock.now();
    let listening = lock(&app.subscriptions).listening(change.tenant, change.user, change.kind, now);
    for subscription in listening {
        let event = if subscription.immutable_ids { &change.immutable_id } else { &change.id };
        let what = What::Change(change.kind, event);
        // What happens in a pause is lost, and nobody is told (graph-facts §4).
        if !is_authorized(app, &subscription, now) {
            app.notifier.log.add(subscription.id, what, State::Paused, now);
            continue;
        }
        let times = match app.faults.fate() {
            Fate::Sent => 1,
            Fate::Twice => 2,
            Fate::Lost => {
                app.notifier.log.add(subscription.id, what, State::Lost, now);
                lost(app, subscription.id);
                0
            }
        };
        for _ in 0..times {
            let url = subscription.notification_url.clone();
            let notification = Payload::Change(Notification::of(&subscription, change));
            send(app, subscription.id, (url, notification), what, false);
        }
    }
}

/// Sends a lifecycle notification; whether the subscription has a URL for it.
pub(crate) fn lifecycle(app: &Arc<App>, subscription: &Subscription, event: LifecycleEvent) -> bool {
    let Some(url) = &subscription.lifecycle_notification_url else { return false };
    let what = What::Lifecycle(event);
    let times = match app.faults.lifecycle_fate() {
        Fate::Sent => 1,
        Fate::Twice => 2,
        Fate::Lost => {
            app.notifier.log.add(subscription.id, what, State::Lost, app.clock.now());
            0
        }
    };
    // The last that is told of a subscription is told when it is gone.
    let last = event == LifecycleEvent::SubscriptionRemoved;
    for _ in 0..times {
        let notification = Payload::Lifecycle(Lifecycle::of(subscription, event));
        send(app, subscription.id, (url.clone(), notification), what, last);
    }
    true
}

/// Tells, where that is asked for, that something of a subscription did not arrive; once for all that is lost meanwhile.
fn lost(app: &Arc<App>, subscription: Uuid) {
    if !app.faults.tells_losses() || !lock(&app.notifier.missed).insert(subscription) {
        return;
    }
    let app = Arc::clone(app);
    let tracker = app.tasks.clone();
    tracker.spawn(async move {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            () = app.clock.pause(MERGE) => {}
        }
        lock(&app.notifier.missed).remove(&subscription);
        let living = lock(&app.subscriptions).get(subscription, app.clock.now()).cloned();
        if let Some(living) = living {
            lifecycle(&app, &living, LifecycleEvent::Missed);
        }
    });
}

fn send(
    app: &Arc<App>,
    subscription: Uuid,
    (url, notification): (String, Payload),
    what: What<'_>,
    last: bool,
) {
    let now = app.clock.now();
    let Some(place) = Place::take(&app.notifier.pending, app.settings.notification_backlog) else {
        app.notifier.dropped.fetch_add(1, Ordering::Relaxed);
        app.notifier.log.add(subscription, what, State::Dropped, now);
        if matches!(what, What::Change(..)) {
            lost(app, subscription);
        }
        return;
    };
    let entry = app.notifier.log.add(subscription, what, State::Pending, now);
    enqueue(app, Item { subscription, url, notification, entry, last, then: None, _place: place });
}
