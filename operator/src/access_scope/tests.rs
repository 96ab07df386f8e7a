//! Plans as values, from a YAML fixture.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use jiff::Timestamp;
use roomkeeper_crds::{
    AccessScope, AccessScopeStatus,
    access_scope::SubscriptionCounts,
    condition::{self, AuditExported, CredentialsValid, MembersResolved, Type},
};
use roomkeeper_service::audit_export::Standing;

use super::{
    directory::Members,
    plan::{Answers, Farewell, Finalizer, Trouble, World, plan},
    shrink::Known,
    validate::{Validated, validate},
};
use crate::key::Key;

fn now() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn scope() -> Validated {
    let scope: AccessScope = serde_yaml::from_str(include_str!("../fixtures/access_scope.yaml")).unwrap();
    validate(&scope).unwrap()
}

fn members(scope: &Validated, at: &str) -> Arc<Members> {
    let user = "2189c720-90d5-44ff-818b-fe585706ee90".parse().unwrap();
    let groups = scope.policies.iter().map(|policy| (*policy, [user].into_iter().collect()));
    Arc::new(Members::new(groups, at.parse().unwrap()))
}

fn good() -> Answers {
    Answers {
        generation: 1,
        requested: None,
        confirmed: None,
        credential_expires_at: None,
        credential: Ok(()),
        members: Some(Ok(())),
        shrink: None,
    }
}

fn world(answers: Option<Answers>, members: Option<Arc<Members>>) -> World {
    let counts = SubscriptionCounts::default();
    World {
        elder: None,
        answers,
        failures: 0,
        members,
        counts,
        remote: 0,
        progress_at: None,
        audit: Some(Ok(())),
        export: None,
    }
}

fn trouble<R>(reason: R, stalled: bool) -> Trouble<R> {
    Trouble { reason, message: "why".to_owned(), stalled, wait: None }
}

fn told(status: &AccessScopeStatus) -> String {
    let mut text = String::new();
    for type_ in
        [Type::CredentialsValid, Type::MembersResolved, Type::Ready, Type::Reconciling, Type::Stalled]
    {
        if let Some(condition) = condition::get(&status.conditions, type_) {
            write!(text, "{type_}={}/{} ", condition.status, condition.reason).unwrap();
        }
    }
    text.trim_end().to_owned()
}

#[test]
fn an_audit_that_cannot_be_written_comes_before_what_follows_from_it() {
    let mut scope = scope();
    let lost = Answers { credential: Err(trouble(CredentialsValid::AuthFailed, false)), ..good() };
    let failing = World { audit: Some(Err("disk full".to_owned())), ..world(Some(lost), None) };
    let fails = plan(&scope, &failing, now());
    let audit = |status: &AccessScopeStatus| {
        let condition = condition::get(&status.conditions, Type::AuditWritable).unwrap();
        format!("{}/{}: {}", condition.status, condition.reason, condition.message)
    };
    assert_eq!(
        audit(&fails.status),
        "False/WriteFailed: disk full: free space on the operator's volume for the audit, or make it larger"
    );
    let summary = told(&fails.status);
    assert!(summary.ends_with("Ready=False/WriteFailed Reconciling=True/WriteFailed"), "{summary}");
    assert!(fails.next <= Duration::from_secs(5), "{:?}", fails.next);
    scope.status = fails.status;
    let members = members(&scope, "2026-11-23T10:00:00Z");
    let healed = plan(&scope, &world(Some(good()), Some(members)), now());
    assert!(audit(&healed.status).starts_with("True/Written: "));
    assert!(told(&healed.status).ends_with("Ready=True/Succeeded"), "{}", told(&healed.status));
    // Where it was not looked at, nothing is said of it.
    let unknown = World { audit: None, ..world(None, None) };
    assert_eq!(audit(&plan(&scope, &unknown, now()).status), audit(&scope.status));
}

