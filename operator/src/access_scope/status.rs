//! What a scope's status says. Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use roomkeeper_crds::{
    AccessScopeStatus,
    access_scope::{Members as MembersStatus, Shrink},
    audit_export::AuditStatus,
    condition::{
        self, Allowed, AuditExported, AuditWritable, BookingQuotaAvailable, CredentialsValid, Desired,
        MembersResolved, Status, Summary as Reason, Type,
    },
};

use super::{
    plan::{Trouble, World},
    validate::Validated,
};
use crate::summary::{self, Summary};

/// The time of the last read is written with a change of anything else, and otherwise at most this often.
const RESOLVED_AT: Duration = Duration::from_mins(15);

/// The status that follows from what is known.
pub fn report(scope: &Validated, world: &World, now: Timestamp) -> AccessScopeStatus {
    // Written by those who call the product; left out here, it stays as it is.
    let mut status = AccessScopeStatus { booking_quota: None, ..scope.status.clone() };
    status.observed_generation = Some(scope.generation);
    status.subscriptions = Some(world.counts.clone());
    let conditions = &mut status.conditions;
    let generation = Some(scope.generation);
    if let Some(answers) = &world.answers {
        let credential = match &answers.credential {
            Ok(()) => desired(
                Type::CredentialsValid,
                Status::True,
                CredentialsValid::TokenAcquired.as_str(),
                "a token was obtained with the credential".to_owned(),
            ),
            Err(trouble) => desired(
                Type::CredentialsValid,
                Status::False,
                trouble.reason.as_str(),
                trouble.message.clone(),
            ),
        };
        condition::set(conditions, credential, generation, now);
        condition::set(conditions, members(scope, world, now), generation, now);
        status.last_handled_reconcile_at.clone_from(&answers.requested);
        // A credential that cannot be read for a moment ends when it ended before.
        if answers.credential_expires_at.is_some() || answers.credential.is_ok() {
            status.credential_expires_at = answers.credential_expires_at.map(Time);
        }
        status.shrink = answers.shrink.map(|known| Shrink {
            since: Time(known.since),
            ending: i64::try_from(known.ending).unwrap_or(i64::MAX),
            confirmed: known.confirmed,
        });
    }
    if scope.suspend || world.elder.is_some() || scope.deleted_at.is_some() {
        // Nothing is asked of Graph for this scope: what a person asks for is answered by looking at it.
        status.last_handled_reconcile_at.clone_from(&scope.requested);
    }
    match quota(scope, now) {
        Some(quota) => {
            condition::set(&mut status.conditions, quota, generation, now);
        }
        None => {
            condition::clear(&mut status.conditions, Type::BookingQuotaAvailable);
        }
    }
    if let Some(audit) = audit(world) {
        condition::set(&mut status.conditions, audit, generation, now);
    }
    match export(scope, world) {
        Some((desired, last)) => {
            condition::set(&mut status.conditions, desired, generation, now);
            let known = status.audit.take().and_then(|audit| audit.last_exported_at);
            status.audit = Some(AuditStatus { last_exported_at: last.map(Time).or(known) });
        }
        None if scope.exports_audit => {}
        None => {
            condition::clear(&mut status.conditions, Type::AuditExported);
            status.audit = None;
        }
    }
    let before = scope.status.conditions.as_slice();
    status.members = figures(scope, world, now, told(before) != told(&status.conditions));
    let summary = summarise(scope, world, &status);
    summary::put(&mut status.conditions, summary, generation, now);
    status
}

fn desired(type_: Type, status: Status, reason: &'static str, message: String) -> Desired {
    Desired { type_, status, reason, message }
}

/// Until when nothing is left of the week's calls to the booking product.
pub fn quota_exhausted_until(scope: &Validated, now: Timestamp) -> Option<Timestamp> {
    let until = scope.status.booking_quota.as_ref()?.exhausted_until.as_ref()?.0;
    (scope.quota.is_some() && until > now).then_some(until)
}

