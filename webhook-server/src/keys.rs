//! The keys behind clientState, as the Secret of the installation holds them now.
//!
//! The Secret is read by name, never watched: the chart grants `get` on this one name. A notification whose key is not
//! known may be the first one of a rotated key, so it asks for a fresh look and is put off rather than dropped, unless the
//! Secret was read a moment ago.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use roomkeeper_service::{
    client_state::{KeyRing, KeyRingError, SECRET_NAME, VerifyError},
    health::Gate,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::http::ingest::{OriginCheck, OriginError};

/// Time between two looks.
const REFRESH: Duration = Duration::from_mins(1);
/// Time between two looks while there are no keys yet, or after a failed look.
const RETRY: Duration = Duration::from_secs(1);
/// Least time between two looks on account of unknown keys.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(5);
/// Longest wait for the API server.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The keys in force. Clones share them.
#[derive(Clone)]
pub struct LoadedKeys {
    ring: watch::Receiver<Option<Arc<KeyRing>>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    wanted: Notify,
    /// When the Secret was last read.
    read: Mutex<Option<Instant>>,
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
            let pause = match self.load().await {
                Ok(ring) => {
                    *self.shared.read.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                    self.ring.send_replace(Some(Arc::new(ring)));
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

    async fn wanted_again(&self) {
        tokio::time::sleep(RETRY).await;
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

impl OriginCheck for LoadedKeys {
    fn check(&self, client_state: &str, tenant_id: &str) -> Result<String, OriginError> {
        let checked = self.ring.check(client_state, tenant_id);
        if !matches!(checked, Err(OriginError::NotOurs(VerifyError::UnknownKey))) {
            return checked;
        }
        let read = *self.shared.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.is_some_and(|read| read.elapsed() < UNKNOWN_PAUSE) {
            return checked;
        }
        self.shared.wanted.notify_one();
        Err(OriginError::NoKeys)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    const TENANT: &str = "7f1d0cb7-93b9-405a-8dad-c21703b7af18";
    const UID: &str = "0b0f1d4e-6f0b-4f3c-9e2e-6b1d8a2c4e11";

    fn ring() -> Arc<KeyRing> {
        let data = Some(KeyRing::generate().unwrap());
        Arc::new(KeyRing::from_secret(&Secret { data, ..Secret::default() }).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_key_is_put_off_until_the_secret_was_read_again() {
        let (sender, receiver) = watch::channel(None);
        let keys = LoadedKeys { ring: receiver, shared: Arc::default() };
        let (old, new) = (ring(), ring());
        let state = new.sign(UID, TENANT).unwrap();
        let check = || keys.check(state.expose_secret(), TENANT);
        assert_eq!(check(), Err(OriginError::NoKeys), "before the first look");
        sender.send_replace(Some(old));
        *keys.shared.read.lock().unwrap() = Some(Instant::now());
        assert_eq!(check(), Err(OriginError::NotOurs(VerifyError::UnknownKey)), "the Secret was just read");
        tokio::time::advance(UNKNOWN_PAUSE).await;
        assert_eq!(check(), Err(OriginError::NoKeys));
        keys.shared.wanted.notified().await;
        sender.send_replace(Some(new.clone()));
        assert_eq!(check(), Ok(UID.to_owned()));
        let forged = state.expose_secret().replace(UID, "1b0f1d4e-6f0b-4f3c-9e2e-6b1d8a2c4e11");
        assert_eq!(keys.check(&forged, TENANT), Err(OriginError::NotOurs(VerifyError::Forged)));
    }
}