#[test]
fn an_export_is_told_where_one_is_asked_for() {
    let mut scope = scope();
    let report = |scope: &Validated, export: Option<Standing>| {
        let status = plan(scope, &World { export, ..world(Some(good()), None) }, now()).status;
        let said = condition::get(&status.conditions, Type::AuditExported)
            .map(|condition| format!("{}/{}: {}", condition.status, condition.reason, condition.message));
        (said, status)
    };
    let exported = |last: Option<Timestamp>, trouble: Option<(AuditExported, String)>| {
        let next = Some("2026-11-24T02:00:00Z".parse().unwrap());
        Some(Standing { last, next, trouble })
    };
    scope.exports_audit = true;
    let never = "Unknown/NeverExported: nothing has been exported yet";
    let (said, status) = report(&scope, None);
    assert_eq!(said.as_deref(), Some(never));
    scope.status = status;
    let (said, _) = report(&scope, exported(None, None));
    assert_eq!(said, Some(format!("{never}; the next export is due at 2026-11-24T02:00:00Z")));
    let (said, status) = report(&scope, exported(Some(now()), None));
    assert_eq!(
        said.unwrap(),
        "True/Exported: the operator's log was exported as a whole at 2026-11-23T10:00:00Z; the next export is due at 2026-11-24T02:00:00Z"
    );
    assert_eq!(status.audit.as_ref().unwrap().last_exported_at.as_ref().unwrap().0, now());
    scope.status = status.clone();
    assert_eq!(report(&scope, None).1, status, "another leader that has not looked yet");
    let failed = exported(None, Some((AuditExported::DestinationNotAllowed, "why".to_owned())));
    let (said, status) = report(&scope, failed);
    assert_eq!(said.as_deref(), Some("False/DestinationNotAllowed: why"));
    assert_eq!(status.audit.unwrap().last_exported_at.unwrap().0, now(), "the last good one is still told");
    scope.exports_audit = false;
    let (said, status) = report(&scope, None);
    assert_eq!((said, status.audit), (None, None));
}

#[test]
fn first_sight_then_ready_and_stable() {
    let mut scope = scope();
    let first = plan(&scope, &world(None, None), now());
    assert_eq!(told(&first.status), "Ready=Unknown/Pending Reconciling=True/Pending");
    scope.status = first.status;
    let world = world(Some(good()), Some(members(&scope, "2026-11-23T10:00:00Z")));
    let second = plan(&scope, &world, now());
    assert_eq!(
        told(&second.status),
        "CredentialsValid=True/TokenAcquired MembersResolved=True/Resolved Ready=True/Succeeded"
    );
    assert_eq!(second.status.members.as_ref().unwrap().count, 1);
    assert_eq!(second.finalizer, Finalizer::Keep);
    assert!(second.next <= Duration::from_mins(15) && second.next > Duration::from_mins(14));
    scope.status = second.status.clone();
    let later = now() + Duration::from_mins(5);
    let refreshed = World { members: Some(members(&scope, "2026-11-23T10:05:00Z")), ..world };
    assert_eq!(
        plan(&scope, &refreshed, later).status,
        second.status,
        "a read that finds the same writes nothing"
    );
}

#[test]
fn a_failed_refresh_keeps_the_last_good_members_until_they_are_too_old() {
    let scope = scope();
    let answers = |members| Answers { members: Some(Err(members)), ..good() };
    let transient = trouble(MembersResolved::RefreshFailed, false);
    let kept = world(Some(answers(transient.clone())), Some(members(&scope, "2026-11-23T09:00:00Z")));
    let status = plan(&scope, &kept, now()).status;
    assert_eq!(
        told(&status),
        "CredentialsValid=True/TokenAcquired MembersResolved=True/RefreshFailed Ready=True/Succeeded"
    );
    let message = &condition::get(&status.conditions, Type::MembersResolved).unwrap().message;
    assert!(message.contains("2026-11-23T09:00:00Z"), "{message}");
    let old = world(Some(answers(transient)), Some(members(&scope, "2026-11-22T09:00:00Z")));
    assert_eq!(
        told(&plan(&scope, &old, now()).status),
        "CredentialsValid=True/TokenAcquired MembersResolved=Unknown/RefreshFailed Ready=False/RefreshFailed Reconciling=True/RefreshFailed"
    );
    let unfit = world(Some(answers(trouble(MembersResolved::GroupNotEligible, true))), None);
    assert_eq!(
        told(&plan(&scope, &unfit, now()).status),
        "CredentialsValid=True/TokenAcquired MembersResolved=False/GroupNotEligible Ready=False/GroupNotEligible Stalled=True/GroupNotEligible"
    );
}

#[test]
fn a_bad_credential_stalls_and_is_looked_at_again_soon() {
    let scope = scope();
    let answers =
        Answers { credential: Err(trouble(CredentialsValid::SecretNotFound, true)), members: None, ..good() };
    let plan = plan(&scope, &world(Some(answers), None), now());
    assert_eq!(
        told(&plan.status),
        "CredentialsValid=False/SecretNotFound MembersResolved=Unknown/CredentialsNotValid Ready=False/SecretNotFound Stalled=True/SecretNotFound"
    );
    assert_eq!(plan.next, Duration::from_secs(30));
    let mut throttled = trouble(MembersResolved::DirectoryThrottled, false);
    throttled.wait = Some(Duration::from_secs(77));
    let answers = Answers { members: Some(Err(throttled)), ..good() };
    let throttled = super::plan::plan(&scope, &world(Some(answers), None), now());
    assert_eq!(throttled.ask_in, Duration::from_secs(77), "what Graph asked for is obeyed exactly");
}

