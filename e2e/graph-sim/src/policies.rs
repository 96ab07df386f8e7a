//! Application access policies (graph-facts §9.1): which mailboxes an app may touch, taking effect long after they were set.

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
};

use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use crate::app::{App, lock};

/// How long a change takes to reach Graph when nothing else is said, in seconds: "longer than 1 hour".
const EFFECTIVE_IN: u32 = 3_600;

/// A change, as the control API takes it: it replaces what was set before.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Change {
    tenant_id: Uuid,
    client_id: Uuid,
    /// Mailboxes of all DenyAccess policies.
    #[serde(default)]
    deny: HashSet<Uuid>,
    /// Mailboxes of all RestrictAccess policies; absent: there is none.
    restrict_to: Option<HashSet<Uuid>>,
    effective_in_seconds: Option<u32>,
}

#[derive(Debug)]
struct Policies {
    since: Timestamp,
    deny: HashSet<Uuid>,
    restrict_to: Option<HashSet<Uuid>>,
}

/// What was set, by tenant and app, oldest first.
#[derive(Debug, Default)]
pub(crate) struct AccessPolicies(Mutex<HashMap<(Uuid, Uuid), Vec<Policies>>>);

impl AccessPolicies {
    /// Sets what holds for an app from some time on.
    pub(crate) fn change(&self, app: &App, change: Change) {
        let seconds = change.effective_in_seconds.unwrap_or(EFFECTIVE_IN);
        let since = app.clock.after(std::time::Duration::from_secs(seconds.into()));
        let policies = Policies { since, deny: change.deny, restrict_to: change.restrict_to };
        lock(&self.0).entry((change.tenant_id, change.client_id)).or_default().push(policies);
    }

    /// Exchange's decision: deny beats restrict; with any restrict policy, its mailboxes only; without any policy, all.
    pub(crate) fn allow(&self, tenant: Uuid, client_id: Uuid, mailbox: Uuid, now: Timestamp) -> bool {
        let all = lock(&self.0);
        let in_force = all
            .get(&(tenant, client_id))
            .and_then(|all| all.iter().filter(|one| one.since <= now).max_by_key(|one| one.since));
        in_force.is_none_or(|policies| {
            !policies.deny.contains(&mailbox)
                && policies.restrict_to.as_ref().is_none_or(|mailboxes| mailboxes.contains(&mailbox))
        })
    }
}
