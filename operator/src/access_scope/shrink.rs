//! Whether a fresh read of the groups may end as many subscriptions as it would. Pure.
//!
//! A group that was emptied by mistake must not wipe a company's subscriptions. A shrink is large when it would end at least 10
//! living subscriptions and more than `membership.maxShrinkPercent` of them; then everybody with a living subscription stays
//! within the scope until a person confirms, and whatever else was read counts. The living subscriptions are those in the cluster,
//! not those of an earlier read: so a restart forgets nothing, and a change of the policies is held back like one of the groups.
//!
//! What is held stays held, however the figures move meanwhile, until the groups have everybody back or a person confirms it. What
//! is confirmed stays confirmed until it is carried out, which takes an hour for a hundred thousand subscriptions, and then confirms
//! nothing else. Both are kept in the scope's status.

use jiff::Timestamp;
use roomkeeper_graph::UserId;
use sha2::{Digest as _, Sha256};

use super::directory::Members;

/// A shrink that ends fewer is never held back.
const SMALLEST: usize = 10;

/// Bytes of the hash that a person has to repeat.
const TOKEN_BYTES: usize = 6;

/// A share of everything holds nothing back.
const ALL_PERCENT: u8 = 100;

/// A large shrink that was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// When it was first seen.
    pub since: Timestamp,
    /// Living subscriptions that it would end, or has still to end.
    pub ending: usize,
    /// Whether a person confirmed it.
    pub confirmed: bool,
}

/// Where the decision is taken.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// Share of the living subscriptions, in percent, that may end unasked.
    pub max_percent: u8,
    /// What was seen before.
    pub known: Option<Known>,
    /// What a person confirms.
    pub confirmed: Option<&'a str>,
    /// The present.
    pub now: Timestamp,
}

/// What becomes of a read of the groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It takes effect; this is left of a shrink that was confirmed.
    Passes(Option<Known>),
    /// It takes effect but for those who would lose their subscription.
    Held(Held),
}

/// A shrink that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Since when, and how large it is now.
    pub known: Known,
    /// Living subscriptions.
    pub living: usize,
    /// What confirms it: says which users would lose their subscription, in whatever order, and nothing about them. Another hold
    /// has another one, also for the same users.
    pub token: String,
}

/// Decides about members that were just read.
pub fn judge(living: &[UserId], members: &Members, here: Circumstances<'_>) -> Verdict {
    let mut ending: Vec<&UserId> = living.iter().filter(|user| !members.contains(user)).collect();
    if ending.is_empty() || here.max_percent >= ALL_PERCENT {
        return Verdict::Passes(None);
    }
    let since = match here.known {
        // Others may leave while it is carried out, as few as at any other time.
        Some(known) if known.confirmed && ending.len() < known.ending + SMALLEST => {
            return Verdict::Passes(Some(Known { ending: ending.len().min(known.ending), ..known }));
        }
        Some(known) if !known.confirmed => known.since,
        _ if is_large(ending.len(), living.len(), here.max_percent) => here.now,
        _ => return Verdict::Passes(None),
    };
    ending.sort_unstable();
    let (known, token) = (Known { since, ending: ending.len(), confirmed: false }, token(since, &ending));
    if here.confirmed == Some(token.as_str()) {
        return Verdict::Passes(Some(Known { confirmed: true, ..known }));
    }
    Verdict::Held(Held { known, living: living.len(), token })
}

/// Whether so many of the living may not go unasked.
pub fn is_large(ending: usize, living: usize, max_percent: u8) -> bool {
    max_percent < ALL_PERCENT
        && ending >= SMALLEST
        && ending * usize::from(ALL_PERCENT) > living * usize::from(max_percent)
}

fn token(since: Timestamp, ending: &[&UserId]) -> String {
    let mut hash = Sha256::new();
    hash.update(since.as_second().to_be_bytes());
    for user in ending {
        hash.update(user.as_str());
    }
    let number =
        hash.finalize().iter().take(TOKEN_BYTES).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("{number:0width$x}", width = 2 * TOKEN_BYTES)
}

#[cfg(test)]
mod tests {
    use std::ops::RangeInclusive;

    use roomkeeper_crds::access_scope::PolicyMode;
    use uuid::Uuid;

    use super::*;
    use crate::access_scope::directory::Policy;

    fn users(numbers: RangeInclusive<u128>) -> Vec<UserId> {
        numbers.map(|number| Uuid::from_u128(number).into()).collect()
    }

