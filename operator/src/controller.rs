//! The loop around a reconciler: bounded concurrency, never two runs for one object, growing delays after failures.

use std::{
    convert::Infallible,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use futures::{FutureExt as _, StreamExt as _, channel::mpsc::UnboundedReceiver, future::BoxFuture};
use kube::{
    ResourceExt as _,
    runtime::{
        controller::{Action, Config, applier},
        reflector::ObjectRef,
    },
};
use tokio_util::sync::CancellationToken;

use crate::{api::Guarded, backoff, context::Context, key::Key, watch::Follow};

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
    queue: UnboundedReceiver<ObjectRef<Guarded<K>>>,
    draining: CancellationToken,
) {
    let concurrency = context.process.settings.concurrency;
    let store = K::kept(&context).store().clone();
    let queue = queue.map(Ok::<_, Infallible>).take_until(draining.cancelled_owned());
    applier(
        step::<K>,
        |_object, never: &Infallible, _context| match *never {},
        context,
        store,
        queue,
        Config::default().concurrency(concurrency),
    )
    // The only error left is an object that vanished between its event and its turn.
    .for_each(|_outcome| std::future::ready(()))
    .await;
}

fn step<K: Reconcile>(
    object: Arc<Guarded<K>>,
    context: Arc<Context>,
) -> BoxFuture<'static, Result<Action, Infallible>> {
    async move {
        let (start, key, kind) = (Instant::now(), Key::of(&*object), K::kind(&()));
        let uid = object.uid().unwrap_or_default();
        // The error of an object that does not decode quotes it, and so is not shown.
        let Ok(decoded) = &object.0 else {
            tracing::error!(%kind, object = %key, "the object does not fit the schema of this version and is left alone: correct it, or run the version that wrote it");
            context.process.metrics.reconciled(&kind, "undecodable", start.elapsed());
            return Ok(Action::requeue(UNDECODABLE));
        };
        let (result, delay) = match decoded.clone().reconcile(Arc::clone(&context)).await {
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
        Ok(Action::requeue(delay))
    }
    .boxed()
}

/// The periodic look, spread by uid so that a full list does not come back at one moment.
fn spread(uid: &str) -> Duration {
    LONGEST.mul_f64(0.75 + 0.25 * backoff::jitter_of(uid))
}

fn failures(context: &Context) -> std::sync::MutexGuard<'_, std::collections::HashMap<String, u32>> {
    context.failures.lock().unwrap_or_else(PoisonError::into_inner)
}
