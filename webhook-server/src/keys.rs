//! The keys behind clientState, as the Secret of the installation holds them now.
//!
//! The Secret is read by name, never watched: the chart grants `get` on this one name. A notification whose key is not
//! known may be the first one of a rotated key: only a look at the Secret that began after it came can say that it is
//! nobody's. It waits for that look, which takes a second or so, and where it cannot wait, the sender tries again.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use roomkeeper_service::{
    client_state::{KeyRing, KeyRingError, SECRET_NAME},
    health::Gate,
};
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::http::ingest::{OriginCheck, OriginError};

/// Time between two looks.
const REFRESH: Duration = Duration::from_mins(1);
/// Time between two looks while there are no keys yet, or after a failed look.
const RETRY: Duration = Duration::from_secs(1);
/// Least time between two looks on account of unknown keys.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(1);
/// Longest wait of a notification for such a look. Graph waits for three seconds at its first attempt.
const UNKNOWN_WAIT: Duration = Duration::from_millis(2500);
/// Notifications that wait for a look at the same time. Whoever sends made-up keys must not hold up the others.
const UNKNOWN_WAITING: usize = 16;
/// Longest wait for the API server.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The keys in force. Clones share them.
#[derive(Clone)]
pub struct LoadedKeys {
    ring: watch::Receiver<Option<Arc<KeyRing>>>,
    shared: Arc<Shared>,
}

struct Shared {
    wanted: Notify,
    /// When the last look that saw the Secret began.
    read: watch::Sender<Option<Instant>>,
    waiting: Semaphore,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            wanted: Notify::new(),
            read: watch::Sender::new(None),
            waiting: Semaphore::new(UNKNOWN_WAITING),
        }
    }
}

/// Keeps [`LoadedKeys`] current.
pub struct KeyLoader {
    secrets: Api<Secret>,
    ring: watch::Sender<Option<Arc<KeyRing>>>,
    shared: Arc<Shared>,
}

#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("Secret {SECRET_NAME} does not exist yet: the operator makes it on its first start")]
    Absent,
    #[error("Secret {SECRET_NAME} could not be read: {0}")]
    Api(kube::Error),
    #[error("Secret {SECRET_NAME} could not be read in time")]
    Timeout,
    #[error(transparent)]
    Keys(#[from] KeyRingError),
}

/// Keys of the installation in `namespace`, none until the loader has run.
pub fn client_state_keys(client: Client, namespace: &str) -> (LoadedKeys, KeyLoader) {
    let (sender, ring) = watch::channel(None);
    let shared = Arc::new(Shared::default());
    let loader =
        KeyLoader { secrets: Api::namespaced(client, namespace), ring: sender, shared: Arc::clone(&shared) };
    (LoadedKeys { ring, shared }, loader)
}

impl KeyLoader {
    /// Loads the keys again and again until `shutdown`; `gate` is open while there are any.
    pub async fn run(self, gate: Gate, shutdown: CancellationToken) {
        loop {
            let began = Instant::now();
            let pause = match self.load().await {
                Ok(ring) => {
                    self.took(ring, began);
                    gate.ready();
                    REFRESH
                }
                Err(error) if self.ring.borrow().is_some() => {
                    tracing::warn!(%error, "the keys of clientState are those read before");
                    REFRESH
                }
                Err(error) => {
                    tracing::info!(%error, "no keys of clientState yet");
                    gate.not_ready(&error.to_string());
                    RETRY
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.wanted_again() => {}
            }
        }
    }

    fn took(&self, ring: KeyRing, began: Instant) {
        // The keys first: whoever waits for the look must see them.
        self.ring.send_replace(Some(Arc::new(ring)));
        self.shared.read.send_replace(Some(began));
    }

    async fn wanted_again(&self) {
        tokio::time::sleep(UNKNOWN_PAUSE).await;
        self.shared.wanted.notified().await;
    }

    async fn load(&self) -> Result<KeyRing, LoadError> {
        match timeout(TIMEOUT, self.secrets.get_opt(SECRET_NAME)).await {
            Ok(Ok(Some(secret))) => Ok(KeyRing::from_secret(&secret)?),
            Ok(Ok(None)) => Err(LoadError::Absent),
            Ok(Err(error)) => Err(LoadError::Api(error)),
            Err(_elapsed) => Err(LoadError::Timeout),
        }
    }
}

#[async_trait]
impl OriginCheck for LoadedKeys {
    fn check(&self, client_state: &str, tenant_id: &str) -> Result<String, OriginError> {
        self.ring.check(client_state, tenant_id)
    }

    async fn looked_again(&self) -> bool {
        let came = Instant::now();
        let Ok(_place) = self.shared.waiting.try_acquire() else { return false };
        let mut read = self.shared.read.subscribe();
        self.shared.wanted.notify_one();
        let look = read.wait_for(|began| began.is_some_and(|began| began >= came));
        timeout(UNKNOWN_WAIT, look).await.is_ok_and(|looked| looked.is_ok())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use roomkeeper_service::client_state::VerifyError;
    use secrecy::ExposeSecret as _;

    use super::*;

    const TENANT: &str = "7f1d0cb7-93b9-405a-8dad-c21703b7af18";
    const UID: &str = "0b0f1d4e-6f0b-4f3c-9e2e-6b1d8a2c4e11";

    fn ring() -> Arc<KeyRing> {
        let data = Some(KeyRing::generate().unwrap());
        Arc::new(KeyRing::from_secret(&Secret { data, ..Secret::default() }).unwrap())
    }

    fn keys() -> (watch::Sender<Option<Arc<KeyRing>>>, LoadedKeys) {
        let (sender, ring) = watch::channel(None);
        (sender, LoadedKeys { ring, shared: Arc::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_key_waits_for_a_look_that_began_after_it_came() {
        let (sender, keys) = keys();
        let (old, new) = (ring(), ring());
        let state = new.sign(UID, TENANT).unwrap();
        let check = || keys.check(state.expose_secret(), TENANT);
        assert_eq!(check(), Err(OriginError::NoKeys), "before the first look");
        sender.send_replace(Some(old));
        let before = Instant::now();
        keys.shared.read.send_replace(Some(before));
        assert_eq!(check(), Err(OriginError::NotOurs(VerifyError::UnknownKey)));

        tokio::time::advance(Duration::from_millis(1)).await;
        let mut looked = keys.looked_again().boxed();
        assert!((&mut looked).now_or_never().is_none(), "the Secret was read a moment before it came");
        keys.shared.wanted.notified().await;
        keys.shared.read.send_replace(Some(before));
        assert!((&mut looked).now_or_never().is_none(), "a look that was under way when it came");
        sender.send_replace(Some(new.clone()));
        keys.shared.read.send_replace(Some(Instant::now()));
        assert!(looked.await);
        assert_eq!(check(), Ok(UID.to_owned()));
        let forged = state.expose_secret().replace(UID, "1b0f1d4e-6f0b-4f3c-9e2e-6b1d8a2c4e11");
        assert_eq!(keys.check(&forged, TENANT), Err(OriginError::NotOurs(VerifyError::Forged)));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_and_has_few_places() {
        let (_sender, keys) = keys();
        assert!(!keys.looked_again().await, "the Secret cannot be read");
        let mut waiting: Vec<_> = (0..UNKNOWN_WAITING).map(|_| keys.looked_again().boxed()).collect();
        assert!(waiting.iter_mut().all(|one| one.now_or_never().is_none()));
        assert_eq!(keys.looked_again().now_or_never(), Some(false), "one too many is sent away at once");
        waiting.clear();
        assert!(keys.looked_again().now_or_never().is_none(), "places are given back");
    }
}
