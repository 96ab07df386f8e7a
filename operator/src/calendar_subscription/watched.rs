//! States of the CalendarSubscriptions as figures, kept current with each event instead of counted over all.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use prometheus::IntGaugeVec;
use roomkeeper_crds::{
    CalendarSubscription,
    access_scope::SubscriptionCounts,
    calendar_subscription::{GraphSubscription, LifecycleEvent},
    condition::{self, Type},
};

use super::{
    renewal::{Calendar, minute_of},
    status::Settled,
};
use crate::key::Key;

/// State of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// A Graph subscription lives.
    Active,
    /// None, for now or because consent or scope say so.
    Pending,
    /// A person must act.
    Stalled,
}

impl State {
    /// Of an object.
    pub fn of(subscription: &CalendarSubscription) -> Self {
        let conditions =
            subscription.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
        if condition::is_true(conditions, Type::Stalled) {
            Self::Stalled
        } else if condition::is_true(conditions, Type::Subscribed) {
            Self::Active
        } else {
            Self::Pending
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
            Self::Stalled => "stalled",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct One {
    scope: Key,
    state: State,
    remote: bool,
}

/// What is kept of a living Graph subscription.
#[derive(Clone, Copy, Debug)]
struct Life {
    renew_minute: i64,
    /// Place of its key's id; `None`: not known.
    key: Option<usize>,
}

#[derive(Debug)]
struct Entry {
    one: One,
    life: Option<Life>,
    /// When this leadership last had the subscription authorised. A status may lag behind.
    authorized_at: Option<Timestamp>,
}

/// A key that signs, and how many Graph subscriptions it signs.
#[derive(Debug)]
struct Signer {
    id: String,
    holders: usize,
}

/// What a sweep of one scope saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Ours, with an owner.
    pub ours: usize,
    /// Ours, and nobody's any more.
    pub dead: usize,
    /// Of other installations.
    pub foreign: usize,
}

/// When the lifecycle notifications that were answered last had been taken, by what they ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    removed: Option<Timestamp>,
    reauthorize: Option<Timestamp>,
}

impl Answered {
    /// Of a kind. `missed` is answered by a request that the status tells of.
    pub fn of(&self, event: LifecycleEvent) -> Option<Timestamp> {
        match event {
            LifecycleEvent::Missed => None,
            LifecycleEvent::SubscriptionRemoved => self.removed,
            LifecycleEvent::ReauthorizationRequired => self.reauthorize,
        }
    }

    /// One of that kind was answered.
    pub fn note(&mut self, event: LifecycleEvent, received_at: Timestamp) {
        let last = match event {
            LifecycleEvent::Missed => return,
            LifecycleEvent::SubscriptionRemoved => &mut self.removed,
            LifecycleEvent::ReauthorizationRequired => &mut self.reauthorize,
        };
        *last = (*last).max(Some(received_at));
    }
}

#[derive(Debug, Default)]
struct Figures {
    counts: SubscriptionCounts,
    remote: usize,
}

#[derive(Debug, Default)]
struct Inner {
    each: HashMap<Key, Entry>,
    scopes: HashMap<Key, Figures>,
    changed: HashSet<Key>,
    lifecycle: HashMap<String, Answered>,
    lives: usize,
    calendar: Calendar,
    /// There are few, and most subscriptions share one.
    signers: Vec<Signer>,
    turns: HashSet<Key>,
    swept: HashMap<Key, Swept>,
    /// Sweeps in a row that left something undone, by scope.
    failed_sweeps: HashMap<Key, u32>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Watched(Mutex<Inner>);

impl Watched {
    /// An object is new or changed.
    pub fn put(&self, key: &Key, subscription: &CalendarSubscription) {
        let one = One {
            scope: Key::new(&key.namespace, &subscription.spec.scope_ref.name),
            state: State::of(subscription),
            remote: subscription.status.as_ref().is_some_and(|status| status.subscription.is_some()),
        };
        let known = subscription.status.as_ref().and_then(|status| status.subscription.as_ref());
        let mut inner = self.inner();
        if inner.each.get(key).is_none_or(|entry| entry.one != one) {
            let before = inner.take(key);
            inner.add(&one, 1);
            let (life, authorized_at) =
                before.map_or((None, None), |entry| (entry.life, entry.authorized_at));
            inner.each.insert(key.clone(), Entry { one, life, authorized_at });
        }
        inner.put_life(key, known);
    }

