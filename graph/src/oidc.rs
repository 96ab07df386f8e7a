//! Signing keys of a tenant, for checking the tokens of its users.
//!
//! Read as "Microsoft identity platform and OpenID Connect" documents it: the discovery document names the issuer and
//! where the keys are. Both requests take the audited path of every other request, without a token.

use std::{fmt, sync::Arc};

use serde::Deserialize;
use url::Url;

use crate::{
    audit::{AuditSink, Cause, Purpose},
    catalogue,
    cloud::Endpoints,
    error::{ArgumentError, GraphError, Problem},
    http::Http,
    request::Request,
    send::{Attempt, RawAnswer, Sender},
};

/// Most keys that are kept; Entra publishes fewer than ten.
const MAX_KEYS: usize = 64;

/// Longest text of a key's member, in bytes: a modulus of 16,384 bits.
const MAX_MEMBER_BYTES: usize = 2_736;

/// Whose keys are read, and how it is told in the audit.
#[derive(Debug, Clone)]
pub struct OidcSettings {
    /// `namespace/name` of the `AccessScope`, for the audit.
    pub scope: String,
    /// The authority is asked; Graph is not.
    pub endpoints: Endpoints,
    /// Tenant.
    pub tenant_id: String,
    /// App registration of the scope, for the audit.
    pub client_id: String,
}

/// Reads the signing keys of one tenant.
pub struct OidcClient {
    sender: Sender,
    discovery: Url,
    issuer_path: String,
}

/// Issuer and keys as published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcKeys {
    /// What the `iss` claim of a token of this tenant must be, to the letter.
    pub issuer: String,
    /// RSA keys for signatures.
    pub keys: Vec<SigningKey>,
}

/// A public RSA key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Key id, as in the header of a token.
    pub kid: String,
    /// Modulus, base64url.
    pub modulus: String,
    /// Exponent, base64url.
    pub exponent: String,
}

impl fmt::Debug for OidcClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OidcClient").field("discovery", &self.discovery.as_str()).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<PublishedKey>,
}

/// Keys of other kinds stand in the same list; they are left out, not refused.
#[derive(Deserialize)]
struct PublishedKey {
    #[serde(default)]
    kty: String,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
}

impl OidcClient {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    /// The tenant id cannot stand in a path.
    pub fn new(settings: OidcSettings, http: Http, audit: Arc<dyn AuditSink>) -> Result<Self, GraphError> {
        let OidcSettings { scope, endpoints, tenant_id, client_id } = settings;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
        if tenant_id.is_empty() || !tenant_id.bytes().all(plain) || tenant_id.starts_with('.') {
            let rule = "must be letters, digits, dots and hyphens";
            return Err(ArgumentError::Field { field: "tenant id", rule }.into());
        }
        let issuer_path = format!("/{tenant_id}/v2.0");
        let mut discovery = endpoints.authority().clone();
        discovery.set_path(&format!("{issuer_path}/.well-known/openid-configuration"));
        Ok(Self {
            sender: Sender { http, audit, scope, tenant_id, client_id, graph: String::new() },
            discovery,
            issuer_path,
        })
    }

    /// Reads discovery document and keys.
    ///
    /// The issuer is what the authority publishes; it must be an https URL of this tenant. The keys must be at the
    /// authority's own origin, so that the document cannot send the request elsewhere.
    ///
    /// # Errors
    /// See [`GraphError::decision`].
    pub async fn keys(&self, cause: &Cause) -> Result<OidcKeys, GraphError> {
        let answer = self.get(Purpose::OidcConfiguration, self.discovery.clone(), cause).await?;
        let (issuer, jwks_uri) = self.discovered(&answer.body).map_err(|(member, expected)| {
            unexpected(Purpose::OidcConfiguration, member, expected, &answer)
        })?;
        let answer = self.get(Purpose::OidcKeys, jwks_uri, cause).await?;
        let keys = published(&answer.body)
            .ok_or_else(|| unexpected(Purpose::OidcKeys, "keys", "a list of keys", &answer))?;
        Ok(OidcKeys { issuer, keys })
    }

    fn discovered(&self, body: &[u8]) -> Result<(String, Url), (&'static str, &'static str)> {
        let document: Discovery =
            serde_json::from_slice(body).map_err(|_| ("(body)", "a discovery document"))?;
        let issuer_fault = ("issuer", "an https URL of this tenant");
        let issuer = Url::parse(&document.issuer).map_err(|_| issuer_fault)?;
        let of_this_tenant = issuer.scheme() == "https"
            && issuer.path().eq_ignore_ascii_case(&self.issuer_path)
            && issuer.query().is_none()
            && issuer.fragment().is_none();
        if !of_this_tenant {
            return Err(issuer_fault);
        }
        let keys_fault = ("jwks_uri", "an https URL at the authority's own origin");
        let jwks_uri = Url::parse(&document.jwks_uri).map_err(|_| keys_fault)?;
        let at_home = jwks_uri.origin() == self.discovery.origin()
            && jwks_uri.username().is_empty()
            && jwks_uri.password().is_none()
            && jwks_uri.fragment().is_none();
        if at_home { Ok((document.issuer, jwks_uri)) } else { Err(keys_fault) }
    }

