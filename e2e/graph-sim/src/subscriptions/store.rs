//! The subscriptions that live. An expired one is gone from the moment of its expiry.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

/// Most living subscriptions of one mailbox, all applications together (graph-facts §1.4).
const PER_MAILBOX: usize = 1_000;

/// A reauthorization and a renewal are to be that far apart (graph-facts §4).
const APART: Duration = Duration::from_mins(10);

/// What changes a subscription is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChangeType {
    Created,
    Updated,
    Deleted,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Subscription {
    pub(crate) id: Uuid,
    pub(crate) tenant_id: Uuid,
    pub(crate) application_id: Uuid,
    pub(crate) creator_id: Uuid,
    pub(crate) user_id: Uuid,
    /// As asked for.
    pub(crate) resource: String,
    /// As asked for.
    pub(crate) change_type: String,
    pub(crate) changes: BTreeSet<ChangeType>,
    pub(crate) notification_url: String,
    pub(crate) lifecycle_notification_url: Option<String>,
    #[serde(rename = "expirationDateTime")]
    pub(crate) expires: Timestamp,
    pub(crate) client_state: Option<String>,
    pub(crate) latest_supported_tls_version: &'static str,
    pub(crate) immutable_ids: bool,
    #[serde(rename = "createdDateTime")]
    pub(crate) created: Timestamp,
    /// As asked for.
    pub(crate) include_resource_data: Option<bool>,
    /// Since when its creator is asked to authorize it anew.
    #[serde(rename = "reauthorizationRequiredSince")]
    pub(crate) challenged: Option<Timestamp>,
    #[serde(skip)]
    pub(crate) renewed: Option<Timestamp>,
    #[serde(skip)]
    pub(crate) reauthorized: Option<Timestamp>,
}

/// Why a subscription cannot be added.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AddFault {
    /// The app has that one for the same resource and changes.
    Duplicate(Uuid),
    MailboxQuota,
}

/// Same app, same mailbox, same changes (graph-facts §1.4).
type Combination = (Uuid, Uuid, Uuid, BTreeSet<ChangeType>);

#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    next: u64,
    by_number: BTreeMap<u64, Subscription>,
    by_id: HashMap<Uuid, u64>,
    by_mailbox: HashMap<(Uuid, Uuid), BTreeSet<u64>>,
    by_combination: HashMap<Combination, u64>,
    by_expiry: BTreeSet<(Timestamp, u64)>,
    /// How often one was renewed and reauthorized too soon after each other.
    too_soon: u64,
}

fn combination(one: &Subscription) -> Combination {
    (one.tenant_id, one.application_id, one.user_id, one.changes.clone())
}

fn is_within(at: Timestamp, now: Timestamp) -> bool {
    at.checked_add(APART).is_ok_and(|end| now < end)
}

impl Subscriptions {
    /// Forgets what has expired.
    fn expire(&mut self, now: Timestamp) {
        while let Some(&(expires, number)) = self.by_expiry.first() {
            if expires > now {
                return;
            }
            self.take(number);
            self.by_expiry.remove(&(expires, number));
        }
    }

    fn take(&mut self, number: u64) -> Option<Subscription> {
        let one = self.by_number.remove(&number)?;
        self.by_id.remove(&one.id);
        self.by_expiry.remove(&(one.expires, number));
        self.by_combination.remove(&combination(&one));
        if let Some(numbers) = self.by_mailbox.get_mut(&(one.tenant_id, one.user_id)) {
            numbers.remove(&number);
        }
        Some(one)
    }

    /// Whether a subscription could be added now.
    pub(crate) fn check(&mut self, one: &Subscription, now: Timestamp) -> Result<(), AddFault> {
        self.expire(now);
        let existing =
            self.by_combination.get(&combination(one)).and_then(|number| self.by_number.get(number));
        if let Some(existing) = existing {
            return Err(AddFault::Duplicate(existing.id));
        }
        let held = self.by_mailbox.get(&(one.tenant_id, one.user_id)).map_or(0, BTreeSet::len);
        if held >= PER_MAILBOX { Err(AddFault::MailboxQuota) } else { Ok(()) }
    }

