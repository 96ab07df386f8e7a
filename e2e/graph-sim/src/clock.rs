//! The simulator's time. Whatever has a duration at Microsoft asks this clock, so that a week can pass in a second.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// Real time, off by what the world file says, plus what the control API advanced it by.
#[derive(Debug)]
pub(crate) struct Clock {
    offset: watch::Sender<SignedDuration>,
}

impl Clock {
    pub(crate) fn new(offset: SignedDuration) -> Self {
        Self { offset: watch::Sender::new(offset) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        let offset = *self.offset.borrow();
        Timestamp::now().checked_add(offset).unwrap_or(Timestamp::MAX)
    }

    /// The simulated time that far ahead.
    pub(crate) fn after(&self, duration: Duration) -> Timestamp {
        self.now().checked_add(duration).unwrap_or(Timestamp::MAX)
    }

    pub(crate) fn advance(&self, by: Duration) {
        let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        self.offset.send_modify(|offset| *offset = offset.saturating_add(by));
    }

    /// Waits in simulated time: an advance of the clock shortens it.
    pub(crate) async fn sleep_until(&self, at: Timestamp) {
        let mut changes = self.offset.subscribe();
        loop {
            changes.mark_unchanged();
            let left = self.now().duration_until(at);
            let Ok(left) = Duration::try_from(left) else { return };
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                _advanced = changes.changed() => {}
            }
        }
    }

    /// Waits in real time: what a network does is not shortened by an advance of the clock.
    pub(crate) async fn pause(&self, duration: Duration) {
        if !duration.is_zero() {
            tokio::time::sleep(duration).await;
        }
    }

    /// Bounds a network call, in real time. `None` when it took longer.
    pub(crate) async fn bound<T>(&self, limit: Duration, call: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(limit, call).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn an_advance_ends_a_long_wait() {
        let clock = Arc::new(Clock::new(SignedDuration::from_hours(-1)));
        let at = clock.after(Duration::from_hours(100));
        let waiting = tokio::spawn({
            let clock = Arc::clone(&clock);
            async move { clock.sleep_until(at).await }
        });
        clock.advance(Duration::from_hours(101));
        tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap();
        assert!(clock.now() >= at);
    }
}
