//! The key that statements are signed with: a Secret that the operator makes on its first start and the webhook server
//! reads. Public keys are published, so that whoever verifies need not read a Secret.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use roomkeeper_crds::audit::{KEYS_CONFIG_MAP, LABEL};
use roomkeeper_graph::audit::chain::{KeyError, SignError, SigningKey, VerifyingKey};
use secrecy::ExposeSecret as _;
use serde_json::json;

/// Name of the Secret.
pub const KEY_SECRET: &str = "roomkeeper-audit-key";
/// Data key of the Secret: an Ed25519 key in PEM (PKCS #8), as `openssl genpkey -algorithm ed25519` writes it.
pub const KEY_ENTRY: &str = "signing.pem";

/// Longest wait for one answer of the API server.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What a daemon does about the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRole {
    /// Makes it if there is none, and publishes the public half: the operator.
    Maker,
    /// Waits for it: the webhook server.
    Reader,
}

/// Why something of the audit's in the cluster cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyAccessError {
    /// No answer in time.
    #[error("{what}: the API server did not answer in time")]
    Timeout {
        /// Kind and name.
        what: String,
    },
    /// The Role does not allow it.
    #[error(
        "{what} may not be {verb}: the chart grants it by name, to as many pods as its values say; install it again with the replicas that run"
    )]
    Forbidden {
        /// Kind and name.
        what: String,
        /// What was tried.
        verb: &'static str,
    },
    /// Another answer.
    #[error("{what}: {source}")]
    Api {
        /// Kind and name.
        what: String,
        /// What the API server said.
        source: kube::Error,
    },
    /// The Secret does not exist.
    #[error("Secret {KEY_SECRET} does not exist yet: the operator makes it on its first start")]
    Absent,
    /// The Secret holds something else.
    #[error(
        "Secret {KEY_SECRET}, key {KEY_ENTRY}: {0}; put an Ed25519 key there (openssl genpkey -algorithm ed25519)"
    )]
    Key(#[from] KeyError),
    /// No key could be made.
    #[error("{0}")]
    Sign(#[from] SignError),
    /// A published key is none.
    #[error("ConfigMap {KEYS_CONFIG_MAP}, key {id}: {cause}; remove it")]
    Published {
        /// Its data key.
        id: String,
        /// What is wrong.
        cause: KeyError,
    },
}

impl KeyAccessError {
    /// Whether the object changed since it was read.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. } if status.code == 409)
    }
}

/// Limits a call in time, and says what it was about.
pub(super) async fn call<T>(
    what: String,
    verb: &'static str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, KeyAccessError> {
    match tokio::time::timeout(TIMEOUT, call).await {
        Err(_elapsed) => Err(KeyAccessError::Timeout { what }),
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
            Err(KeyAccessError::Forbidden { what, verb })
        }
        Ok(answer) => answer.map_err(|source| KeyAccessError::Api { what, source }),
    }
}

/// The key, made and published where that is this daemon's part.
///
/// # Errors
/// See [`KeyAccessError`].
pub(super) async fn signing_key(
    client: &Client,
    namespace: &str,
    role: KeyRole,
) -> Result<SigningKey, KeyAccessError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let what = || format!("Secret {KEY_SECRET}");
    let secret = match call(what(), "read", api.get_opt(KEY_SECRET)).await? {
        Some(secret) => secret,
        None if role == KeyRole::Reader => return Err(KeyAccessError::Absent),
        None => make(&api).await?,
    };
    let pem = secret.data.as_ref().and_then(|data| data.get(KEY_ENTRY)).ok_or(KeyError::NoPem)?;
    let key = SigningKey::from_pem(&pem.0)?;
    if role == KeyRole::Maker {
        publish(client, namespace, &key.public()).await?;
    }
    Ok(key)
}

async fn make(api: &Api<Secret>) -> Result<Secret, KeyAccessError> {
    let what = || format!("Secret {KEY_SECRET}");
    let pem = SigningKey::generate_pem()?;
    let data = BTreeMap::from([(KEY_ENTRY.to_owned(), ByteString(pem.expose_secret().as_bytes().to_vec()))]);
    let secret = Secret {
        metadata: ObjectMeta { name: Some(KEY_SECRET.to_owned()), ..ObjectMeta::default() },
        data: Some(data),
        ..Secret::default()
    };
    match call(what(), "created", api.create(&PostParams::default(), &secret)).await {
        Ok(secret) => {
            tracing::info!(secret = KEY_SECRET, "made the key that the audit is signed with");
            Ok(secret)
        }
        // Another replica was faster: its key is as good.
        Err(error) if error.is_conflict() => call(what(), "read", api.get(KEY_SECRET)).await,
        Err(error) => Err(error),
    }
}

async fn publish(client: &Client, namespace: &str, key: &VerifyingKey) -> Result<(), KeyAccessError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let what = || format!("ConfigMap {KEYS_CONFIG_MAP}");
    let (id, pem) = (key.id().to_string(), key.to_pem());
    let there = call(what(), "read", api.get_opt(KEYS_CONFIG_MAP)).await?;
    if there.and_then(|map| map.data).is_some_and(|data| data.get(&id) == Some(&pem)) {
        return Ok(());
    }
    // A field manager for each key: what one applies takes away none of the others.
    let manager = format!("roomkeeper-audit-key-{}", id.get(..16).unwrap_or(&id));
    let body = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": KEYS_CONFIG_MAP, "labels": {LABEL: "keys"}},
        "data": {&id: pem},
    });
    let params = PatchParams::apply(&manager).force();
    call(what(), "written", api.patch(KEYS_CONFIG_MAP, &params, &Patch::Apply(&body))).await?;
    tracing::info!(config_map = KEYS_CONFIG_MAP, key_id = %id, "published the audit's public key");
    Ok(())
}

/// Every public key that was ever published.
///
/// # Errors
/// See [`KeyAccessError`].
pub(super) async fn published(client: &Client, namespace: &str) -> Result<Vec<VerifyingKey>, KeyAccessError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let map = call(format!("ConfigMap {KEYS_CONFIG_MAP}"), "read", api.get_opt(KEYS_CONFIG_MAP)).await?;
    let data = map.and_then(|map| map.data).unwrap_or_default();
    data.into_iter()
        .map(|(id, pem)| {
            VerifyingKey::from_pem(pem.as_bytes()).map_err(|cause| KeyAccessError::Published { id, cause })
        })
        .collect()
}
