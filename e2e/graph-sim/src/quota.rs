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
/// Window of the resource units of users and groups.
const RESOURCE_UNITS: Duration = Duration::from_secs(10);
/// How often windows that nobody asks any more are forgotten.
const SWEEP: Duration = Duration::from_mins(1);

/// The limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Writes on subscriptions per app and tenant in 20 seconds.
    pub(crate) subscription_writes: usize,
    /// Calls on subscriptions per app and tenant in 20 seconds.
    pub(crate) subscription_calls: usize,
    /// Writes on subscriptions per tenant in 20 seconds, all apps together.
    pub(crate) tenant_subscription_writes: usize,
    /// Calls on subscriptions per tenant in 20 seconds, all apps together.
    pub(crate) tenant_subscription_calls: usize,
    /// Calls per app and mailbox in 10 minutes.
    pub(crate) mailbox_requests: usize,
    /// Resource units of users and groups per app and tenant in 10 seconds, whatever the size of the tenant.
    pub(crate) resource_units: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Writes(Uuid, Uuid),
    Calls(Uuid, Uuid),
    TenantWrites(Uuid),
    TenantCalls(Uuid),
    Mailbox(Uuid, Uuid, Uuid),
    ResourceUnits(Uuid, Uuid),
}

/// What was asked within a window, oldest first, with its weight.
#[derive(Debug, Default)]
struct Window {
    asked: VecDeque<(Timestamp, usize)>,
    sum: usize,
}

/// The limit was passed; how long until a call of the same weight fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passed(Duration);

impl Passed {
    /// Whole seconds that are no shorter: who waits exactly that long is let in.
    pub(crate) fn retry_after(self) -> HeaderValue {
        let seconds = self.0.as_secs() + u64::from(self.0.subsec_nanos() > 0);
        HeaderValue::from(seconds.max(1))
    }
}

impl Window {
    /// Counts a call; how much of the limit is used with it, or how long to wait.
    fn take(
        &mut self,
        weight: usize,
        most: usize,
        window: Duration,
        now: Timestamp,
    ) -> Result<usize, Passed> {
        let since = now.checked_sub(window).unwrap_or(Timestamp::MIN);
        while self.asked.front().is_some_and(|(at, _)| *at <= since) {
            self.forget_oldest();
        }
        // A refused call counts too (graph-facts §5).
        self.asked.push_back((now, weight));
        self.sum = self.sum.saturating_add(weight);
        if self.sum <= most {
            return Ok(self.sum);
        }
        // Who never stops asking needs no more memory than who does.
        while self.sum > most.saturating_mul(2).max(weight) {
            self.forget_oldest();
        }
        // Room is there once the newest of those that leave too little of it has left.
        let mut room = most.saturating_sub(weight);
        let in_the_way = self.asked.iter().rev().find(|(_, weight)| match room.checked_sub(*weight) {
            Some(left) => {
                room = left;
                false
            }
            None => true,
        });
        let at = in_the_way.map_or(now, |(at, _)| *at);
        Err(Passed(window.saturating_sub(Duration::try_from(now.duration_since(at)).unwrap_or_default())))
    }

    fn forget_oldest(&mut self) {
        if let Some((_, weight)) = self.asked.pop_front() {
            self.sum = self.sum.saturating_sub(weight);
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    windows: HashMap<Key, Window>,
    sweep: Option<Timestamp>,
    refused: u64,
}

/// When what was asked.
#[derive(Debug, Default)]
pub(crate) struct Quota(Mutex<Inner>);

impl Quota {
    /// A call on subscriptions.
    pub(crate) fn subscription(
        &self,
        limits: Limits,
        (tenant, app): (Uuid, Uuid),
        writes: bool,
        now: Timestamp,
    ) -> Result<(), GraphError> {
        let calls = [
            (Key::TenantCalls(tenant), limits.tenant_subscription_calls),
            (Key::Calls(tenant, app), limits.subscription_calls),
        ];
        let written = [
            (Key::TenantWrites(tenant), limits.tenant_subscription_writes),
            (Key::Writes(tenant, app), limits.subscription_writes),
        ];
        // Each window counts the call, whichever of them refuses it.
        let all = calls.into_iter().chain(written.into_iter().filter(|_| writes));
        let passed = all.filter_map(|(key, most)| self.take(key, 1, most, SUBSCRIPTIONS, now).err());
        match passed.max_by_key(|passed| passed.0) {
            Some(passed) => Err(self.refuse(passed, "TooManyRequests", "Too many requests.")),
            None => Ok(()),
        }
    }

    /// A call on a mailbox.
    pub(crate) fn mailbox(
        &self,
        limits: Limits,
        (tenant, app, user): (Uuid, Uuid, Uuid),
        now: Timestamp,
    ) -> Result<(), GraphError> {
        self.take(Key::Mailbox(tenant, app, user), 1, limits.mailbox_requests, MAILBOX, now)
            .map(drop)
            .map_err(|passed| {
                self.refuse(passed, "ApplicationThrottled", "Application is over its MailboxRequests limit.")
            })
    }

    /// A call on users or groups; how many of the units are used with it.
    pub(crate) fn resource_units(
        &self,
        (tenant, app): (Uuid, Uuid),
        units: usize,
        most: usize,
        now: Timestamp,
    ) -> Result<usize, GraphError> {
        self.take(Key::ResourceUnits(tenant, app), units, most, RESOURCE_UNITS, now)
            .map_err(|passed| self.refuse(passed, "TooManyRequests", "Too many requests."))
    }

    /// Calls refused so far.
    pub(crate) fn refused(&self) -> u64 {
        lock(&self.0).refused
    }

    fn take(
        &self,
        key: Key,
        weight: usize,
        most: usize,
        window: Duration,
        now: Timestamp,
    ) -> Result<usize, Passed> {
        let mut inner = lock(&self.0);
        if inner.sweep.is_none_or(|at| at <= now) {
            inner.sweep = now.checked_add(SWEEP).ok();
            // No window is longer than a mailbox's.
            let since = now.checked_sub(MAILBOX).unwrap_or(Timestamp::MIN);
            inner.windows.retain(|_, window| window.asked.back().is_some_and(|(at, _)| *at > since));
        }
        inner.windows.entry(key).or_default().take(weight, most, window, now)
    }

    fn refuse(&self, passed: Passed, code: &'static str, message: &'static str) -> GraphError {
        lock(&self.0).refused += 1;
        GraphError::new(StatusCode::TOO_MANY_REQUESTS, code, message)
            .with_header(header::RETRY_AFTER, passed.retry_after())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        subscription_writes: 2,
        subscription_calls: 100,
        tenant_subscription_writes: 3,
        tenant_subscription_calls: 100,
        mailbox_requests: 1,
        resource_units: None,
    };

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + millis).unwrap()
    }

