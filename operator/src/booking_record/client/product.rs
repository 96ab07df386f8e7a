//! One product as a scope names it: base URL, headers out of a Secret, and a client that gets tokens out of another.

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use roomkeeper_crds::access_scope::Booking;
use roomkeeper_service::scope_access::{AllowedHosts, HostNotAllowed};
use url::Url;

use super::{
    oauth::{Login, OAuthClient},
    secrets::{Recent, SecretField, client, headers},
};
use crate::{api::ApiError, key::Key};

/// Base URL, headers and client. Header values and secrets never show.
#[derive(Clone, Debug)]
pub struct Product {
    base: Url,
    headers: HeaderMap,
    login: Option<Login>,
}

/// The URLs of a product, on the allow list.
struct Addresses {
    base: Url,
    token: Option<Url>,
}

impl Product {
    /// The product of a scope whose Secrets are these.
    ///
    /// # Errors
    /// See [`ProductError`].
    pub fn from_secrets(
        allowed: &AllowedHosts,
        booking: &Booking,
        for_headers: Option<Secret>,
        for_client: Option<Secret>,
    ) -> Result<Self, ProductError> {
        let addresses = Addresses::of(allowed, booking)?;
        let headers = match (&booking.secret_name, for_headers) {
            (Some(name), Some(secret)) => headers(name, secret)?,
            _ => HeaderMap::new(),
        };
        let client = match (&booking.oauth, for_client) {
            (Some(oauth), Some(secret)) => Some(client(&oauth.secret_name, secret)?),
            _ => None,
        };
        addresses.product(booking, headers, client)
    }

    /// Where its tokens come from.
    pub(super) fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

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

impl Addresses {
    fn of(allowed: &AllowedHosts, booking: &Booking) -> Result<Self, ProductError> {
        let checked = |field, url: &str| {
            let url = Url::parse(url).map_err(|error| ProductError::Url(field, error))?;
            allowed.check(field, &url)?;
            Ok::<_, ProductError>(url)
        };
        let base = checked("spec.booking.url", &booking.url)?;
        let token =
            booking.oauth.as_ref().map(|oauth| checked("spec.booking.oauth.tokenUrl", &oauth.token_url));
        Ok(Self { base, token: token.transpose()? })
    }

    fn product(
        self,
        booking: &Booking,
        headers: HeaderMap,
        client: Option<OAuthClient>,
    ) -> Result<Product, ProductError> {
        let login = match (self.token, client) {
            (Some(url), Some(client)) => {
                let scope = booking.oauth.as_ref().and_then(|oauth| oauth.scope.clone());
                Some(Login { url, scope, client })
            }
            _ => None,
        };
        if booking.oauth.is_some() && headers.contains_key(AUTHORIZATION) {
            return Err(ProductError::TwoAuthorizations(booking.secret_name.clone().unwrap_or_default()));
        }
        Ok(Product { base: self.base, headers, login })
    }
}

/// Why a scope's product cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum ProductError {
    /// The URL in this field is none.
    #[error("AccessScope {0} is no URL ({1}): write an https URL")]
    Url(&'static str, url::ParseError),
    /// Its host is not on the allow list.
    #[error("AccessScope {0}")]
    Host(#[from] HostNotAllowed),
    /// The Secret that this field names does not exist.
    #[error("Secret {0} does not exist: create it, or correct {1} of the AccessScope")]
    SecretNotFound(String, SecretField),
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
    /// A key of the client is missing, empty or no text.
    #[error(
        "Secret {secret}, which spec.booking.oauth.secretName of the AccessScope names: key {key} is missing, empty or no text: it needs clientId and clientSecret"
    )]
    Client {
        /// Name of the Secret.
        secret: String,
        /// Key in it.
        key: &'static str,
    },
    /// A header and a token for the same place.
    #[error(
        "Secret {0} has the key Authorization, and spec.booking.oauth of the AccessScope is set: remove one of the two, as both make the header Authorization"
    )]
    TwoAuthorizations(String),
}

impl ProductError {
    /// Whether a person must act.
    pub fn is_stalled(&self) -> bool {
        !matches!(self, Self::Api(..))
    }
}

/// Reads Secrets by name and keeps what is in them for a few seconds.
#[derive(Debug, Default)]
pub struct Products {
    headers: Recent<HeaderMap>,
    clients: Recent<OAuthClient>,
}

impl Products {
    /// The product of a scope in that namespace.
    ///
    /// # Errors
    /// See [`ProductError`].
    pub async fn get(
        &self,
        kube: &Client,
        allowed: &AllowedHosts,
        namespace: &str,
        booking: &Booking,
    ) -> Result<Product, ProductError> {
        let addresses = Addresses::of(allowed, booking)?;
        let headers = match &booking.secret_name {
            None => HeaderMap::new(),
            Some(name) => {
                self.headers.get(kube, &Key::new(namespace, name), SecretField::Headers, headers).await?
            }
        };
        let client = match &booking.oauth {
            None => None,
            Some(oauth) => {
                let key = Key::new(namespace, &oauth.secret_name);
                Some(self.clients.get(kube, &key, SecretField::Client, client).await?)
            }
        };
        addresses.product(booking, headers, client)
    }
}

#[cfg(test)]
mod tests;
