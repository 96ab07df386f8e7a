//! How often one may ask. Each pod counts for itself, so that with two of them at most twice as much gets through.

use std::{hash::Hash, net::IpAddr, num::NonZeroU32, time::Duration};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use roomkeeper_graph::UserId;

use crate::http::client_address::household;

/// Grants and withdrawals of one user at once, and then per minute.
const CHANGES: (NonZeroU32, NonZeroU32) = (NonZeroU32::new(10).unwrap(), NonZeroU32::new(20).unwrap());
/// Looks of one user. The page needs 30 a minute while it waits for the subscription.
const LOOKS: (NonZeroU32, NonZeroU32) = (NonZeroU32::new(30).unwrap(), NonZeroU32::new(60).unwrap());
/// Users or addresses remembered before those at rest are forgotten.
const KEPT: usize = 10_000;

/// All limits.
pub(super) struct Rates {
    changes: Limit<UserId>,
    looks: Limit<UserId>,
    addresses: Limit<IpAddr>,
}

/// One has to wait that long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wait(pub(super) Duration);

impl Rates {
    /// `per_address`: requests of one address per minute, half of them at once. Many people can share one.
    pub(super) fn new(per_address: NonZeroU32) -> Self {
        let burst = NonZeroU32::new(per_address.get() / 2).unwrap_or(NonZeroU32::MIN);
        Self {
            changes: Limit::new(CHANGES),
            looks: Limit::new(LOOKS),
            addresses: Limit::new((burst, per_address)),
        }
    }

    /// A request, whoever sends it.
    pub(super) fn request(&self, from: IpAddr) -> Result<(), Wait> {
        self.addresses.take(&household(from))
    }

    /// A look of a user whose token is good.
    pub(super) fn look(&self, user: UserId) -> Result<(), Wait> {
        self.looks.take(&user)
    }

    /// A grant or a withdrawal of a user whose token is good.
    pub(super) fn change(&self, user: UserId) -> Result<(), Wait> {
        self.changes.take(&user)
    }
}

struct Limit<K: Hash + Eq + Clone>(DefaultKeyedRateLimiter<K>);

impl<K: Hash + Eq + Clone> Limit<K> {
    fn new((burst, per_minute): (NonZeroU32, NonZeroU32)) -> Self {
        Self(RateLimiter::keyed(Quota::per_minute(per_minute).allow_burst(burst)))
    }

    fn take(&self, key: &K) -> Result<(), Wait> {
        if self.0.len() > KEPT {
            self.0.retain_recent();
        }
        self.0.check_key(key).map_err(|until| Wait(until.wait_time_from(DefaultClock::default().now())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(last: u8) -> UserId {
        UserId::parse(&format!("2189c720-90d5-44ff-818b-fe585706ee{last:02x}")).unwrap()
    }

    #[test]
    fn each_user_has_a_rate_of_their_own() {
        let rates = Rates::new(NonZeroU32::new(4).unwrap());
        assert!((0..30).all(|_| rates.look(user(1)).is_ok()));
        let Wait(wait) = rates.look(user(1)).unwrap_err();
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        assert!(rates.look(user(2)).is_ok());
        assert!((0..10).all(|_| rates.change(user(1)).is_ok()), "looking does not use up changes");
        assert!(rates.change(user(1)).is_err());
    }

    #[test]
    fn each_address_has_a_rate_of_its_own() {
        let rates = Rates::new(NonZeroU32::new(4).unwrap());
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!((0..2).all(|_| rates.request(address("2001:db8::1")).is_ok()));
        assert!(rates.request(address("2001:db8::2")).is_err(), "of the same network");
        assert!(rates.request(address("2001:db8:0:1::1")).is_ok());
    }
}
