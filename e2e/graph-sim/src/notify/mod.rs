//! Notifications of changes (graph-facts §3).

mod delivery;
mod log;
mod payload;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::Serialize;
use tokio::sync::Semaphore;
use url::Url;
use uuid::Uuid;

pub(crate) use self::payload::LifecycleEvent;
use self::{
    log::{Log, What},
    payload::{Lifecycle, Notification, Payload},
};
use crate::{
    app::{App, lock},
    events::Change,
    faults::Fate,
    subscriptions::Subscription,
};

/// POSTs under way to one host.
const IN_FLIGHT: usize = 16;
/// Items of one POST.
const BATCH: usize = 20;
/// How far behind the first item others for the same URL are looked for.
const LOOK_AHEAD: usize = 200;
/// After a change, how long until it shows a second time (graph-facts §3.4).
const ECHO: Duration = Duration::from_millis(150);

/// A notification for one subscription, on its way.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    subscription: Uuid,
    url: String,
    notification: Payload,
    /// Its place in the log.
    entry: log::Entry,
    /// Whether it is sent although the subscription is gone.
    last: bool,
}

/// One host: what waits for it, and whether somebody takes care of that.
#[derive(Debug)]
struct Host {
    waiting: VecDeque<Item>,
    tended: bool,
    permits: Arc<Semaphore>,
}

impl Default for Host {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), tended: false, permits: Arc::new(Semaphore::new(IN_FLIGHT)) }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Notifier {
    hosts: Mutex<HashMap<String, Host>>,
    log: Log,
}

impl Notifier {
    /// The delivery log, oldest first.
    pub(crate) fn deliveries(&self) -> Vec<impl Serialize + use<>> {
        self.log.all()
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
        let times = match app.faults.fate() {
            Fate::Sent => 1,
            Fate::Twice => 2,
            Fate::Lost { told } => {
                if told {
                    lifecycle(app, &subscription, LifecycleEvent::Missed);
                }
                0
            }
        };
        for _ in 0..times {
            let event = if subscription.immutable_ids { &change.immutable_id } else { &change.id };
            let entry =
                app.notifier.log.add(subscription.id, What::Change(change.kind, event), app.clock.now());
            let url = subscription.notification_url.clone();
            let notification = Payload::Change(Notification::of(&subscription, change));
            enqueue(app, Item { subscription: subscription.id, url, notification, entry, last: false });
        }
    }
}

/// Sends a lifecycle notification; whether the subscription has a URL for it.
pub(crate) fn lifecycle(app: &Arc<App>, subscription: &Subscription, event: LifecycleEvent) -> bool {
    let Some(url) = subscription.lifecycle_notification_url.clone() else { return false };
    let entry = app.notifier.log.add(subscription.id, What::Lifecycle(event), app.clock.now());
    let notification = Payload::Lifecycle(Lifecycle::of(subscription, event));
    // The last that is told of a subscription is told when it is gone.
    let last = event == LifecycleEvent::SubscriptionRemoved;
    enqueue(app, Item { subscription: subscription.id, url, notification, entry, last });
    true
}

fn enqueue(app: &Arc<App>, item: Item) {
    let url = &item.url;
    let host = Url::parse(url).map_or_else(|_| url.clone(), |url| url.origin().ascii_serialization());
    let mut hosts = lock(&app.notifier.hosts);
    let at = hosts.entry(host.clone()).or_default();
    if app.faults.reorders() {
        at.waiting.push_front(item);
    } else {
        at.waiting.push_back(item);
    }
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
    let Host { waiting: queue, tended, .. } = hosts.get_mut(host)?;
    let Some(first) = queue.pop_front() else {
        *tended = false;
        return None;
    };
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
