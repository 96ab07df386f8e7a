//! Fetches what the decision about a scope needs: a token, the groups and their members.

use std::{hash::Hash as _, sync::Arc};

use jiff::Timestamp;
use kube::ResourceExt as _;
use roomkeeper_crds::{
    AccessScope, AccessScopeSpec, CalendarSubscriptionStatus, annotation,
    condition::{self, MembersResolved, Type},
};
use roomkeeper_graph::{Cause, Decision, GoneReason, GraphClient, GraphError, Group, Reason, UserId};

use super::{
    credential,
    directory::{Members, Policy},
    plan::{Answers, Trouble, World},
    shrink::{self, Circumstances, Held, Known, Verdict},
    validate::Validated,
};
use crate::{
    context::Context,
    failpoint::{Place, around},
    graph_trouble,
    key::Key,
};

/// Fetches. What goes wrong at Graph is part of the result.
pub async fn dereference(
    context: &Context,
    object: &AccessScope,
    scope: &Validated,
    now: Timestamp,
) -> World {
    let elder = elder(context, object);
    // Before anything is asked: what can be written again by now is then asked at once.
    let audit = context.process.audit.check(&scope.key.to_string()).await.map_err(|error| error.to_string());
    let (counts, remote) = context.watched.of_scope(&scope.key);
    let (mut answers, due) = context.memory.answers(&scope.uid, scope.generation, scope.asked(), now);
    let serves = elder.is_none() && scope.deleted_at.is_none() && !scope.suspend;
    let mut failures = 0;
    if due && serves {
        let known = answers.as_ref().map_or_else(|| known_shrink(scope), |answers| answers.shrink);
        context.memory.asking(&scope.uid);
        let fresh = ask(context, object, scope, known, now).await;
        failures = context.memory.answered(&scope.uid, fresh.clone());
        answers = Some(fresh);
    }
    let progress_at = scope.deleted_at.map(|_| context.memory.progress(&scope.uid, remote, now));
    World {
        elder,
        answers,
        failures,
        members: context.directory.get(&scope.uid),
        counts,
        remote,
        progress_at,
        audit: Some(audit),
        export: context.process.exports.of(&scope.key.to_string()),
    }
}

/// The shrink that another leadership left in the status.
pub(super) fn known_shrink(scope: &Validated) -> Option<Known> {
    let written = scope.status.shrink.as_ref()?;
    let ending = usize::try_from(written.ending).unwrap_or_default();
    Some(Known { since: written.since.0, ending, confirmed: written.confirmed })
}

/// The oldest other scope for the same cloud, tenant and application, if it is older than this one.
pub fn elder(context: &Context, scope: &AccessScope) -> Option<Key> {
    let age = |scope: &AccessScope| (scope.creation_timestamp().map(|time| time.0), scope.uid());
    let (own, own_age) = (application(&scope.spec), age(scope));
    context
        .scopes
        .each()
        .filter(|other| application(&other.spec) == own && age(other) < own_age)
        .min_by_key(|other| age(other))
        .map(|other| Key::of(&other))
}

/// What two scopes must not have in common.
fn application(spec: &AccessScopeSpec) -> (String, &str, &str) {
    let place = match (&spec.endpoints, spec.cloud) {
        (Some(endpoints), _) => endpoints.graph.trim_end_matches('/').to_ascii_lowercase(),
        (None, Some(cloud)) => format!("{cloud:?}"),
        (None, None) => "Global".to_owned(),
    };
    (place, &spec.tenant_id, &spec.client_id)
}