    async fn get(&self, purpose: Purpose, url: Url, cause: &Cause) -> Result<RawAnswer, GraphError> {
        let request = Request::public(purpose, url);
        let answer = self.sender.send(&request, None, Attempt { cause, number: 1 }).await?;
        if answer.is_success() {
            Ok(answer)
        } else {
            Err(GraphError::Refused(Box::new(catalogue::refusal(purpose, &answer.error()))))
        }
    }
}

fn published(body: &[u8]) -> Option<Vec<SigningKey>> {
    let set: KeySet = serde_json::from_slice(body).ok()?;
    let usable = |key: &PublishedKey| {
        key.kty == "RSA"
            && key.usage.as_deref().is_none_or(|usage| usage == "sig")
            && [&key.kid, &key.n, &key.e].iter().all(|text| (1..=MAX_MEMBER_BYTES).contains(&text.len()))
    };
    let keys = set.keys.into_iter().filter(usable).take(MAX_KEYS);
    Some(keys.map(|key| SigningKey { kid: key.kid, modulus: key.n, exponent: key.e }).collect())
}

fn unexpected(
    purpose: Purpose,
    member: &'static str,
    expected: &'static str,
    answer: &RawAnswer,
) -> GraphError {
    GraphError::UnexpectedAnswer {
        purpose,
        member,
        problem: Problem::NotA { expected },
        client_request_id: answer.client_request_id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{audit::MemoryAudit, http::HttpSettings};

    const TENANT: &str = "7f1d0cb7-93b9-405a-8dad-c21703b7af18";

    fn client() -> OidcClient {
        let settings = OidcSettings {
            scope: "rooms/contoso".to_owned(),
            endpoints: Endpoints::new(
                Url::parse("https://login.example:8443").unwrap(),
                Url::parse("https://graph.example").unwrap(),
            )
            .unwrap(),
            tenant_id: TENANT.to_owned(),
            client_id: "c".to_owned(),
        };
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        OidcClient::new(settings, Http::new(&HttpSettings::default()).unwrap(), Arc::new(MemoryAudit::new()))
            .unwrap()
    }

    fn discovered(issuer: &str, jwks_uri: &str) -> Result<(String, Url), (&'static str, &'static str)> {
        client()
            .discovered(serde_json::json!({"issuer": issuer, "jwks_uri": jwks_uri}).to_string().as_bytes())
    }

    #[test]
    fn the_keys_must_be_at_the_authority_and_the_issuer_of_the_tenant() {
        let issuer = format!("https://login.example:8443/{TENANT}/v2.0");
        let keys = format!("https://login.example:8443/{TENANT}/discovery/v2.0/keys");
        assert_eq!(discovered(&issuer, &keys).unwrap(), (issuer.clone(), Url::parse(&keys).unwrap()));
        // China's authority publishes an issuer of another host.
        let partner = format!("https://login.partner.example/{TENANT}/v2.0");
        assert_eq!(discovered(&partner, &keys).unwrap().0, partner);
        for elsewhere in [
            "https://login.example/keys",
            "http://login.example:8443/keys",
            "https://evil.example/keys",
            "https://login.example:8443@evil.example/keys",
            "https://user@login.example:8443/keys",
            "https://login.example:8443/keys#x",
            "keys",
        ] {
            assert_eq!(discovered(&issuer, elsewhere).unwrap_err().0, "jwks_uri", "{elsewhere}");
        }
        for foreign in [
            "https://login.example:8443/other/v2.0",
            "http://login.example:8443/x",
            "x",
            &format!("{issuer}?q"),
        ] {
            assert_eq!(discovered(foreign, &keys).unwrap_err().0, "issuer", "{foreign}");
        }
    }

    #[test]
    fn only_rsa_keys_for_signatures_are_kept() {
        let body = serde_json::json!({"keys": [
            {"kty": "RSA", "use": "sig", "kid": "a", "n": "AQAB", "e": "AQAB", "x5c": ["…"]},
            {"kty": "RSA", "kid": "b", "n": "AQAB", "e": "AQAB"},
            {"kty": "RSA", "use": "enc", "kid": "c", "n": "AQAB", "e": "AQAB"},
            {"kty": "EC", "kid": "d", "crv": "P-256", "x": "x", "y": "y"},
            {"kty": "oct", "kid": "e", "k": "secret"},
            {"kty": "RSA", "kid": "", "n": "AQAB", "e": "AQAB"},
            {"kty": "RSA", "kid": "f", "n": "A".repeat(MAX_MEMBER_BYTES + 1), "e": "AQAB"},
        ]});
        let keys = published(body.to_string().as_bytes()).unwrap();
        assert_eq!(keys.iter().map(|key| key.kid.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(published(b"{}"), None);
        assert_eq!(published(b"[]"), None);
    }
}
