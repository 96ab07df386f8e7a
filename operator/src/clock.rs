//! The wall clock of the operator: what is due is due by it.
//!
//! A run of two weeks has to be rehearsed in minutes. With the feature `rehearsal`, which no shipped program has, the clock goes
//! ahead of the system's by what a file says.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use jiff::Timestamp;

/// When the process first asked how much time had passed.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Tells the time. Clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    #[cfg(feature = "rehearsal")]
    ahead_seconds: std::sync::Arc<std::sync::atomic::AtomicI64>,
}

impl Clock {
    /// Now.
    pub fn now(&self) -> Timestamp {
        let system = Timestamp::now();
        system.checked_add(self.ahead()).unwrap_or(system)
    }

    /// Time since some moment of this process. It passes evenly, whatever is done to the system's clock.
    pub fn passed(&self) -> Duration {
        BEGINNING.elapsed().saturating_add(Duration::try_from(self.ahead()).unwrap_or_default())
    }

    #[cfg(feature = "rehearsal")]
    fn ahead(&self) -> jiff::SignedDuration {
        jiff::SignedDuration::from_secs(self.ahead_seconds.load(std::sync::atomic::Ordering::Relaxed))
    }

    #[cfg(not(feature = "rehearsal"))]
    #[expect(clippy::unused_self, reason = "a shipped program has no clock but the system's")]
    fn ahead(&self) -> jiff::SignedDuration {
        jiff::SignedDuration::ZERO
    }
}

/// Going ahead of the system's clock.
#[cfg(feature = "rehearsal")]
pub mod rehearsal {
    use std::{
        path::{Path, PathBuf},
        sync::{Arc, atomic::Ordering},
        time::Duration,
    };

    use super::Clock;
    use crate::{context::Context, kept::Kept, watch::Follow};

    /// Names the file that holds by how many seconds the clock is ahead.
    pub const VARIABLE: &str = "ROOMKEEPER_CLOCK_FILE";

    /// Time between two looks at the file.
    const LOOK: Duration = Duration::from_millis(20);

    impl Clock {
        /// The clock that the environment asks for, from its first moment.
        pub fn from_environment() -> Self {
            let clock = Self::default();
            if let Some(path) = file() {
                clock.take(&path);
            }
            clock
        }

        /// Takes what the file says; whether that is news. A file that is being written is read again.
        fn take(&self, path: &Path) -> bool {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let Ok(ahead) = text.trim().parse::<i64>() else { return false };
            self.ahead_seconds.swap(ahead, Ordering::Relaxed) != ahead
        }
    }

    fn file() -> Option<PathBuf> {
        std::env::var_os(VARIABLE).map(PathBuf::from)
    }

    /// Follows the file, and has every object looked at when the time jumped: what waits for a due time waits by the system's clock.
    pub async fn follow(context: Arc<Context>) {
        let Some(path) = file() else { return std::future::pending().await };
        loop {
            tokio::time::sleep(LOOK).await;
            if context.process.clock.take(&path) {
                trigger(&context.scopes);
                trigger(&context.subscriptions);
                trigger(&context.consents);
                trigger(&context.bookings);
            }
        }
    }

    fn trigger<K: Follow>(kept: &Kept<K>) {
        kept.trigger_all(kept.keys());
    }
}
