//! What the status says after a step, and what follows from the step. Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use roomkeeper_crds::{
    CalendarSubscriptionStatus,
    calendar_subscription::{GraphSubscription, ResyncReason},
    condition::{Allowed, Subscribed},
};
use roomkeeper_graph::{
    Decision, GoneReason, GraphError, Reason as GraphReason, Subscription, SubscriptionId, UserId,
};

use super::{
    address,
    conditions::{Seen, Trouble, report},
    plan::{Finding, Verdict},
    renewal::{self, Calendar},
    resync,
    validate::Validated,
};
use crate::{
    graph_trouble,
    summary::{self, Summary},
};

/// When to look again at what a person must mend at Microsoft's side.
const SLOW: Duration = Duration::from_mins(30);

/// What came of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There was nothing to do.
    Nothing,
    /// The finalizer is on.
    FinalizerAdded,
    /// The user was found.
    User(UserId),
    /// A subscription lives, as Graph just proved.
    Lives(Subscription, How),
    /// The known subscription lives no more.
    Vanished,
    /// The known subscription is authorised again.
    Reauthorized,
    /// The known subscription could not be authorised again.
    NotReauthorized(GraphError),
    /// The worker is to read the calendar again.
    ResyncDue(ResyncReason),
    /// This is to be told.
    Told(Finding),
    /// These are deleted.
    Removed(Vec<SubscriptionId>),
    /// Something changed meanwhile: decide anew.
    Changed,
    /// A subscription of another CalendarSubscription of ours is in the way.
    Twin,
    /// A subscription of another installation is in the way.
    Foreign(SubscriptionId),
    /// Graph failed.
    Failed(GraphError),
    /// Graph failed to make another in the place of the known one, which is deleted.
    Unmade(GraphError),
    /// There is no access to Graph.
    NoAccess(String),
}

/// How a subscription came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Made just now.
    Created,
    /// Extended just now.
    Renewed,
    /// Found and taken over.
    Adopted,
    /// Asked after.
    Verified,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// All done.
    Rest,
    /// Plan again at once, from the new status.
    Again,
    /// The event of the status write brings the object back.
    Echo,
    /// The same attempt after a growing delay.
    BackOff,
    /// The same attempt after this delay.
    Wait(Duration),
    /// Nothing at all is sent for this object before this delay has passed: Graph asked for it.
    Throttled(Duration),
}

/// The status after a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Settled {
    /// What it says.
    pub status: CalendarSubscriptionStatus,
    /// What follows.
    pub then: Then,
    /// Whether the failure concerns the whole scope.
    pub doubt_scope: bool,
}