    pub(crate) fn add(&mut self, one: Subscription, now: Timestamp) -> Result<(), AddFault> {
        self.check(&one, now)?;
        let number = self.next;
        self.next += 1;
        self.by_id.insert(one.id, number);
        self.by_mailbox.entry((one.tenant_id, one.user_id)).or_default().insert(number);
        self.by_combination.insert(combination(&one), number);
        self.by_expiry.insert((one.expires, number));
        self.by_number.insert(number, one);
        Ok(())
    }

    pub(crate) fn get(&mut self, id: Uuid, now: Timestamp) -> Option<&Subscription> {
        self.expire(now);
        self.by_number.get(self.by_id.get(&id)?)
    }

    /// Notes that its creator is asked to authorize it anew; who was asked before is asked since then.
    pub(crate) fn challenge(&mut self, id: Uuid, now: Timestamp) {
        if let Some(one) = self.get_mut(id, now) {
            one.challenged = one.challenged.or(Some(now));
        }
    }

    /// Notes that it is authorized anew; `None` when it is gone.
    pub(crate) fn reauthorize(&mut self, id: Uuid, now: Timestamp) -> Option<()> {
        let one = self.get_mut(id, now)?;
        one.challenged = None;
        one.reauthorized = Some(now);
        let too_soon = one.renewed.is_some_and(|at| is_within(at, now));
        self.too_soon += u64::from(too_soon);
        Some(())
    }

    /// How often one was renewed and reauthorized too soon after each other (graph-facts §4).
    pub(crate) fn too_soon(&self) -> u64 {
        self.too_soon
    }

    fn get_mut(&mut self, id: Uuid, now: Timestamp) -> Option<&mut Subscription> {
        self.expire(now);
        self.by_number.get_mut(self.by_id.get(&id)?)
    }

    /// Sets what can be set; `None` when it is gone. `renews`: an expiry was asked for, whatever it comes to.
    pub(crate) fn set(
        &mut self,
        id: Uuid,
        expires: Option<Timestamp>,
        notification_url: Option<String>,
        renews: bool,
        now: Timestamp,
    ) -> Option<Subscription> {
        self.expire(now);
        let number = *self.by_id.get(&id)?;
        let one = self.by_number.get_mut(&number)?;
        // Each renewal authorizes anew (graph-facts §1.5).
        one.challenged = None;
        if renews {
            one.renewed = Some(now);
            self.too_soon += u64::from(one.reauthorized.is_some_and(|at| is_within(at, now)));
        }
        if let Some(expires) = expires {
            self.by_expiry.remove(&(one.expires, number));
            self.by_expiry.insert((expires, number));
            one.expires = expires;
        }
        if let Some(url) = notification_url {
            one.notification_url = url;
        }
        Some(one.clone())
    }

    pub(crate) fn remove(&mut self, id: Uuid, now: Timestamp) -> Option<Subscription> {
        self.expire(now);
        let number = *self.by_id.get(&id)?;
        self.take(number)
    }

    /// The app's subscriptions after that number, with their numbers, oldest first.
    pub(crate) fn of_app(
        &mut self,
        tenant: Uuid,
        app: Uuid,
        after: Option<u64>,
        now: Timestamp,
    ) -> impl Iterator<Item = (u64, &Subscription)> {
        self.expire(now);
        let from = after.map_or(0, |after| after.saturating_add(1));
        self.by_number
            .range(from..)
            .filter(move |(_, one)| one.tenant_id == tenant && one.application_id == app)
            .map(|(number, one)| (*number, one))
    }

    /// Those that want to hear of such a change in that mailbox.
    pub(crate) fn listening(
        &mut self,
        tenant: Uuid,
        user: Uuid,
        change: ChangeType,
        now: Timestamp,
    ) -> Vec<Subscription> {
        self.expire(now);
        let numbers = self.by_mailbox.get(&(tenant, user)).into_iter().flatten();
        numbers
            .filter_map(|number| self.by_number.get(number))
            .filter(|one| one.changes.contains(&change))
            .cloned()
            .collect()
    }

    /// All that live, of every app, oldest first.
    pub(crate) fn all(&mut self, now: Timestamp) -> Vec<Subscription> {
        self.expire(now);
        self.by_number.values().cloned().collect()
    }
}
