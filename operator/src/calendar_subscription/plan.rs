//! Whether the calendar may be subscribed, and what to do about it at Graph. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use roomkeeper_crds::{
    calendar_subscription::{LifecycleEvent, ResyncReason},
    condition::{self, Delivering, Type},
    consent_record,
};
use roomkeeper_graph::SubscriptionId;

use super::{
    resync,
    sightings::Sighting,
    validate::{Remote, Validated},
    watched::Answered,
};
use crate::key::Key;

/// How long an undecided object waits for its scope's first read of the groups; their arrival triggers it sooner.
const UNDECIDED: Duration = Duration::from_mins(1);

/// Shortest time between two looks at one object that follows from its own times.
const SHORTEST: Duration = Duration::from_secs(1);

/// An authorisation that Graph was sent covers what is asked for within this time after it: Graph wants no second one.
pub const AUTHORIZED: SignedDuration = SignedDuration::from_mins(10);

/// A subscription with less than this left is renewed when Graph asks to authorise it: renewing authorises as well.
const RENEW_INSTEAD: SignedDuration = SignedDuration::from_hours(24);

/// The AccessScope as the decision needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// There is none of that name.
    Missing,
    /// It is being deleted.
    Terminating,
    /// An older scope serves its application.
    Duplicate,
    /// It is suspended.
    Suspended,
    /// It cannot decide, because of this.
    NotReady(String),
    /// Its credential does not work, because of this: nothing can be sent.
    Locked(String),
    /// A permission was taken away, because of this: nothing is sent but what ends a subscription.
    Unpermitted(String),
    /// This leadership has not read its groups yet.
    Unproven,
    /// It can tell who is within. `None`: the user is not known yet.
    Serving {
        /// Whether the user is within.
        within: Option<bool>,
    },
}

/// A ConsentRecord of exactly this scope, tenant, application and user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// Its name.
    pub name: String,
    /// When it was granted.
    pub granted_at: Timestamp,
    /// Which notice the user saw.
    pub notice: String,
    /// Whether it was withdrawn.
    pub withdrawn: bool,
}

/// What the decision needs besides the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// The scope.
    pub scope: Scope,
    /// Notice that a consent must be to; `None`: any.
    pub required_notice: Option<String>,
    /// Consents of the user.
    pub consents: Vec<Consent>,
    /// An older CalendarSubscription for the same tenant and user.
    pub elder: Option<Key>,
    /// What a sweep saw at Graph.
    pub sightings: Option<Vec<Sighting>>,
    /// Which lifecycle notifications were answered.
    pub lifecycle_answered: Answered,
    /// When this leadership last had it authorised. The status may lag behind.
    pub authorized_at: Option<Timestamp>,
    /// Whether the known subscription is signed with another key than the current one.
    pub outdated: bool,
    /// Whether it is this object's turn to have an outdated subscription made anew.
    pub replace: bool,
    /// Silence after which the calendar is read again.
    pub silence: Duration,
    /// Time after which it is read again in any case; `None`: never.
    pub periodic: Option<Duration>,
    /// The earliest time up to which a series of it is listed, of those of which more is to come.
    pub listed_until: Option<Timestamp>,
    /// How far ahead series are listed.
    pub horizon: Duration,
}

/// Whether the calendar may be subscribed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, by this consent.
    Allowed(Grant),
    /// No.
    Denied(Denial),
    /// The scope cannot tell. What lives is kept alive, nothing is begun.
    Waiting {
        /// For what.
        on: WaitingOn,
        /// Why.
        message: String,
    },
    /// Nothing is known yet; the status stays as it is.
    Undecided,
    /// The user has to be looked up first.
    UserUnknown,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitingOn {
    /// The scope does not exist.
    Scope,
    /// Its credential does not work, or lacks a permission.
    Credential,
    /// It does not know its members.
    Members,
}

/// A consent that allows the subscription.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// Name of the ConsentRecord.
    pub consent: String,
    /// When it was granted.
    pub granted_at: Timestamp,
}

