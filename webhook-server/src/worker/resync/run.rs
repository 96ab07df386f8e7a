//! The loop: what is due is claimed, read and answered, a few at a time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Client;
use roomkeeper_crds::{
    CalendarSubscription, CalendarSubscriptionStatus,
    calendar_subscription::{Delivery, ResyncClaim},
};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    list::Listing,
    metrics::{Ended, ResyncMetrics},
    pace::Pace,
    read::{Answer, Progress},
    request::{CLAIM, Due, holds},
};
use crate::{
    queue::Failure,
    worker::{
        Worker,
        delivery::{Update, whole_second},
        outcome::Setback,
        subscriptions::ObjectName,
    },
};

/// Calendars read at a time.
const AT_A_TIME: usize = 2;

/// Requests of which is kept how far they came.
const PROGRESS_KEPT: usize = 32;

/// Longest sleep: clocks are set.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// What resyncs need besides what a worker has.
pub struct ResyncParts {
    /// API server.
    pub client: Client,
    /// The lists.
    pub listing: Arc<dyn Listing>,
    /// Name of this process in claims; two that run at a time have different ones.
    pub identity: String,
    /// Metrics.
    pub metrics: ResyncMetrics,
}

/// Reads calendars again where the operator asks for it.
pub struct Resyncs {
    pub(super) worker: Arc<Worker>,
    pub(super) client: Client,
    pub(super) listing: Arc<dyn Listing>,
    identity: String,
    pub(super) metrics: ResyncMetrics,
    pub(super) pace: Pace,
    progress: Mutex<HashMap<Uuid, Progress>>,
}

/// How work on a request ended.
enum End {
    Answered(Answer, Timestamp),
    /// Another worker is at it until then.
    Held(Timestamp),
    /// Answered by another worker, or gone.
    Elsewhere,
}

impl Resyncs {
    /// Shares the worker's queue, permissions and limits.
    pub fn new(worker: &Arc<Worker>, parts: ResyncParts) -> Arc<Self> {
        let ResyncParts { client, listing, identity, metrics } = parts;
        Arc::new(Self {
            worker: Arc::clone(worker),
            client,
            listing,
            identity,
            metrics,
            pace: Pace::new(Arc::clone(&worker.queue)),
            progress: Mutex::default(),
        })
    }

