//! The quota of an AccessScope for calls to its booking product, kept over restarts and changes of the leader.

pub mod ledger;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use roomkeeper_crds::{
    AccessScope,
    access_scope::{BookingQuota, BookingQuotaStatus},
};
use serde_json::json;

pub use self::ledger::{Exhausted, Purpose, Window};
use self::ledger::{Ledger, Now, Taken};
use crate::{
    api::{self, ApiError, Guarded, bounded},
    clock::Clock,
    context::{Context, Process},
    failpoint::{Place, around},
    key::Key,
};

/// Field manager of `status.bookingQuota`, which nothing else of the operator writes.
const MANAGER: &str = "roomkeeper-operator-quota";

/// Tries against others who write to the same object.
const TRIES: usize = 4;

/// Why a call may not be made now.
#[derive(Debug, thiserror::Error)]
pub enum QuotaError {
    /// Nothing is left.
    #[error("the quota is used up")]
    Exhausted(Exhausted),
    /// The calls could not be set aside.
    #[error("calls to the product could not be set aside in the status of the AccessScope: {0}")]
    Api(#[from] ApiError),
    /// The scope is gone.
    #[error("the AccessScope is gone")]
    ScopeGone,
}

/// Of all scopes, as this leadership knows them.
#[derive(Debug, Default)]
pub struct Quotas(Mutex<HashMap<Key, Arc<OfScope>>>);

#[derive(Debug, Default)]
struct OfScope {
    ledger: Mutex<Ledger>,
    /// One reservation at a time.
    reserving: tokio::sync::Mutex<()>,
}

impl OfScope {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave for one call. It counts as under way until this is dropped.
#[derive(Debug)]
pub struct Permit {
    scope: Arc<OfScope>,
    clock: Clock,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.scope.ledger().ended(self.clock.passed());
    }
}

/// Who asks for a call, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The AccessScope.
    pub scope: &'a Key,
    /// Its quota.
    pub quota: &'a BookingQuota,
    /// Uid of the record.
    pub uid: &'a str,
}

impl Quotas {
    /// Leave for one call; sets calls aside where that is needed.
    ///
    /// # Errors
    /// See [`QuotaError`].
    pub async fn take(
        &self,
        context: &Context,
        asker: &Asker<'_>,
        purpose: Purpose,
    ) -> Result<Permit, QuotaError> {
        let clock = &context.process.clock;
        let scope = self.of(asker.scope);
        let ask = || match scope.ledger().take(asker.quota, purpose, asker.uid, now(clock)) {
            Taken::Yes => Ok(Some(Permit { scope: Arc::clone(&scope), clock: clock.clone() })),
            Taken::NoChunk => Ok(None),
            Taken::No(exhausted) => Err(exhausted),
        };
        let result = loop {
            match ask() {
                Ok(Some(permit)) => break Ok(permit),
                Err(exhausted) => break Err(exhausted),
                Ok(None) => {}
            }
            let _one_at_a_time = scope.reserving.lock().await;
            // Another may have set some aside meanwhile.
            match ask() {
                Ok(Some(permit)) => break Ok(permit),
                Err(exhausted) => break Err(exhausted),
                Ok(None) => {}
            }
            if let Some(exhausted) = reserve(context, &scope, asker, purpose).await? {
                break Err(exhausted);
            }
        };
        self.publish(context, asker, &scope);
        result.map_err(|exhausted| {
            context.process.metrics.bookings.put_off.with_label_values(&[exhausted.window.as_str()]).inc();
            QuotaError::Exhausted(exhausted)
        })
    }

    fn of(&self, scope: &Key) -> Arc<OfScope> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(scope.clone()).or_default())
    }

    /// A scope is gone.
    pub fn forget(&self, scope: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(scope);
    }

    /// The least that is left of any scope: a metric has no label for each.
    fn publish(&self, context: &Context, asker: &Asker<'_>, scope: &OfScope) {
        scope.ledger().note_left(asker.quota, now(&context.process.clock));
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = all.values().filter_map(|scope| scope.ledger().left());
        let least = left.reduce(|(a, b), (c, d)| (a.min(c), b.min(d)));
        let Some((minute, week)) = least else { return };
        let gauge = &context.process.metrics.bookings.quota_left;
        gauge.with_label_values(&[Window::Minute.as_str()]).set(minute.into());
        gauge.with_label_values(&[Window::Week.as_str()]).set(week.into());
    }
}

fn now(clock: &Clock) -> Now {
    // The wall clock last: a chunk must not serve longer than others take it to.
    let passed = clock.passed();
    Now { wall: clock.now(), passed }
}

/// Sets a chunk aside by compare and swap; says when to come back if nothing is left.
async fn reserve(
    context: &Context,
    scope: &OfScope,
    asker: &Asker<'_>,
    purpose: Purpose,
) -> Result<Option<Exhausted>, QuotaError> {
    let process = &context.process;
    let mut tries = 1..TRIES;
    loop {
        let live = api::live::<AccessScope>(&process.kube, asker.scope).await?;
        let live = live.ok_or(QuotaError::ScopeGone)?;
        let before = live.status.as_ref().and_then(|status| status.booking_quota.clone()).unwrap_or_default();
        let now = now(&process.clock);
        let reservation = scope.ledger().reserve(&before, asker.quota, purpose, now);
        if reservation.status != before {
            match write(process, &live, &reservation.status).await {
                Err(error) if error.code() == Some(409) && tries.next().is_some() => continue,
                result => result?,
            }
        }
        return Ok(scope.ledger().written(reservation, asker.quota, purpose, asker.uid, now));
    }
}

/// Writes to exactly the version that was read.
async fn write(process: &Process, scope: &AccessScope, status: &BookingQuotaStatus) -> Result<(), ApiError> {
    process.deadline.check()?;
    let key = Key::of(scope);
    let body = json!({
        "apiVersion": "roomkeeper.dev/v1alpha1",
        "kind": "AccessScope",
        "metadata": {"name": key.name, "uid": scope.uid(), "resourceVersion": scope.resource_version()},
        "status": {"bookingQuota": status},
    });
    let api: Api<Guarded<AccessScope>> = Api::namespaced(process.kube.clone(), &key.namespace);
    let params = PatchParams::apply(MANAGER).force();
    let patch = Patch::Apply(&body);
    around(Place::ReserveCalls, bounded(api.patch_status(&key.name, &params, &patch))).await?;
    Ok(())
}
