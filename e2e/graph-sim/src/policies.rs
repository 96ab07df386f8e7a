//! Application access policies (graph-facts §9.1): which mailboxes an app may touch, taking effect long after they were set.

use std::{
    collections::{HashMap, HashSet},
    sync::Mutex,
    time::Duration,
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

/// What was set, by tenant and app, in the order in which it was set.
#[derive(Debug, Default)]
pub(crate) struct AccessPolicies(Mutex<HashMap<(Uuid, Uuid), Vec<Policies>>>);

impl AccessPolicies {
    /// Sets what holds for an app from some time on; an error says what it names that is not there.
    pub(crate) fn change(&self, app: &App, change: Change) -> Result<(), String> {
        let (tenant, client_id) = (change.tenant_id, change.client_id);
        let directory = lock(&app.directory);
        if directory.application(tenant, client_id).is_none() {
            return Err(format!("clientId {client_id} is no app of tenantId {tenant}"));
        }
        for (member, users) in [("deny", Some(&change.deny)), ("restrictTo", change.restrict_to.as_ref())] {
            let stranger = users.into_iter().flatten().find(|user| directory.user(tenant, **user).is_none());
            if let Some(user) = stranger {
                return Err(format!("{member}: {user} is no user of tenant {tenant}"));
            }
        }
        let seconds = change.effective_in_seconds.unwrap_or(EFFECTIVE_IN);
        let now = app.clock.now();
        let since = app.clock.after(Duration::from_secs(seconds.into()));
        let policies = Policies { since, deny: change.deny, restrict_to: change.restrict_to };
        self.set((tenant, client_id), policies, now);
        Ok(())
    }

    fn set(&self, app: (Uuid, Uuid), policies: Policies, now: Timestamp) {
        let mut all = lock(&self.0);
        let set = all.entry(app).or_default();
        set.push(policies);
        // What was set before something that is in force never counts again.
        if let Some(last) = set.iter().rposition(|one| one.since <= now) {
            set.drain(..last);
        }
    }

    /// Exchange's decision: deny beats restrict; with any restrict policy, its mailboxes only; without any policy, all.
    pub(crate) fn allow(&self, tenant: Uuid, client_id: Uuid, mailbox: Uuid, now: Timestamp) -> bool {
        let all = lock(&self.0);
        // The last word counts, once it has got through; an older one that is slower does not undo it.
        let in_force = all.get(&(tenant, client_id)).and_then(|all| all.iter().rfind(|one| one.since <= now));
        in_force.is_none_or(|policies| {
            !policies.deny.contains(&mailbox)
                && policies.restrict_to.as_ref().is_none_or(|mailboxes| mailboxes.contains(&mailbox))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: Uuid = Uuid::nil();
    const APP: Uuid = Uuid::max();
    const MAILBOX: Uuid = Uuid::from_u128(7);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn set(policies: &AccessPolicies, deny: bool, now: i64, effective_in: i64) {
        let deny = if deny { HashSet::from([MAILBOX]) } else { HashSet::new() };
        let change = Policies { since: at(now + effective_in), deny, restrict_to: None };
        policies.set((TENANT, APP), change, at(now));
    }

    #[test]
    fn what_was_set_last_and_is_in_force_counts() {
        let policies = AccessPolicies::default();
        let allowed = |second: i64| policies.allow(TENANT, APP, MAILBOX, at(second));
        set(&policies, true, 0, 3_600);
        set(&policies, false, 10, 0);
        assert!(allowed(20));
        assert!(allowed(4_000), "lifted before it took effect");
        set(&policies, true, 5_000, 0);
        set(&policies, false, 5_010, 3_600);
        assert!(!allowed(5_020), "what lifts it is not in force yet");
        assert!(allowed(9_000));
    }

    #[test]
    fn what_can_never_count_again_is_forgotten() {
        let policies = AccessPolicies::default();
        for round in 0..100 {
            set(&policies, round % 2 == 0, round * 10, 0);
        }
        assert_eq!(lock(&policies.0)[&(TENANT, APP)].len(), 1);
    }
}
