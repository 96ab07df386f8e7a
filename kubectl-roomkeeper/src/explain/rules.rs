//! Scope, credentials, groups, policy and consent: whether the calendar may be followed. Pure.

use kube::ResourceExt as _;
use roomkeeper_crds::{
    ConsentRecord,
    condition::{Allowed, CredentialsValid, MembersResolved, Status, Type},
};

use super::steps::{Facts, Judgement, Name};

/// Whether a condition has this status.
pub(super) fn is(status: &str, wanted: Status) -> bool {
    status == wanted.as_str()
}

pub(super) fn scope(facts: &Facts<'_>) -> Judgement {
    let step = Name::Scope;
    let name = format!("AccessScope {}/{}", facts.namespace, facts.scope_name);
    let Some(scope) = facts.scope else {
        return Judgement::blocked(
            step,
            format!("{name} does not exist"),
            format!("create {name}, or delete what names it"),
        );
    };
    if scope.metadata.deletion_timestamp.is_some() {
        return Judgement::blocked(
            step,
            format!("{name} is being deleted"),
            "nothing: its subscriptions end with it",
        );
    }
    if scope.spec.suspend {
        return Judgement::blocked(
            step,
            format!("{name} is suspended"),
            format!(
                "set spec.suspend of {name} to false (where it is kept in Git, there), if it is to follow calendars again"
            ),
        );
    }
    match (facts.of_scope(Type::Stalled), facts.of_scope(Type::Ready)) {
        (_, None) => Judgement::waiting(
            step,
            format!("{name} was not looked at yet"),
            "wait a minute; if it lasts, look whether the operator is running and watches this namespace",
        ),
        (Some(stalled), _) if !is_about_parts(&stalled.reason) => Judgement::blocked(
            step,
            format!("{name}: {}: {}", stalled.reason, stalled.message),
            stalled.message.clone(),
        ),
        _ => Judgement::ok(step, format!("{name} exists and is not suspended")),
    }
}

/// Whether a reason of the summary is one that the steps for credential or groups tell.
fn is_about_parts(reason: &str) -> bool {
    CredentialsValid::ALL.iter().any(|one| one.as_str() == reason)
        || MembersResolved::ALL.iter().any(|one| one.as_str() == reason)
}

pub(super) fn credentials(facts: &Facts<'_>) -> Judgement {
    let step = Name::Credentials;
    if facts.scope.is_none() {
        return Judgement::unknown(step, "there is no AccessScope");
    }
    let Some(condition) = facts.of_scope(Type::CredentialsValid) else {
        return Judgement::unknown(step, "not tried yet");
    };
    let expires = facts.scope.and_then(|scope| scope.status.as_ref()?.credential_expires_at.as_ref());
    let until = expires.map(|at| format!("; the certificate ends at {}", at.0)).unwrap_or_default();
    let detail = format!("{}: {}{until}", condition.reason, condition.message);
    if is(&condition.status, Status::True) {
        Judgement::ok(step, detail)
    } else if condition.reason == CredentialsValid::Unreachable.as_str() {
        Judgement::waiting(
            step,
            detail,
            "nothing: it is tried again; if it lasts, look at the way to the token endpoint",
        )
    } else {
        Judgement::blocked(step, detail, condition.message.clone())
    }
}

pub(super) fn groups(facts: &Facts<'_>) -> Judgement {
    let step = Name::Groups;
    if facts.scope.is_none() {
        return Judgement::unknown(step, "there is no AccessScope");
    }
    let Some(condition) = facts.of_scope(Type::MembersResolved) else {
        return Judgement::unknown(step, "not read yet");
    };
    let members = facts.scope.and_then(|scope| scope.status.as_ref()?.members.as_ref());
    let read = members
        .map(|members| format!("; {} members, read at {}", members.count, members.resolved_at.0))
        .unwrap_or_default();
    let detail = format!("{}: {}{read}", condition.reason, condition.message);
    let passing = [
        MembersResolved::DirectoryThrottled,
        MembersResolved::RefreshFailed,
        MembersResolved::CredentialsNotValid,
    ];
    if is(&condition.status, Status::True) {
        Judgement::ok(step, detail)
    } else if passing.iter().any(|one| one.as_str() == condition.reason) {
        Judgement::waiting(step, detail, "nothing: the groups are read again by themselves")
    } else {
        Judgement::blocked(step, detail, condition.message.clone())
    }
}

