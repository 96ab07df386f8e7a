//! Access to Graph with the credential of an AccessScope.
//!
//! What a scope names is read by name, in the scope's own namespace, and Secrets are watched by name: the roles grant that
//! on a list of names. One client is kept per scope, so that its token is shared; another credential or another endpoint
//! makes another client.

mod allowed_hosts;
mod error;
mod proof;
mod watches;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kube::{Client, ResourceExt as _};
use roomkeeper_crds::{
    AccessScope, AccessScopeSpec,
    access_scope::{Cloud as ScopeCloud, Credentials},
};
use roomkeeper_graph::{
    ClientSettings, GraphClient,
    audit::AuditSink,
    cloud::{Cloud, Endpoints},
    http::Http,
};
use tokio::sync::broadcast;
use url::Url;

pub use self::{
    allowed_hosts::{AllowedHosts, HostError, HostNotAllowed},
    error::ScopeAccessError,
    watches::SecretName,
};
use self::{proof::Proof, watches::Watches};

/// How long a Secret that was read is taken for current unless its watch tells of a change: a watch may lag or be forbidden.
const SECRET_MAX_AGE: Duration = Duration::from_secs(10);

/// Changes that wait for a slow listener at most: what is lost is found by the next regular read.
const WAITING: usize = 256;

/// A client that was not asked for in this time belongs to a scope that is most likely gone.
const UNUSED: Duration = Duration::from_hours(6);

/// Graph clients, one per AccessScope.
pub struct ScopeClients {
    kube: Client,
    http: Http,
    allowed_hosts: AllowedHosts,
    audit: Arc<dyn AuditSink>,
    kept: Arc<Mutex<HashMap<String, Kept>>>,
    watches: Watches,
    changes: broadcast::Sender<SecretName>,
    /// Counts the changes of Secrets: a read that one of them overtook tells nothing about the present.
    change_count: Arc<AtomicU64>,
}

struct Kept {
    spec: Connection,
    namespace: String,
    proof: Proof,
    /// When the Secret was read; `None` when it has changed since.
    read_at: Option<Instant>,
    used_at: Instant,
    /// When the credential ends, if that can be told.
    ends: Option<Timestamp>,
    client: GraphClient,
}

/// What of a scope decides which client serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Connection {
    endpoints: Endpoints,
    tenant_id: String,
    client_id: String,
    credentials: Credentials,
}

impl ScopeClients {
    /// Makes an empty set of clients.
    pub fn new(kube: Client, http: Http, allowed_hosts: AllowedHosts, audit: Arc<dyn AuditSink>) -> Self {
        let kept: Arc<Mutex<HashMap<String, Kept>>> = Arc::default();
        let changes = broadcast::Sender::new(WAITING);
        let change_count: Arc<AtomicU64> = Arc::default();
        let watches = Watches::new(kube.clone(), {
            let (kept, changes, change_count) =
                (Arc::clone(&kept), changes.clone(), Arc::clone(&change_count));
            Arc::new(move |secret| {
                change_count.fetch_add(1, Ordering::SeqCst);
                for one in lock(&kept).values_mut() {
                    if one.namespace == secret.namespace
                        && one.spec.credentials.secret_name() == Some(&secret.name)
                    {
                        one.read_at = None;
                    }
                }
                // Where nobody listens, the next call reads it.
                let _ = changes.send(secret.clone());
            })
        });
        Self { kube, http, allowed_hosts, audit, kept, watches, changes, change_count }
    }

    /// Tells of each change of a Secret that a scope names, from now on.
    pub fn changes(&self) -> broadcast::Receiver<SecretName> {
        self.changes.subscribe()
    }

    /// The client of a scope, with the credential that its Secret held at most ten seconds ago, or since the change that its
    /// watch told of.
    ///
    /// # Errors
    /// When the Secret, an endpoint or the API server stands in the way; each error says which and what to do.
    pub async fn client_for(&self, scope: &AccessScope) -> Result<GraphClient, ScopeAccessError> {
        self.client(scope, SECRET_MAX_AGE).await.map(|(client, _)| client)
    }

    /// The client of a scope, with the credential that its Secret holds now, and when that credential ends if it can be told.
    ///
    /// # Errors
    /// As [`Self::client_for`].
    pub async fn refreshed_client_for(
        &self,
        scope: &AccessScope,
    ) -> Result<(GraphClient, Option<Timestamp>), ScopeAccessError> {
        self.client(scope, Duration::ZERO).await
    }

    /// Drops the client of a scope that is gone.
    pub fn forget(&self, scope_uid: &str) {
        lock(&self.kept).remove(scope_uid);
        self.watches.want(scope_uid, None, None);
    }

