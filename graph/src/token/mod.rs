//! Tokens: how they are got, kept and dropped.

mod assertion;
mod cache;
mod certificate;
mod source;
mod transport;

use std::{fmt, sync::Arc};

use secrecy::SecretString;

pub use self::{
    assertion::{AssertionError, AssertionSource},
    certificate::{CertificateCredential, CertificateError},
};
pub(crate) use self::{
    cache::Tokens,
    source::{EntraSource, TokenSource},
};

/// How the app proves itself to Entra.
#[derive(Clone)]
#[non_exhaustive]
pub enum Credential {
    /// A client secret of the app registration: the secret's value, not its id.
    ClientSecret(SecretString),
    /// A certificate of the app registration, with its key.
    ClientCertificate(CertificateCredential),
    /// Tokens of an issuer that the app registration trusts as a federated credential.
    Assertion(Arc<dyn AssertionSource>),
}

/// Shows the kind only.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientSecret(_) => f.write_str("ClientSecret(..)"),
            Self::ClientCertificate(certificate) => {
                f.debug_tuple("ClientCertificate").field(certificate).finish()
            }
            Self::Assertion(_) => f.write_str("Assertion(..)"),
        }
    }
}
