//! CalendarSubscription, Graph, delivery and what went wrong last. Pure.

use jiff::SignedDuration;
use kube::ResourceExt as _;
use roomkeeper_crds::condition::{Allowed, Delivering, Status, Subscribed, Type};

use super::{
    rules::is,
    steps::{Facts, Judgement, Name},
};

/// A request to read a calendar again that is open for longer tells of a worker that does not work.
const OVERDUE: SignedDuration = SignedDuration::from_mins(10);

pub(super) fn subscription(facts: &Facts<'_>) -> Judgement {
    let step = Name::CalendarSubscription;
    let Some(object) = facts.subscription else { return absent(facts) };
    let name = object.name_any();
    let others = match facts.others.as_slice() {
        [] => String::new(),
        others => format!("; of the same user, and without effect: {}", others.join(", ")),
    };
    if object.metadata.deletion_timestamp.is_some() {
        return Judgement::waiting(
            step,
            format!("{name} is being deleted"),
            "nothing: it goes when its Graph subscription has ended",
        );
    }
    if object.spec.suspend {
        return Judgement::blocked(
            step,
            format!("{name} is suspended{others}"),
            format!(
                "set spec.suspend of CalendarSubscription {name} to false, if the calendar is to be followed"
            ),
        );
    }
    let Some(allowed) = facts.of_subscription(Type::Allowed) else {
        return Judgement::waiting(
            step,
            format!("{name} was not looked at yet{others}"),
            "wait a minute; if it lasts, look whether the operator is running and watches this namespace",
        );
    };
    let subscribed =
        facts.of_subscription(Type::Subscribed).map_or("not known yet", |one| one.reason.as_str());
    let detail = format!(
        "{name}: Allowed={}/{}, Subscribed: {subscribed}; {}{others}",
        allowed.status, allowed.reason, allowed.message
    );
    if is(&allowed.status, Status::True) {
        return Judgement::ok(step, detail);
    }
    match Allowed::ALL.iter().find(|one| one.as_str() == allowed.reason) {
        Some(Allowed::Duplicate) => {
            Judgement::blocked(step, detail, "delete the younger one of the two CalendarSubscriptions")
        }
        Some(Allowed::ScopeNotReady | Allowed::AwaitingConsent) => {
            Judgement::waiting(step, detail, "see the steps above; it follows by itself")
        }
        _ => Judgement::blocked(step, detail, allowed.message.clone()),
    }
}

fn absent(facts: &Facts<'_>) -> Judgement {
    let step = Name::CalendarSubscription;
    let creates = facts.scope.is_some_and(|scope| scope.spec.consent.create_subscriptions);
    let standing = facts.consents.iter().find(|one| one.spec.withdrawn.is_none());
    let Some(standing) = standing.filter(|_| creates) else {
        return if creates {
            Judgement::waiting(
                step,
                "there is none; the operator makes one from each consent",
                "see the steps above; it follows by itself",
            )
        } else {
            Judgement::blocked(
                step,
                "there is none, and consent.createSubscriptions of the scope is false: people and GitOps write them",
                "write a CalendarSubscription for the user: docs/calendar-subscription.md",
            )
        };
    };
    match standing.status.as_ref().and_then(|status| status.subscription.as_ref()) {
        Some(made) => Judgement::blocked(
            step,
            format!("{made} was made from the consent and deleted: what was deleted is not made again"),
            "write a CalendarSubscription for the user, if the calendar is to be followed: docs/calendar-subscription.md",
        ),
        None => Judgement::waiting(
            step,
            "there is none yet; the operator makes one from the consent",
            "wait a minute; if it lasts, look whether the operator is running and watches this namespace",
        ),
    }
}