async fn ask(
    context: &Context,
    object: &AccessScope,
    scope: &Validated,
    known: Option<Known>,
    now: Timestamp,
) -> Answers {
    let answers = |credential_expires_at, credential, members| Answers {
        generation: scope.generation,
        requested: scope.requested.clone(),
        confirmed: scope.confirmed.clone(),
        credential_expires_at,
        credential,
        members,
        shrink: known,
    };
    let cause = Cause::new(format!("AccessScope/{}", scope.key));
    let (client, ends) = match context.process.clients.refreshed_client_for(object).await {
        Ok(found) => found,
        Err(error) => {
            let trouble = Trouble {
                reason: error.reason(),
                message: error.to_string(),
                stalled: !error.is_transient(),
                wait: None,
            };
            return answers(None, Err(trouble), None);
        }
    };
    if let Err(error) = around(Place::Token, client.acquire_token(&cause)).await {
        return answers(ends, Err(credential::trouble(&error)), None);
    }
    context.memory.keep_client(&scope.uid, &client);
    match members(&client, &cause, scope, now).await {
        Ok(members) => {
            let living = living(context, scope);
            let here = Circumstances {
                max_percent: scope.max_shrink_percent,
                known,
                confirmed: scope.confirmed.as_deref(),
                now,
            };
            let (members, result, shrink) = match shrink::judge(&living, &members, here) {
                Verdict::Passes(left) => (members, Ok(()), left),
                Verdict::Held(held) => {
                    let shrink = Some(held.known);
                    (members.sparing(living), Err(shrink_trouble(scope, &held)), shrink)
                }
            };
            install(context, scope, &Arc::new(members));
            Answers { shrink, ..answers(ends, Ok(()), Some(result)) }
        }
        Err(trouble) => answers(ends, Ok(()), Some(Err(trouble))),
    }
}

async fn members(
    client: &GraphClient,
    cause: &Cause,
    scope: &Validated,
    now: Timestamp,
) -> Result<Members, Trouble<MembersResolved>> {
    let failed = |policy: &Policy, error: &GraphError| directory_trouble(error, policy.group.as_str());
    // All of them before the members of any: what a person must mend is looked at often, and members are many.
    for policy in &scope.policies {
        let group = around(Place::ReadGroup, client.group(cause, &policy.group)).await;
        eligible(&group.map_err(|error| failed(policy, &error))?)?;
    }
    let mut groups = Vec::new();
    for policy in &scope.policies {
        let members = around(Place::ReadMembers, client.transitive_members(cause, &policy.group)).await;
        groups.push((*policy, members.map_err(|error| failed(policy, &error))?));
    }
    Ok(Members::new(groups, now))
}

/// Exchange takes mail-enabled security groups only for application access policies, and no dynamic ones
/// ("Limiting application permissions to specific Exchange Online mailboxes").
fn eligible(group: &Group) -> Result<(), Trouble<MembersResolved>> {
    let has = |wanted: &str| group.group_types.iter().any(|type_| type_ == wanted);
    let is = match (group.mail_enabled, group.security_enabled) {
        _ if has("Unified") => "a Microsoft 365 group",
        _ if has("DynamicMembership") => "a group with dynamic membership",
        (true, true) => return Ok(()),
        (true, false) => "a distribution list",
        (false, true) => "a security group without mail",
        (false, false) => "neither mail-enabled nor a security group",
    };
    Err(Trouble {
        reason: MembersResolved::GroupNotEligible,
        message: format!("group {} is {is}: name a mail-enabled security group", group.id),
        stalled: true,
        wait: None,
    })
}

fn directory_trouble(error: &GraphError, group: &str) -> Trouble<MembersResolved> {
    let (reason, stalled, wait) = match error.decision() {
        Decision::Gone(GoneReason::GroupNotFound) => (MembersResolved::GroupNotFound, true, None),
        Decision::UserMustAct(Reason::PermissionMissing) => (MembersResolved::PermissionMissing, true, None),
        Decision::UserMustAct(_) => (MembersResolved::RefreshFailed, true, None),
        Decision::Wait(wait) => (MembersResolved::DirectoryThrottled, false, Some(wait)),
        Decision::Retry | Decision::Gone(_) | Decision::Conflict { .. } | Decision::TokenRejected => {
            (MembersResolved::RefreshFailed, false, None)
        }
    };
    Trouble { reason, message: format!("group {group}: {}", graph_trouble::text(error)), stalled, wait }
}

