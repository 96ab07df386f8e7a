//! What a scope names to prove the application's identity, and how that is read: Secrets and service accounts by name, in
//! the scope's own namespace.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{
        authentication::v1::{TokenRequest, TokenRequestSpec},
        core::v1::{Secret, ServiceAccount},
    },
};
use kube::{Api, Client, api::PostParams};
use roomkeeper_crds::access_scope::Credentials;
use roomkeeper_graph::{AssertionError, AssertionSource, CertificateCredential, Credential};
use secrecy::{ExposeSecret as _, SecretString};

use super::error::ScopeAccessError;

/// Longest wait for one answer of the API server.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What Entra expects of a token that it exchanges (workload identity federation).
const AUDIENCE: &str = "api://AzureADTokenExchange";

/// Life of such a token, which is used once: the shortest that an API server gives.
const TOKEN_SECONDS: i64 = 600;

/// Keys of a Secret of type `kubernetes.io/tls`.
const CERTIFICATE: &str = "tls.crt";
const PRIVATE_KEY: &str = "tls.key";

/// What proves the identity, as read from the cluster.
pub(super) enum Proof {
    ClientSecret(SecretString),
    /// The Secret's name, certificate and key.
    ClientCertificate(String, SecretString, SecretString),
    /// Name of the service account. Its tokens are asked for one by one.
    WorkloadIdentity(String),
}

impl Proof {
    /// Reads what a spec names, and says which version of the Secret that was. The schema lets exactly one be named.
    pub(super) async fn read(
        kube: &Client,
        namespace: &str,
        credentials: &Credentials,
    ) -> Result<(Self, Option<String>), ScopeAccessError> {
        let Credentials { workload_identity, client_certificate, client_secret } = credentials;
        match (workload_identity, client_certificate, client_secret) {
            (Some(one), None, None) => Ok((Self::WorkloadIdentity(one.service_account_name.clone()), None)),
            (None, Some(one), None) => {
                let name = &one.secret_name;
                let mut secret = secret(kube, namespace, name).await?;
                let certificate =
                    value(&mut secret, name, CERTIFICATE, " (the certificate registered with the app, PEM)")?;
                let key = value(&mut secret, name, PRIVATE_KEY, " (the certificate's RSA key, PEM)")?;
                let proof = Self::ClientCertificate(name.clone(), certificate, key);
                Ok((proof, secret.metadata.resource_version))
            }
            (None, None, Some(one)) => {
                let name = &one.secret_name;
                let mut secret = secret(kube, namespace, name).await?;
                let or = ", or name another key in spec.credentials.clientSecret.key";
                let proof = Self::ClientSecret(value(&mut secret, name, &one.key, or)?);
                Ok((proof, secret.metadata.resource_version))
            }
            _ => Err(ScopeAccessError::NoCredential),
        }
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        let same = |one: &SecretString, other: &SecretString| one.expose_secret() == other.expose_secret();
        match (self, other) {
            (Self::ClientSecret(one), Self::ClientSecret(other)) => same(one, other),
            (Self::ClientCertificate(_, one, one_key), Self::ClientCertificate(_, other, other_key)) => {
                same(one, other) && same(one_key, other_key)
            }
            (Self::WorkloadIdentity(one), Self::WorkloadIdentity(other)) => one == other,
            _ => false,
        }
    }

    /// The credential, and when it ends if that can be told.
    pub(super) fn credential(
        &self,
        kube: &Client,
        namespace: &str,
        now: Timestamp,
    ) -> Result<(Credential, Option<Timestamp>), ScopeAccessError> {
        match self {
            Self::ClientSecret(secret) => Ok((Credential::ClientSecret(secret.clone()), None)),
            Self::ClientCertificate(secret, certificate, key) => {
                let read = CertificateCredential::from_pem(certificate.expose_secret().as_bytes(), key, now);
                let read =
                    read.map_err(|cause| ScopeAccessError::Certificate { secret: secret.clone(), cause })?;
                let ends = read.not_after();
                Ok((Credential::ClientCertificate(read), Some(ends)))
            }
            Self::WorkloadIdentity(account) => {
                let api = Api::namespaced(kube.clone(), namespace);
                let tokens = ServiceAccountTokens { api, name: account.clone() };
                Ok((Credential::Assertion(Arc::new(tokens)), None))
            }
        }
    }
}

/// Takes a value out of a Secret; `or` says what else than adding it would do, or what it is.
fn value(
    secret: &mut Secret,
    name: &str,
    key: &str,
    or: &'static str,
) -> Result<SecretString, ScopeAccessError> {
    let missing = || ScopeAccessError::KeyMissing { secret: name.to_owned(), key: key.to_owned(), or };
    let found = secret.data.as_mut().and_then(|data| data.remove(key));
    let ByteString(bytes) = found.ok_or_else(missing)?;
    let text = String::from_utf8(bytes).map_err(|_| missing())?;
    // An editor's final line break is no part of the value.
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err(missing()) } else { Ok(text.to_owned().into()) }
}

async fn secret(kube: &Client, namespace: &str, name: &str) -> Result<Secret, ScopeAccessError> {
    let name = name.to_owned();
    let api: Api<Secret> = Api::namespaced(kube.clone(), namespace);
    match tokio::time::timeout(TIMEOUT, api.get(&name)).await {
        Ok(Ok(secret)) => Ok(secret),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
            Err(ScopeAccessError::SecretNotFound(name))
        }
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
            Err(ScopeAccessError::SecretForbidden(name))
        }
        Ok(Err(error)) => Err(ScopeAccessError::ApiServer { name, source: Some(Box::new(error)) }),
        Err(_elapsed) => Err(ScopeAccessError::ApiServer { name, source: None }),
    }
}

/// Tokens of one service account, each asked for when it is needed. Nothing on the disk of the pod is read, so that no two
/// scopes share anything.
struct ServiceAccountTokens {
    api: Api<ServiceAccount>,
    name: String,
}

#[async_trait]
impl AssertionSource for ServiceAccountTokens {
    async fn assertion(&self) -> Result<SecretString, AssertionError> {
        let name = &self.name;
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![AUDIENCE.to_owned()],
                expiration_seconds: Some(TOKEN_SECONDS),
                bound_object_ref: None,
            },
            ..TokenRequest::default()
        };
        let params = PostParams::default();
        let answer =
            tokio::time::timeout(TIMEOUT, self.api.create_token_request(name, &params, &request)).await;
        match answer {
            Ok(Ok(TokenRequest { status: Some(status), .. })) => Ok(status.token.into()),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
                Err(AssertionError::NotFound(format!(
                    "ServiceAccount {name} does not exist in the namespace of the AccessScope: create it, or correct spec.credentials.workloadIdentity.serviceAccountName"
                )))
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                Err(AssertionError::Forbidden(format!(
                    "tokens of ServiceAccount {name} may not be asked for: add {name} to resourceNames of a Role of this namespace that lets Roomkeeper's service accounts create serviceaccounts/token (docs/examples/01-rbac.yaml)"
                )))
            }
            Ok(Ok(_) | Err(_)) | Err(_) => Err(AssertionError::Unavailable(format!(
                "the API server gave no token of ServiceAccount {name}"
            ))),
        }
    }
}