    /// Works until `shutdown`. What is under way then is left to its claim's end: nothing of it is lost.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = self.worker.parts.subscriptions.listed() => {}
        }
        let requests = self.worker.parts.subscriptions.requests().clone();
        let mut tasks = JoinSet::new();
        while !shutdown.is_cancelled() {
            self.metrics.open(requests.open());
            let mut sleep = LONGEST_SLEEP;
            while tasks.len() < AT_A_TIME {
                let now = Timestamp::now();
                match requests.take(&self.identity, now) {
                    Ok(due) => {
                        let this = Arc::clone(&self);
                        tasks.spawn(async move { this.handle(due).await });
                    }
                    Err(next) => {
                        let next =
                            next.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
                        sleep = next.map_or(sleep, |next| next.min(sleep));
                        break;
                    }
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = requests.changed() => {}
                Some(ended) = tasks.join_next() => {
                    if ended.is_err_and(|error| error.is_panic()) {
                        tracing::error!("reading a calendar again ended in a panic");
                    }
                }
                () = tokio::time::sleep(sleep) => {}
            }
        }
        tasks.shutdown().await;
    }

    async fn handle(&self, due: Due) {
        let requests = self.worker.parts.subscriptions.requests();
        let Some(name) = self.worker.parts.subscriptions.at(due.uid) else {
            requests.again(due.uid, soon(Timestamp::now()), false);
            return;
        };
        let ended = Box::pin(self.work(due.uid, &name)).await;
        let now = Timestamp::now();
        match ended {
            Ok(End::Answered(answer, requested)) => {
                self.metrics.ended(match answer {
                    Answer::Compared(_) => Ended::Compared,
                    Answer::Denied => Ended::Denied,
                    Answer::Unreadable => Ended::Unreadable,
                });
                requests.answered(due.uid, requested, now);
            }
            Ok(End::Held(until)) => requests.again(due.uid, until, false),
            Ok(End::Elsewhere) => {
                self.metrics.ended(Ended::Elsewhere);
                // The watch is about to tell that it is answered or gone, or that a newer request is open.
                requests.again(due.uid, soon(now), false);
            }
            Err(setback) => {
                self.metrics.ended(Ended::Failed);
                let failed = self.worker.waits.failed.delay(due.failures.saturating_add(1), rand::random());
                let wait = match setback {
                    Setback::Wait(time) => time,
                    Setback::Failed(_) | Setback::Missing | Setback::Unsettled => failed,
                };
                requests.again(due.uid, now.checked_add(wait).unwrap_or(Timestamp::MAX), true);
            }
        }
    }

    async fn work(&self, uid: Uuid, name: &ObjectName) -> Result<End, Setback> {
        let uid_text = uid.to_string();
        let now = Timestamp::now();
        let free = |status: &CalendarSubscriptionStatus| {
            open(status).is_some() && holds(claim_of(status), &self.identity, now).is_none()
        };
        let claimed = self.worker.parts.delivery.claim(name, &uid_text, &self.claim(now), free).await;
        let subscription = match claimed.map_err(Setback::Failed)? {
            Update::Done(subscription) => subscription,
            Update::Gone => return Ok(End::Elsewhere),
            Update::Refused(subscription) => {
                let status = subscription.status.unwrap_or_default();
                let held = open(&status).and_then(|_| holds(claim_of(&status), &self.identity, now));
                return Ok(held.map_or(End::Elsewhere, End::Held));
            }
        };
        let Some(requested) = subscription.status.as_ref().and_then(open) else { return Ok(End::Elsewhere) };
        let kept = self.progress().remove(&uid).filter(|progress| progress.is_of(requested));
        let mut progress = kept.unwrap_or_else(|| Progress::new(requested));
        let ended = tokio::select! {
            ended = self.answer(name, &subscription, &mut progress) => ended,
            () = self.keep_claim(name, &uid_text) => return Ok(End::Elsewhere),
        };
        match ended {
            Ok(end) => {
                self.metrics.took(progress.began.elapsed());
                Ok(end)
            }
            Err(setback) => {
                let mut all = self.progress();
                if all.len() < PROGRESS_KEPT {
                    all.insert(uid, progress);
                } else {
                    all.retain(|_, progress| progress.is_of(progress.requested));
                }
                Err(setback)
            }
        }
    }

    /// Reads, and once everything found is durable, says so.
    async fn answer(
        &self,
        name: &ObjectName,
        subscription: &CalendarSubscription,
        progress: &mut Progress,
    ) -> Result<End, Setback> {
        let answer = self.read(name, subscription, progress).await?;
        let requested = progress.requested;
        let uid = subscription.metadata.uid.as_deref().unwrap_or_default();
        let told = |delivery: Delivery| answer.told(delivery, requested);
        match self.worker.parts.delivery.as_holder(name, uid, &self.identity, told).await {
            Ok(Update::Done(_)) => Ok(End::Answered(answer, requested)),
            Ok(Update::Refused(_) | Update::Gone) => Ok(End::Elsewhere),
            Err(failure) => Err(Setback::Failed(failure)),
        }
    }

    /// Renews the claim again and again; returns when it is lost.
    async fn keep_claim(&self, name: &ObjectName, uid: &str) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(CLAIM / 3).await;
            let claim = self.claim(Timestamp::now());
            let longer = |delivery: Delivery| Delivery { resync_claim: Some(claim.clone()), ..delivery };
            match self.worker.parts.delivery.as_holder(name, uid, &self.identity, longer).await {
                Ok(Update::Done(_)) => renewed = Instant::now(),
                Ok(Update::Refused(_) | Update::Gone) => return,
                Err(Failure::Conflict) => {}
                Err(_) if renewed.elapsed() >= CLAIM => return,
                Err(_) => {}
            }
        }
    }

    fn claim(&self, now: Timestamp) -> ResyncClaim {
        let until = whole_second(now.checked_add(CLAIM).unwrap_or(Timestamp::MAX));
        ResyncClaim { holder: self.identity.clone(), until: Time(until) }
    }

    fn progress(&self) -> MutexGuard<'_, HashMap<Uuid, Progress>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a look again is worth it, if the watch has told nothing by then.
fn soon(now: Timestamp) -> Timestamp {
    now.checked_add(CLAIM / 3).unwrap_or(Timestamp::MAX)
}

/// The request that is not answered yet.
fn open(status: &CalendarSubscriptionStatus) -> Option<Timestamp> {
    let requested = status.resync.as_ref()?.requested.0;
    let handled = status.delivery.as_ref().and_then(|delivery| delivery.resync_handled.as_ref());
    handled.is_none_or(|handled| handled.0 < requested).then_some(requested)
}

fn claim_of(status: &CalendarSubscriptionStatus) -> Option<&ResyncClaim> {
    status.delivery.as_ref().and_then(|delivery| delivery.resync_claim.as_ref())
}
