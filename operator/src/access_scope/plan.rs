//! What to do about a scope, and the status that follows. Pure.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use roomkeeper_crds::{
    AccessScopeStatus,
    access_scope::SubscriptionCounts,
    condition::{CredentialsValid, MembersResolved},
};
use roomkeeper_service::audit_export::Standing;

use super::{directory::Members, shrink::Known, status, validate::Validated};
use crate::{backoff, key::Key};

/// How long a deletion waits for the next subscription of the scope to end before it goes without the rest: ending a hundred
/// thousand of them takes more than an hour, and is not given up while it goes on.
pub const DELETION_DEADLINE: Duration = Duration::from_mins(10);

/// When to look again at what a person must mend: permissions and groups change without a word.
const RECHECK: Duration = Duration::from_secs(30);

/// When to look again while a deletion waits.
const DELETION_LOOK: Duration = Duration::from_secs(2);

/// Time between two tries to write an audit that could not be written.
pub const AUDIT_LOOK: Duration = Duration::from_secs(5);

/// What Graph and the token endpoint said, for which generation and request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// Generation that was asked about.
    pub generation: i64,
    /// Request that was answered by it.
    pub requested: Option<String>,
    /// Confirmation that was looked at.
    pub confirmed: Option<String>,
    /// When the credential ends, if that can be told.
    pub credential_expires_at: Option<Timestamp>,
    /// Whether a token was obtained.
    pub credential: Result<(), Trouble<CredentialsValid>>,
    /// Whether the groups were read; `None` without a token.
    pub members: Option<Result<(), Trouble<MembersResolved>>>,
    /// A large shrink that is held back, or that is being carried out.
    pub shrink: Option<Known>,
}

impl Answers {
    /// Whether everything that was asked for came.
    pub fn is_good(&self) -> bool {
        self.credential.is_ok() && matches!(self.members, Some(Ok(())))
    }
}

/// Why something did not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble<R> {
    /// Reason of the condition.
    pub reason: R,
    /// Cause, object and fix.
    pub message: String,
    /// Whether a person must act.
    pub stalled: bool,
    /// Time that the remote side asked to wait.
    pub wait: Option<Duration>,
}

/// What the decision needs besides the scope.
#[derive(Clone, Debug)]
pub struct World {
    /// The older scope that serves the same application.
    pub elder: Option<Key>,
    /// What was said last.
    pub answers: Option<Answers>,
    /// Failures in a row.
    pub failures: u32,
    /// The last good members.
    pub members: Option<Arc<Members>>,
    /// CalendarSubscriptions by state.
    pub counts: SubscriptionCounts,
    /// CalendarSubscriptions that have a Graph subscription.
    pub remote: usize,
    /// When one of them last ended, as far as this leadership saw; only while the scope is under deletion.
    pub progress_at: Option<Timestamp>,
    /// Whether the scope's audit can be written, and what is wrong with it; `None` where that was not looked at.
    pub audit: Option<Result<(), String>>,
    /// How the exports of the operator's log of this scope are; `None` where nothing is known yet.
    pub export: Option<Standing>,
}

impl World {
    /// Whether the scope's audit cannot be written.
    pub fn audit_fails(&self) -> bool {
        matches!(self.audit, Some(Err(_)))
    }
}

/// What to do about the finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finalizer {
    /// Nothing.
    Keep,
    /// It is missing.
    Add,
    /// Let the object go.
    Remove(Farewell),
}

/// Why a scope may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// No CalendarSubscription of it has a Graph subscription any more.
    Ended {
        /// The deadline has passed: what cannot be ended now is left.
        overdue: bool,
    },
    /// A person asked not to wait.
    Forced,
    /// The deadline has passed.
    GaveUp,
}

/// The plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// About the finalizer.
    pub finalizer: Finalizer,
    /// About the status.
    pub status: AccessScopeStatus,
    /// When to look again.
    pub next: Duration,
    /// When to ask Graph again, from now.
    pub ask_in: Duration,
}

/// Plans.
pub fn plan(scope: &Validated, world: &World, now: Timestamp) -> Plan {
    let finalizer = finalizer(scope, world, now);
    let ask_in = ask_in(scope, world);
    let next = if scope.deleted_at.is_some() { DELETION_LOOK } else { ask_in };
    let next = if world.audit_fails() { next.min(AUDIT_LOOK) } else { next };
    Plan { finalizer, status: status::report(scope, world, now), next, ask_in }
}

fn finalizer(scope: &Validated, world: &World, now: Timestamp) -> Finalizer {
    let (at, true) = (scope.deleted_at, scope.has_finalizer) else {
        // A suspended scope whose subscriptions have ended has nothing that it would stand for: who took it off before an
        // uninstallation does not find it back.
        let needless = scope.deleted_at.is_some() || (scope.suspend && world.remote == 0);
        return if needless { Finalizer::Keep } else { Finalizer::Add };
    };
    let Some(at) = at else { return Finalizer::Keep };
    let waits_since = world.progress_at.map_or(at, |progress| progress.max(at));
    let overdue = now.duration_since(waits_since).unsigned_abs() >= DELETION_DEADLINE;
    match world.remote {
        _ if scope.forced => Finalizer::Remove(Farewell::Forced),
        0 => Finalizer::Remove(Farewell::Ended { overdue }),
        _ if overdue => Finalizer::Remove(Farewell::GaveUp),
        _ => Finalizer::Keep,
    }
}

fn ask_in(scope: &Validated, world: &World) -> Duration {
    // Spread by uid, so that scopes do not read their groups in step.
    let regular = scope.refresh_interval.mul_f64(0.95 + 0.05 * backoff::jitter_of(&scope.uid));
    let Some(answers) = &world.answers else { return regular };
    let (stalled, wait) = match (&answers.credential, &answers.members) {
        (Err(trouble), _) => (trouble.stalled, trouble.wait),
        (Ok(()), Some(Err(trouble))) => (trouble.stalled, trouble.wait),
        (Ok(()), _) => return regular,
    };
    let own = if stalled { RECHECK } else { backoff::delay(world.failures, backoff::jitter_of(&scope.uid)) };
    wait.unwrap_or(own)
}
