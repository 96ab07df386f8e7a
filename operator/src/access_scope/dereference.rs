//! Fetches what the decision about a scope needs: a token, the groups and their members.

use std::{hash::Hash as _, sync::Arc};

use jiff::Timestamp;
use kube::ResourceExt as _;
use roomkeeper_crds::{AccessScope, AccessScopeSpec, annotation, condition::MembersResolved};
use roomkeeper_graph::{Cause, Decision, GoneReason, GraphClient, GraphError, Group, UserId};

use super::{
    credential,
    directory::Members,
    plan::{Answers, Trouble, World},
    shrink,
    validate::Validated,
};
use crate::{context::Context, graph_trouble, key::Key};

/// Fetches. What goes wrong at Graph is part of the result.
pub async fn dereference(
    context: &Context,
    object: &AccessScope,
    scope: &Validated,
    now: Timestamp,
) -> World {
    let elder = elder(context, object);
    let (counts, remote) = context.watched.of_scope(&scope.key);
    let (mut answers, due) = context.memory.answers(&scope.uid, scope.generation, scope.asked(), now);
    let serves = elder.is_none() && scope.deleted_at.is_none() && !scope.suspend;
    let mut failures = 0;
    if due && serves {
        let fresh = ask(context, object, scope, now).await;
        failures = context.memory.answered(&scope.uid, fresh.clone());
        answers = Some(fresh);
    }
    World { elder, answers, failures, members: context.directory.get(&scope.uid), counts, remote }
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

async fn ask(context: &Context, object: &AccessScope, scope: &Validated, now: Timestamp) -> Answers {
    let answers = |credential_expires_at, credential, members| Answers {
        generation: scope.generation,
        requested: scope.requested.clone(),
        confirmed: scope.confirmed.clone(),
        credential_expires_at,
        credential,
        members,
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
    if let Err(error) = client.acquire_token(&cause).await {
        return answers(ends, Err(credential::trouble(&error)), None);
    }
    context.memory.keep_client(&scope.uid, &client);
    match members(&client, &cause, scope, now).await {
        Ok(members) => match guard(context, scope, members) {
            Guarded::Whole(members) => {
                install(context, scope, &Arc::new(members));
                answers(ends, Ok(()), Some(Ok(())))
            }
            Guarded::Held(members, trouble) => {
                install(context, scope, &Arc::new(members));
                answers(ends, Ok(()), Some(Err(trouble)))
            }
        },
        Err(trouble) => answers(ends, Ok(()), Some(Err(trouble))),
    }
}

async fn members(
    client: &GraphClient,
    cause: &Cause,
    scope: &Validated,
    now: Timestamp,
) -> Result<Members, Trouble<MembersResolved>> {
    let mut groups = Vec::new();
    for policy in &scope.policies {
        let failed = |error: GraphError| directory_trouble(&error, policy.group.as_str());
        let group = client.group(cause, &policy.group).await.map_err(failed)?;
        eligible(&group)?;
        let members = client.transitive_members(cause, &policy.group).await.map_err(failed)?;
        groups.push((*policy, members));
    }
    Ok(Members::new(groups, now))
}

/// Exchange takes mail-enabled security groups only for application access policies.
fn eligible(group: &Group) -> Result<(), Trouble<MembersResolved>> {
    if group.mail_enabled && group.security_enabled {
        return Ok(());
    }
    let unified = group.group_types.iter().any(|type_| type_ == "Unified");
    let is = match (group.mail_enabled, group.security_enabled) {
        _ if unified => "a Microsoft 365 group",
        (true, false) => "a distribution list",
        (false, true) => "a security group without mail",
        _ => "neither mail-enabled nor a security group",
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
        Decision::UserMustAct(_) => (MembersResolved::PermissionMissing, true, None),
        Decision::Wait(wait) => (MembersResolved::DirectoryThrottled, false, Some(wait)),
        Decision::Retry | Decision::Gone(_) | Decision::Conflict { .. } | Decision::TokenRejected => {
            (MembersResolved::RefreshFailed, false, None)
        }
    };
    Trouble { reason, message: format!("group {group}: {}", graph_trouble::text(error)), stalled, wait }
}

enum Guarded {
    /// It takes effect.
    Whole(Members),
    /// It takes effect but for those who would lose their subscription.
    Held(Members, Trouble<MembersResolved>),
}

/// Holds a large shrink back until a person confirms it.
fn guard(context: &Context, scope: &Validated, members: Members) -> Guarded {
    let living: Vec<UserId> = context
        .subscriptions
        .under(&super::term(&scope.key))
        .iter()
        .filter_map(|key| context.subscriptions.get(key)?.status)
        .filter(|status| status.subscription.is_some())
        .filter_map(|status| status.user_id?.parse().ok())
        .collect();
    let Some(shrink) = shrink::large(&living, &members, scope.max_shrink_percent) else {
        return Guarded::Whole(members);
    };
    if scope.confirmed.as_deref() == Some(shrink.token.as_str()) {
        tracing::info!(scope = %scope.key, ending = shrink.ending, "a large shrink was confirmed");
        return Guarded::Whole(members);
    }
    let message = format!(
        "the groups as they are now would end {} of {} subscriptions, more than membership.maxShrinkPercent {}: held back. If that is meant, run: kubectl annotate -n {} accessscope {} {}={} --overwrite",
        shrink.ending,
        shrink.living,
        scope.max_shrink_percent,
        scope.key.namespace,
        scope.key.name,
        annotation::CONFIRM_SHRINK,
        shrink.token,
    );
    let trouble = Trouble {
        reason: MembersResolved::ShrinkHeld,
        message,
        stalled: true,
        wait: Some(scope.refresh_interval),
    };
    Guarded::Held(members.sparing(living), trouble)
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
