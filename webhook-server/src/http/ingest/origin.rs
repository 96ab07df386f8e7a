//! Whether a notification answers a subscription of ours.

use async_trait::async_trait;
use roomkeeper_service::client_state::{KeyRing, VerifyError};
use std::sync::Arc;
use tokio::sync::watch;

/// Checks the clientState of a notification.
#[async_trait]
pub trait OriginCheck: Send + Sync + 'static {
    /// Uid of the CalendarSubscription whose subscription the notification answers.
    fn check(&self, client_state: &str, tenant_id: &str) -> Result<String, OriginError>;

    /// Whether the keys were looked at again since the call, so that one unknown then is known now or nobody's. Waits for
    /// it a moment; what is not known by then has to be sent again.
    async fn looked_again(&self) -> bool {
        true
    }
}

/// Why a notification is not taken for ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Its clientState is not one of ours.
    #[error(transparent)]
    NotOurs(#[from] VerifyError),
    /// The keys are not loaded, so nothing can be said: the sender must try again.
    #[error("the keys of clientState are not loaded yet")]
    NoKeys,
}

impl OriginCheck for KeyRing {
    fn check(&self, client_state: &str, tenant_id: &str) -> Result<String, OriginError> {
        Ok(self.verify(client_state, tenant_id)?.uid)
    }
}

/// Keys that are loaded, and replaced when the Secret changes, while the server runs.
impl OriginCheck for watch::Receiver<Option<Arc<KeyRing>>> {
    fn check(&self, client_state: &str, tenant_id: &str) -> Result<String, OriginError> {
        match &*self.borrow() {
            Some(keys) => keys.check(client_state, tenant_id),
            None => Err(OriginError::NoKeys),
        }
    }
}
