//! Fetches what the decision about a consent needs, from memory.

use kube::ResourceExt as _;
use roomkeeper_crds::ConsentRecord;

use super::plan::World;
use crate::{calendar_subscription::dereference::user_term, context::Context, key::Key};

/// Fetches.
pub fn dereference(context: &Context, key: &Key, record: &ConsentRecord) -> World {
    let about = &record.spec.scope;
    let scope = context.scopes.get(&Key::new(&key.namespace, &about.name)).filter(|scope| {
        scope.uid().as_deref() == Some(&about.uid)
            && scope.spec.tenant_id == about.tenant_id
            && scope.spec.client_id == about.client_id
            && scope.metadata.deletion_timestamp.is_none()
    });
    let user = &record.spec.user;
    let existing = [user.id.clone(), user.principal_name.to_lowercase()]
        .iter()
        .flat_map(|user| context.subscriptions.under(&user_term(user)))
        .filter(|subscription| subscription.namespace == key.namespace)
        .find(|subscription| {
            context.subscriptions.get(subscription).is_some_and(|object| {
                object.spec.scope_ref.name == about.name && object.metadata.deletion_timestamp.is_none()
            })
        })
        .map(|subscription| subscription.name);
    World { scope, existing }
}
