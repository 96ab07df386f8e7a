//! A client assertion that somebody else makes: a service account's token, exchanged by workload identity federation.

use async_trait::async_trait;
use secrecy::SecretString;

/// Makes assertions. Each is used for one request.
#[async_trait]
pub trait AssertionSource: Send + Sync {
    /// A fresh assertion with the audience `api://AzureADTokenExchange`.
    ///
    /// # Errors
    /// When there is none; no token is asked for then.
    async fn assertion(&self) -> Result<SecretString, AssertionError>;
}

/// Why there is no assertion. The texts hold no data but names of objects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// Whoever would prove the identity does not exist.
    #[error("{0}")]
    NotFound(String),
    /// It may not be asked.
    #[error("{0}")]
    Forbidden(String),
    /// It did not answer.
    #[error("{0}")]
    Unavailable(String),
}