/// Why the calendar may not be subscribed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// It or its scope is suspended.
    Suspended(&'static str),
    /// Its scope goes, or another serves its application.
    ScopeEnds(&'static str),
    /// Another CalendarSubscription serves the user.
    Duplicate(Key),
    /// The policies leave the user out.
    OutOfScope,
    /// The user has not consented yet.
    AwaitingConsent,
    /// The user's consent was withdrawn.
    ConsentWithdrawn,
    /// The consent is to another notice.
    NoticeOutdated {
        /// The notice that was consented to.
        has: String,
        /// The notice that is asked for.
        wants: String,
    },
}

/// What to do at Graph or to the object's finalizer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Nothing.
    None,
    /// Put the finalizer on, before anything exists that it stands for.
    AddFinalizer,
    /// Look the user up.
    ResolveUser,
    /// Make a subscription by that consent, after deleting these.
    Create {
        /// The consent.
        grant: Grant,
        /// Subscriptions of this object that are of no use any more.
        replace: Vec<SubscriptionId>,
    },
    /// Take a subscription over that a sweep found.
    Adopt(SubscriptionId),
    /// Ask whether the known subscription still lives.
    Verify(SubscriptionId),
    /// Extend the known subscription, which authorises it as well.
    Renew(SubscriptionId),
    /// Authorise the known subscription again.
    Reauthorize(SubscriptionId),
    /// Have the worker read the calendar again.
    RequestResync(ResyncReason),
    /// Say what was found before it is mended.
    Tell(Finding),
    /// Something is to be ended, and nothing can be sent, because of this.
    Withhold(String),
    /// Delete these, and keep the known one if it is not among them.
    Remove(Vec<SubscriptionId>),
}

/// What must not pass unnoticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// The known subscription ran out.
    Expired,
    /// Changes were never notified.
    Gap,
}

/// The plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Whether it may be subscribed.
    pub verdict: Verdict,
    /// What to do.
    pub action: Action,
    /// When to look again if there is nothing to do.
    pub next: Duration,
}

/// Plans.
pub fn plan(object: &Validated, world: &World, now: Timestamp) -> Plan {
    let verdict = verdict(object, world);
    let action = if object.has_finalizer {
        action(object, world, &verdict, now)
    } else if world.scope == Scope::Suspended && remove(object, world) == Action::None {
        // Nothing is there that it would stand for: who took it off before an uninstallation does not find it back.
        Action::None
    } else {
        Action::AddFinalizer
    };
    let renewal = object.remote.map(|remote| renewal_due(object, world, &remote));
    // Without a subscription neither of these is due.
    let asked = object.remote.filter(|_| object.asks_to_renew()).and_then(|_| rested_at(object, world));
    let due =
        [renewal, asked, silent_at(object, world), periodic_at(object, world), horizon_at(object, world)];
    let due = due.into_iter().flatten().min();
    let due = due.map(|due| due.duration_since(now));
    let next = match (&verdict, due) {
        // What is due cannot be done yet, so that its time says nothing.
        (Verdict::Undecided | Verdict::Waiting { .. }, _) => UNDECIDED,
        (_, Some(due)) => Duration::try_from(due).unwrap_or_default().max(SHORTEST),
        (_, None) => Duration::MAX,
    };
    Plan { verdict, action, next }
}

/// Whether the calendar may be subscribed.
pub fn verdict(object: &Validated, world: &World) -> Verdict {
    if object.suspend {
        return Verdict::Denied(Denial::Suspended("this CalendarSubscription"));
    }
    let waiting = |on, message: &str| Verdict::Waiting { on, message: message.to_owned() };
    match &world.scope {
        Scope::Missing => {
            return Verdict::Waiting {
                on: WaitingOn::Scope,
                message: format!(
                    "AccessScope {} does not exist: create it, or delete this object",
                    object.scope.name
                ),
            };
        }
        Scope::Terminating => return Verdict::Denied(Denial::ScopeEnds("its AccessScope is being deleted")),
        Scope::Duplicate => {
            return Verdict::Denied(Denial::ScopeEnds("an older AccessScope serves the same application"));
        }
        Scope::Suspended => return Verdict::Denied(Denial::Suspended("its AccessScope")),
        Scope::NotReady(_)
        | Scope::Locked(_)
        | Scope::Unpermitted(_)
        | Scope::Unproven
        | Scope::Serving { .. } => {}
    }
    // A withdrawal counts whatever else is unknown.
    let standing = || consent_record::standing(&world.consents, |one| (one.granted_at, one.withdrawn));
    if object.user_id.is_some() && standing().next().is_none() && !world.consents.is_empty() {
        return Verdict::Denied(Denial::ConsentWithdrawn);
    }
    let within = match &world.scope {
        Scope::NotReady(message) => return waiting(WaitingOn::Members, message),
        Scope::Locked(message) | Scope::Unpermitted(message) => {
            return waiting(WaitingOn::Credential, message);
        }
        Scope::Unproven => return Verdict::Undecided,
        Scope::Serving { within } => within,
        Scope::Missing | Scope::Terminating | Scope::Duplicate | Scope::Suspended => {
            return Verdict::Undecided;
        }
    };
    let (Some(_), Some(within)) = (object.user_id, within) else { return Verdict::UserUnknown };
    if let Some(elder) = &world.elder {
        return Verdict::Denied(Denial::Duplicate(elder.clone()));
    }
    if !within {
        return Verdict::Denied(Denial::OutOfScope);
    }
    let current =
        |consent: &&Consent| world.required_notice.as_ref().is_none_or(|wants| consent.notice == *wants);
    let newest = |consent: &&Consent| (consent.granted_at, consent.name.clone());
    match (standing().filter(current).max_by_key(newest), standing().max_by_key(newest)) {
        (Some(consent), _) => {
            Verdict::Allowed(Grant { consent: consent.name.clone(), granted_at: consent.granted_at })
        }
        (None, Some(old)) => Verdict::Denied(Denial::NoticeOutdated {
            has: old.notice.clone(),
            wants: world.required_notice.clone().unwrap_or_default(),
        }),
        (None, None) => Verdict::Denied(Denial::AwaitingConsent),
    }
}

