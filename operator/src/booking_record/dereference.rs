//! Fetches what the decision about a record needs, from memory.

use roomkeeper_crds::AccessScope;

use super::{conflicts, plan::World, purge, validate::Validated};
use crate::{context::Context, key::Key};

/// Fetches.
pub fn dereference(context: &Context, record: &Validated) -> World {
    let scope = scope(context, record);
    World {
        purge: purge::look(context, record, scope.as_ref()),
        scope: scope.as_ref().map(Key::of),
        product: scope.as_ref().and_then(|scope| scope.spec.booking.clone()),
        retention: scope.map(|scope| scope.spec.kept_after_end()).unwrap_or_default(),
        retry_conflicts: conflicts::wait(context, record).is_some_and(|wait| wait.is_zero()),
        asked: record.requested_anew(),
    }
}

/// The scope of the CalendarSubscription, or, when that one is gone, of the record's label.
fn scope(context: &Context, record: &Validated) -> Option<AccessScope> {
    let name = context
        .subscriptions
        .get(&record.subscription)
        .map(|subscription| subscription.spec.scope_ref.name)
        .or_else(|| record.scope_label.clone())?;
    context.scopes.get(&Key::new(&record.key.namespace, name))
}

impl Validated {
    /// Whether a person asks for a run.
    fn requested_anew(&self) -> bool {
        self.requested.is_some() && self.requested != self.status.last_handled_reconcile_at
    }
}
