//! Whether a fresh read of the groups may end as many subscriptions as it would. Pure.
//!
//! A group that was emptied by mistake must not wipe a company's subscriptions. A shrink is large when it would end at least 10
//! living subscriptions and more than `membership.maxShrinkPercent` of them; then everybody with a living subscription stays
//! within the scope until a person confirms, and whatever else was read counts. The living subscriptions are those in the cluster,
//! not those of an earlier read: so a restart forgets nothing, and a change of the policies is held back like one of the groups.

use roomkeeper_graph::UserId;
use sha2::{Digest as _, Sha256};

use super::directory::Members;

/// A shrink that ends fewer is never held back.
const SMALLEST: usize = 10;

/// Bytes of the hash that a person has to repeat.
const TOKEN_BYTES: usize = 6;

/// A large shrink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrink {
    /// Living subscriptions that it would end.
    pub ending: usize,
    /// Living subscriptions.
    pub living: usize,
    /// What confirms it: says which users would lose their subscription, in whatever order, and nothing about them.
    pub token: String,
}

/// The large shrink that these members would bring about, if it is one.
pub fn large(living: &[UserId], members: &Members, max_percent: u8) -> Option<Shrink> {
    let mut ending: Vec<&UserId> = living.iter().filter(|user| !members.contains(user)).collect();
    if ending.len() < SMALLEST || ending.len() * 100 <= living.len() * usize::from(max_percent) {
        return None;
    }
    ending.sort_unstable();
    let mut hash = Sha256::new();
    for user in &ending {
        hash.update(user.as_str());
    }
    let number =
        hash.finalize().iter().take(TOKEN_BYTES).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let token = format!("{number:0width$x}", width = 2 * TOKEN_BYTES);
    Some(Shrink { ending: ending.len(), living: living.len(), token })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use roomkeeper_crds::access_scope::PolicyMode;
    use uuid::Uuid;

    use super::*;
    use crate::access_scope::directory::Policy;

    fn users(numbers: std::ops::RangeInclusive<u128>) -> Vec<UserId> {
        numbers.map(|number| Uuid::from_u128(number).into()).collect()
    }

    fn members(numbers: std::ops::RangeInclusive<u128>) -> Members {
        let policy = Policy { mode: PolicyMode::RestrictAccess, group: Uuid::nil().into() };
        Members::new([(policy, users(numbers).into_iter().collect())], Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn large_is_ten_or_more_and_more_than_the_share() {
        let ends = |count: u128, percent, living: u128| {
            large(&users(1..=living), &members(count.saturating_add(1)..=1000), percent)
                .map(|shrink| shrink.ending)
        };
        assert_eq!(ends(20, 20, 100), None, "exactly the share");
        assert_eq!(ends(21, 20, 100), Some(21));
        assert_eq!(ends(9, 0, 100), None, "fewer than ten are never held");
        assert_eq!(ends(10, 0, 100), Some(10));
        assert_eq!(ends(100, 100, 100), None, "100 percent hold nothing back");
        assert_eq!(ends(9, 20, 9), None, "a whole small company");
        assert_eq!(ends(10, 20, 10), Some(10));
    }

    #[test]
    fn the_token_names_one_change_in_whatever_order() {
        let token =
            |living: &[UserId], members: &Members| large(living, members, 20).map(|shrink| shrink.token);
        let mut living = users(1..=30);
        let first = token(&living, &members(21..=30));
        assert_eq!(first.as_ref().map(String::len), Some(12));
        living.reverse();
        assert_eq!(token(&living, &members(21..=30)), first);
        assert_ne!(token(&living, &members(22..=30)), first);
    }

    #[test]
    fn nobody_spared_loses_what_they_have_and_nobody_else_gains() {
        let spared = members(21..=40).sparing(users(1..=30));
        assert!(users(1..=40).iter().all(|user| spared.contains(user)));
        assert!(!users(41..=50).iter().any(|user| spared.contains(user)));
        assert_eq!(spared.count(), Some(20), "as the groups have it");
    }
}
