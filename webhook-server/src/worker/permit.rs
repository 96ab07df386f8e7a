//! A permission to read one calendar, and the gate that holds every send to it.

use std::time::Duration;

use roomkeeper_crds::{AccessScope, CalendarSubscription};
use roomkeeper_graph::http::SendGate;
use tokio::time::Instant;

/// How long the API server's answers may be acted upon, counted from the question.
const LIFE: Duration = Duration::from_secs(2);

tokio::task_local! {
    /// End of the permit under which the current task reads.
    static UNTIL: Instant;
}

/// A permission to read one calendar.
#[derive(Debug)]
pub struct Permit {
    /// The CalendarSubscription, as read live.
    pub subscription: CalendarSubscription,
    /// Its AccessScope, as read live.
    pub scope: AccessScope,
    until: Instant,
}

impl Permit {
    /// A permit on answers to a question asked at that time.
    pub fn new(subscription: CalendarSubscription, scope: AccessScope, asked: Instant) -> Self {
        Self { subscription, scope, until: asked + LIFE }
    }

    /// Whether it may still be acted upon.
    pub fn holds(&self) -> bool {
        Instant::now() < self.until
    }

    /// Runs a read; with [`PermitGate`] in the HTTP client, nothing is sent once the permit has ended.
    pub async fn during<T>(&self, read: impl Future<Output = T>) -> T {
        UNTIL.scope(self.until, read).await
    }
}

/// Holds sends back when the permit of the current task has ended. Requests that read no calendar (tokens, signing keys)
/// run under no permit and pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct PermitGate;

impl SendGate for PermitGate {
    fn check(&self) -> Result<(), &'static str> {
        match UNTIL.try_with(|until| Instant::now() < *until) {
            Ok(false) => Err("the permission to read is older than 2 s"),
            Ok(true) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_gate_shuts_when_the_permit_ends_and_only_for_its_task() {
        let until = Instant::now() + LIFE;
        UNTIL
            .scope(until, async {
                assert_eq!(PermitGate.check(), Ok(()));
                tokio::time::advance(LIFE).await;
                assert!(PermitGate.check().is_err());
                let elsewhere = tokio::spawn(async { PermitGate.check() }).await.unwrap();
                assert_eq!(elsewhere, Ok(()));
            })
            .await;
        assert_eq!(PermitGate.check(), Ok(()));
    }
}
