//! Until when this replica may act as the leader.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use roomkeeper_graph::http::SendGate;

/// Shared by everything that sends to Graph or to a booking product: neither can be fenced from outside, so that the
/// deadline is looked at immediately before each request leaves.
#[derive(Clone, Debug, Default)]
pub struct LeaderDeadline(Arc<Mutex<Option<Instant>>>);

/// This replica does not hold the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this replica is not the leader")]
pub struct NotLeader;

impl LeaderDeadline {
    /// Passes while the lease is proven to be ours.
    ///
    /// # Errors
    /// Before the election, after a loss, and once the deadline has passed unrenewed.
    pub fn check(&self) -> Result<(), NotLeader> {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(deadline) if Instant::now() < deadline => Ok(()),
            _ => Err(NotLeader),
        }
    }

    /// The lease was renewed: it is ours until then.
    pub(super) fn set(&self, deadline: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
    }

    /// The lease is lost or given up.
    pub(super) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl SendGate for LeaderDeadline {
    fn check(&self) -> Result<(), &'static str> {
        Self::check(self).map_err(|NotLeader| "this replica is not the leader")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_is_open_only_between_a_renewal_and_the_deadline() {
        let deadline = LeaderDeadline::default();
        assert_eq!(deadline.check(), Err(NotLeader));
        deadline.set(Instant::now() + Duration::from_hours(1));
        assert_eq!(deadline.check(), Ok(()));
        deadline.set(Instant::now());
        assert_eq!(deadline.check(), Err(NotLeader));
        deadline.set(Instant::now() + Duration::from_hours(1));
        deadline.clear();
        assert_eq!(SendGate::check(&deadline), Err("this replica is not the leader"));
    }
}