    fn told(refused: &GraphError) -> i64 {
        refused.headers[0].1.to_str().unwrap().parse().unwrap()
    }

    #[test]
    fn what_exceeds_the_window_waits_for_its_end() {
        let quota = Quota::default();
        let app = (Uuid::nil(), Uuid::nil());
        let write = |second: i64| quota.subscription(LIMITS, app, true, at(second * 1_000)).is_ok();
        assert!(write(0) && write(1) && !write(2));
        assert!(quota.subscription(LIMITS, app, false, at(3_000)).is_ok(), "reads have a limit of their own");
        let other_tenant = (Uuid::max(), Uuid::nil());
        assert!(quota.subscription(LIMITS, other_tenant, true, at(3_000)).is_ok());
        assert!(write(40), "the window has passed");
        assert_eq!(quota.refused(), 1);
    }

    #[test]
    fn the_apps_of_a_tenant_share_its_limit() {
        let quota = Quota::default();
        let write = |app: u128| quota.subscription(LIMITS, (Uuid::nil(), Uuid::from_u128(app)), true, at(0));
        for app in 1..=3 {
            write(app).unwrap();
        }
        assert_eq!(write(4).unwrap_err().status, StatusCode::TOO_MANY_REQUESTS);
    }

    #[test]
    fn a_client_that_waits_exactly_as_told_is_let_in() {
        let quota = Quota::default();
        let limits = Limits { subscription_writes: 1, ..LIMITS };
        let app = (Uuid::nil(), Uuid::nil());
        quota.subscription(limits, app, true, at(0)).unwrap();
        // The refused call counts, so it is its own time that the wait is from: 20 s, not 19.5.
        let refused = quota.subscription(limits, app, true, at(500)).unwrap_err();
        assert_eq!(told(&refused), 20);
        assert!(quota.subscription(limits, app, true, at(20_500)).is_ok());

        let limits = Limits { subscription_writes: 2, ..LIMITS };
        let app = (Uuid::max(), Uuid::nil());
        for millis in [0, 400] {
            quota.subscription(limits, app, true, at(millis)).unwrap();
        }
        let refused = quota.subscription(limits, app, true, at(900)).unwrap_err();
        let wait = told(&refused);
        assert_eq!(wait, 20, "19.5 s is said as 20");
        assert!(quota.subscription(limits, app, true, at(900 + wait * 1_000)).is_ok());
    }

    #[test]
    fn units_wait_until_as_many_have_become_free() {
        let quota = Quota::default();
        let app = (Uuid::nil(), Uuid::nil());
        let take = |units: usize, millis: i64| quota.resource_units(app, units, 10, at(millis));
        assert_eq!(take(4, 0).unwrap(), 4);
        assert_eq!(take(4, 3_200).unwrap(), 8);
        // With itself 13; five more fit when the first two have left.
        let refused = take(5, 5_000).unwrap_err();
        assert_eq!((refused.code.as_ref(), told(&refused)), ("TooManyRequests", 9));
        assert_eq!(take(5, 14_000).unwrap(), 10);
    }

    #[test]
    fn what_nobody_asks_any_more_is_forgotten() {
        let quota = Quota::default();
        for user in 0..100 {
            quota.mailbox(LIMITS, (Uuid::nil(), Uuid::nil(), Uuid::from_u128(user)), at(0)).unwrap();
        }
        assert_eq!(lock(&quota.0).windows.len(), 100);
        quota.mailbox(LIMITS, (Uuid::nil(), Uuid::nil(), Uuid::max()), at(3_600_000)).unwrap();
        assert_eq!(lock(&quota.0).windows.len(), 1);
    }
}
