//! The status write. It must never wipe out a Graph subscription that the decision did not know of.
//!
//! Decisions come from a cache, and a cache can lag behind: behind the own writes of a moment ago, and after a change of leader
//! behind what the leader before had sent. A status that leaves a living subscription out leaves nobody who ends it. So a
//! write goes to exactly the version that it was decided from, or to a later one in which only the worker's part is another;
//! and what the API server answers is in the cache before the next decision. Only a subscription that Graph has just
//! named, made or taken over, is written whatever the object says by now: Graph has one for a calendar, and this is it.

use roomkeeper_crds::{CalendarSubscription, CalendarSubscriptionStatus};

use crate::{
    api::{self, ApiError},
    context::Context,
    key::Key,
    watch::take,
};

/// Tries against the worker, who writes to the same object.
const TRIES: usize = 4;

/// Writes the status if it is another one than before. Leaves the object as it is then.
///
/// # Errors
/// A conflict when the object changed in a way that the decision did not know of.
pub async fn write(
    context: &Context,
    object: &mut CalendarSubscription,
    status: CalendarSubscriptionStatus,
) -> Result<(), ApiError> {
    let (before, after) = (own(object), CalendarSubscriptionStatus { delivery: None, ..status });
    if before == after {
        return Ok(());
    }
    let written = if is_proven(&before, &after) {
        api::apply_status_to(&context.process, object, None, &after).await?
    } else {
        apply(context, object, &before, &after).await?
    };
    context.process.events.transition(object, &before.conditions, &after.conditions).await;
    if let Some(written) = written {
        take(context, &written);
        *object = written;
    }
    Ok(())
}

/// The operator's part of the status. The worker's is left out of what is applied, which leaves it as it is.
fn own(object: &CalendarSubscription) -> CalendarSubscriptionStatus {
    let status = object.status.clone().unwrap_or_default();
    CalendarSubscriptionStatus { delivery: None, ..status }
}

/// Whether it names a Graph subscription that was not known before, which only Graph can have told.
fn is_proven(before: &CalendarSubscriptionStatus, after: &CalendarSubscriptionStatus) -> bool {
    let id = |status: &CalendarSubscriptionStatus| Some(status.subscription.as_ref()?.id.clone());
    id(after).is_some() && id(after) != id(before)
}

async fn apply(
    context: &Context,
    object: &CalendarSubscription,
    before: &CalendarSubscriptionStatus,
    after: &CalendarSubscriptionStatus,
) -> Result<Option<CalendarSubscription>, ApiError> {
    let mut version = object.metadata.resource_version.clone();
    let mut tries = 1..TRIES;
    loop {
        let applied = api::apply_status_to(&context.process, object, version.as_deref(), after).await;
        let Err(conflict) = applied else { return applied };
        if conflict.code() != Some(409) || tries.next().is_none() {
            return Err(conflict);
        }
        let live = api::live::<CalendarSubscription>(&context.process.kube, &Key::of(object)).await?;
        let Some(live) = live.filter(|live| live.metadata.uid == object.metadata.uid) else {
            return Err(conflict);
        };
        if !is_same(&own(&live), before) {
            tracing::debug!(object = %Key::of(object), "the cache lags behind; decided anew");
            take(context, &live);
            return Err(conflict);
        }
        version = live.metadata.resource_version;
    }
}

/// Whether both say the same as JSON, in which times are whole seconds: one of them went through the cache.
fn is_same(one: &CalendarSubscriptionStatus, other: &CalendarSubscriptionStatus) -> bool {
    let json = |status| serde_json::to_value(status).ok();
    one == other || (json(one).is_some() && json(one) == json(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(text: &str) -> CalendarSubscriptionStatus {
        serde_yaml::from_str(text).unwrap()
    }

    fn living(id: &str) -> CalendarSubscriptionStatus {
        let time = "\"2026-11-23T10:00:00Z\"";
        status(&format!(
            "{{subscription: {{id: {id}, expiresAt: {time}, renewAt: {time}, createdAt: {time}}}}}"
        ))
    }

    #[test]
    fn only_what_graph_just_named_is_written_over_anything() {
        let (none, one, two) = (status("{}"), living("1"), living("2"));
        assert!(is_proven(&none, &one) && is_proven(&one, &two));
        assert!(!is_proven(&none, &none) && !is_proven(&one, &one));
        assert!(!is_proven(&one, &none), "leaving one out is never certain");
    }

    #[test]
    fn the_workers_part_is_no_other_status() {
        let object = |status: &str| -> CalendarSubscription {
            serde_yaml::from_str(&format!(
                "apiVersion: roomkeeper.dev/v1alpha1\nkind: CalendarSubscription\nmetadata: {{name: a, namespace: n}}\n\
                 spec: {{scopeRef: {{name: s}}, user: a@contoso.example}}\nstatus: {status}\n"
            ))
            .unwrap()
        };
        let decided_from = own(&object("{userId: u}"));
        assert!(is_same(&own(&object("{userId: u, delivery: {state: Receiving}}")), &decided_from));
        assert!(!is_same(&own(&object("{userId: v}")), &decided_from));
    }
}
