//! What is in the Secrets that a scope names for its product.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use super::{oauth::OAuthClient, product::ProductError};
use crate::{api::bounded, key::Key};

/// How long what was read is taken for current.
const MAX_AGE: Duration = Duration::from_secs(10);

/// Headers that belong to the connection or to the request, not to the Secret.
const RESERVED: [&str; 8] = [
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "idempotency-key",
];

/// Field of an AccessScope that names a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretField {
    /// The headers.
    Headers,
    /// The client that gets tokens.
    Client,
}

impl fmt::Display for SecretField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Headers => "spec.booking.secretName",
            Self::Client => "spec.booking.oauth.secretName",
        })
    }
}

/// What was read out of Secrets lately.
#[derive(Debug)]
pub(super) struct Recent<T>(Mutex<HashMap<Key, (Instant, T)>>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Recent<T> {
    pub(super) async fn get(
        &self,
        kube: &Client,
        key: &Key,
        field: SecretField,
        read: fn(&str, Secret) -> Result<T, ProductError>,
    ) -> Result<T, ProductError> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if let Some((read_at, value)) = kept
            && read_at.elapsed() < MAX_AGE
        {
            return Ok(value);
        }
        let (name, api) = (&key.name, Api::<Secret>::namespaced(kube.clone(), &key.namespace));
        let secret = bounded(api.get(name)).await.map_err(|error| match error.code() {
            Some(404) => ProductError::SecretNotFound(name.clone(), field),
            Some(403) => ProductError::SecretForbidden(name.clone()),
            _ => ProductError::Api(name.clone(), error),
        })?;
        let value = read(name, secret)?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (read_at, _)| read_at.elapsed() < MAX_AGE);
        all.insert(key.clone(), (Instant::now(), value.clone()));
        Ok(value)
    }
}

/// Each key is a header.
pub(super) fn headers(name: &str, secret: Secret) -> Result<HeaderMap, ProductError> {
    let mut headers = HeaderMap::new();
    for (key, ByteString(bytes)) in secret.data.unwrap_or_default() {
        let wrong = || ProductError::Header { secret: name.to_owned(), key: key.clone() };
        let header = HeaderName::from_bytes(key.as_bytes()).map_err(|_| wrong())?;
        if RESERVED.contains(&header.as_str()) {
            return Err(wrong());
        }
        // An editor's final line break is no part of the value.
        let text = bytes.trim_ascii_end();
        let mut value = HeaderValue::from_bytes(text).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    Ok(headers)
}

/// The keys `clientId` and `clientSecret`.
pub(super) fn client(name: &str, secret: Secret) -> Result<OAuthClient, ProductError> {
    let data = secret.data.unwrap_or_default();
    let text = |key: &'static str| {
        let text =
            data.get(key).and_then(|ByteString(bytes)| std::str::from_utf8(bytes.trim_ascii_end()).ok());
        text.filter(|text| !text.is_empty())
            .map(str::to_owned)
            .ok_or(ProductError::Client { secret: name.to_owned(), key })
    };
    Ok(OAuthClient { id: text("clientId")?, secret: text("clientSecret")?.into(), from: name.to_owned() })
}