#[test]
fn a_duplicate_and_a_suspended_scope_say_so() {
    let scope = scope();
    let duplicate = World { elder: Some(Key::new("other", "older")), ..world(None, None) };
    assert_eq!(
        told(&plan(&scope, &duplicate, now()).status),
        "Ready=False/DuplicateApplication Stalled=True/DuplicateApplication"
    );
    let mut suspended = scope;
    suspended.suspend = true;
    suspended.requested = Some("now".to_owned());
    let ending = World { remote: 3, ..world(None, None) };
    assert_eq!(
        told(&plan(&suspended, &ending, now()).status),
        "Ready=False/Suspended Reconciling=True/Suspended",
        "what is not ended yet is not said to be"
    );
    let ended = plan(&suspended, &world(None, None), now()).status;
    assert_eq!(told(&ended), "Ready=True/Suspended");
    assert_eq!(ended.last_handled_reconcile_at.as_deref(), Some("now"), "a request is answered also here");
}

#[test]
fn a_shrink_is_in_the_status_so_that_the_next_leader_knows_of_it() {
    let mut scope = scope();
    let known = Known { since: now(), ending: 12, confirmed: true };
    let answers = Answers { shrink: Some(known), ..good() };
    scope.status =
        plan(&scope, &world(Some(answers), Some(members(&scope, "2026-11-23T10:00:00Z"))), now()).status;
    let written = scope.status.shrink.clone().unwrap();
    assert_eq!((written.since.0, written.ending, written.confirmed), (now(), 12, true));
    assert_eq!(super::dereference::known_shrink(&scope), Some(known));
    let over = world(Some(good()), Some(members(&scope, "2026-11-23T10:00:00Z")));
    assert_eq!(plan(&scope, &over, now()).status.shrink, None);
}

#[test]
fn a_scope_goes_after_its_subscriptions_or_by_force_or_in_the_end() {
    let mut scope = scope();
    let living = World { remote: 1, ..world(Some(good()), None) };
    let finalizer = |scope: &Validated, world: &World| plan(scope, world, now()).finalizer;
    scope.has_finalizer = false;
    assert_eq!(finalizer(&scope, &living), Finalizer::Add);
    scope.has_finalizer = true;
    scope.deleted_at = Some("2026-11-23T09:59:00Z".parse().unwrap());
    assert_eq!(finalizer(&scope, &living), Finalizer::Keep);
    assert_eq!(
        told(&plan(&scope, &living, now()).status).split(' ').next_back(),
        Some("Reconciling=True/Terminating")
    );
    let ended = World { remote: 0, ..living.clone() };
    assert_eq!(finalizer(&scope, &ended), Finalizer::Remove(Farewell::Ended { overdue: false }));
    scope.deleted_at = Some("2026-11-23T09:00:00Z".parse().unwrap());
    let progress = World { progress_at: Some("2026-11-23T09:51:00Z".parse().unwrap()), ..living.clone() };
    assert_eq!(
        finalizer(&scope, &progress),
        Finalizer::Keep,
        "an hour is no matter while they end one by one"
    );
    scope.deleted_at = Some("2026-11-23T09:50:00Z".parse().unwrap());
    assert_eq!(finalizer(&scope, &living), Finalizer::Remove(Farewell::GaveUp));
    assert_eq!(finalizer(&scope, &ended), Finalizer::Remove(Farewell::Ended { overdue: true }));
    scope.forced = true;
    assert_eq!(finalizer(&scope, &living), Finalizer::Remove(Farewell::Forced));
    scope.has_finalizer = false;
    assert_eq!(finalizer(&scope, &living), Finalizer::Keep, "other finalizers are others' business");
}

#[test]
fn a_finalizer_taken_off_a_suspended_scope_stays_off_once_nothing_is_left_to_end() {
    let mut bare = scope();
    bare.has_finalizer = false;
    let finalizer = |scope: &Validated, remote| {
        let world = World { remote, ..world(None, None) };
        plan(scope, &world, now()).finalizer
    };
    assert_eq!(finalizer(&bare, 0), Finalizer::Add);
    bare.suspend = true;
    assert_eq!(finalizer(&bare, 0), Finalizer::Keep);
    assert_eq!(finalizer(&bare, 1), Finalizer::Add);
}
