//! The Secret with the keys behind clientState: made on first start, read by name ever after.

use std::time::Duration;

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, api::PostParams};
use roomkeeper_service::{
    client_state::{KeyRing, KeyRingError, SECRET_NAME},
    health::Gate,
};

use crate::{
    api::{ApiError, bounded},
    backoff,
    failpoint::{Place, around},
};

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The operator's Role does not allow it.
    #[error(
        "Secret {SECRET_NAME} in namespace {0} may not be {1}: bind the chart's Role roomkeeper-operator to the operator's service account"
    )]
    Forbidden(String, &'static str),
    /// The API server failed.
    #[error("Secret {SECRET_NAME}: {0}")]
    Api(ApiError),
    /// The Secret holds something else.
    #[error("{0}")]
    Ring(#[from] KeyRingError),
}

/// Reads the keys, and makes the Secret if there is none; tries until it works.
pub async fn load(client: &Client, namespace: &str, gate: &Gate) -> KeyRing {
    let mut failures = 0_u32;
    loop {
        match read_or_make(client, namespace).await {
            Ok(ring) => {
                gate.ready();
                return ring;
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                gate.not_ready(&error.to_string());
                tracing::warn!(%error, "no keys for clientState yet; nothing is subscribed; tried again");
                tokio::time::sleep(backoff::delay(failures, rand::random()).min(Duration::from_secs(30)))
                    .await;
            }
        }
    }
}

/// Reads the keys, and makes the Secret if there is none.
///
/// # Errors
/// See [`KeysError`].
pub async fn read_or_make(client: &Client, namespace: &str) -> Result<KeyRing, KeysError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let failed = |verb: &'static str| {
        move |error: ApiError| match error.code() {
            Some(403) => KeysError::Forbidden(namespace.to_owned(), verb),
            _ => KeysError::Api(error),
        }
    };
    if let Some(secret) = bounded(api.get_opt(SECRET_NAME)).await.map_err(failed("read"))? {
        return Ok(KeyRing::from_secret(&secret)?);
    }
    let secret = Secret {
        metadata: ObjectMeta { name: Some(SECRET_NAME.to_owned()), ..ObjectMeta::default() },
        data: Some(KeyRing::generate()?),
        ..Secret::default()
    };
    let params = PostParams::default();
    match around(Place::MakeKeys, bounded(api.create(&params, &secret))).await {
        Ok(secret) => {
            tracing::info!(secret = SECRET_NAME, "made the keys for clientState");
            Ok(KeyRing::from_secret(&secret)?)
        }
        // Somebody was faster: theirs is as good.
        Err(error) if error.code() == Some(409) => {
            let secret = bounded(api.get(SECRET_NAME)).await.map_err(failed("read"))?;
            Ok(KeyRing::from_secret(&secret)?)
        }
        Err(error) => Err(failed("created")(error)),
    }
}
