//! The end of a CalendarSubscription: its Graph subscription first, then the consent where that is meant, then the finalizer.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use roomkeeper_crds::{
    AccessScope, CalendarSubscription, ConsentRecord, annotation, calendar_subscription::OnDelete,
};
use roomkeeper_graph::{
    GraphClient, SubscriptionId, UserId,
    audit::{AuditEntry, AuditError},
};
use serde_json::json;

use super::{
    apply::{cause, delete},
    bulk::Size,
    dereference::{is_about, user_term},
    validate::{ValidateError, Validated, validate},
};
use crate::{
    access_scope,
    api::{self, ApiError, bounded},
    context::Context,
    failpoint::{Place, around},
    graph_trouble,
    holds::Attempt,
    key::Key,
};

/// How long a deletion tries to end the Graph subscription before it goes without.
const DEADLINE: Duration = Duration::from_mins(10);

/// The same while Graph, or the budget of the tenant, asks to wait: ending a hundred thousand takes more than an hour.
const PATIENT_DEADLINE: Duration = Duration::from_hours(3);

/// Why the object cannot go yet.
#[derive(Debug, thiserror::Error)]
pub enum FinalizeError {
    /// At the API server.
    #[error("{0}")]
    Api(#[from] ApiError),
    /// The audit cannot be written, so that nothing may be done.
    #[error("{0}")]
    Audit(#[from] AuditError),
    /// The object cannot be read.
    #[error("{0}")]
    Validate(#[from] ValidateError),
}

/// Brings an object under deletion to its end, or says when to go on.
///
/// # Errors
/// See [`FinalizeError`].
pub async fn finalize(context: &Context, key: &Key) -> Result<Duration, FinalizeError> {
    // Live: a status that the cache has not seen yet may tell of a subscription that has to be ended.
    let Some(raw) = api::live::<CalendarSubscription>(&context.process.kube, key).await? else {
        return Ok(Duration::MAX);
    };
    let object = validate(&raw)?;
    let Some(deleted_at) = object.deleted_at.filter(|_| object.has_finalizer) else {
        return Ok(Duration::MAX);
    };
    let scope = context.scopes.get(&object.scope);
    let scope_uid = scope.as_ref().and_then(kube::ResourceExt::uid).unwrap_or_default();
    context.bursts.seen(&scope_uid, &object.uid, context.process.clock.passed());
    let mut ids = remote_ids(context, &object);
    context.bursts.leave_to_end(&scope_uid, &object.uid, &mut ids);
    if object.forced {
        let text = format!("deleted by force: {}", lapse(&object));
        loud(context, &raw, &object, "ForceDeleted", &text).await?;
    } else if !ids.is_empty() {
        let attempt = Attempt::of(("finalize", &ids));
        if let Some(left) = context.holds.remaining(&object.uid, attempt) {
            return Ok(left);
        }
        if let Err(why) = end(context, scope.as_ref(), &object, &ids).await {
            let age = Duration::try_from(context.process.clock.now().duration_since(deleted_at))
                .unwrap_or_default();
            let deadline = if why.wait.is_some() { PATIENT_DEADLINE } else { DEADLINE };
            if age < deadline {
                tracing::warn!(object = %object.key, why = why.message, "the Graph subscription could not be ended yet; tried again");
                if let Some(wait) = why.wait {
                    context.holds.wait_with_all(&object.uid, wait);
                    return Ok(wait.min(deadline.saturating_sub(age)));
                }
                let delay = context.holds.back_off(&object.uid, attempt, rand::random());
                return Ok(delay.min(deadline.saturating_sub(age)));
            }
            let text = format!(
                "the Graph subscription could not be ended in time ({}): {}",
                why.message,
                lapse(&object)
            );
            loud(context, &raw, &object, "DeletionGaveUp", &text).await?;
        }
        context.bursts.ended(&scope_uid, &object.uid, &ids);
    }
    if object.on_delete == OnDelete::WithdrawConsent
        && let (Some(scope), Some(user)) = (scope, object.user_id)
        && scope.metadata.deletion_timestamp.is_none()
        && !namespace_ends(context, &object.key.namespace).await?
    {
        let standing = standing(context, &object, &scope, &user).await?;
        if !standing.is_empty() {
            match size(context, &object, &scope, &scope_uid) {
                Size::Open(left) => return Ok(left),
                Size::Few => withdraw(context, &object, &scope, &user, standing).await?,
                Size::Bulk { first: false, .. } => {}
                Size::Bulk { deleted, of, first: true } => {
                    let told = told(context, &scope, &object, deleted, of).await;
                    told.inspect_err(|_| context.bursts.not_said(&scope_uid))?;
                }
            }
        }
    }
    let finalizer = annotation::FINALIZER_GRAPH_SUBSCRIPTION;
    api::remove_finalizer(&context.process, &raw, finalizer).await?;
    context.bursts.gone(&scope_uid, &object.uid);
    context.forget(&object.uid);
    Ok(Duration::MAX)
}

/// Whether this deletion is one of very many.
fn size(context: &Context, object: &Validated, scope: &AccessScope, scope_uid: &str) -> Size {
    let present = context.subscriptions.under(&access_scope::term(&object.scope)).len();
    let max_percent = scope.spec.membership.clone().unwrap_or_default().max_shrink_percent;
    context.bursts.size(scope_uid, present, max_percent, context.process.clock.passed())
}

/// Says that a bulk deletion withdraws nothing.
async fn told(
    context: &Context,
    scope: &AccessScope,
    object: &Validated,
    deleted: usize,
    of: usize,
) -> Result<(), AuditError> {
    let text = format!(
        "{deleted} of {of} CalendarSubscriptions are deleted together: their Graph subscriptions end, their consents stay; withdraw \
         those that are meant to end with 'kubectl roomkeeper unsubscribe'"
    );
    note(context, object, &text).await?;
    tracing::warn!(scope = %object.scope, text, "a bulk deletion withdraws no consent");
    context.process.events.warn(scope, "BulkDeletion", text).await;
    Ok(())
}

fn remote_ids(context: &Context, object: &Validated) -> Vec<SubscriptionId> {
    let mut ids: Vec<_> = object.remote.iter().map(|remote| remote.id).collect();
    for sighting in context.sightings.get(&object.uid).unwrap_or_default() {
        if !ids.contains(&sighting.id) {
            ids.push(sighting.id);
        }
    }
    ids
}

/// When what is left at Graph ends by itself.
fn lapse(object: &Validated) -> String {
    match object.remote {
        Some(remote) => format!("it ends by itself at {}", remote.expires_at),
        None => "what a sweep saw of it ends by itself within 7 days".to_owned(),
    }
}

struct Why {
    message: String,
    wait: Option<Duration>,
}

async fn end(
    context: &Context,
    scope: Option<&AccessScope>,
    object: &Validated,
    ids: &[SubscriptionId],
) -> Result<(), Why> {
    let client = client(context, scope, object).await?;
    let cause = cause(object);
    for id in ids {
        if let Err(error) = delete(Place::DeleteFinal, &client, &cause, id).await {
            tracing::info!(object = %object.key, %error, "a call to Graph failed");
            let wait = match error.decision() {
                roomkeeper_graph::Decision::Wait(wait) => Some(wait),
                _ => None,
            };
            return Err(Why { message: graph_trouble::text(&error), wait });
        }
    }
    Ok(())
}

async fn client(
    context: &Context,
    scope: Option<&AccessScope>,
    object: &Validated,
) -> Result<GraphClient, Why> {
    let Some(scope) = scope else {
        let message = format!("AccessScope {} and with it the credential is gone", object.scope.name);
        return Err(Why { message, wait: None });
    };
    context.client_for(scope, true).await.map_err(|error| Why { message: error.to_string(), wait: None })
}

async fn namespace_ends(context: &Context, name: &str) -> Result<bool, ApiError> {
    let api: Api<Namespace> = Api::all(context.process.kube.clone());
    let namespace = bounded(api.get_opt(name)).await?;
    Ok(namespace.is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some()))
}

/// Every standing consent of the user for this scope.
async fn standing(
    context: &Context,
    object: &Validated,
    scope: &AccessScope,
    user: &UserId,
) -> Result<Vec<ConsentRecord>, ApiError> {
    let mut standing = Vec::new();
    for key in context.consents.under(&user_term(user.as_str())) {
        if key.namespace != object.key.namespace {
            continue;
        }
        let record = api::live::<ConsentRecord>(&context.process.kube, &key).await?;
        let stands =
            |record: &ConsentRecord| is_about(record, scope, user) && record.spec.withdrawn.is_none();
        standing.extend(record.filter(stands));
    }
    Ok(standing)
}

/// Withdraws these consents. The audit entry comes first.
async fn withdraw(
    context: &Context,
    object: &Validated,
    scope: &AccessScope,
    user: &UserId,
    records: Vec<ConsentRecord>,
) -> Result<(), FinalizeError> {
    for record in records {
        let name = record.name_any();
        let now = context.process.clock.now();
        let entry = AuditEntry::ConsentWithdrawn {
            time: now,
            scope: object.scope.to_string(),
            tenant_id: scope.spec.tenant_id.clone(),
            user_id: *user,
            consent: name.clone(),
        };
        context.process.audit.record(entry).await?;
        let body = json!({
            "metadata": {"uid": record.uid(), "resourceVersion": record.resource_version()},
            "spec": {"withdrawn": {
                "at": crate::summary::whole_seconds(now).to_string(),
                "by": context.process.user_name,
                "reason": format!("CalendarSubscription {} was deleted", object.key.name),
            }},
        });
        let api: Api<api::Guarded<ConsentRecord>> =
            Api::namespaced(context.process.kube.clone(), &object.key.namespace);
        let params = PatchParams {
            field_manager: Some(annotation::MANAGER_OPERATOR.to_owned()),
            ..PatchParams::default()
        };
        context.process.deadline.check().map_err(ApiError::from)?;
        let patch = Patch::Merge(&body);
        let call = bounded(api.patch(&name, &params, &patch));
        around(Place::WithdrawConsent, call).await?;
        tracing::info!(object = %object.key, consent = name, "consent withdrawn with the deletion");
    }
    Ok(())
}

async fn loud(
    context: &Context,
    raw: &CalendarSubscription,
    object: &Validated,
    reason: &str,
    text: &str,
) -> Result<(), AuditError> {
    tracing::warn!(object = %object.key, reason, text, "deletion without its remote part");
    note(context, object, text).await?;
    context.process.events.warn(raw, reason, text.to_owned()).await;
    Ok(())
}

async fn note(context: &Context, object: &Validated, text: &str) -> Result<(), AuditError> {
    let entry = AuditEntry::Note {
        time: context.process.clock.now(),
        scope: object.scope.to_string(),
        caused_by: cause(object),
        text: text.to_owned(),
    };
    context.process.audit.record(entry).await
}
