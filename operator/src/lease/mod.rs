//! Leader election: compare-and-swap on a Lease.
//!
//! The API server decides who wins (`replace` with the resourceVersion that was read). Expiry is measured on the local
//! monotonic clock since the lease was last seen to change, so that clocks need not agree. Losing the lease ends the work,
//! not the process.

mod deadline;
mod decide;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use roomkeeper_service::health::Gate;

pub use self::{
    deadline::{LeaderDeadline, NotLeader},
    decide::{Decision, Observation, Seen, Timing, decide},
};

/// Name of the Lease, in the namespace of the installation.
pub const LEASE_NAME: &str = "roomkeeper-operator";

/// Longest duration that another holder is believed to have asked for.
const LONGEST: Duration = Duration::from_hours(1);

/// Why a request about the lease failed.
#[derive(Debug, thiserror::Error)]
enum LeaseError {
    #[error("the API server did not answer in time")]
    Timeout,
    #[error("{0}")]
    Api(#[from] kube::Error),
}

/// One replica's part in the election.
pub struct Election {
    api: Api<Lease>,
    identity: String,
    timing: Timing,
    deadline: LeaderDeadline,
    seen: Option<(Lease, Instant)>,
    /// resourceVersion of the lease as this process wrote it.
    written: Option<String>,
}

impl Election {
    /// A replica that holds nothing yet.
    pub fn new(
        client: Client,
        namespace: &str,
        identity: String,
        timing: Timing,
        deadline: LeaderDeadline,
    ) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            identity,
            timing,
            deadline,
            seen: None,
            written: None,
        }
    }

    /// Returns once this replica holds the lease. Whether the election can be taken part in at all is told to `gate`.
    pub async fn campaign(&mut self, gate: &Gate) {
        let mut warned = None;
        loop {
            let wait = match self.round().await {
                Ok(None) => {
                    gate.ready();
                    tracing::info!(identity = self.identity, "leading");
                    return;
                }
                Ok(Some(wait)) => {
                    gate.ready();
                    warned = None;
                    wait
                }
                Err(error) => {
                    let text = error.to_string();
                    gate.not_ready(&format!("Lease {LEASE_NAME}: {text}"));
                    if warned.as_ref() != Some(&text) {
                        tracing::warn!(
                            error = text,
                            lease = LEASE_NAME,
                            "cannot take part in the election; tried again"
                        );
                        warned = Some(text);
                    }
                    self.timing.retry
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Renews until the lease is lost, and returns then.
    pub async fn keep(&mut self) {
        loop {
            tokio::time::sleep(self.timing.retry).await;
            match self.round().await {
                Ok(None) => {}
                Ok(Some(_)) => {
                    tracing::warn!(identity = self.identity, "the lease went to another replica");
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "the lease could not be renewed");
                    if self.deadline.check().is_err() {
                        break;
                    }
                }
            }
        }
        self.deadline.clear();
        self.written = None;
    }

    /// Gives the lease up, so that another replica need not wait for it to run out.
    pub async fn release(&mut self) {
        self.deadline.clear();
        let Some((lease, _)) = self.seen.take() else { return };
        if self.written.take().is_none() || lease.metadata.resource_version.is_none() {
            return;
        }
        let now = MicroTime(Timestamp::now());
        let mut released = lease;
        released.spec = Some(LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            renew_time: Some(now.clone()),
            acquire_time: Some(now),
            ..released.spec.unwrap_or_default()
        });
        match self.bounded(self.api.replace(LEASE_NAME, &PostParams::default(), &released)).await {
            Ok(_) => tracing::info!(identity = self.identity, "lease released"),
            Err(error) => tracing::warn!(%error, "the lease could not be released; it runs out by itself"),
        }
    }

    /// Looks and acts once. `None`: the lease is ours; otherwise when to look again.
    async fn round(&mut self) -> Result<Option<Duration>, LeaseError> {
        // While it is ours the copy that was written is swapped without a look: a conflict tells as much as a look would.
        if self.written.is_none() {
            self.look().await?;
        }
        let seen = self.seen.as_ref().map(|(lease, _)| seen(lease, self.timing.duration));
        let observation = Observation {
            lease: seen.as_ref(),
            unchanged_for: self.seen.as_ref().map(|(_, since)| since.elapsed()).unwrap_or_default(),
            ours: self.written.is_some(),
        };
        let transitions = match decide(observation, self.timing) {
            Decision::Wait(wait) => return Ok(Some(wait)),
            Decision::Create => 0,
            Decision::Take { transitions } => transitions,
            Decision::Renew => seen.map(|seen| seen.transitions).unwrap_or_default(),
        };
        self.write(transitions).await
    }

    async fn look(&mut self) -> Result<(), LeaseError> {
        let lease = self.bounded(self.api.get_opt(LEASE_NAME)).await?;
        let version = |lease: &Lease| lease.metadata.resource_version.clone();
        match (lease, &self.seen) {
            (None, _) => self.seen = None,
            (Some(lease), Some((known, _))) if version(&lease) == version(known) => {}
            (Some(lease), _) => self.seen = Some((lease, Instant::now())),
        }
        Ok(())
    }

    async fn write(&mut self, transitions: i32) -> Result<Option<Duration>, LeaseError> {
        // Counted from before the request leaves: others count from when they see it, which is later.
        let sent = Instant::now();
        let now = MicroTime(Timestamp::now());
        let present = self.seen.as_ref().map(|(lease, _)| lease.clone());
        let acquired = present.as_ref().and_then(|lease| lease.spec.as_ref()?.acquire_time.clone());
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(
                i32::try_from(self.timing.duration.as_secs()).unwrap_or(i32::MAX).max(1),
            ),
            acquire_time: acquired.filter(|_| self.written.is_some()).or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        };
        let result = match present {
            None => {
                let metadata = ObjectMeta { name: Some(LEASE_NAME.to_owned()), ..ObjectMeta::default() };
                let lease = Lease { metadata, spec: Some(spec) };
                self.bounded(self.api.create(&PostParams::default(), &lease)).await
            }
            Some(present) => {
                let lease = Lease { spec: Some(spec), ..present };
                self.bounded(self.api.replace(LEASE_NAME, &PostParams::default(), &lease)).await
            }
        };
        match result {
            Ok(lease) => {
                self.written.clone_from(&lease.metadata.resource_version);
                self.seen = Some((lease, sent));
                self.deadline.set(sent + self.timing.renew_deadline);
                Ok(None)
            }
            // Somebody was faster, or an earlier write of ours arrived although its answer did not: look who it was.
            Err(LeaseError::Api(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                let held = self.written.take().is_some();
                self.look().await?;
                let ours = |lease: &Lease| {
                    held && lease.spec.as_ref().is_some_and(|spec| {
                        spec.holder_identity.as_deref() == Some(&self.identity)
                            && spec.lease_transitions == Some(transitions)
                    })
                };
                if let Some((lease, _)) = &self.seen
                    && ours(lease)
                {
                    self.written.clone_from(&lease.metadata.resource_version);
                    return Err(LeaseError::Timeout);
                }
                Ok(Some(Duration::ZERO))
            }
            Err(error) => Err(error),
        }
    }

    /// A request must not take longer than what lies between two renewals.
    async fn bounded<T>(
        &self,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, LeaseError> {
        match tokio::time::timeout(self.timing.retry.mul_f64(0.8), request).await {
            Ok(answer) => Ok(answer?),
            Err(_elapsed) => Err(LeaseError::Timeout),
        }
    }
}

fn seen(lease: &Lease, default_duration: Duration) -> Seen {
    let spec = lease.spec.clone().unwrap_or_default();
    Seen {
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        duration: spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(default_duration, Duration::from_secs)
            .min(LONGEST),
        transitions: spec.lease_transitions.unwrap_or_default(),
    }
}
