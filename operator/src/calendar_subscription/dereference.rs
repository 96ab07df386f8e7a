//! Fetches what the decision about a CalendarSubscription needs. Everything here comes from memory; the API server is
//! asked live immediately before a subscription is made, and Graph by the actions.

use jiff::Timestamp;
use kube::ResourceExt as _;
use roomkeeper_crds::{
    AccessScope, CalendarSubscription, ConsentRecord,
    condition::{self, Type},
};
use roomkeeper_graph::UserId;

use super::{
    plan::{Consent, Scope, World},
    validate::Validated,
};
use crate::{
    access_scope::{self, dereference::elder as elder_scope},
    context::Context,
    key::Key,
};

/// Fetches.
pub fn dereference(context: &Context, object: &Validated, now: Timestamp) -> World {
    let found = context.scopes.get(&object.scope);
    let scope = found.as_ref().map_or(Scope::Missing, |scope| scope_state(context, scope, object, now));
    let consents = match (&found, object.user_id) {
        (Some(scope), Some(user)) => consents(context, scope, &user),
        _ => Vec::new(),
    };
    let required_notice = found
        .as_ref()
        .filter(|scope| scope.spec.consent.require_current_notice)
        .map(|scope| scope.spec.consent.notice_version.clone());
    let elder = match (&found, object.user_id) {
        (Some(scope), Some(user)) => elder(context, object, &scope.spec.tenant_id, &user),
        _ => None,
    };
    let ring = context.ring();
    let key_id = object.status.subscription.as_ref().and_then(|known| known.key_id.as_deref());
    World {
        scope,
        required_notice,
        consents,
        elder,
        sightings: context.sightings.get(&object.uid),
        lifecycle_answered: context.watched.lifecycle_answered(&object.uid),
        authorized_at: context.watched.authorized_at(&object.key),
        outdated: key_id.is_some_and(|key_id| key_id != ring.current_id()),
        // What a key signed that is not in force any more is refused on arrival: that cannot wait for its turn.
        replace: context.watched.has_its_turn(&object.key)
            || key_id.is_some_and(|key_id| !ring.knows(key_id)),
        silence: context.process.settings.resync_after_silence,
        periodic: context.process.settings.resync_every,
        listed_until: context.horizons.earliest(&object.key),
        horizon: context.process.settings.occurrence_horizon,
    }
}

fn scope_state(context: &Context, scope: &AccessScope, object: &Validated, now: Timestamp) -> Scope {
    if scope.metadata.deletion_timestamp.is_some() {
        return Scope::Terminating;
    }
    if elder_scope(context, scope).is_some() {
        return Scope::Duplicate;
    }
    if scope.spec.suspend {
        return Scope::Suspended;
    }
    let Ok(valid) = access_scope::validate::validate(scope) else {
        return Scope::NotReady(format!("AccessScope {} is not valid", object.scope.name));
    };
    let asked = context.memory.was_asked(&valid.uid, valid.generation);
    if asked && let Some(reason) = valid.status.credential_refused() {
        let name = &object.scope.name;
        return Scope::Locked(format!("the credential of AccessScope {name} does not work: {reason}"));
    }
    if asked && let Some(reason) = valid.status.permission_refused() {
        let name = &object.scope.name;
        return Scope::Unpermitted(format!("AccessScope {name} lost a permission at Microsoft: {reason}"));
    }
    let members = context.directory.get(&valid.uid).filter(|members| members.answer(&valid.policies));
    match members {
        Some(members) if access_scope::status::is_fresh(members.resolved_at(), valid.max_staleness, now) => {
            Scope::Serving { within: object.user_id.map(|user| members.contains(&user)) }
        }
        Some(_) => Scope::NotReady(format!(
            "the members of AccessScope {} are older than its membership.maxStaleness",
            object.scope.name
        )),
        None if asked => {
            let reason = condition::get(&valid.status.conditions, Type::Ready)
                .map_or("no condition yet", |ready| ready.reason.as_str());
            Scope::NotReady(format!("AccessScope {} is not ready: {reason}", object.scope.name))
        }
        None => Scope::Unproven,
    }
}

/// Term of the look-ups for what is about a user: object id or principal name.
pub fn user_term(user: &str) -> String {
    format!("user:{user}")
}

/// Whether a record is about exactly this scope, tenant, application and user.
pub fn is_about(record: &ConsentRecord, scope: &AccessScope, user: &UserId) -> bool {
    let about = &record.spec.scope;
    scope.uid().is_some_and(|uid| uid == about.uid)
        && about.tenant_id == scope.spec.tenant_id
        && about.client_id == scope.spec.client_id
        && record.spec.user.id == user.as_str()
        && record.namespace() == scope.namespace()
}

fn consents(context: &Context, scope: &AccessScope, user: &UserId) -> Vec<Consent> {
    context
        .consents
        .under(&user_term(user.as_str()))
        .iter()
        .filter_map(|key| context.consents.get(key))
        .filter(|record| is_about(record, scope, user))
        .map(|record| Consent {
            name: record.name_any(),
            granted_at: record.spec.granted.at.0,
            notice: record.spec.granted.notice_version.clone(),
            withdrawn: record.spec.withdrawn.is_some(),
        })
        .collect()
}

/// The oldest other CalendarSubscription for the same tenant and user, if it is older than this one.
fn elder(context: &Context, object: &Validated, tenant_id: &str, user: &UserId) -> Option<Key> {
    let age = |subscription: &CalendarSubscription| {
        (subscription.creation_timestamp().map(|time| time.0), subscription.uid())
    };
    let own = age(&context.subscriptions.get(&object.key)?);
    context
        .subscriptions
        .under(&user_term(user.as_str()))
        .into_iter()
        .filter(|key| *key != object.key)
        .filter_map(|key| context.subscriptions.get(&key).map(|other| (key, other)))
        .filter(|(key, other)| {
            let scope = context.scopes.get(&Key::new(&key.namespace, &other.spec.scope_ref.name));
            age(other) < own && scope.is_some_and(|scope| scope.spec.tenant_id == tenant_id)
        })
        .min_by_key(|(_, other)| age(other))
        .map(|(key, _)| key)
}
