//! Tokens: how they are got, kept and dropped.

mod cache;
mod source;
mod transport;

use std::fmt;

use secrecy::SecretString;

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
}

/// Shows the kind only.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientSecret(_) => f.write_str("ClientSecret(..)"),
        }
    }
}
