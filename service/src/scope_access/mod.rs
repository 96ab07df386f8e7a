//! Access to Graph with the credential of an AccessScope.
//!
//! The Secret that a scope names is read by name, in the scope's own namespace, never watched or listed: the chart grants
//! `get` on a list of names. One client is kept per scope, so that its token is shared; another credential or another
//! endpoint makes another client.

mod allowed_hosts;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client, ResourceExt as _};
use roomkeeper_crds::{
    AccessScope, AccessScopeSpec, access_scope::Cloud as ScopeCloud, condition::CredentialsValid,
};
use roomkeeper_graph::{
    ClientSettings, Credential, GraphClient, GraphError,
    audit::AuditSink,
    cloud::{Cloud, EndpointError, Endpoints},
    http::Http,
};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

pub use self::allowed_hosts::{AllowedHosts, HostError, HostNotAllowed};

/// How long a Secret that was read is taken for current; a rotated secret is in use after at most this time.
const SECRET_MAX_AGE: Duration = Duration::from_secs(10);

/// Longest wait for one answer of the API server.
const SECRET_TIMEOUT: Duration = Duration::from_secs(10);

/// Graph clients, one per AccessScope.
pub struct ScopeClients {
    kube: Client,
    http: Http,
    allowed_hosts: AllowedHosts,
    audit: Arc<dyn AuditSink>,
    kept: Mutex<HashMap<String, Kept>>,
}

struct Kept {
    spec: Connection,
    secret: SecretString,
    read_at: Instant,
    client: GraphClient,
}

/// What of a scope decides which client serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Connection {
    endpoints: Endpoints,
    tenant_id: String,
    client_id: String,
    secret_name: String,
    key: String,
}