fn quota(scope: &Validated, now: Timestamp) -> Option<Desired> {
    let type_ = Type::BookingQuotaAvailable;
    let quota = scope.quota.as_ref()?;
    Some(match quota_exhausted_until(scope, now) {
        Some(until) => desired(
            type_,
            Status::False,
            BookingQuotaAvailable::WeekExhausted.as_str(),
            format!(
                "booking.quota.perWeek ({}) is used up: bookings are made again from {until}",
                quota.per_week
            ),
        ),
        None => desired(
            type_,
            Status::True,
            BookingQuotaAvailable::Available.as_str(),
            "calls to the booking product are left in this week".to_owned(),
        ),
    })
}

/// Whether the operator can enter in the scope's audit what it does.
fn audit(world: &World) -> Option<Desired> {
    let type_ = Type::AuditWritable;
    Some(match world.audit.as_ref()? {
        Ok(()) => desired(
            type_,
            Status::True,
            AuditWritable::Written.as_str(),
            "what is done for this scope is entered in the audit".to_owned(),
        ),
        Err(why) => desired(
            type_,
            Status::False,
            AuditWritable::WriteFailed.as_str(),
            format!("{why}: free space on the operator's volume for the audit, or make it larger"),
        ),
    })
}

/// How the operator's exports of this scope's audit are, and when the last one was made. `None` without an export, and as long as nothing
/// is known where something was said before.
fn export(scope: &Validated, world: &World) -> Option<(Desired, Option<Timestamp>)> {
    let type_ = Type::AuditExported;
    if !scope.exports_audit {
        return None;
    }
    let Some(standing) = &world.export else {
        let said = condition::get(&scope.status.conditions, type_).is_some();
        let message = "nothing has been exported yet".to_owned();
        return (!said).then(|| {
            (desired(type_, Status::Unknown, AuditExported::NeverExported.as_str(), message), None)
        });
    };
    let next = standing.next.map(|next| format!("; the next export is due at {next}")).unwrap_or_default();
    let desired = match (&standing.trouble, standing.last) {
        (Some((reason, message)), _) => desired(type_, Status::False, reason.as_str(), message.clone()),
        (None, Some(last)) => desired(
            type_,
            Status::True,
            AuditExported::Exported.as_str(),
            format!("the operator's log was exported as a whole at {last}{next}"),
        ),
        (None, None) => desired(
            type_,
            Status::Unknown,
            AuditExported::NeverExported.as_str(),
            format!("nothing has been exported yet{next}"),
        ),
    };
    Some((desired, standing.last))
}

fn members(scope: &Validated, world: &World, now: Timestamp) -> Desired {
    let type_ = Type::MembersResolved;
    let known = world.members.as_ref().filter(|members| members.answer(&scope.policies));
    let fresh = known.filter(|members| is_fresh(members.resolved_at(), scope.max_staleness, now));
    let trouble = match world.answers.as_ref().and_then(|answers| answers.members.as_ref()) {
        Some(Ok(())) => {
            let message = match known.and_then(|members| members.count()) {
                Some(count) => format!("{count} users are within the scope"),
                None => "everybody is within the scope but the members of its DenyAccess groups".to_owned(),
            };
            return desired(type_, Status::True, MembersResolved::Resolved.as_str(), message);
        }
        Some(Err(trouble)) => trouble.clone(),
        None => Trouble {
            reason: MembersResolved::CredentialsNotValid,
            message: "the groups cannot be read without a valid credential".to_owned(),
            stalled: false,
            wait: None,
        },
    };
    match (fresh, known) {
        (Some(members), _) => {
            // What a person must mend is said by its own reason, although the last good set still serves.
            let (status, reason) = if trouble.stalled {
                (Status::False, trouble.reason)
            } else {
                (Status::True, MembersResolved::RefreshFailed)
            };
            let message =
                format!("{}; the members read at {} still serve", trouble.message, members.resolved_at());
            desired(type_, status, reason.as_str(), message)
        }
        (None, Some(members)) => desired(
            type_,
            Status::Unknown,
            MembersResolved::RefreshFailed.as_str(),
            format!(
                "{}; the members read at {} are older than membership.maxStaleness: nobody is subscribed or unsubscribed by them",
                trouble.message,
                members.resolved_at()
            ),
        ),
        (None, None) => {
            let status = if trouble.stalled { Status::False } else { Status::Unknown };
            desired(type_, status, trouble.reason.as_str(), trouble.message)
        }
    }
}

