//! What the conditions of a CalendarSubscription say. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use roomkeeper_crds::{
    CalendarSubscriptionStatus,
    calendar_subscription::{ConsentRef, DeliveryState, GraphSubscription, Resync, ResyncReason},
    condition::{self, Allowed, Delivering, Desired, Status, Subscribed, Summary as Reason, Type},
};

use super::{
    plan::{AUTHORIZED, Denial, Verdict, WaitingOn},
    resync,
    validate::Validated,
};
use crate::summary::{self, Summary};

/// What is known of the remote side.
pub enum Seen {
    /// Nothing there, nothing wrong.
    Nothing,
    /// It lives.
    Lives {
        /// The subscription.
        subscription: GraphSubscription,
        /// How it came to be known; `None`: as before.
        reason: Option<Subscribed>,
        /// What could not be done about it.
        trouble: Option<String>,
        /// Request to read the calendar again that follows.
        resync: Option<Resync>,
    },
    /// Something stands in the way.
    Trouble(Trouble),
}

impl Seen {
    /// A subscription that nothing new is known about.
    pub fn as_before(subscription: GraphSubscription) -> Self {
        Self::Lives { subscription, reason: None, trouble: None, resync: None }
    }
}

/// What stands in the way.
pub struct Trouble {
    /// Reason of `Subscribed`.
    pub reason: Subscribed,
    /// Where the trouble is about leave to read, its reason there.
    pub allowed: Option<Allowed>,
    /// Cause, object and fix.
    pub message: String,
    /// Whether a person must act.
    pub stalled: bool,
}

impl Trouble {
    /// One that heals by itself.
    pub fn passing(reason: Subscribed, message: &str) -> Self {
        Self { reason, allowed: None, message: message.to_owned(), stalled: false }
    }
}

/// The status that follows from what was seen.
pub fn report(
    object: &Validated,
    verdict: &Verdict,
    seen: Seen,
    now: Timestamp,
) -> CalendarSubscriptionStatus {
    let mut status = object.status.clone();
    let generation = Some(object.generation);
    status.observed_generation = generation;
    if let Seen::Lives { resync: Some(resync), .. } = &seen {
        status.resync = Some(resync.clone());
    }
    if object.requested.is_some() && status.last_handled_reconcile_at != object.requested {
        status.last_handled_reconcile_at.clone_from(&object.requested);
        if matches!(seen, Seen::Lives { .. }) {
            status.resync = Some(resync::requested(&status, ResyncReason::Requested, now));
        }
    }
    if object.asks_to_renew() && answers_renewal(&seen, now) {
        status.last_handled_renew_at.clone_from(&object.renew_requested);
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

/// Whether what was seen answers a person who asked for a renewal: it was just authorised, or there is nothing to renew.
fn answers_renewal(seen: &Seen, now: Timestamp) -> bool {
    let Seen::Lives { subscription, .. } = seen else { return true };
    let authorized_at = subscription.authorized_at.as_ref().map(|at| at.0);
    authorized_at.is_some_and(|at| now.duration_since(at) < AUTHORIZED)
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
    if let Some(changes) = resync::gap(status) {
        let message = format!(
            "{changes} changes were never notified, as reading the calendar after a long silence showed; the subscription is made anew"
        );
        return desired(Type::Delivering, Status::False, Delivering::Gap.as_str(), message);
    }
    if resync::is_open(status) {
        let message = "the worker has been asked to read the calendar again";
        return desired(Type::Delivering, Status::Unknown, Delivering::Resyncing.as_str(), message);
    }
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
        Verdict::Waiting { on, message } => {
            let reason = match on {
                WaitingOn::Scope => Reason::ReferenceNotFound.as_str(),
                WaitingOn::Credential | WaitingOn::Members => Allowed::ScopeNotReady.as_str(),
            };
            Summary::Working { reason, message: message.clone() }
        }
        Verdict::Undecided | Verdict::UserUnknown => {
            Summary::Unproven { message: "the user has not been looked up yet".to_owned() }
        }
    }
}