/// Concludes.
///
/// `calendar` holds the renewals of all other subscriptions.
pub fn settle(
    object: &Validated,
    verdict: &Verdict,
    outcome: Outcome,
    calendar: &Calendar,
    now: Timestamp,
) -> Settled {
    let settled = |status, then| Settled { status, then, doubt_scope: false };
    let hindered = |trouble, then| settled(report(object, verdict, Seen::Trouble(trouble), now), then);
    let known = object.status.subscription.clone();
    match outcome {
        Outcome::Nothing if *verdict == Verdict::Undecided => settled(unproven(object, now), Then::Rest),
        Outcome::Nothing => {
            let seen = match known.filter(|known| known.expires_at.0 > now) {
                None => Seen::Nothing,
                Some(subscription) => Seen::as_before(subscription),
            };
            settled(report(object, verdict, seen, now), Then::Rest)
        }
        Outcome::FinalizerAdded => settled(unproven(object, now), Then::Echo),
        Outcome::User(id) => {
            let status =
                CalendarSubscriptionStatus { user_id: Some(id.to_string()), ..object.status.clone() };
            settled(status, Then::Again)
        }
        Outcome::Lives(subscription, _) if summary::whole_seconds(subscription.expiration) <= now => {
            let trouble = Trouble::passing(
                Subscribed::Expired,
                "Graph answered with an end that is past already; tried again",
            );
            hindered(trouble, Then::BackOff)
        }
        Outcome::Lives(subscription, how) => {
            let seen = lives(object, &subscription, how, calendar, now);
            settled(report(object, verdict, seen, now), Then::Again)
        }
        Outcome::Reauthorized => {
            let status = known.map(|known| {
                let subscription = GraphSubscription { authorized_at: Some(Time(now)), ..known };
                report(object, verdict, Seen::as_before(subscription), now)
            });
            settled(status.unwrap_or_else(|| object.status.clone()), Then::Again)
        }
        Outcome::NotReauthorized(error) => {
            failed(object, verdict, &error, Subscribed::ReauthorizationRequired, now)
        }
        Outcome::ResyncDue(reason) => {
            let at = resync::told_of_loss(&object.status).map_or(now, |(_, told)| told.max(now));
            let mut status = object.status.clone();
            status.resync = Some(resync::requested(&status, reason, at));
            settled(status, Then::Again)
        }
        Outcome::Told(Finding::Gap) => {
            let seen = known.map_or(Seen::Nothing, Seen::as_before);
            settled(report(object, verdict, seen, now), Then::Echo)
        }
        Outcome::Told(Finding::Expired) => {
            let trouble = Trouble::passing(
                Subscribed::Expired,
                "the Graph subscription ran out before it could be renewed; it is made again, and the calendar read again",
            );
            hindered(trouble, Then::Echo)
        }
        Outcome::Vanished => {
            let trouble = Trouble::passing(
                Subscribed::RemovedRemotely,
                "Graph does not know the subscription any more; it is made again",
            );
            hindered(trouble, Then::Again)
        }
        Outcome::Removed(ids) => {
            let gone = known
                .as_ref()
                .is_some_and(|known| SubscriptionId::parse(&known.id).is_ok_and(|id| ids.contains(&id)));
            let mut status = object.status.clone();
            if gone {
                status.subscription = None;
            }
            settled(status, Then::Again)
        }
        Outcome::Changed => settled(object.status.clone(), Then::BackOff),
        Outcome::Twin => {
            let trouble = Trouble::passing(
                Subscribed::RemoteError,
                "the Graph subscription of another CalendarSubscription for the same user still lives; it is ended first",
            );
            hindered(trouble, Then::BackOff)
        }
        Outcome::Foreign(id) => hindered(foreign(&id), Then::Wait(SLOW)),
        Outcome::NoAccess(message) => {
            let trouble = Trouble { reason: Subscribed::RemoteError, allowed: None, message, stalled: false };
            let seen = keep_alive(known, verdict, trouble, Subscribed::RenewalFailed, now);
            let status = report(object, verdict, seen, now);
            Settled { status, then: Then::BackOff, doubt_scope: true }
        }
        Outcome::Failed(error) => failed(object, verdict, &error, Subscribed::RenewalFailed, now),
        Outcome::Unmade(error) => {
            let mut bare = object.clone();
            bare.status.subscription = None;
            failed(&bare, verdict, &error, Subscribed::RenewalFailed, now)
        }
    }
}

fn foreign(id: &SubscriptionId) -> Trouble {
    Trouble {
        reason: Subscribed::ForeignSubscription,
        allowed: None,
        message: format!(
            "another installation holds Graph subscription {id} for this calendar with the same app registration: end it there, or give each installation an app registration of its own"
        ),
        stalled: true,
    }
}

fn is_known(object: &Validated, subscription: &Subscription) -> bool {
    object.remote.is_some_and(|remote| remote.id == subscription.id)
}

fn lives(
    object: &Validated,
    subscription: &Subscription,
    how: How,
    calendar: &Calendar,
    now: Timestamp,
) -> Seen {
    let known = object.status.subscription.as_ref().filter(|_| is_known(object, subscription));
    let expires_at = summary::whole_seconds(subscription.expiration);
    let planned = || renewal::renew_at(now, expires_at, &object.uid, calendar);
    let (reason, renew_at) = match (how, known) {
        (How::Verified, Some(known)) if known.expires_at.0 == expires_at => (None, known.renew_at.0),
        (How::Verified, Some(_)) => (None, planned()),
        (How::Created, _) => (Some(Subscribed::Created), planned()),
        (How::Adopted | How::Verified, _) => (Some(Subscribed::Adopted), planned()),
        (How::Renewed, Some(known)) if expires_at <= known.expires_at.0 => {
            (Some(Subscribed::Renewed), renewal::retry_at(now, expires_at, planned()))
        }
        (How::Renewed, _) => (Some(Subscribed::Renewed), planned()),
    };
    let authorized_at = match how {
        How::Created | How::Renewed => Some(Time(now)),
        How::Adopted | How::Verified => known.and_then(|known| known.authorized_at.clone()),
    };
    // Graph tells the clientState to nobody; the URL says which key signed it.
    let url = subscription.notification_url.as_deref();
    let key_id = url
        .and_then(|url| address::key_in(url, &object.uid))
        .or_else(|| known.and_then(|known| known.key_id.clone()));
    let subscription = GraphSubscription {
        id: subscription.id.to_string(),
        expires_at: Time(expires_at),
        renew_at: Time(renew_at),
        created_at: known.map_or(Time(now), |known| known.created_at.clone()),
        authorized_at,
        key_id,
    };
    // What happened while nobody listened was not notified.
    let resync = match how {
        How::Created => Some(resync::on_new(&object.status, now)),
        How::Adopted if known.is_none() => Some(resync::on_new(&object.status, now)),
        How::Adopted | How::Renewed | How::Verified => None,
    };
    Seen::Lives { subscription, reason, trouble: None, resync }
}

