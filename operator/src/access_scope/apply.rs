//! Does what the plan says about a scope's finalizer, and ends what is left at Graph when a scope goes.

use kube::ResourceExt as _;
use roomkeeper_crds::{
    AccessScope, annotation,
    condition::{self, Type},
};
use roomkeeper_graph::{
    Cause, GraphError,
    audit::{AuditEntry, AuditError},
};

use super::{
    plan::{Farewell, Finalizer},
    validate::Validated,
};
use crate::{
    api::{self, ApiError},
    calendar_subscription::{apply::delete, sweep},
    context::Context,
    failpoint::Place,
    graph_trouble,
};

/// Why the plan could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// At the API server.
    #[error("{0}")]
    Api(#[from] ApiError),
    /// The audit cannot be written, so that nothing may be done.
    #[error("{0}")]
    Audit(#[from] AuditError),
    /// What is left at Graph could not be ended.
    #[error("the last Graph subscriptions of the scope could not be ended: {0}")]
    Graph(#[from] GraphError),
}

/// Carries out what is planned about the finalizer. Returns whether the object was let go.
///
/// # Errors
/// See [`ApplyError`].
pub async fn apply(
    context: &Context,
    object: &AccessScope,
    scope: &Validated,
    finalizer: Finalizer,
) -> Result<bool, ApplyError> {
    let process = &context.process;
    let farewell = match finalizer {
        Finalizer::Keep => return Ok(false),
        Finalizer::Add => {
            api::add_finalizer(process, object, annotation::FINALIZER_END_SUBSCRIPTIONS).await?;
            return Ok(false);
        }
        Finalizer::Remove(farewell) => farewell,
    };
    match farewell {
        Farewell::Ended { overdue } => match end_leftovers(context, object, scope).await {
            Err(ApplyError::Graph(error)) if overdue => {
                let text = format!(
                    "whether anything is left at Graph could not be found out or mended in time ({}): what no object knows of ends by itself within 7 days",
                    graph_trouble::text(&error)
                );
                loud(context, object, scope, "DeletionGaveUp", &text).await?;
            }
            result => result?,
        },
        Farewell::Forced => {
            loud(
                context,
                object,
                scope,
                "ForceDeleted",
                &format!("deleted by force: {}", lapse(context, scope)),
            )
            .await?;
        }
        Farewell::GaveUp => {
            loud(
                context,
                object,
                scope,
                "DeletionGaveUp",
                &format!("the Graph subscriptions could not be ended in time: {}", lapse(context, scope)),
            )
            .await?;
        }
    }
    api::remove_finalizer(process, object, annotation::FINALIZER_END_SUBSCRIPTIONS).await?;
    context.directory.remove(&scope.uid);
    context.memory.forget(&scope.uid);
    context.process.clients.forget(&scope.uid);
    Ok(true)
}

/// A subscription that a crash left behind has no CalendarSubscription that knows of it; with the scope goes the last
/// credential that could end it.
async fn end_leftovers(context: &Context, object: &AccessScope, scope: &Validated) -> Result<(), ApplyError> {
    if !condition::is_true(&scope.status.conditions, Type::CredentialsValid) {
        return Ok(());
    }
    let Ok(client) = context.client_for(object, true).await else { return Ok(()) };
    let cause = Cause::new(format!("AccessScope/{}", scope.key));
    for id in sweep::leftovers(context, &client, &cause, &scope.key).await? {
        delete(Place::DeleteLeftover, &client, &cause, &id).await?;
    }
    Ok(())
}

/// When what is left at Graph ends by itself.
fn lapse(context: &Context, scope: &Validated) -> String {
    let last = context
        .subscriptions
        .under(&super::term(&scope.key))
        .iter()
        .filter_map(|key| Some(context.subscriptions.get(key)?.status?.subscription?.expires_at.0))
        .max();
    match last {
        Some(last) => format!("what is left at Graph ends by itself, the last at {last}"),
        None => "nothing is known to be left at Graph".to_owned(),
    }
}

async fn loud(
    context: &Context,
    object: &AccessScope,
    scope: &Validated,
    reason: &str,
    text: &str,
) -> Result<(), ApplyError> {
    tracing::warn!(scope = %scope.key, reason, "{text}");
    let note = AuditEntry::Note {
        time: context.process.clock.now(),
        scope: scope.key.to_string(),
        caused_by: Cause::new(format!("AccessScope/{}/{}", scope.key.namespace, object.name_any())),
        text: text.to_owned(),
    };
    context.process.audit.record(note).await?;
    context.process.events.warn(object, reason, text.to_owned()).await;
    Ok(())
}
