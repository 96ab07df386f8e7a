//! How much may be asked within a time (graph-facts §5): a window that slides, in simulated time.

use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
    time::Duration,
};

use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use uuid::Uuid;

use crate::{app::lock, errors::GraphError};

/// Window of the limits on subscriptions.
const SUBSCRIPTIONS: Duration = Duration::from_secs(20);
/// Window of the limit per app and mailbox.
const MAILBOX: Duration = Duration::from_mins(10);

/// The limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Writes on subscriptions per app and tenant in 20 seconds.
    pub(crate) subscription_writes: usize,
    /// Calls on subscriptions per app and tenant in 20 seconds.
    pub(crate) subscription_calls: usize,
    /// Calls per app and mailbox in 10 minutes.
    pub(crate) mailbox_requests: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Writes(Uuid, Uuid),
    Calls(Uuid, Uuid),
    Mailbox(Uuid, Uuid, Uuid),
}

/// When what was asked.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    asked: Mutex<HashMap<Key, VecDeque<Timestamp>>>,
    refused: Mutex<u64>,
}

impl Quota {
    /// A call on subscriptions.
    pub(crate) fn subscription(
        &self,
        limits: Limits,
        (tenant, app): (Uuid, Uuid),
        writes: bool,
        now: Timestamp,
    ) -> Result<(), GraphError> {
        self.take(Key::Calls(tenant, app), limits.subscription_calls, SUBSCRIPTIONS, now)?;
        if writes {
            self.take(Key::Writes(tenant, app), limits.subscription_writes, SUBSCRIPTIONS, now)?;
        }
        Ok(())
    }

    /// A call on a mailbox.
    pub(crate) fn mailbox(
        &self,
        limits: Limits,
        (tenant, app, user): (Uuid, Uuid, Uuid),
        now: Timestamp,
    ) -> Result<(), GraphError> {
        self.take(Key::Mailbox(tenant, app, user), limits.mailbox_requests, MAILBOX, now)
    }

    /// Calls refused so far.
    pub(crate) fn refused(&self) -> u64 {
        *lock(&self.refused)
    }

    fn take(&self, key: Key, most: usize, window: Duration, now: Timestamp) -> Result<(), GraphError> {
        let mut all = lock(&self.asked);
        let asked = all.entry(key).or_default();
        let since = now.checked_sub(window).unwrap_or(Timestamp::MIN);
        while asked.front().is_some_and(|at| *at <= since) {
            asked.pop_front();
        }
        // A refused call counts too (graph-facts §5).
        asked.push_back(now);
        if asked.len() <= most {
            return Ok(());
        }
        while asked.len() > most.saturating_mul(2).max(1) {
            asked.pop_front();
        }
        *lock(&self.refused) += 1;
        let oldest = asked.iter().rev().nth(most.saturating_sub(1)).copied().unwrap_or(now);
        let left = window.saturating_sub(Duration::try_from(now.duration_since(oldest)).unwrap_or_default());
        Err(GraphError::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", "Too many requests.")
            .with_header(header::RETRY_AFTER, HeaderValue::from(left.as_secs().max(1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exceeds_the_window_waits_for_its_end() {
        let quota = Quota::default();
        let limits = Limits { subscription_writes: 2, subscription_calls: 100, mailbox_requests: 1 };
        let app = (Uuid::nil(), Uuid::nil());
        let at = |second: i64| Timestamp::from_second(1_700_000_000 + second).unwrap();
        let write = |second: i64| quota.subscription(limits, app, true, at(second)).is_ok();
        assert!(write(0) && write(1) && !write(2));
        assert!(quota.subscription(limits, app, false, at(3)).is_ok(), "reads have a limit of their own");
        assert!(
            quota.subscription(limits, (Uuid::max(), Uuid::nil()), true, at(3)).is_ok(),
            "another tenant"
        );
        assert!(write(40), "the window has passed");
        assert_eq!(quota.refused(), 1);
    }
}