/// A known subscription that may live lives on until its end, whatever fails meanwhile.
fn keep_alive(
    known: Option<GraphSubscription>,
    verdict: &Verdict,
    trouble: Trouble,
    undone: Subscribed,
    now: Timestamp,
) -> Seen {
    let may_live = !matches!(verdict, Verdict::Denied(_)) && trouble.allowed.is_none();
    match known {
        Some(subscription) if may_live && subscription.expires_at.0 > now => {
            Seen::Lives { subscription, reason: Some(undone), trouble: Some(trouble.message), resync: None }
        }
        _ => Seen::Trouble(trouble),
    }
}

fn failed(
    object: &Validated,
    verdict: &Verdict,
    error: &GraphError,
    undone: Subscribed,
    now: Timestamp,
) -> Settled {
    use GraphReason as G;
    let text = graph_trouble::text(error);
    let trouble = |reason, stalled, fix: &str| Trouble {
        reason,
        allowed: None,
        message: if fix.is_empty() { text.clone() } else { format!("{text}: {fix}") },
        stalled,
    };
    let denied = |allowed, fix: &str| Trouble {
        reason: Subscribed::NotAllowed,
        allowed: Some(allowed),
        message: format!("{text}: {fix}"),
        stalled: true,
    };
    let (trouble, then) = match error.decision() {
        // Another lane may have a place sooner.
        Decision::Wait(wait) if matches!(error, GraphError::Exhausted { .. }) => {
            (trouble(Subscribed::Throttled, false, ""), Then::Wait(wait))
        }
        Decision::Wait(wait) => (trouble(Subscribed::Throttled, false, ""), Then::Throttled(wait)),
        Decision::Retry
        | Decision::Conflict { .. }
        | Decision::TokenRejected
        | Decision::Gone(
            GoneReason::SubscriptionNotFound | GoneReason::EventNotFound | GoneReason::GroupNotFound,
        ) => (trouble(Subscribed::RemoteError, false, ""), Then::BackOff),
        Decision::Gone(GoneReason::UserNotFound) => (
            denied(
                Allowed::UserNotFound,
                "the directory does not know this user; correct spec.user in a new object, or delete this one",
            ),
            Then::Wait(SLOW),
        ),
        Decision::Gone(GoneReason::MailboxUnavailable) => (
            trouble(Subscribed::MailboxUnavailable, true, "give the user a mailbox in Exchange Online"),
            Then::Wait(SLOW),
        ),
        Decision::UserMustAct(reason) => match reason {
            G::PolicyDenied => (
                denied(
                    Allowed::PolicyDenied,
                    "a policy in Exchange or Entra keeps the application away from this mailbox; widen it",
                ),
                Then::Wait(SLOW),
            ),
            G::EndpointValidationFailed => (
                trouble(
                    Subscribed::EndpointValidationFailed,
                    true,
                    "Graph must reach --public-url with a certificate that it trusts, and the webhook server must answer there",
                ),
                Then::BackOff,
            ),
            G::QuotaExceeded => (
                trouble(
                    Subscribed::QuotaExceeded,
                    true,
                    "end subscriptions of other applications on this mailbox",
                ),
                Then::Wait(SLOW),
            ),
            G::AuthFailed | G::TenantUnknown | G::PermissionMissing => {
                (trouble(Subscribed::RemoteError, false, "see the AccessScope"), Then::BackOff)
            }
            G::ExpiryTooLong { .. } | G::BadRequest => (
                trouble(Subscribed::RemoteError, true, "Graph does not accept the request"),
                Then::Wait(SLOW),
            ),
        },
    };
    let doubt_scope = matches!(
        error.decision(),
        Decision::TokenRejected
            | Decision::UserMustAct(G::AuthFailed | G::TenantUnknown | G::PermissionMissing)
    );
    let seen = keep_alive(object.status.subscription.clone(), verdict, trouble, undone, now);
    Settled { status: report(object, verdict, seen, now), then, doubt_scope }
}

/// First sight, or still nothing to go by: says so only where nothing was said before.
pub fn unproven(object: &Validated, now: Timestamp) -> CalendarSubscriptionStatus {
    let mut status = object.status.clone();
    if status.conditions.is_empty() {
        status.observed_generation = Some(object.generation);
        let message = "consent, scope and Graph have not been asked yet".to_owned();
        summary::put(&mut status.conditions, Summary::Unproven { message }, Some(object.generation), now);
    }
    status
}
