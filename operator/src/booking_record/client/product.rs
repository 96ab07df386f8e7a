//! One product as a scope names it: base URL, and headers out of a Secret.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use roomkeeper_crds::access_scope::Booking;
use roomkeeper_service::scope_access::{AllowedHosts, HostNotAllowed};
use url::Url;

use crate::{
    api::{ApiError, bounded},
    key::Key,
};

/// How long headers that were read are taken for current.
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

/// Base URL and headers. Header values never show.
#[derive(Clone, Debug)]
pub struct Product {
    base: Url,
    headers: HeaderMap,
}

impl Product {
    /// URL of a booking; `None` when the base takes no path.
    pub(super) fn booking(&self, key: &str) -> Option<Url> {
        let mut url = self.base.clone();
        url.path_segments_mut().ok()?.pop_if_empty().extend(["bookings", key]);
        Some(url)
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}

/// Why a scope's product cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum ProductError {
    /// The URL is none.
    #[error("AccessScope spec.booking.url is no URL ({0}): write an https URL")]
    Url(url::ParseError),
    /// Its host is not on the allow list.
    #[error("AccessScope {0}")]
    Host(#[from] HostNotAllowed),
    /// The Secret does not exist.
    #[error("Secret {0} does not exist: create it, or correct spec.booking.secretName of the AccessScope")]
    SecretNotFound(String),
    /// The Secret may not be read.
    #[error(
        "Secret {0} may not be read: add its name to the chart's list of Secrets (a Role with resourceNames)"
    )]
    SecretForbidden(String),
    /// The Secret could not be asked for.
    #[error("Secret {0}: {1}")]
    Api(String, ApiError),
    /// A key or value is no header.
    #[error(
        "Secret {secret}: key {key} with its value is no header that may be set: use keys such as X-Api-Key or Authorization, and values of one line"
    )]
    Header {
        /// Name of the Secret.
        secret: String,
        /// Key in it.
        key: String,
    },
}

impl ProductError {
    /// Whether a person must act.
    pub fn is_stalled(&self) -> bool {
        !matches!(self, Self::Api(..))
    }
}

/// Reads Secrets by name and keeps their headers for a few seconds.
#[derive(Debug, Default)]
pub struct Products(Mutex<HashMap<Key, (Instant, HeaderMap)>>);

impl Products {
    /// The product of a scope in that namespace.
    ///
    /// # Errors
    /// See [`ProductError`].
    pub async fn get(
        &self,
        client: &Client,
        allowed: &AllowedHosts,
        namespace: &str,
        booking: &Booking,
    ) -> Result<Product, ProductError> {
        let base = Url::parse(&booking.url).map_err(ProductError::Url)?;
        allowed.check("spec.booking.url", &base)?;
        let Some(name) = &booking.secret_name else { return Ok(Product { base, headers: HeaderMap::new() }) };
        let key = Key::new(namespace, name);
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((read_at, headers)) = kept
            && read_at.elapsed() < MAX_AGE
        {
            return Ok(Product { base, headers });
        }
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let secret = bounded(api.get(name)).await.map_err(|error| match error.code() {
            Some(404) => ProductError::SecretNotFound(name.clone()),
            Some(403) => ProductError::SecretForbidden(name.clone()),
            _ => ProductError::Api(name.clone(), error),
        })?;
        let headers = headers(name, secret)?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (read_at, _)| read_at.elapsed() < MAX_AGE);
        all.insert(key, (Instant::now(), headers.clone()));
        Ok(Product { base, headers })
    }
}

fn headers(name: &str, secret: Secret) -> Result<HeaderMap, ProductError> {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(key: &str, value: &str) -> Result<HeaderMap, ProductError> {
        let data = BTreeMap::from([(key.to_owned(), ByteString(value.as_bytes().to_vec()))]);
        headers("s", Secret { data: Some(data), ..Secret::default() })
    }

    #[test]
    fn values_are_headers_that_do_not_show() {
        let headers = read("X-Api-Key", "canary\n").unwrap();
        assert_eq!(headers.get("x-api-key").unwrap(), "canary");
        let product = Product { base: Url::parse("https://b.example").unwrap(), headers };
        assert!(!format!("{product:?}").contains("canary"));
    }

    #[test]
    fn what_is_no_header_names_secret_and_key() {
        for (key, value) in [("Host", "x"), ("Content-Length", "1"), ("a b", "x"), ("X-A", "a\nb")] {
            let error = read(key, value).unwrap_err().to_string();
            assert!(error.starts_with(&format!("Secret s: key {key} ")), "{error}");
        }
    }

    #[test]
    fn a_booking_lies_below_the_base() {
        for (base, url) in [
            ("https://b.example", "https://b.example/bookings/k"),
            ("https://b.example/api/", "https://b.example/api/bookings/k"),
            ("https://b.example/api", "https://b.example/api/bookings/k"),
        ] {
            let product = Product { base: Url::parse(base).unwrap(), headers: HeaderMap::new() };
            assert_eq!(product.booking("k").unwrap().as_str(), url);
        }
    }
}
