//! Why a scope has no client, and which reason of `CredentialsValid` says so.

use roomkeeper_crds::condition::CredentialsValid;
use roomkeeper_graph::{CertificateError, GraphError, cloud::EndpointError};

use super::HostNotAllowed;

/// Why a scope has no client.
#[derive(Debug, thiserror::Error)]
pub enum ScopeAccessError {
    /// The scope has no uid or namespace, so it does not come from an API server.
    #[error("the AccessScope has no metadata.{0}")]
    Incomplete(&'static str),
    /// No credential is named.
    #[error(
        "spec.credentials names no credential: set workloadIdentity, clientCertificate or clientSecret under it"
    )]
    NoCredential,
    /// An endpoint is not an https origin.
    #[error("spec.endpoints.{0}")]
    Endpoint(EndpointError),
    /// An endpoint is no URL.
    #[error(
        "spec.endpoints.{field} is no URL ({source}): write an https origin such as https://graph.example"
    )]
    EndpointUrl {
        /// Which endpoint.
        field: &'static str,
        /// What is wrong.
        source: url::ParseError,
    },
    /// A host is not on the operator's allow list.
    #[error(transparent)]
    HostNotAllowed(#[from] HostNotAllowed),
    /// The Secret does not exist.
    #[error("Secret {0} does not exist in the namespace of the AccessScope: create it")]
    SecretNotFound(String),
    /// The Secret may not be read.
    #[error(
        "Secret {0} may not be read: add {0} to resourceNames of a Role of this namespace that lets Roomkeeper's service accounts get, list and watch Secrets (docs/examples/01-rbac.yaml)"
    )]
    SecretForbidden(String),
    /// The Secret has no such key.
    #[error("Secret {secret} has no value under key {key}: add it{or}")]
    KeyMissing {
        /// Name of the Secret.
        secret: String,
        /// Key that was looked for.
        key: String,
        /// What else would do.
        or: &'static str,
    },
    /// Certificate and key prove nothing.
    #[error("Secret {secret} (tls.crt, tls.key): {cause}")]
    Certificate {
        /// Name of the Secret.
        secret: String,
        /// What is wrong.
        cause: CertificateError,
    },
    /// The API server did not answer.
    #[error("the API server could not be asked for Secret {name}")]
    ApiServer {
        /// Name of the Secret.
        name: String,
        /// Its error; `None` when it did not answer in time.
        source: Option<Box<kube::Error>>,
    },
    /// The client could not be made.
    #[error("no Graph client for this scope: {0}")]
    Graph(#[from] GraphError),
}

impl ScopeAccessError {
    /// The reason of `CredentialsValid` that says this.
    pub fn reason(&self) -> CredentialsValid {
        match self {
            Self::SecretNotFound(_) => CredentialsValid::SecretNotFound,
            Self::SecretForbidden(_) => CredentialsValid::SecretForbidden,
            Self::KeyMissing { .. } | Self::NoCredential => CredentialsValid::KeyMissing,
            Self::Certificate { .. } => CredentialsValid::CertificateInvalid,
            Self::HostNotAllowed(_) | Self::Endpoint(_) | Self::EndpointUrl { .. } => {
                CredentialsValid::HostNotAllowed
            }
            Self::Incomplete(_) | Self::ApiServer { .. } => CredentialsValid::Unreachable,
            Self::Graph(_) => CredentialsValid::AuthFailed,
        }
    }

    /// Whether trying again can help without anybody changing something.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::ApiServer { .. })
    }
}