pub(super) fn policy(facts: &Facts<'_>) -> Judgement {
    let step = Name::Policy;
    let Some(allowed) = facts.of_subscription(Type::Allowed) else {
        return Judgement::unknown(
            step,
            "who is within is decided with the CalendarSubscription, and kept nowhere else",
        );
    };
    let reason = Allowed::ALL.iter().find(|one| one.as_str() == allowed.reason);
    match reason {
        Some(Allowed::ConsentGranted | Allowed::AwaitingConsent | Allowed::NoticeOutdated) => {
            Judgement::ok(step, "the policies of the AccessScope let the user in")
        }
        Some(Allowed::OutOfScope) => Judgement::blocked(
            step,
            format!("OutOfScope: {}", allowed.message),
            "add the user to a RestrictAccess group of the AccessScope, or take them out of its DenyAccess groups, if they are to be within",
        ),
        Some(Allowed::PolicyDenied) => Judgement::blocked(
            step,
            format!("PolicyDenied: {}", allowed.message),
            "widen the application access policy at Exchange: docs/permissions.md",
        ),
        Some(Allowed::UserNotFound) => Judgement::blocked(
            step,
            format!("UserNotFound: {}", allowed.message),
            "correct spec.user in a new CalendarSubscription, or delete this one",
        ),
        Some(
            Allowed::ConsentWithdrawn | Allowed::ScopeNotReady | Allowed::Suspended | Allowed::Duplicate,
        )
        | None => Judgement::unknown(step, format!("not decided: {}", allowed.reason)),
    }
}

pub(super) fn consent(facts: &Facts<'_>) -> Judgement {
    let step = Name::Consent;
    let Some(scope) = facts.scope else {
        let standing = facts.consents.iter().filter(|one| one.spec.withdrawn.is_none()).count();
        return Judgement::unknown(
            step,
            format!(
                "{standing} of {} records stand, for an AccessScope that is gone: a new one of that name asks again",
                facts.consents.len()
            ),
        );
    };
    let uid = scope.uid().unwrap_or_default();
    let counts = |record: &&ConsentRecord| {
        let bound = &record.spec.scope;
        bound.uid == uid && bound.tenant_id == scope.spec.tenant_id && bound.client_id == scope.spec.client_id
    };
    let mut bound: Vec<&ConsentRecord> = facts.consents.iter().filter(counts).collect();
    bound.sort_by_key(|record| (record.spec.granted.at.0, record.name_any()));
    let records = format!("{} of {} records are for this scope", bound.len(), facts.consents.len());
    let wants = &scope.spec.consent.notice_version;
    if let Some(newest) = bound.iter().rev().find(|record| record.spec.withdrawn.is_none()) {
        let granted = &newest.spec.granted;
        let text = format!(
            "{} stands, granted at {} to notice {}; {records}",
            newest.name_any(),
            granted.at.0,
            granted.notice_version
        );
        let outdated = scope.spec.consent.require_current_notice
            && !bound
                .iter()
                .any(|one| one.spec.withdrawn.is_none() && one.spec.granted.notice_version == *wants);
        return if outdated {
            Judgement::blocked(
                step,
                format!("{text}; the scope asks for notice {wants}"),
                "the user opens the add-in and ticks the box under the new notice",
            )
        } else {
            Judgement::ok(step, text)
        };
    }
    let again = "only the user can consent again, by ticking the box in the add-in";
    if let Some((last, withdrawn)) = bound
        .iter()
        .filter_map(|one| Some((one, one.spec.withdrawn.as_ref()?)))
        .max_by_key(|(_, withdrawn)| withdrawn.at.0)
    {
        let text = format!(
            "{} was withdrawn at {} by {}: {}; {records}",
            last.name_any(),
            withdrawn.at.0,
            withdrawn.by,
            withdrawn.reason
        );
        return Judgement::blocked(step, text, again);
    }
    if facts.consents.is_empty() {
        return Judgement::waiting(
            step,
            "nobody has ticked the box yet",
            "the user opens the add-in and ticks the box",
        );
    }
    Judgement::blocked(
        step,
        format!("{records}: the others were granted to another AccessScope of that name, tenant or app"),
        again,
    )
}
