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
    condition::{self, Type},
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

#[derive(Debug, Default)]
struct Figures {
    counts: SubscriptionCounts,
    remote: usize,
}

#[derive(Debug, Default)]
struct Inner {
    each: HashMap<Key, One>,
    scopes: HashMap<Key, Figures>,
    changed: HashSet<Key>,
    lifecycle: HashMap<String, Timestamp>,
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
        let mut inner = self.inner();
        if inner.each.get(key) != Some(&one) {
            inner.take(key);
            inner.add(&one, 1);
            inner.each.insert(key.clone(), one);
        }
    }

    /// An object is gone.
    pub fn remove(&self, key: &Key) {
        self.inner().take(key);
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

    /// When the lifecycle notification that was answered last had been taken.
    pub fn lifecycle_answered(&self, uid: &str) -> Option<Timestamp> {
        self.inner().lifecycle.get(uid).copied()
    }

    /// A lifecycle notification was answered.
    pub fn answer_lifecycle(&self, uid: &str, received_at: Timestamp) {
        self.inner().lifecycle.insert(uid.to_owned(), received_at);
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
    fn take(&mut self, key: &Key) {
        if let Some(one) = self.each.remove(key) {
            self.add(&one, -1);
        }
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
}