    /// An object is gone.
    pub fn remove(&self, key: &Key) {
        let mut inner = self.inner();
        inner.put_life(key, None);
        inner.take(key);
        inner.turns.remove(key);
    }

    /// Concludes with a view of all renewals to come, and keeps the one that was concluded before anybody else looks.
    pub fn settle(&self, key: &Key, conclude: impl FnOnce(&Calendar) -> Settled) -> Settled {
        let mut inner = self.inner();
        let settled = conclude(&inner.calendar);
        inner.put_life(key, settled.status.subscription.as_ref());
        settled
    }

    /// Objects whose Graph subscription is signed by a key that this is true of.
    pub fn signed_by(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<Key> {
        let inner = self.inner();
        let wanted: Vec<bool> =
            inner.signers.iter().map(|signer| signer.holders > 0 && is_wanted(&signer.id)).collect();
        if !wanted.contains(&true) {
            return Vec::new();
        }
        let signed = |entry: &Entry| {
            entry.life.and_then(|life| life.key).is_some_and(|at| wanted.get(at) == Some(&true))
        };
        inner.each.iter().filter(|(_, entry)| signed(entry)).map(|(key, _)| key.clone()).collect()
    }

    /// Whether the Graph subscription of an object is signed by another key than this one.
    pub fn is_signed_by_another(&self, key: &Key, current: &str) -> bool {
        let inner = self.inner();
        let life = inner.each.get(key).and_then(|entry| entry.life);
        let signer = life.and_then(|life| life.key).and_then(|at| inner.signers.get(at));
        signer.is_some_and(|signer| signer.id != current)
    }

    /// How many Graph subscriptions this key signs, and how many another or an unknown one.
    pub fn holders(&self, current: &str) -> (usize, usize) {
        let inner = self.inner();
        let signer = inner.signers.iter().find(|signer| signer.id == current);
        let holders = signer.map_or(0, |signer| signer.holders);
        (holders, inner.lives.saturating_sub(holders))
    }

    /// The subscription of an object was just authorised.
    pub fn authorized(&self, key: &Key, at: Timestamp) {
        if let Some(entry) = self.inner().each.get_mut(key) {
            entry.authorized_at = Some(at);
        }
    }

    /// When this leadership last had it authorised.
    pub fn authorized_at(&self, key: &Key) -> Option<Timestamp> {
        self.inner().each.get(key).and_then(|entry| entry.authorized_at)
    }

    /// It is the object's turn to have an outdated subscription made anew.
    pub fn give_turn(&self, key: &Key) {
        self.inner().turns.insert(key.clone());
    }

    /// Whether it is.
    pub fn has_its_turn(&self, key: &Key) -> bool {
        self.inner().turns.contains(key)
    }

    /// It was made anew.
    pub fn end_turn(&self, key: &Key) {
        self.inner().turns.remove(key);
    }

    /// Keeps what a sweep of a scope saw; returns the sums over all scopes that `exists` knows.
    pub fn swept(&self, scope: &Key, seen: Swept, exists: impl Fn(&Key) -> bool) -> Swept {
        let mut inner = self.inner();
        inner.swept.insert(scope.clone(), seen);
        inner.swept.retain(|scope, _| exists(scope));
        inner.failed_sweeps.retain(|scope, _| exists(scope));
        inner.swept.values().fold(Swept::default(), |sum, one| Swept {
            ours: sum.ours + one.ours,
            dead: sum.dead + one.dead,
            foreign: sum.foreign + one.foreign,
        })
    }

    /// A sweep of a scope ended; returns how many in a row left something undone.
    pub fn sweep_ended(&self, scope: &Key, undone: bool) -> u32 {
        let mut inner = self.inner();
        if !undone {
            inner.failed_sweeps.remove(scope);
            return 0;
        }
        let failures = inner.failed_sweeps.entry(scope.clone()).or_default();
        *failures = failures.saturating_add(1);
        *failures
    }

    /// Figures of a scope: by state, and how many have a Graph subscription.
    pub fn of_scope(&self, scope: &Key) -> (SubscriptionCounts, usize) {
        let inner = self.inner();
        inner.scopes.get(scope).map(|figures| (figures.counts.clone(), figures.remote)).unwrap_or_default()
    }

    /// Scopes whose figures changed since the last call.
    pub fn take_changed_scopes(&self) -> HashSet<Key> {
        std::mem::take(&mut self.inner().changed)
    }

    /// Puts the figures over all scopes into a metric.
    pub fn publish(&self, gauge: &IntGaugeVec) {
        let inner = self.inner();
        let sum = |figure: fn(&SubscriptionCounts) -> i64| -> i64 {
            inner.scopes.values().map(|figures| figure(&figures.counts)).sum()
        };
        for (state, value) in [
            (State::Active, sum(|counts| counts.active)),
            (State::Pending, sum(|counts| counts.pending)),
            (State::Stalled, sum(|counts| counts.stalled)),
        ] {
            gauge.with_label_values(&[state.as_str()]).set(value);
        }
    }

    /// Which lifecycle notifications were answered.
    pub fn lifecycle_answered(&self, uid: &str) -> Answered {
        self.inner().lifecycle.get(uid).copied().unwrap_or_default()
    }

    /// A lifecycle notification was answered.
    pub fn answer_lifecycle(&self, uid: &str, event: LifecycleEvent, received_at: Timestamp) {
        self.inner().lifecycle.entry(uid.to_owned()).or_default().note(event, received_at);
    }

    /// The object with that uid is gone.
    pub fn forget(&self, uid: &str) {
        self.inner().lifecycle.remove(uid);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn put_life(&mut self, key: &Key, known: Option<&GraphSubscription>) {
        let life = known.map(|known| Life {
            renew_minute: minute_of(known.renew_at.0),
            key: known.key_id.as_ref().map(|id| self.signer(id)),
        });
        let Some(entry) = self.each.get_mut(key) else { return };
        let before = std::mem::replace(&mut entry.life, life);
        if let Some(before) = before {
            self.calendar.remove(before.renew_minute);
            self.lives = self.lives.saturating_sub(1);
            if let Some(signer) = before.key.and_then(|at| self.signers.get_mut(at)) {
                signer.holders = signer.holders.saturating_sub(1);
            }
        }
        if let Some(life) = life {
            self.calendar.add(life.renew_minute);
            self.lives += 1;
            if let Some(signer) = life.key.and_then(|at| self.signers.get_mut(at)) {
                signer.holders += 1;
            }
        }
    }

    /// Place of a key.
    fn signer(&mut self, id: &str) -> usize {
        self.signers.iter().position(|signer| signer.id == id).unwrap_or_else(|| {
            self.signers.push(Signer { id: id.to_owned(), holders: 0 });
            self.signers.len() - 1
        })
    }

    fn take(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.each.remove(key)?;
        self.add(&entry.one, -1);
        Some(entry)
    }

    fn add(&mut self, one: &One, by: i64) {
        self.changed.insert(one.scope.clone());
        let figures = self.scopes.entry(one.scope.clone()).or_default();
        match one.state {
            State::Active => figures.counts.active += by,
            State::Pending => figures.counts.pending += by,
            State::Stalled => figures.counts.stalled += by,
        }
        if one.remote {
            figures.remote = if by > 0 { figures.remote + 1 } else { figures.remote.saturating_sub(1) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(status: &str) -> CalendarSubscription {
        serde_yaml::from_str(&format!(
            "apiVersion: roomkeeper.dev/v1alpha1\nkind: CalendarSubscription\nmetadata: {{name: a, namespace: n}}\n\
             spec: {{scopeRef: {{name: s}}, user: a@contoso.example}}\nstatus: {status}\n"
        ))
        .unwrap()
    }

    #[test]
    fn figures_follow_the_objects_and_return_to_nothing() {
        let (watched, key, scope) = (Watched::default(), Key::new("n", "a"), Key::new("n", "s"));
        watched.put(&key, &subscription("{}"));
        assert_eq!(
            watched.of_scope(&scope),
            (SubscriptionCounts { pending: 1, ..SubscriptionCounts::default() }, 0)
        );
        assert_eq!(watched.take_changed_scopes(), HashSet::from([scope.clone()]));
        watched.put(&key, &subscription("{}"));
        assert!(watched.take_changed_scopes().is_empty(), "an equal state is no change");
        let time = "\"2026-11-23T10:00:00Z\"";
        watched.put(
            &key,
            &subscription(&format!(
                "{{subscription: {{id: x, expiresAt: {time}, renewAt: {time}, createdAt: {time}}}, conditions: [\
                 {{type: Subscribed, status: 'True', reason: Created, message: '', lastTransitionTime: {time}}}]}}"
            )),
        );
        assert_eq!(
            watched.of_scope(&scope),
            (SubscriptionCounts { active: 1, ..SubscriptionCounts::default() }, 1)
        );
        watched.remove(&key);
        assert_eq!(watched.of_scope(&scope), (SubscriptionCounts::default(), 0));
    }

    #[test]
    fn renewals_and_keys_follow_the_objects() {
        let (watched, a, b) = (Watched::default(), Key::new("n", "a"), Key::new("n", "b"));
        let signed = |key: &str| {
            let time = "\"2026-11-23T10:00:00Z\"";
            subscription(&format!(
                "{{subscription: {{id: x, expiresAt: {time}, renewAt: {time}, createdAt: {time}, keyId: {key}}}}}"
            ))
        };
        watched.put(&a, &signed("k1"));
        watched.put(&b, &signed("k1"));
        assert_eq!(watched.holders("k1"), (2, 0));
        watched.put(&b, &signed("k2"));
        assert_eq!(watched.holders("k2"), (1, 1));
        assert_eq!(watched.signed_by(|key| key != "k2"), std::slice::from_ref(&a));
        assert!(watched.is_signed_by_another(&a, "k2") && !watched.is_signed_by_another(&b, "k2"));
        assert!(watched.signed_by(|key| key == "k3").is_empty());
        watched.give_turn(&a);
        assert!(watched.has_its_turn(&a) && !watched.has_its_turn(&b));
        watched.put(&a, &subscription("{}"));
        assert_eq!(watched.holders("k2"), (1, 0), "without a subscription there is no holder");
        watched.remove(&a);
        watched.remove(&b);
        assert!(!watched.has_its_turn(&a));
        let left = format!("{:?}", watched.inner().calendar);
        assert_eq!(left, format!("{:?}", Calendar::default()), "nothing is left behind");
    }

    #[test]
    fn sweeps_of_scopes_add_up_while_the_scopes_exist() {
        let (watched, a, b) = (Watched::default(), Key::new("n", "a"), Key::new("n", "b"));
        let seen = |ours| Swept { ours, dead: 1, foreign: 0 };
        assert_eq!(watched.swept(&a, seen(2), |_| true), seen(2));
        assert_eq!(watched.swept(&b, seen(3), |_| true), Swept { ours: 5, dead: 2, foreign: 0 });
        assert_eq!(watched.sweep_ended(&a, true), 1);
        assert_eq!((watched.sweep_ended(&b, true), watched.sweep_ended(&b, true)), (1, 2));
        assert_eq!(watched.swept(&b, seen(4), |key| *key == b), seen(4));
        assert_eq!(watched.sweep_ended(&a, true), 1, "begins anew");
        assert_eq!((watched.sweep_ended(&b, false), watched.sweep_ended(&b, true)), (0, 1));
    }
}