    fn members(numbers: RangeInclusive<u128>) -> Members {
        let policy = Policy { mode: PolicyMode::RestrictAccess, group: Uuid::nil().into() };
        Members::new([(policy, users(numbers).into_iter().collect())], Timestamp::UNIX_EPOCH)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn here(second: i64) -> Circumstances<'static> {
        Circumstances { max_percent: 20, known: None, confirmed: None, now: at(second) }
    }

    fn held(verdict: Verdict) -> Held {
        let Verdict::Held(held) = verdict else { panic!("{verdict:?}") };
        held
    }

    #[test]
    fn large_is_ten_or_more_and_more_than_the_share() {
        let ends = |count: u128, max_percent, living: u128| {
            let here = Circumstances { max_percent, ..here(0) };
            match judge(&users(1..=living), &members(count.saturating_add(1)..=1000), here) {
                Verdict::Held(held) => Some(held.known.ending),
                Verdict::Passes(left) => {
                    assert_eq!(left, None);
                    None
                }
            }
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
        let token = |living: &[UserId], members: &Members| held(judge(living, members, here(0))).token;
        let mut living = users(1..=30);
        let first = token(&living, &members(21..=30));
        assert_eq!(first.len(), 12);
        living.reverse();
        assert_eq!(token(&living, &members(21..=30)), first);
        assert_ne!(token(&living, &members(22..=30)), first);
    }

    #[test]
    fn what_is_held_stays_held_while_the_figures_move() {
        let first = held(judge(&users(1..=100), &members(26..=100), here(0)));
        let known = Some(first.known);
        for (what, living, within, ending) in [
            ("thirty newcomers make it a smaller share", users(1..=130), members(26..=130), 25),
            ("all but two come back", users(1..=100), members(3..=100), 2),
            ("some lose what they have in another way", users(20..=100), members(26..=100), 6),
        ] {
            let now = held(judge(&living, &within, Circumstances { known, ..here(60) }));
            assert_eq!((now.known.ending, now.known.since), (ending, at(0)), "{what}");
        }
        let back = judge(&users(1..=100), &members(1..=100), Circumstances { known, ..here(60) });
        assert_eq!(back, Verdict::Passes(None), "everybody is back");
        let opened =
            judge(&users(1..=100), &members(26..=100), Circumstances { known, max_percent: 100, ..here(60) });
        assert_eq!(opened, Verdict::Passes(None), "the guard was taken away");
    }

    #[test]
    fn what_was_confirmed_is_carried_out_and_confirms_nothing_else() {
        let first = held(judge(&users(1..=100), &members(51..=100), here(0)));
        let confirmed = Some(first.token.as_str());
        let judged = |living: RangeInclusive<u128>, within: RangeInclusive<u128>, known, second| {
            judge(&users(living), &members(within), Circumstances { known, confirmed, ..here(second) })
        };
        let Verdict::Passes(Some(known)) = judged(1..=100, 51..=100, Some(first.known), 60) else { panic!() };
        assert_eq!(known, Known { since: at(0), ending: 50, confirmed: true });
        // Half of it is done, perhaps by another leader: what is left is not asked about again.
        let Verdict::Passes(Some(known)) = judged(26..=100, 51..=100, Some(known), 900) else { panic!() };
        assert_eq!(known.ending, 25);
        let Verdict::Passes(Some(few)) = judged(26..=100, 60..=100, Some(known), 900) else { panic!() };
        assert_eq!(few.ending, 25, "nine more may leave meanwhile, and the account is not raised by them");
        let others = held(judged(26..=100, 61..=100, Some(known), 1_000));
        assert_eq!((others.known.ending, others.known.since), (35, at(1_000)), "ten more are another shrink");
        assert_eq!(
            judged(51..=100, 51..=100, Some(known), 1_800),
            Verdict::Passes(None),
            "it is carried out"
        );
        // They come back, and the very same users leave once more by mistake.
        let again = held(judged(1..=100, 51..=100, None, 86_400));
        assert_ne!(again.token, first.token);
    }

    #[test]
    fn nobody_spared_loses_what_they_have_and_nobody_else_gains() {
        let spared = members(21..=40).sparing(users(1..=30));
        assert!(users(1..=40).iter().all(|user| spared.contains(user)));
        assert!(!users(41..=50).iter().any(|user| spared.contains(user)));
        assert_eq!(spared.count(), Some(20), "as the groups have it");
    }
}
