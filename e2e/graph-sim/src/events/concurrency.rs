//! Four requests at a time per app and mailbox (graph-facts §5).

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{HeaderValue, StatusCode, header};
use uuid::Uuid;

use crate::{app::lock, errors::GraphError};

const AT_ONCE: usize = 4;
/// What `Retry-After` says, in seconds.
const RETRY_AFTER: &str = "1";

type Key = (Uuid, Uuid, Uuid);

/// Requests under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Concurrency {
    now: Arc<Mutex<HashMap<Key, usize>>>,
    peak: Arc<AtomicUsize>,
}

/// One request; ends when dropped.
pub(crate) struct Slot {
    all: Concurrency,
    key: Key,
}

impl Concurrency {
    pub(crate) fn enter(&self, tenant: Uuid, client_id: Uuid, mailbox: Uuid) -> Result<Slot, GraphError> {
        let key = (tenant, client_id, mailbox);
        let mut all = lock(&self.now);
        let count = all.entry(key).or_default();
        if *count >= AT_ONCE {
            return Err(GraphError::new(
                StatusCode::TOO_MANY_REQUESTS,
                "ApplicationThrottled",
                "Application is over its MailboxConcurrency limit.",
            )
            .with_header(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER)));
        }
        *count += 1;
        self.peak.fetch_max(*count, Ordering::Relaxed);
        Ok(Slot { all: self.clone(), key })
    }

    /// Most requests that were under way at once for one app and mailbox.
    pub(crate) fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut all = lock(&self.all.now);
        if let Some(count) = all.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                all.remove(&self.key);
            }
        }
    }
}
