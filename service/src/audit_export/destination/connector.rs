//! The HTTP client of `object_store`, for uploads and for the exchange of a token before them. The library's own follows redirects: it
//! would repeat a request, with the token in it, to whatever host an answer names, allowed or not.

#![expect(
    clippy::disallowed_types,
    reason = "the one place that makes a client for exports of the audit; object_store alone gets it"
)]

use std::time::Duration;

use object_store::{
    ClientOptions,
    client::{HttpClient, HttpConnector},
};

use super::{StoreError, StoreSettings};

/// Gives the library one client for everything it sends: TLS only, redirects not followed.
#[derive(Debug)]
pub(super) struct Connector(HttpClient);

impl Connector {
    /// Makes the client.
    ///
    /// # Errors
    /// [`StoreError::ExtraCa`], or TLS cannot be set up.
    pub(super) fn new(settings: &StoreSettings) -> Result<Self, StoreError> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_rustls()
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            // Faster for objects than HTTP/2, says the library.
            .http1_only()
            .timeout(settings.request_timeout)
            .connect_timeout(Duration::from_secs(10))
            .user_agent(concat!("roomkeeper/", env!("CARGO_PKG_VERSION")));
        if let Some(pem) = &settings.extra_ca_pem {
            let all = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| StoreError::ExtraCa)?;
            if all.is_empty() {
                return Err(StoreError::ExtraCa);
            }
            builder = builder.tls_certs_merge(all);
        }
        let client = builder.build().map_err(|_| StoreError::Settings {
            cause: "certificate authorities, of the system or of the extra CA file",
        })?;
        Ok(Self(HttpClient::new(client)))
    }
}

impl HttpConnector for Connector {
    // The library's options would loosen it: it asks for plain HTTP where it looks for credentials at a machine's metadata.
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_no_certificate_is_refused() {
        crate::tls::install_provider();
        let settings =
            |pem: &str| StoreSettings { extra_ca_pem: Some(pem.into()), ..StoreSettings::default() };
        assert_eq!(Connector::new(&settings("none")).unwrap_err(), StoreError::ExtraCa);
        let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let error = Connector::new(&settings(no_certificate)).unwrap_err().to_string();
        assert!(error.contains("certificate authorities"), "{error}");
        assert!(Connector::new(&StoreSettings::default()).is_ok());
    }
}