/// Why a scope has no client.
#[derive(Debug, thiserror::Error)]
pub enum ScopeAccessError {
    /// The scope has no uid or namespace, so it does not come from an API server.
    #[error("the AccessScope has no metadata.{0}")]
    Incomplete(&'static str),
    /// No credential is named.
    #[error("spec.credentials names no credential: set spec.credentials.clientSecret")]
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
        "Secret {0} may not be read: add its name to the chart's list of Secrets (a Role with resourceNames)"
    )]
    SecretForbidden(String),
    /// The Secret has no such key.
    #[error(
        "Secret {secret} has no value under key {key}: add it, or name another key in spec.credentials.clientSecret.key"
    )]
    KeyMissing {
        /// Name of the Secret.
        secret: String,
        /// Key that was looked for.
        key: String,
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

impl ScopeClients {
    /// Makes an empty set of clients.
    pub fn new(kube: Client, http: Http, allowed_hosts: AllowedHosts, audit: Arc<dyn AuditSink>) -> Self {
        Self { kube, http, allowed_hosts, audit, kept: Mutex::new(HashMap::new()) }
    }

    /// The client of a scope, with the credential that its Secret held at most ten seconds ago.
    ///
    /// # Errors
    /// When the Secret, an endpoint or the API server stands in the way; each error says which and what to do.
    pub async fn client_for(&self, scope: &AccessScope) -> Result<GraphClient, ScopeAccessError> {
        self.client(scope, SECRET_MAX_AGE).await
    }

    /// The client of a scope, with the credential that its Secret holds now.
    ///
    /// # Errors
    /// As [`Self::client_for`].
    pub async fn refreshed_client_for(&self, scope: &AccessScope) -> Result<GraphClient, ScopeAccessError> {
        self.client(scope, Duration::ZERO).await
    }

    /// Drops the client of a scope that is gone.
    pub fn forget(&self, scope_uid: &str) {
        self.kept().remove(scope_uid);
    }

    async fn client(&self, scope: &AccessScope, max_age: Duration) -> Result<GraphClient, ScopeAccessError> {
        let uid = scope.uid().ok_or(ScopeAccessError::Incomplete("uid"))?;
        let namespace = scope.namespace().ok_or(ScopeAccessError::Incomplete("namespace"))?;
        let spec = connection(&scope.spec, &self.allowed_hosts)?;
        if let Some(kept) = self.kept().get(&uid)
            && kept.spec == spec
            && kept.read_at.elapsed() < max_age
        {
            return Ok(kept.client.clone());
        }
        let secret = self.secret(&namespace, &spec).await?;
        let mut all = self.kept();
        if let Some(kept) = all.get_mut(&uid)
            && kept.spec == spec
            && kept.secret.expose_secret() == secret.expose_secret()
        {
            kept.read_at = Instant::now();
            return Ok(kept.client.clone());
        }
        let settings = ClientSettings {
            scope: format!("{namespace}/{}", scope.name_any()),
            endpoints: spec.endpoints.clone(),
            tenant_id: spec.tenant_id.clone(),
            client_id: spec.client_id.clone(),
            credential: Credential::ClientSecret(secret.clone()),
        };
        let client = GraphClient::new(settings, self.http.clone(), Arc::clone(&self.audit))?;
        all.insert(uid, Kept { spec, secret, read_at: Instant::now(), client: client.clone() });
        Ok(client)
    }

    async fn secret(&self, namespace: &str, spec: &Connection) -> Result<SecretString, ScopeAccessError> {
        let name = spec.secret_name.clone();
        let api: Api<Secret> = Api::namespaced(self.kube.clone(), namespace);
        let secret = match tokio::time::timeout(SECRET_TIMEOUT, api.get(&name)).await {
            Ok(Ok(secret)) => secret,
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
                return Err(ScopeAccessError::SecretNotFound(name));
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                return Err(ScopeAccessError::SecretForbidden(name));
            }
            Ok(Err(error)) => {
                return Err(ScopeAccessError::ApiServer { name, source: Some(Box::new(error)) });
            }
            Err(_elapsed) => return Err(ScopeAccessError::ApiServer { name, source: None }),
        };
        let missing = || ScopeAccessError::KeyMissing { secret: name.clone(), key: spec.key.clone() };
        let ByteString(bytes) =
            secret.data.and_then(|mut data| data.remove(&spec.key)).ok_or_else(missing)?;
        let text = String::from_utf8(bytes).map_err(|_| missing())?;
        // An editor's final line break is no part of the secret.
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(missing());
        }
        Ok(SecretString::from(text.to_owned()))
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks what a scope says about its connection. Microsoft's own hosts need no place on the allow list.
fn connection(spec: &AccessScopeSpec, allowed: &AllowedHosts) -> Result<Connection, ScopeAccessError> {
    let credential = spec.credentials.client_secret.as_ref().ok_or(ScopeAccessError::NoCredential)?;
    Ok(Connection {
        endpoints: endpoints(spec, allowed)?,
        tenant_id: spec.tenant_id.clone(),
        client_id: spec.client_id.clone(),
        secret_name: credential.secret_name.clone(),
        key: credential.key.clone(),
    })
}

/// The endpoints of a scope: those of its Microsoft cloud, or its own when their hosts are on the allow list.
///
/// # Errors
/// When an endpoint is not an https origin, or its host is not allowed.
pub fn endpoints(spec: &AccessScopeSpec, allowed: &AllowedHosts) -> Result<Endpoints, ScopeAccessError> {
    let Some(own) = &spec.endpoints else {
        return Ok(match spec.cloud.unwrap_or(ScopeCloud::Global) {
            ScopeCloud::Global => Cloud::Global,
            ScopeCloud::USGov => Cloud::UsGov,
            ScopeCloud::USGovDoD => Cloud::UsGovDod,
            ScopeCloud::China => Cloud::China,
        }
        .endpoints());
    };
    let authority = origin("authority", &own.authority)?;
    let graph = origin("graph", &own.graph)?;
    allowed.check("spec.endpoints.authority", &authority)?;
    allowed.check("spec.endpoints.graph", &graph)?;
    Endpoints::new(authority, graph).map_err(ScopeAccessError::Endpoint)
}

fn origin(field: &'static str, text: &str) -> Result<Url, ScopeAccessError> {
    Url::parse(text).map_err(|source| ScopeAccessError::EndpointUrl { field, source })
}
