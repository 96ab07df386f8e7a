//! What a sweep saw at Graph that the reconciler of a CalendarSubscription has to look at. The reconciler decides, because
//! only there nothing else happens to the same object at the same time.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use roomkeeper_graph::SubscriptionId;

/// One subscription at Graph that belongs to a CalendarSubscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Its id.
    pub id: SubscriptionId,
    /// Whether its notifications come to the public URL of today and are signed with the key of today.
    pub current: bool,
}

/// By the uid of the CalendarSubscription. An empty list says that none was seen.
#[derive(Debug, Default)]
pub struct Sightings(Mutex<HashMap<String, Vec<Sighting>>>);

impl Sightings {
    /// What is to be looked at.
    pub fn get(&self, uid: &str) -> Option<Vec<Sighting>> {
        self.all().get(uid).cloned()
    }

    /// Puts something to be looked at.
    pub fn put(&self, uid: &str, seen: Vec<Sighting>) {
        self.all().insert(uid.to_owned(), seen);
    }

    /// These are ended; what else was seen stays to be looked at.
    pub fn ended(&self, uid: &str, ids: &[SubscriptionId]) {
        let mut all = self.all();
        if let Some(seen) = all.get_mut(uid) {
            seen.retain(|one| !ids.contains(&one.id));
            // An empty list would say that none was seen.
            if seen.is_empty() {
                all.remove(uid);
            }
        }
    }

    /// Uids of objects with a subscription under another public URL or key than today's.
    pub fn outdated(&self) -> Vec<String> {
        let all = self.all();
        all.iter()
            .filter(|(_, seen)| seen.iter().any(|one| !one.current))
            .map(|(uid, _)| uid.clone())
            .collect()
    }

    /// It was looked at, or the object is gone.
    pub fn forget(&self, uid: &str) {
        self.all().remove(uid);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Vec<Sighting>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_is_ended_leaves_the_rest_and_never_an_empty_list() {
        let id = |number: u128| SubscriptionId::from(Uuid::from_u128(number));
        let seen = |number, current| Sighting { id: id(number), current };
        let sightings = Sightings::default();
        sightings.put("a", vec![seen(1, false), seen(2, true)]);
        sightings.put("b", vec![]);
        assert_eq!(sightings.outdated(), ["a"]);
        sightings.ended("a", &[id(2)]);
        assert_eq!(sightings.get("a"), Some(vec![seen(1, false)]));
        sightings.ended("a", &[id(1)]);
        assert_eq!(sightings.get("a"), None);
        assert_eq!(sightings.get("b"), Some(vec![]), "none was seen");
    }
}