    async fn client(
        &self,
        scope: &AccessScope,
        max_age: Duration,
    ) -> Result<(GraphClient, Option<Timestamp>), ScopeAccessError> {
        let uid = scope.uid().ok_or(ScopeAccessError::Incomplete("uid"))?;
        let namespace = scope.namespace().ok_or(ScopeAccessError::Incomplete("namespace"))?;
        let spec = connection(&scope.spec, &self.allowed_hosts)?;
        let now = Instant::now();
        if let Some(kept) = lock(&self.kept).get_mut(&uid)
            && kept.spec == spec
            && kept.read_at.is_some_and(|at| at.elapsed() < max_age)
        {
            kept.used_at = now;
            return Ok((kept.client.clone(), kept.ends));
        }
        let seen = self.change_count.load(Ordering::SeqCst);
        let read = Proof::read(&self.kube, &namespace, &spec.credentials).await;
        let secret = spec.credentials.secret_name();
        let secret = secret.map(|name| SecretName { namespace: namespace.clone(), name: name.to_owned() });
        // Also where it cannot be read: it may be put there, or the right to read it may be given.
        self.watches.want(&uid, secret, read.as_ref().ok().and_then(|(_, version)| version.clone()));
        let (proof, _) = read?;
        let (credential, ends) = proof.credential(&self.kube, &namespace, Timestamp::now())?;
        let mut all = lock(&self.kept);
        let read_at = (self.change_count.load(Ordering::SeqCst) == seen).then_some(now);
        if let Some(kept) = all.get_mut(&uid)
            && kept.spec == spec
            && kept.proof.is(&proof)
        {
            (kept.read_at, kept.used_at) = (read_at, now);
            return Ok((kept.client.clone(), kept.ends));
        }
        let settings = ClientSettings {
            scope: format!("{namespace}/{}", scope.name_any()),
            endpoints: spec.endpoints.clone(),
            tenant_id: spec.tenant_id.clone(),
            client_id: spec.client_id.clone(),
            credential,
        };
        let client = GraphClient::new(settings, self.http.clone(), Arc::clone(&self.audit))?;
        let unused: Vec<String> =
            all.extract_if(|_, kept| kept.used_at.elapsed() >= UNUSED).map(|(uid, _)| uid).collect();
        all.insert(uid, Kept { spec, namespace, proof, read_at, used_at: now, ends, client: client.clone() });
        drop(all);
        for uid in unused {
            self.watches.want(&uid, None, None);
        }
        Ok((client, ends))
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Checks what a scope says about its connection. Microsoft's own hosts need no place on the allow list.
fn connection(spec: &AccessScopeSpec, allowed: &AllowedHosts) -> Result<Connection, ScopeAccessError> {
    Ok(Connection {
        endpoints: endpoints(spec, allowed)?,
        tenant_id: spec.tenant_id.clone(),
        client_id: spec.client_id.clone(),
        credentials: spec.credentials.clone(),
    })
}

/// The endpoints of a scope: those of its Microsoft cloud, or its own when their hosts are on the allow list.
///
/// # Errors
/// When an endpoint is not an https origin, or its host is not allowed.
pub fn endpoints(spec: &AccessScopeSpec, allowed: &AllowedHosts) -> Result<Endpoints, ScopeAccessError> {
    let Some(own) = &spec.endpoints else {
        return Ok(cloud(spec.cloud.unwrap_or(ScopeCloud::Global)).endpoints());
    };
    let authority = origin("authority", &own.authority)?;
    let graph = origin("graph", &own.graph)?;
    allowed.check("spec.endpoints.authority", &authority)?;
    allowed.check("spec.endpoints.graph", &graph)?;
    Endpoints::new(authority, graph).map_err(ScopeAccessError::Endpoint)
}

fn cloud(named: ScopeCloud) -> Cloud {
    match named {
        ScopeCloud::Global => Cloud::Global,
        ScopeCloud::USGov => Cloud::UsGov,
        ScopeCloud::USGovDoD => Cloud::UsGovDod,
        ScopeCloud::China => Cloud::China,
    }
}

fn origin(field: &'static str, text: &str) -> Result<Url, ScopeAccessError> {
    Url::parse(text).map_err(|source| ScopeAccessError::EndpointUrl { field, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two crates do not know each other; what they say of a cloud is the same all the same.
    #[test]
    fn people_and_daemons_sign_in_at_the_same_place() {
        for named in [ScopeCloud::Global, ScopeCloud::USGov, ScopeCloud::USGovDoD, ScopeCloud::China] {
            let authority = cloud(named).endpoints().authority().origin().ascii_serialization();
            assert_eq!(authority, named.login(), "{named:?}");
        }
    }
}