/// Users who have a subscription, or are being given one.
fn living(context: &Context, scope: &Validated) -> Vec<UserId> {
    let lives = |status: &CalendarSubscriptionStatus| {
        status.subscription.is_some() || condition::is_true(&status.conditions, Type::Allowed)
    };
    context
        .subscriptions
        .under(&super::term(&scope.key))
        .iter()
        .filter_map(|key| context.subscriptions.get(key)?.status)
        .filter(lives)
        .filter_map(|status| status.user_id?.parse().ok())
        .collect()
}

fn shrink_trouble(scope: &Validated, held: &Held) -> Trouble<MembersResolved> {
    let message = format!(
        "the groups as they are now would end {} of {} subscriptions, and at {} it was more than membership.maxShrinkPercent {}: held back. If that is meant, run: kubectl annotate -n {} accessscope {} {}={} --overwrite",
        held.known.ending,
        held.living,
        held.known.since,
        scope.max_shrink_percent,
        scope.key.namespace,
        scope.key.name,
        annotation::CONFIRM_SHRINK,
        held.token,
    );
    let wait = Some(scope.refresh_interval);
    Trouble { reason: MembersResolved::ShrinkHeld, message, stalled: true, wait }
}

/// Puts new members into the directory and has the controller look at those whom the change concerns.
fn install(context: &Context, scope: &Validated, members: &Arc<Members>) {
    let before = context.directory.put(&scope.uid, Arc::clone(members));
    let before = before.filter(|before| before.answer(&scope.policies));
    for key in context.subscriptions.under(&super::term(&scope.key)) {
        let concerned = match (&before, context.subscriptions.get(&key)) {
            (Some(before), Some(subscription)) => subscription
                .status
                .and_then(|status| status.user_id)
                .and_then(|id| id.parse().ok())
                .is_none_or(|user| before.contains(&user) != members.contains(&user)),
            _ => true,
        };
        if concerned {
            context.subscriptions.trigger(&key);
        }
    }
}

/// What of a scope others depend on.
pub fn fingerprint(scope: &AccessScope) -> u64 {
    use std::hash::{DefaultHasher, Hasher as _};
    let mut hasher = DefaultHasher::new();
    scope.metadata.generation.hash(&mut hasher);
    scope.metadata.deletion_timestamp.is_some().hash(&mut hasher);
    for condition in scope.status.iter().flat_map(|status| &status.conditions) {
        (&condition.type_, &condition.status, &condition.reason).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mail_enabled_security_group_is_eligible_and_what_else_it_is_is_said() {
        for (mail_enabled, security_enabled, types, is) in [
            (true, true, &[][..], None),
            (true, true, &["Unified"], Some("a Microsoft 365 group")),
            (true, false, &["Unified"], Some("a Microsoft 365 group")),
            (true, true, &["DynamicMembership"], Some("a group with dynamic membership")),
            (true, true, &["DynamicMembership", "Unified"], Some("a Microsoft 365 group")),
            (true, false, &[], Some("a distribution list")),
            (false, true, &[], Some("a security group without mail")),
            (false, false, &[], Some("neither mail-enabled nor a security group")),
        ] {
            let id = "5d6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a10";
            let group_types = types.iter().map(|type_| (*type_).to_owned()).collect();
            let group = Group { id: id.parse().unwrap(), mail_enabled, security_enabled, group_types };
            let said = eligible(&group).err().map(|trouble| {
                assert_eq!((trouble.reason, trouble.stalled), (MembersResolved::GroupNotEligible, true));
                trouble.message
            });
            let expected = is.map(|is| format!("group {id} is {is}: name a mail-enabled security group"));
            assert_eq!(said, expected);
        }
    }
}
