//! The signing keys of tenants, cached. A key id that is not known asks the authority again, at a bounded rate: a
//! stranger's token must not become a stranger's request.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex as SyncMutex, PoisonError},
    time::Duration,
};

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::DecodingKey;
use kube::ResourceExt as _;
use roomkeeper_crds::AccessScope;
use roomkeeper_graph::{
    Cause, GraphError,
    audit::AuditSink,
    http::Http,
    oidc::{OidcClient, OidcKeys, OidcSettings, SigningKey},
};
use roomkeeper_service::scope_access::{AllowedHosts, ScopeAccessError, endpoints};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

/// Keys are read again when they are this old.
const REFRESH: Duration = Duration::from_hours(1);
/// Keys that could not be read again are no proof beyond this age.
const STALE: Duration = Duration::from_hours(24);
/// Time between two reads on account of an unknown key id.
const UNKNOWN_PAUSE: Duration = Duration::from_mins(1);
/// Time between two reads after a failed one.
const FAILED_PAUSE: Duration = Duration::from_secs(10);
/// Longest wait for the authority; a person is waiting.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Least and most bytes of a modulus: RSA with 2,048 to 8,192 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1_024;

/// Authority and tenant.
type TenantAt = (String, String);

/// The keys of all tenants.
pub(super) struct TenantKeys {
    http: Http,
    audit: Arc<dyn AuditSink>,
    allowed_hosts: AllowedHosts,
    tenants: SyncMutex<HashMap<TenantAt, Arc<Mutex<Tenant>>>>,
}

/// What is known of a tenant. Locked while the authority is asked, so that many callers share one answer.
#[derive(Default)]
pub(super) struct Tenant {
    published: Option<Published>,
    asked: Option<(Instant, bool)>,
}

struct Published {
    issuer: Arc<str>,
    keys: HashMap<String, DecodingKey>,
    read: Instant,
}

/// A key and the issuer that goes with it.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) issuer: Arc<str>,
    pub(super) key: DecodingKey,
}

/// Why there is no key.
#[derive(Debug)]
pub(super) enum NoKey {
    /// The tenant publishes none of that id.
    Unknown,
    /// The authority does not answer, or the scope does not say where it is: nothing can be said about any token.
    Unavailable,
}

impl TenantKeys {
    pub(super) fn new(http: Http, audit: Arc<dyn AuditSink>, allowed_hosts: AllowedHosts) -> Self {
        Self { http, audit, allowed_hosts, tenants: SyncMutex::default() }
    }

    /// The key of that id of the scope's tenant.
    pub(super) async fn key(&self, scope: &AccessScope, kid: &str) -> Result<Found, NoKey> {
        let client = self.client(scope).map_err(|error| {
            tracing::warn!(scope = scope.name_any(), %error, "the signing keys of a tenant cannot be read");
            NoKey::Unavailable
        })?;
        let tenant = {
            let at = (client.1, scope.spec.tenant_id.to_ascii_lowercase());
            let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(tenants.entry(at).or_default())
        };
        let mut tenant = tenant.lock().await;
        if tenant.must_ask(kid) {
            let cause = Cause::new(format!(
                "AccessScope/{}/{}",
                scope.namespace().unwrap_or_default(),
                scope.name_any()
            ));
            let answer = timeout(TIMEOUT, client.0.keys(&cause)).await;
            tenant.take(match answer {
                Ok(Ok(keys)) => Some(keys),
                Ok(Err(error)) => {
                    tracing::warn!(scope = scope.name_any(), %error, "the signing keys of a tenant cannot be read");
                    None
                }
                Err(_elapsed) => {
                    tracing::warn!(scope = scope.name_any(), "the authority did not answer in time");
                    None
                }
            });
        }
        tenant.find(kid)
    }

    fn client(&self, scope: &AccessScope) -> Result<(OidcClient, String), ClientError> {
        let endpoints = endpoints(&scope.spec, &self.allowed_hosts)?;
        let authority = endpoints.authority().to_string();
        let settings = OidcSettings {
            scope: format!("{}/{}", scope.namespace().unwrap_or_default(), scope.name_any()),
            endpoints,
            tenant_id: scope.spec.tenant_id.clone(),
            client_id: scope.spec.client_id.clone(),
        };
        Ok((OidcClient::new(settings, self.http.clone(), Arc::clone(&self.audit))?, authority))
    }
}

