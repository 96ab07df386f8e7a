//! What the status says after a step, and what follows from the step. Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use roomkeeper_crds::{
    CalendarSubscriptionStatus,
    calendar_subscription::{ConsentRef, DeliveryState, GraphSubscription},
    condition::{self, Allowed, Delivering, Desired, Status, Subscribed, Summary as Reason, Type},
};
use roomkeeper_graph::{
    Decision, GoneReason, GraphError, Reason as GraphReason, Subscription, SubscriptionId, UserId,
};

use super::{
    plan::{Denial, Verdict},
    renewal::renew_at,
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

/// What is known of the remote side.
enum Seen {
    /// Nothing there, nothing wrong.
    Nothing,
    /// It lives.
    Lives { subscription: GraphSubscription, reason: Option<Subscribed>, trouble: Option<String> },
    /// Something stands in the way.
    Trouble(Trouble),
}

struct Trouble {
    reason: Subscribed,
    /// Where the trouble is about leave to read, its reason there.
    allowed: Option<Allowed>,
    message: String,
    stalled: bool,
}

/// Concludes.
pub fn settle(object: &Validated, verdict: &Verdict, outcome: Outcome, now: Timestamp) -> Settled {
    let settled = |status, then| Settled { status, then, doubt_scope: false };
    let known = object.status.subscription.clone();
    match outcome {
        Outcome::Nothing if *verdict == Verdict::Undecided => settled(unproven(object, now), Then::Rest),
        Outcome::Nothing => {
            let seen = match known.filter(|known| known.expires_at.0 > now) {
                None => Seen::Nothing,
                Some(subscription) => Seen::Lives { subscription, reason: None, trouble: None },
            };
            settled(report(object, verdict, seen, now), Then::Rest)
        }
        Outcome::FinalizerAdded => settled(unproven(object, now), Then::Echo),
        Outcome::User(id) => {
            let status =
                CalendarSubscriptionStatus { user_id: Some(id.to_string()), ..object.status.clone() };
            settled(status, Then::Again)
        }
        Outcome::Lives(subscription, how) => {
            let seen = lives(object, &subscription, how, now);
            settled(report(object, verdict, seen, now), Then::Again)
        }
        Outcome::Vanished => {
            let trouble = Trouble {
                reason: Subscribed::RemovedRemotely,
                allowed: None,
                message: "Graph does not know the subscription any more; it is made again".to_owned(),
                stalled: false,
            };
            settled(report(object, verdict, Seen::Trouble(trouble), now), Then::Again)
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
            let trouble = Trouble {
                reason: Subscribed::RemoteError,
                allowed: None,
                message: "the Graph subscription of another CalendarSubscription for the same user still lives; it is ended first".to_owned(),
                stalled: false,
            };
            settled(report(object, verdict, Seen::Trouble(trouble), now), Then::BackOff)
        }
        Outcome::Foreign(id) => {
            let trouble = Trouble {
                reason: Subscribed::ForeignSubscription,
                allowed: None,
                message: format!(
                    "another installation holds Graph subscription {id} for this calendar with the same app registration: end it there, or give each installation an app registration of its own"
                ),
                stalled: true,
            };
            settled(report(object, verdict, Seen::Trouble(trouble), now), Then::Wait(SLOW))
        }
        Outcome::NoAccess(message) => {
            let trouble = Trouble { reason: Subscribed::RemoteError, allowed: None, message, stalled: false };
            let status = report(object, verdict, keep_alive(known, verdict, trouble, now), now);
            Settled { status, then: Then::BackOff, doubt_scope: true }
        }
        Outcome::Failed(error) => failed(object, verdict, &error, now),
    }
}

fn lives(object: &Validated, subscription: &Subscription, how: How, now: Timestamp) -> Seen {
    let known = object.status.subscription.as_ref();
    let id = subscription.id.to_string();
    let created_at = known.filter(|known| known.id == id).map_or(Time(now), |known| known.created_at.clone());
    let expires_at = summary::whole_seconds(subscription.expiration);
    let (reason, renew_at) = match (how, known) {
        (How::Verified, Some(known)) => (None, known.renew_at.0),
        (How::Created, _) => (Some(Subscribed::Created), renew_at(now, expires_at, &object.uid)),
        (How::Adopted | How::Verified, _) => {
            (Some(Subscribed::Adopted), renew_at(now, expires_at, &object.uid))
        }
        (How::Renewed, _) => (Some(Subscribed::Renewed), renew_at(now, expires_at, &object.uid)),
    };
    let authorized_at = match how {
        How::Created | How::Renewed => Some(Time(now)),
        How::Adopted | How::Verified => {
            known.filter(|known| known.id == id).and_then(|known| known.authorized_at.clone())
        }
    };
    let key_id = known.filter(|known| known.id == id).and_then(|known| known.key_id.clone());
    let subscription = GraphSubscription {
        id,
        expires_at: Time(expires_at),
        renew_at: Time(renew_at),
        created_at,
        authorized_at,
        key_id,
    };
    Seen::Lives { subscription, reason, trouble: None }
}

/// A known subscription that may live lives on until its end, whatever fails meanwhile.
fn keep_alive(known: Option<GraphSubscription>, verdict: &Verdict, trouble: Trouble, now: Timestamp) -> Seen {
    let may_live = !matches!(verdict, Verdict::Denied(_)) && trouble.allowed.is_none();
    match known {
        Some(subscription) if may_live && subscription.expires_at.0 > now => Seen::Lives {
            subscription,
            reason: Some(Subscribed::RenewalFailed),
            trouble: Some(trouble.message),
        },
        _ => Seen::Trouble(trouble),
    }
}

fn failed(object: &Validated, verdict: &Verdict, error: &GraphError, now: Timestamp) -> Settled {
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
    let seen = keep_alive(object.status.subscription.clone(), verdict, trouble, now);
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

fn report(object: &Validated, verdict: &Verdict, seen: Seen, now: Timestamp) -> CalendarSubscriptionStatus {
    let mut status = object.status.clone();
    let generation = Some(object.generation);
    status.observed_generation = generation;
    if object.requested.is_some() {
        status.last_handled_reconcile_at.clone_from(&object.requested);
    }
    match verdict {
        Verdict::Allowed(grant) => {
            status.consent =
                Some(ConsentRef { name: grant.consent.clone(), granted_at: Time(grant.granted_at) });
        }
        Verdict::Denied(Denial::AwaitingConsent | Denial::ConsentWithdrawn) => status.consent = None,
        _ => {}
    }
    let subscribed = subscribed(&status, verdict, &seen);
    let summary = summarise(verdict, &seen);
    let allowed = allowed(verdict, &seen);
    match seen {
        Seen::Nothing => status.subscription = None,
        Seen::Lives { subscription, .. } => status.subscription = Some(subscription),
        Seen::Trouble(trouble) => {
            // What failed to be deleted is still there; everything else has run out or vanished.
            let removing = matches!(verdict, Verdict::Denied(_)) || trouble.allowed.is_some();
            status.subscription = status.subscription.filter(|known| removing && known.expires_at.0 > now);
        }
    }
    let delivering = status.subscription.as_ref().map(|_| delivering(&status));
    let conditions = &mut status.conditions;
    condition::set(conditions, allowed, generation, now);
    condition::set(conditions, subscribed, generation, now);
    match delivering {
        Some(delivering) => {
            condition::set(conditions, delivering, generation, now);
        }
        None => {
            condition::clear(conditions, Type::Delivering);
        }
    }
    summary::put(conditions, summary, generation, now);
    status
}

fn desired(type_: Type, status: Status, reason: &'static str, message: impl Into<String>) -> Desired {
    Desired { type_, status, reason, message: message.into() }
}

/// Why not, as reason and words, and whether that leaves nothing to do.
fn denial(denial: &Denial) -> (Allowed, String) {
    match denial {
        Denial::Suspended(whose) => (Allowed::Suspended, format!("{whose} is suspended")),
        Denial::ScopeEnds(why) => (Allowed::ScopeNotReady, (*why).to_owned()),
        Denial::Duplicate(elder) => (
            Allowed::Duplicate,
            format!("CalendarSubscription {elder} is older and serves the same user: delete one of the two"),
        ),
        Denial::OutOfScope => {
            (Allowed::OutOfScope, "the policies of the AccessScope leave this user out".to_owned())
        }
        Denial::AwaitingConsent => {
            (Allowed::AwaitingConsent, "the user has not consented; the add-in asks".to_owned())
        }
        Denial::ConsentWithdrawn => (
            Allowed::ConsentWithdrawn,
            "the consent was withdrawn; only the user can consent again, in the add-in".to_owned(),
        ),
        Denial::NoticeOutdated { has, wants } => (
            Allowed::NoticeOutdated,
            format!("the user consented to notice {has}, the scope asks for {wants}; the add-in asks again"),
        ),
    }
}

fn allowed(verdict: &Verdict, seen: &Seen) -> Desired {
    let type_ = Type::Allowed;
    if let Seen::Trouble(Trouble { allowed: Some(reason), message, .. }) = seen {
        return desired(type_, Status::False, reason.as_str(), message.clone());
    }
    match verdict {
        Verdict::Allowed(grant) => desired(
            type_,
            Status::True,
            Allowed::ConsentGranted.as_str(),
            format!("ConsentRecord {} stands and the user is within the scope", grant.consent),
        ),
        Verdict::Denied(reason) => {
            let (reason, message) = denial(reason);
            desired(type_, Status::False, reason.as_str(), message)
        }
        Verdict::Waiting { message, .. } => {
            desired(type_, Status::Unknown, Allowed::ScopeNotReady.as_str(), message.clone())
        }
        Verdict::Undecided | Verdict::UserUnknown => desired(
            type_,
            Status::Unknown,
            Allowed::ScopeNotReady.as_str(),
            "the user has not been looked up yet",
        ),
    }
}

fn subscribed(before: &CalendarSubscriptionStatus, verdict: &Verdict, seen: &Seen) -> Desired {
    let type_ = Type::Subscribed;
    match seen {
        Seen::Nothing => desired(
            type_,
            Status::False,
            Subscribed::NotAllowed.as_str(),
            "there is no Graph subscription, as Allowed says",
        ),
        Seen::Lives { trouble: Some(message), reason, .. } => desired(
            type_,
            Status::True,
            reason.unwrap_or(Subscribed::RenewalFailed).as_str(),
            format!("the subscription lives, but could not be looked after: {message}; tried again"),
        ),
        Seen::Lives { reason, .. } => {
            let present = condition::get(&before.conditions, type_)
                .filter(|present| present.status == Status::True.as_str())
                .and_then(|present| {
                    [Subscribed::Created, Subscribed::Renewed, Subscribed::Adopted]
                        .into_iter()
                        .find(|reason| reason.as_str() == present.reason)
                });
            let reason = reason.or(present).unwrap_or(Subscribed::Renewed);
            desired(
                type_,
                Status::True,
                reason.as_str(),
                "the Graph subscription lives; it is renewed in time",
            )
        }
        Seen::Trouble(trouble) => {
            // A deletion that failed proves neither that it lives nor that it does not.
            let status = if matches!(verdict, Verdict::Denied(_)) { Status::Unknown } else { Status::False };
            desired(type_, status, trouble.reason.as_str(), trouble.message.clone())
        }
    }
}

fn delivering(status: &CalendarSubscriptionStatus) -> Desired {
    match status.delivery.as_ref().and_then(|delivery| delivery.state) {
        Some(DeliveryState::Receiving) => {
            desired(Type::Delivering, Status::True, Delivering::Receiving.as_str(), "notifications arrive")
        }
        Some(DeliveryState::NoTrafficYet) | None => desired(
            Type::Delivering,
            Status::Unknown,
            Delivering::NoTrafficYet.as_str(),
            "no notification has arrived yet",
        ),
    }
}

fn summarise(verdict: &Verdict, seen: &Seen) -> Summary {
    if let Seen::Trouble(trouble) = seen {
        let reason = trouble.allowed.map_or(trouble.reason.as_str(), Allowed::as_str);
        let message = trouble.message.clone();
        return if trouble.stalled {
            Summary::Stalled { reason, message }
        } else {
            Summary::Working { reason, message }
        };
    }
    match verdict {
        Verdict::Allowed(_) => Summary::Ready {
            reason: Reason::Succeeded.as_str(),
            message: "the calendar is subscribed".to_owned(),
        },
        Verdict::Denied(why) => {
            let (reason, message) = denial(why);
            let reason = reason.as_str();
            match why {
                Denial::Suspended(_)
                | Denial::OutOfScope
                | Denial::AwaitingConsent
                | Denial::ConsentWithdrawn
                | Denial::NoticeOutdated { .. } => Summary::Ready {
                    reason,
                    message: format!("{message}; nothing is read from this calendar"),
                },
                Denial::ScopeEnds(_) => Summary::Working { reason, message },
                Denial::Duplicate(_) => Summary::Stalled { reason, message },
            }
        }
        Verdict::Waiting { missing, message } => {
            let reason =
                if *missing { Reason::ReferenceNotFound.as_str() } else { Allowed::ScopeNotReady.as_str() };
            Summary::Working { reason, message: message.clone() }
        }
        Verdict::Undecided | Verdict::UserUnknown => {
            Summary::Unproven { message: "the user has not been looked up yet".to_owned() }
        }
    }
}