fn action(object: &Validated, world: &World, verdict: &Verdict, now: Timestamp) -> Action {
    match verdict {
        Verdict::Undecided => Action::None,
        // Nothing can be sent; that it ran out meanwhile is said all the same.
        Verdict::Waiting { on: WaitingOn::Scope | WaitingOn::Credential, .. } => match object.remote {
            Some(remote) if remote.expires_at <= now => Action::Tell(Finding::Expired),
            _ => Action::None,
        },
        Verdict::UserUnknown => Action::ResolveUser,
        Verdict::Denied(_) => match (remove(object, world), &world.scope) {
            (Action::Remove(_), Scope::Locked(message)) => Action::Withhold(message.clone()),
            (action, _) => action,
        },
        Verdict::Waiting { on: WaitingOn::Members, .. } => {
            match (maintain(object, world, now), object.remote) {
                (Maintenance::Do(action), _) => action,
                (Maintenance::Expired, _) => Action::Tell(Finding::Expired),
                // It cannot be made anew now: as long as it lives it serves, with whatever URL or key.
                (_, Some(remote)) if renewal_due(object, world, &remote) <= now => Action::Renew(remote.id),
                _ => Action::None,
            }
        }
        Verdict::Allowed(grant) => match maintain(object, world, now) {
            Maintenance::Do(action) => action,
            Maintenance::Nothing => Action::None,
            Maintenance::Expired => Action::Tell(Finding::Expired),
            Maintenance::Missing(replace) => Action::Create { grant: grant.clone(), replace },
        },
    }
}

fn remove(object: &Validated, world: &World) -> Action {
    let mut ids: Vec<_> = object.remote.iter().map(|remote| remote.id).collect();
    ids.extend(
        world.sightings.iter().flatten().map(|sighting| sighting.id).filter(|id| !is_remote(object, *id)),
    );
    if ids.is_empty() { Action::None } else { Action::Remove(ids) }
}

enum Maintenance {
    Nothing,
    Do(Action),
    /// The known subscription ran out.
    Expired,
    /// There is no useful subscription; these are of no use.
    Missing(Vec<SubscriptionId>),
}