#[derive(Debug, thiserror::Error)]
enum ClientError {
    #[error(transparent)]
    Access(#[from] ScopeAccessError),
    #[error(transparent)]
    Graph(#[from] GraphError),
}

impl Tenant {
    fn must_ask(&self, kid: &str) -> bool {
        let now = Instant::now();
        if let Some((asked, succeeded)) = self.asked {
            let pause = if succeeded { UNKNOWN_PAUSE } else { FAILED_PAUSE };
            if now < asked + pause {
                return false;
            }
        }
        self.published
            .as_ref()
            .is_none_or(|published| now >= published.read + REFRESH || !published.keys.contains_key(kid))
    }

    /// Takes an answer of the authority; `None` where there was none.
    fn take(&mut self, answer: Option<OidcKeys>) {
        let now = Instant::now();
        self.asked = Some((now, answer.is_some()));
        if let Some(OidcKeys { issuer, keys }) = answer {
            let keys = keys.into_iter().filter_map(decoding_key).collect();
            self.published = Some(Published { issuer: issuer.into(), keys, read: now });
        }
    }

    fn find(&self, kid: &str) -> Result<Found, NoKey> {
        let published = self
            .published
            .as_ref()
            .filter(|published| Instant::now() < published.read + STALE)
            .ok_or(NoKey::Unavailable)?;
        let key = published.keys.get(kid).ok_or(NoKey::Unknown)?;
        Ok(Found { issuer: Arc::clone(&published.issuer), key: key.clone() })
    }
}

fn decoding_key(key: SigningKey) -> Option<(String, DecodingKey)> {
    let modulus = BASE64URL_NOPAD.decode(key.modulus.as_bytes()).ok()?;
    let exponent = BASE64URL_NOPAD.decode(key.exponent.as_bytes()).ok()?;
    MODULUS_BYTES
        .contains(&modulus.len())
        .then(|| (key.kid, DecodingKey::from_rsa_raw_components(&modulus, &exponent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(kids: &[&str]) -> OidcKeys {
        let key = |kid: &&str| SigningKey {
            kid: (*kid).to_owned(),
            modulus: BASE64URL_NOPAD.encode(&[0xc3; 256]),
            exponent: "AQAB".to_owned(),
        };
        OidcKeys { issuer: "https://login.example/t/v2.0".to_owned(), keys: kids.iter().map(key).collect() }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unknown_key_id_asks_at_a_bounded_rate() {
        let mut tenant = Tenant::default();
        assert!(tenant.must_ask("a"));
        tenant.take(Some(published(&["a"])));
        assert!(tenant.find("a").is_ok());
        assert!(!tenant.must_ask("a"));
        assert!(!tenant.must_ask("b"), "asked a moment ago");
        assert!(matches!(tenant.find("b"), Err(NoKey::Unknown)));
        tokio::time::advance(UNKNOWN_PAUSE).await;
        assert!(!tenant.must_ask("a"));
        assert!(tenant.must_ask("b"));
        tenant.take(Some(published(&["b"])));
        assert!(tenant.find("b").is_ok());
        assert!(
            matches!(tenant.find("a"), Err(NoKey::Unknown)),
            "a key that is not published any more is not taken"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn keys_outlive_an_outage_of_the_authority_for_a_day() {
        let mut tenant = Tenant::default();
        tenant.take(None);
        assert!(matches!(tenant.find("a"), Err(NoKey::Unavailable)));
        assert!(!tenant.must_ask("a"));
        tokio::time::advance(FAILED_PAUSE).await;
        assert!(tenant.must_ask("a"));
        tenant.take(Some(published(&["a"])));
        tokio::time::advance(REFRESH).await;
        assert!(tenant.must_ask("a"));
        tenant.take(None);
        assert!(tenant.find("a").is_ok());
        tokio::time::advance(STALE).await;
        assert!(matches!(tenant.find("a"), Err(NoKey::Unavailable)));
    }

    #[test]
    fn short_keys_are_not_taken() {
        let key = SigningKey {
            kid: "a".to_owned(),
            modulus: BASE64URL_NOPAD.encode(&[0xc3; 128]),
            exponent: "AQAB".to_owned(),
        };
        assert!(decoding_key(key).is_none());
    }
}