pub(super) fn graph(facts: &Facts<'_>) -> Judgement {
    let step = Name::Graph;
    let Some(status) = facts.subscription.and_then(|object| object.status.as_ref()) else {
        return Judgement::unknown(step, "there is no CalendarSubscription that was looked at");
    };
    let subscribed = facts.of_subscription(Type::Subscribed);
    let allowed = facts.of_subscription(Type::Allowed).is_some_and(|one| !is(&one.status, Status::False));
    let said = subscribed.map(|one| format!("{}: {}", one.reason, one.message)).unwrap_or_default();
    let Some(living) = &status.subscription else {
        let Some(subscribed) = subscribed else { return Judgement::unknown(step, "not asked yet") };
        let reason = Subscribed::ALL.iter().find(|one| one.as_str() == subscribed.reason);
        return match reason {
            Some(Subscribed::NotAllowed) => Judgement::waiting(
                step,
                "there is no Graph subscription",
                "see the steps above; it follows by itself",
            ),
            Some(
                Subscribed::QuotaExceeded
                | Subscribed::MailboxUnavailable
                | Subscribed::EndpointValidationFailed
                | Subscribed::ForeignSubscription,
            ) => Judgement::blocked(step, said, subscribed.message.clone()),
            _ => {
                Judgement::waiting(step, said, "nothing: it is tried again; if it lasts, look at the message")
            }
        };
    };
    let authorized = living.authorized_at.as_ref().unwrap_or(&living.created_at);
    let known = format!(
        "subscription {} lives until {}, last renewed or authorised at {}, next at {}",
        living.id, living.expires_at.0, authorized.0, living.renew_at.0
    );
    if !allowed {
        return Judgement::waiting(
            step,
            format!("{known}; it is still to be ended: {said}"),
            "nothing: it is ended by itself",
        );
    }
    if living.expires_at.0 <= facts.now {
        return Judgement::waiting(
            step,
            format!("{known}: it has run out"),
            "the operator makes another one; if it lasts, look whether it is running",
        );
    }
    match subscribed {
        Some(one) if !is(&one.status, Status::True) || one.reason == Subscribed::RenewalFailed.as_str() => {
            Judgement::waiting(
                step,
                format!("{known}; {said}"),
                "nothing: it is tried again; if it lasts, look at the message",
            )
        }
        Some(_) => Judgement::ok(step, known),
        None => Judgement::unknown(step, known),
    }
}

pub(super) fn delivery(facts: &Facts<'_>) -> Judgement {
    let step = Name::Delivery;
    let Some(status) = facts.subscription.and_then(|object| object.status.as_ref()) else {
        return Judgement::unknown(step, "nothing can be delivered yet");
    };
    let Some(delivering) = facts.of_subscription(Type::Delivering).filter(|_| status.subscription.is_some())
    else {
        return Judgement::unknown(step, "nothing can be delivered without a Graph subscription");
    };
    let received = status.delivery.as_ref().and_then(|delivery| delivery.last_received_at.as_ref());
    let last = received
        .map(|at| format!("; last notification noted at {} (to within 6 hours)", at.0))
        .unwrap_or_default();
    let detail = format!("{}: {}{last}", delivering.reason, delivering.message);
    match Delivering::ALL.iter().find(|one| one.as_str() == delivering.reason) {
        Some(Delivering::Receiving) => Judgement::ok(step, detail),
        Some(Delivering::NoTrafficYet) | None => Judgement::unknown(step, detail),
        Some(Delivering::Resyncing) => {
            let asked = status.resync.as_ref().map(|resync| resync.requested.0);
            match asked.filter(|asked| facts.now.duration_since(*asked) > OVERDUE) {
                Some(asked) => Judgement::blocked(
                    step,
                    format!("{detail}; asked at {asked} and not answered since"),
                    "look whether the webhook server is running and what its log says: no worker reads the calendar",
                ),
                None => Judgement::waiting(
                    step,
                    detail,
                    "nothing: the calendar is being read, which takes seconds to minutes",
                ),
            }
        }
        Some(Delivering::Gap) => Judgement::waiting(
            step,
            detail,
            "nothing: the subscription is made anew; if it comes back, look at the way from Microsoft to --public-url",
        ),
    }
}

pub(super) fn last_error(facts: &Facts<'_>) -> Judgement {
    let step = Name::LastError;
    let ready = facts.of_subscription(Type::Ready).filter(|ready| is(&ready.status, Status::False));
    if let Some(ready) = ready {
        let detail = format!("{} since {}: {}", ready.reason, ready.last_transition_time.0, ready.message);
        return if facts.of_subscription(Type::Stalled).is_some() {
            Judgement::blocked(step, detail, ready.message.clone())
        } else {
            Judgement::waiting(step, detail, "nothing: it is tried again; if it lasts, look at the message")
        };
    }
    match &facts.warnings {
        Err(why) => Judgement::unknown(step, format!("warnings cannot be told: {why}")),
        Ok(warnings) => match warnings.first() {
            None => Judgement::ok(step, "no warning event; the API server keeps them for about an hour"),
            Some(last) => {
                let at = last.at.map(|at| format!(" at {at}")).unwrap_or_default();
                Judgement::ok(step, format!("past: {}{at}: {}", last.reason, last.message))
            }
        },
    }
}