fn maintain(object: &Validated, world: &World, now: Timestamp) -> Maintenance {
    let seen = world.sightings.as_deref().unwrap_or_default();
    let others = |but: Option<SubscriptionId>| -> Vec<SubscriptionId> {
        seen.iter().map(|sighting| sighting.id).filter(|id| Some(*id) != but).collect()
    };
    let Some(remote) = object.remote else {
        return match seen.iter().find(|sighting| sighting.current) {
            Some(found) => Maintenance::Do(Action::Adopt(found.id)),
            None => Maintenance::Missing(others(None)),
        };
    };
    let extra = others(Some(remote.id));
    if !extra.is_empty() {
        return Maintenance::Do(Action::Remove(extra));
    }
    if remote.expires_at <= now {
        return Maintenance::Expired;
    }
    let outdated =
        world.outdated || seen.iter().any(|sighting| sighting.id == remote.id && !sighting.current);
    if outdated && world.replace {
        return Maintenance::Missing(vec![remote.id]);
    }
    let asks = |event| lifecycle(object, world, event);
    let unseen = world.sightings.as_ref().is_some_and(Vec::is_empty);
    let asked = object.requested.is_some() && object.requested != object.status.last_handled_reconcile_at;
    if asks(LifecycleEvent::SubscriptionRemoved) || unseen || asked {
        return Maintenance::Do(Action::Verify(remote.id));
    }
    if let Some(reason) = resync_due(object, world, now) {
        return Maintenance::Do(Action::RequestResync(reason));
    }
    if resync::gap(&object.status).is_some() {
        let told = condition::get(&object.status.conditions, Type::Delivering)
            .is_some_and(|delivering| delivering.reason == Delivering::Gap.as_str());
        return if told {
            Maintenance::Missing(vec![remote.id])
        } else {
            Maintenance::Do(Action::Tell(Finding::Gap))
        };
    }
    let rested = rested_at(object, world).is_none_or(|rested| rested <= now);
    if renewal_due(object, world, &remote) <= now || (object.asks_to_renew() && rested) {
        return Maintenance::Do(Action::Renew(remote.id));
    }
    if asks(LifecycleEvent::ReauthorizationRequired) {
        let soon = |left: SignedDuration| left <= AUTHORIZED;
        let renew = soon(remote.renew_at.duration_since(now))
            || remote.expires_at.duration_since(now) <= RENEW_INSTEAD;
        let action = if renew { Action::Renew(remote.id) } else { Action::Reauthorize(remote.id) };
        return Maintenance::Do(action);
    }
    Maintenance::Nothing
}

fn resync_due(object: &Validated, world: &World, now: Timestamp) -> Option<ResyncReason> {
    if let Some((reason, _)) = resync::told_of_loss(&object.status) {
        return Some(reason);
    }
    let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
    if is_due(silent_at(object, world)) {
        return Some(ResyncReason::Silence);
    }
    let periodic = is_due(periodic_at(object, world)) || is_due(horizon_at(object, world));
    periodic.then_some(ResyncReason::Periodic)
}

fn silent_at(object: &Validated, world: &World) -> Option<Timestamp> {
    resync::silent_at(&object.status, world.silence, &object.uid)
}

fn periodic_at(object: &Validated, world: &World) -> Option<Timestamp> {
    resync::periodic_at(&object.status, world.periodic?, &object.uid)
}

fn horizon_at(object: &Validated, world: &World) -> Option<Timestamp> {
    resync::horizon_at(&object.status, world.listed_until?, world.horizon)
}

/// When the known subscription is renewed: at its time, but not so soon after an authorisation as Graph does not want, unless
/// its end is too near to wait.
fn renewal_due(object: &Validated, world: &World, remote: &Remote) -> Timestamp {
    match rested_at(object, world) {
        Some(rested) if remote.expires_at.duration_since(rested) >= AUTHORIZED => remote.renew_at.max(rested),
        _ => remote.renew_at,
    }
}

/// From when Graph may be sent another authorisation.
fn rested_at(object: &Validated, world: &World) -> Option<Timestamp> {
    authorized_at(object, world)?.checked_add(AUTHORIZED).ok()
}

fn authorized_at(object: &Validated, world: &World) -> Option<Timestamp> {
    let known = object.status.subscription.as_ref()?;
    known.authorized_at.as_ref().map(|at| at.0).max(world.authorized_at)
}

/// Whether a lifecycle notification of that kind about the known subscription was not answered yet.
fn lifecycle(object: &Validated, world: &World, event: LifecycleEvent) -> bool {
    let lifecycle = object.status.delivery.as_ref().and_then(|delivery| delivery.lifecycle.as_ref());
    let Some(notice) = lifecycle.and_then(|lifecycle| lifecycle.of(event)) else { return false };
    let about_it = SubscriptionId::parse(&notice.subscription_id).is_ok_and(|id| is_remote(object, id));
    let received_at = notice.received_at.0;
    let answered = world.lifecycle_answered.of(event).is_some_and(|answered| answered >= received_at);
    // An authorisation also answers what is asked for before it and shortly after it.
    let covered = event == LifecycleEvent::ReauthorizationRequired
        && authorized_at(object, world).is_some_and(|at| received_at.duration_since(at) < AUTHORIZED);
    about_it && !answered && !covered
}

fn is_remote(object: &Validated, id: SubscriptionId) -> bool {
    object.remote.is_some_and(|remote| remote.id == id)
}
