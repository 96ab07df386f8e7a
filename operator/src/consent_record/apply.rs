//! Makes the CalendarSubscription that follows from a consent, and takes a withdrawn one out of the register.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, api::PostParams};
use roomkeeper_crds::{
    CalendarSubscription, CalendarSubscriptionSpec, ConsentRecord, annotation,
    calendar_subscription::{OnDelete, ScopeRef},
};

use roomkeeper_graph::{
    Cause, UserId,
    audit::{AuditEntry, AuditError},
};

use super::{Error, plan::NewSubscription, retention::leaves_at};
use crate::{
    api::{self, ApiError, bounded},
    context::Context,
    failpoint::{Place, around},
    key::Key,
};

/// Most bytes of a label's value.
const LABEL_BYTES: usize = 63;

/// The label that names the scope; a name that is too long for a label goes without.
fn label(scope: &str) -> Option<BTreeMap<String, String>> {
    (scope.len() <= LABEL_BYTES)
        .then(|| BTreeMap::from([(annotation::LABEL_SCOPE.to_owned(), scope.to_owned())]))
}

/// Makes it. `false`: one of that name is still on its way out, and has to be gone first.
///
/// # Errors
/// At the API server.
pub async fn create(context: &Context, new: &NewSubscription) -> Result<bool, ApiError> {
    context.process.deadline.check()?;
    let kube = &context.process.kube;
    let object = CalendarSubscription {
        metadata: ObjectMeta {
            name: Some(new.key.name.clone()),
            namespace: Some(new.key.namespace.clone()),
            labels: label(&new.scope),
            // Saves the write that would put it on.
            finalizers: Some(vec![annotation::FINALIZER_GRAPH_SUBSCRIPTION.to_owned()]),
            ..ObjectMeta::default()
        },
        spec: CalendarSubscriptionSpec {
            scope_ref: ScopeRef { name: new.scope.clone() },
            user: new.user_id.clone(),
            suspend: false,
            on_delete: OnDelete::WithdrawConsent,
        },
        status: None,
    };
    let api: Api<CalendarSubscription> = Api::namespaced(kube.clone(), &new.key.namespace);
    let params =
        PostParams { field_manager: Some(annotation::MANAGER_OPERATOR.to_owned()), ..PostParams::default() };
    let call = bounded(api.create(&params, &object));
    match around(Place::MakeCalendarSubscription, call).await {
        Ok(_) => Ok(true),
        // Made before, by a run that did not get to note it.
        Err(error) if error.code() == Some(409) => {
            let present = api::live::<CalendarSubscription>(kube, &new.key).await?;
            Ok(present.is_some_and(|present| present.metadata.deletion_timestamp.is_none()))
        }
        Err(error) => Err(error),
    }
}

/// Enters the withdrawal of a record in the audit.
///
/// # Errors
/// When it cannot be written.
pub async fn audit(
    context: &Context,
    key: &Key,
    record: &ConsentRecord,
    now: Timestamp,
) -> Result<(), AuditError> {
    let scope = format!("{}/{}", key.namespace, record.spec.scope.name);
    let entry = match record.spec.user.id.parse::<UserId>() {
        Ok(user_id) => AuditEntry::ConsentWithdrawn {
            time: now,
            scope,
            tenant_id: record.spec.scope.tenant_id.clone(),
            user_id,
            consent: key.name.clone(),
        },
        // The schema lets nothing else in; the withdrawal of a record from elsewhere is entered all the same.
        Err(_) => AuditEntry::Note {
            time: now,
            scope,
            caused_by: Cause::new(format!("ConsentRecord/{key}")),
            text: "the consent was withdrawn; the id of its user is none".to_owned(),
        },
    };
    context.process.audit.record(entry).await
}

/// Deletes the record of a consent that was withdrawn longer than `kept` ago, or says when to look again. The audit entry comes first.
///
/// # Errors
/// At the API server, or when the audit cannot be written.
pub async fn erase(context: &Context, key: &Key, kept: Duration) -> Result<Duration, Error> {
    let process = &context.process;
    // Live: what is in memory does not tell when it was changed last.
    let live = api::live::<ConsentRecord>(&process.kube, key).await.map_err(Error::Erase)?;
    let Some(record) = live.filter(|record| record.metadata.deletion_timestamp.is_none()) else {
        return Ok(Duration::MAX);
    };
    let Some(at) = leaves_at(&record, kept) else { return Ok(Duration::MAX) };
    let now = process.clock.now();
    if let Ok(wait) = Duration::try_from(at.duration_since(now))
        && !wait.is_zero()
    {
        return Ok(wait);
    }
    let entry = AuditEntry::Note {
        time: now,
        scope: format!("{}/{}", key.namespace, record.spec.scope.name),
        caused_by: Cause::new(format!("ConsentRecord/{key}")),
        text: "the ConsentRecord is deleted: retention.withdrawnConsents of the AccessScope has passed since the withdrawal".to_owned(),
    };
    process.audit.record(entry).await?;
    api::delete(process, &record).await.map_err(Error::Erase)?;
    tracing::info!(consent = %key, "a withdrawn consent has left the register");
    Ok(Duration::MAX)
}