/// Whether members of that time still prove something.
pub fn is_fresh(resolved_at: Timestamp, max_staleness: Duration, now: Timestamp) -> bool {
    now.duration_since(resolved_at).unsigned_abs() < max_staleness || resolved_at > now
}

/// What the conditions about the remote side say, without their wording.
fn told(conditions: &[Condition]) -> Vec<(&str, &str)> {
    [Type::CredentialsValid, Type::MembersResolved]
        .into_iter()
        .filter_map(|type_| condition::get(conditions, type_))
        .map(|condition| (condition.status.as_str(), condition.reason.as_str()))
        .collect()
}

fn figures(scope: &Validated, world: &World, now: Timestamp, changed: bool) -> Option<MembersStatus> {
    let Some(members) = world.members.as_ref().filter(|members| members.answer(&scope.policies)) else {
        return scope.status.members.clone();
    };
    let count = i64::try_from(members.count()?).unwrap_or(i64::MAX);
    match &scope.status.members {
        Some(written)
            if written.count == count
                && !changed
                && is_fresh(written.resolved_at.0, RESOLVED_AT.max(scope.refresh_interval), now) =>
        {
            Some(written.clone())
        }
        _ => Some(MembersStatus { count, resolved_at: Time(members.resolved_at()) }),
    }
}

fn summarise(scope: &Validated, world: &World, status: &AccessScopeStatus) -> Summary {
    if scope.deleted_at.is_some() {
        let reason = Reason::Terminating.as_str();
        return Summary::Working {
            reason,
            message: "the Graph subscriptions of this scope are being ended".to_owned(),
        };
    }
    if let Some(elder) = &world.elder {
        return Summary::Stalled {
            reason: Reason::DuplicateApplication.as_str(),
            message: format!(
                "AccessScope {elder} is older and serves the same cloud, tenant and application: delete one of the two"
            ),
        };
    }
    if scope.suspend {
        let reason = Allowed::Suspended.as_str();
        return match world.remote {
            0 => Summary::Ready {
                reason,
                message: "suspended: its Graph subscriptions are ended, objects and consents stay".to_owned(),
            },
            left => Summary::Working {
                reason,
                message: format!("suspended: {left} Graph subscriptions of it are still to be ended"),
            },
        };
    }
    if let Some(Err(why)) = &world.audit {
        return trouble_summary(AuditWritable::WriteFailed.as_str(), why.clone(), false);
    }
    let Some(answers) = &world.answers else {
        return Summary::Unproven {
            message: "the credential and the groups have not been tried yet".to_owned(),
        };
    };
    if let Err(trouble) = &answers.credential {
        return trouble_summary(trouble.reason.as_str(), trouble.message.clone(), trouble.stalled);
    }
    let resolved = condition::get(&status.conditions, Type::MembersResolved);
    match (&answers.members, resolved) {
        (_, Some(resolved)) if resolved.status == Status::True.as_str() => Summary::Ready {
            reason: Reason::Succeeded.as_str(),
            message: format!("the credential works; {}", resolved.message),
        },
        (Some(Err(trouble)), Some(resolved)) => {
            trouble_summary(trouble.reason.as_str(), resolved.message.clone(), trouble.stalled)
        }
        _ => Summary::Unproven { message: "the groups have not been read yet".to_owned() },
    }
}

fn trouble_summary(reason: &'static str, message: String, stalled: bool) -> Summary {
    if stalled { Summary::Stalled { reason, message } } else { Summary::Working { reason, message } }
}
