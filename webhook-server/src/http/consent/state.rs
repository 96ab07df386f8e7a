//! How it stands for a user: one state out of scope, register and CalendarSubscription. Pure.

use kube::ResourceExt as _;
use roomkeeper_crds::{
    AccessScope, CalendarSubscription, ConsentRecord,
    condition::{self, Allowed, Status, Subscribed, Type},
    consent_record,
};

/// What the page shows; the names are those of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Withdrawn,
    Asked,
    Paused,
    OutOfScope,
    NoticeOutdated,
    /// The reason of the condition that says so.
    Trouble(String),
    Subscribed,
    Pending,
}

/// Reasons of `Allowed` that a person has to mend.
const DENIED: [Allowed; 3] = [Allowed::PolicyDenied, Allowed::UserNotFound, Allowed::Duplicate];

/// Reasons of `Subscribed` that do not heal by themselves.
const LASTING: [Subscribed; 4] = [
    Subscribed::MailboxUnavailable,
    Subscribed::QuotaExceeded,
    Subscribed::ForeignSubscription,
    Subscribed::EndpointValidationFailed,
];

/// The CalendarSubscription that followed from the consent was deleted, and the consent was kept: nothing makes it again by itself.
const DELETED: &str = "SubscriptionDeleted";

impl State {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Withdrawn => "Withdrawn",
            Self::Asked => "Asked",
            Self::Paused => "Paused",
            Self::OutOfScope => "OutOfScope",
            Self::NoticeOutdated => "NoticeOutdated",
            Self::Trouble(_) => "Trouble",
            Self::Subscribed => "Subscribed",
            Self::Pending => "Pending",
        }
    }

    /// Decides. `records` are those of the user for this scope.
    pub(super) fn of(
        scope: &AccessScope,
        records: &[ConsentRecord],
        subscription: Option<&CalendarSubscription>,
    ) -> Self {
        let notice = &scope.spec.consent.notice_version;
        let Some(consent) = standing(records, notice) else {
            return if records.is_empty() { Self::Asked } else { Self::Withdrawn };
        };
        if scope.spec.suspend || subscription.is_some_and(|subscription| subscription.spec.suspend) {
            return Self::Paused;
        }
        let followed = consent.status.as_ref().is_some_and(|status| status.subscription.is_some());
        if subscription.is_none() && followed {
            return Self::Trouble(DELETED.to_owned());
        }
        let says = Says(subscription);
        if says.no(Type::Allowed).is_some_and(|reason| reason == Allowed::OutOfScope.as_str()) {
            return Self::OutOfScope;
        }
        if consent.spec.granted.notice_version != *notice {
            return Self::NoticeOutdated;
        }
        if let Some(reason) = says.trouble() {
            return Self::Trouble(reason.to_owned());
        }
        // What is left of an earlier consent proves nothing about this one.
        if says.yes(Type::Subscribed).is_some() && serves(subscription, records) {
            return Self::Subscribed;
        }
        Self::Pending
    }
}

/// The consent that stands; of several, the last one to the current notice, and else the last one.
pub(super) fn standing<'a>(records: &'a [ConsentRecord], notice: &str) -> Option<&'a ConsentRecord> {
    all_standing(records).max_by_key(|record| {
        let granted = &record.spec.granted;
        (granted.notice_version == notice, granted.at.0, record.name_any())
    })
}

pub(super) fn all_standing(records: &[ConsentRecord]) -> impl Iterator<Item = &ConsentRecord> {
    consent_record::standing(records, |record| (record.spec.granted.at.0, record.spec.withdrawn.is_some()))
}

fn serves(subscription: Option<&CalendarSubscription>, records: &[ConsentRecord]) -> bool {
    let consent = subscription.and_then(|subscription| subscription.status.as_ref()?.consent.as_ref());
    consent.is_some_and(|consent| all_standing(records).any(|record| record.name_any() == consent.name))
}

/// The conditions of a CalendarSubscription, if there is one.
struct Says<'a>(Option<&'a CalendarSubscription>);

impl<'a> Says<'a> {
    fn reason(&self, type_: Type, status: Status) -> Option<&'a str> {
        let conditions = &self.0?.status.as_ref()?.conditions;
        condition::get(conditions, type_)
            .filter(|condition| condition.status == status.as_str())
            .map(|condition| condition.reason.as_str())
    }

    fn yes(&self, type_: Type) -> Option<&'a str> {
        self.reason(type_, Status::True)
    }

    fn no(&self, type_: Type) -> Option<&'a str> {
        self.reason(type_, Status::False)
    }

    fn trouble(&self) -> Option<&'a str> {
        let denied = self.no(Type::Allowed).filter(|reason| DENIED.iter().any(|one| one.as_str() == *reason));
        let lasting =
            self.no(Type::Subscribed).filter(|reason| LASTING.iter().any(|one| one.as_str() == *reason));
        self.yes(Type::Stalled).or(denied).or(lasting)
    }
}

#[cfg(test)]
mod tests;
