//! Who is within which scope. In memory only: members never reach a status, a log or a metric.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use jiff::Timestamp;
use roomkeeper_crds::access_scope::PolicyMode;
use roomkeeper_graph::{GroupId, UserId};

/// One policy, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// In or out.
    pub mode: PolicyMode,
    /// Whose members.
    pub group: GroupId,
}

/// The members of a scope's policy groups at one time.
#[derive(Clone, PartialEq, Eq)]
pub struct Members {
    /// The policies that were read.
    policies: Vec<Policy>,
    /// Members of the RestrictAccess groups; `None` without such a group.
    restricted: Option<HashSet<UserId>>,
    /// Members of the DenyAccess groups.
    denied: HashSet<UserId>,
    /// Whoever keeps a subscription until a large shrink is confirmed.
    spared: HashSet<UserId>,
    /// When.
    resolved_at: Timestamp,
}

/// Shows figures, not people.
impl std::fmt::Debug for Members {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Members")
            .field("restricted", &self.restricted.as_ref().map(HashSet::len))
            .field("denied", &self.denied.len())
            .field("resolved_at", &self.resolved_at)
            .finish_non_exhaustive()
    }
}

impl Members {
    /// From the members of each policy's group.
    pub fn new(groups: impl IntoIterator<Item = (Policy, HashSet<UserId>)>, resolved_at: Timestamp) -> Self {
        let (mut policies, mut restricted, mut denied) = (Vec::new(), None, HashSet::new());
        for (policy, members) in groups {
            policies.push(policy);
            match policy.mode {
                PolicyMode::RestrictAccess => restricted.get_or_insert_with(HashSet::new).extend(members),
                PolicyMode::DenyAccess => denied.extend(members),
            }
        }
        Self { policies, restricted, denied, spared: HashSet::new(), resolved_at }
    }

    /// The same, but nobody of these loses what they have.
    #[must_use]
    pub fn sparing(self, spared: impl IntoIterator<Item = UserId>) -> Self {
        Self { spared: spared.into_iter().collect(), ..self }
    }

    /// Whether a user is within: deny beats restrict, and with any restrict policy only members are.
    pub fn contains(&self, user: &UserId) -> bool {
        let within = !self.denied.contains(user)
            && self.restricted.as_ref().is_none_or(|members| members.contains(user));
        within || self.spared.contains(user)
    }

    /// How many users are within; `None` where everybody is but some.
    pub fn count(&self) -> Option<usize> {
        let restricted = self.restricted.as_ref()?;
        Some(restricted.iter().filter(|user| !self.denied.contains(*user)).count())
    }

    /// When the groups were read.
    pub fn resolved_at(&self) -> Timestamp {
        self.resolved_at
    }

    /// Whether these are the members that those policies ask for.
    pub fn answer(&self, policies: &[Policy]) -> bool {
        self.policies == policies
    }
}

/// The last good members of each scope, by the scope's uid.
#[derive(Debug, Default)]
pub struct Directory(RwLock<HashMap<String, Arc<Members>>>);

impl Directory {
    /// The last good members.
    pub fn get(&self, scope_uid: &str) -> Option<Arc<Members>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(scope_uid).cloned()
    }

    /// Replaces them; returns those before.
    pub fn put(&self, scope_uid: &str, members: Arc<Members>) -> Option<Arc<Members>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(scope_uid.to_owned(), members)
    }

    /// The scope is gone.
    pub fn remove(&self, scope_uid: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(scope_uid);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn user(number: u8) -> UserId {
        Uuid::from_u128(u128::from(number)).into()
    }

    fn members(groups: &[(PolicyMode, &[u8])]) -> Members {
        let groups = groups.iter().map(|(mode, users)| {
            let policy = Policy { mode: *mode, group: Uuid::nil().into() };
            (policy, users.iter().map(|number| user(*number)).collect())
        });
        Members::new(groups, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn deny_beats_restrict_and_restrict_lets_members_in_only() {
        use PolicyMode::{DenyAccess, RestrictAccess};
        let both = members(&[(RestrictAccess, &[1, 2]), (DenyAccess, &[2, 3]), (RestrictAccess, &[4])]);
        let within: Vec<bool> = (1..=5).map(|number| both.contains(&user(number))).collect();
        assert_eq!(within, [true, false, false, true, false]);
        assert_eq!(both.count(), Some(2));
        let deny = members(&[(DenyAccess, &[2])]);
        assert!(deny.contains(&user(1)) && !deny.contains(&user(2)));
        assert_eq!(deny.count(), None);
    }

    proptest! {
        #[test]
        fn nobody_denied_is_ever_within(restrict in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)),
                                        deny in proptest::collection::vec(any::<u8>(), 0..20), who: u8) {
            let mut groups = vec![(PolicyMode::DenyAccess, deny.as_slice())];
            if let Some(restrict) = &restrict {
                groups.push((PolicyMode::RestrictAccess, restrict.as_slice()));
            }
            let within = members(&groups).contains(&user(who));
            prop_assert_eq!(within, !deny.contains(&who) && restrict.is_none_or(|members| members.contains(&who)));
        }
    }
}
