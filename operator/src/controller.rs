//! The loop around a reconciler: bounded concurrency, never two runs for one object, growing delays after failures.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::{Arc, PoisonError},
    task::{self, Poll},
    time::{Duration, Instant},
};

use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use kube::ResourceExt as _;
use prometheus::IntGauge;
use tokio::{
    sync::mpsc::UnboundedReceiver,
    task::{JoinError, JoinHandle},
};
use tokio_util::sync::CancellationToken;

use crate::{backoff, context::Context, due::Due, key::Key, watch::Follow};

/// Longest time until an object is looked at again, whatever happens: a missed event is repaired by then.
const LONGEST: Duration = Duration::from_hours(1);

/// Shortest time until then, so that no mistake in a plan turns into a loop.
const SHORTEST: Duration = Duration::from_millis(50);

/// When an object that does not fit its type is mentioned again.
const UNDECODABLE: Duration = Duration::from_hours(1);

/// A kind's reconciler.
pub trait Reconcile: Follow {
    /// What can go wrong at the API server; what goes wrong at Graph or at a booking product becomes a status instead.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Brings the world in line with the object; returns when to look again.
    fn reconcile(self, context: Arc<Context>) -> impl Future<Output = Result<Duration, Self::Error>> + Send;

    /// Whether the error only says that the object changed since it was read.
    fn is_conflict(error: &Self::Error) -> bool;
}

/// Runs a kind's controller until `draining`, and then until what is under way has ended.
pub async fn run<K: Reconcile>(
    context: Arc<Context>,
    mut queue: UnboundedReceiver<Arc<Key>>,
    draining: CancellationToken,
) {
    let concurrency = usize::from(context.process.settings.concurrency);
    let (mut due, mut running) = (Due::default(), FuturesUnordered::new());
    let mut busy = HashSet::new();
    let mut unseen = Unseen::new::<K>(&context);
    loop {
        while running.len() < concurrency
            && let Some(key) = due.take(Instant::now(), |key| !busy.contains(key))
        {
            busy.insert(Arc::clone(&key));
            let context = Arc::clone(&context);
            // A task of its own: one that computes for long keeps no other from its turn.
            let work = tokio::spawn(step::<K>(Arc::clone(&key), context));
            running.push(AbortOnDrop(work).map(move |ended| (key, ended)));
        }
        // With every place taken nothing can begin before something ends.
        let next = if running.len() < concurrency { due.next_after(Instant::now()) } else { None };
        tokio::select! {
            () = draining.cancelled() => break,
            Some(key) = queue.recv() => due.at(key, Instant::now()),
            Some((key, ended)) = running.next(), if !running.is_empty() => {
                busy.remove(&key);
                unseen.looked_at(&key);
                settle::<K>(&mut due, key, ended);
            }
            () = sleep_until(next) => {}
        }
    }
    while running.next().await.is_some() {}
}

/// How many of the objects that a leadership began with have not been looked at yet.
struct Unseen {
    began_with: usize,
    looked_at: HashSet<Arc<Key>>,
    gauge: IntGauge,
}

impl Unseen {
    fn new<K: Reconcile>(context: &Context) -> Self {
        let began_with = K::kept(context).len();
        let gauge = context.process.metrics.unseen.with_label_values(&[&*K::kind(&())]);
        gauge.set(i64::try_from(began_with).unwrap_or(i64::MAX));
        Self { began_with, looked_at: HashSet::new(), gauge }
    }

    fn looked_at(&mut self, key: &Arc<Key>) {
        if self.began_with == 0 || !self.looked_at.insert(Arc::clone(key)) {
            return;
        }
        let left = self.began_with.saturating_sub(self.looked_at.len());
        self.gauge.set(i64::try_from(left).unwrap_or(i64::MAX));
        if left == 0 {
            // Nothing more is asked of it, so that its memory is given back.
            (self.began_with, self.looked_at) = (0, HashSet::new());
        }
    }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

fn settle<K: Reconcile>(due: &mut Due, key: Arc<Key>, ended: Result<Option<Duration>, JoinError>) {
    let delay = match ended {
        Ok(Some(delay)) => delay,
        // It is gone: nothing is left to look at.
        Ok(None) => return,
        Err(error) => {
            tracing::error!(kind = %K::kind(&()), object = %key, %error, "a reconciliation broke down; tried again");
            backoff::CAP
        }
    };
    due.at(key, Instant::now() + delay);
}

/// Looks at an object; returns when to look again, or `None` if there is none.
async fn step<K: Reconcile>(key: Arc<Key>, context: Arc<Context>) -> Option<Duration> {
    let (start, kind) = (Instant::now(), K::kind(&()));
    let Ok(object) = K::kept(&context).look(&key)? else {
        // The error of an object that does not decode quotes it, and so is not shown.
        tracing::error!(%kind, object = %key, "the object does not fit the schema of this version and is left alone: correct it, or run the version that wrote it");
        context.process.metrics.reconciled(&kind, "undecodable", start.elapsed());
        return Some(UNDECODABLE);
    };
    let uid = object.uid().unwrap_or_default();
    let (result, delay) = match object.reconcile(Arc::clone(&context)).await {
        Ok(next) => {
            failures(&context).remove(&uid);
            ("success", next.clamp(SHORTEST, spread(&uid)))
        }
        Err(error) => {
            let failures = {
                let mut all = failures(&context);
                let failures = all.entry(uid).or_default();
                *failures = failures.saturating_add(1);
                *failures
            };
            let delay = backoff::delay(failures, rand::random());
            // The first conflict is the ordinary echo of a write whose event has not come yet.
            if K::is_conflict(&error) && failures == 1 {
                tracing::debug!(%kind, object = %key, %error, "changed meanwhile; looked at again");
                ("conflict", delay / 4)
            } else {
                tracing::warn!(%kind, object = %key, %error, failures, "reconciliation failed; tried again");
                ("error", delay)
            }
        }
    };
    context.process.metrics.reconciled(&kind, result, start.elapsed());
    Some(delay)
}

/// A task that does not outlive the leadership that began it.
struct AbortOnDrop(JoinHandle<Option<Duration>>);

impl Future for AbortOnDrop {
    type Output = Result<Option<Duration>, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The periodic look, spread by uid so that a full list does not come back at one moment.
fn spread(uid: &str) -> Duration {
    LONGEST.mul_f64(0.75 + 0.25 * backoff::jitter_of(uid))
}

fn failures(context: &Context) -> std::sync::MutexGuard<'_, std::collections::HashMap<String, u32>> {
    context.failures.lock().unwrap_or_else(PoisonError::into_inner)
}
