//! What a scope names to prove the application's identity, and how that is read: Secrets and service accounts by name, in
//! the scope's own namespace.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

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

/// What proves the identity, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    ClientSecret { secret: String, key: String },
    ClientCertificate { secret: String },
    WorkloadIdentity { service_account: String },
}

impl Named {
    /// What a spec names. The schema lets exactly one through.
    pub(super) fn of(credentials: &Credentials) -> Result<Self, ScopeAccessError> {
        let Credentials { workload_identity, client_certificate, client_secret } = credentials;
        match (workload_identity, client_certificate, client_secret) {
            (Some(one), None, None) => {
                Ok(Self::WorkloadIdentity { service_account: one.service_account_name.clone() })
            }
            (None, Some(one), None) => Ok(Self::ClientCertificate { secret: one.secret_name.clone() }),
            (None, None, Some(one)) => {
                Ok(Self::ClientSecret { secret: one.secret_name.clone(), key: one.key.clone() })
            }
            _ => Err(ScopeAccessError::NoCredential),
        }
    }

    /// The Secret that is read for it.
    pub(super) fn secret(&self) -> Option<&str> {
        match self {
            Self::ClientSecret { secret, .. } | Self::ClientCertificate { secret } => Some(secret),
            Self::WorkloadIdentity { .. } => None,
        }
    }
}

/// What was read for it.
pub(super) struct Material {
    /// Of the Secret, by key.
    values: BTreeMap<&'static str, SecretString>,
    /// `metadata.resourceVersion` of the Secret.
    pub(super) version: Option<String>,
}

/// Names of the values; the Secret's key of a client secret is of no interest any more.
const CLIENT_SECRET: &str = "clientSecret";

impl Material {
    /// Reads it.
    pub(super) async fn read(
        kube: &Client,
        namespace: &str,
        named: &Named,
    ) -> Result<Self, ScopeAccessError> {
        let Some(name) = named.secret() else { return Ok(Self { values: BTreeMap::new(), version: None }) };
        let secret = secret(kube, namespace, name).await?;
        let wanted: &[(&'static str, &str, &'static str)] = match named {
            Named::ClientSecret { key, .. } => {
                &[(CLIENT_SECRET, key, ", or name another key in spec.credentials.clientSecret.key")]
            }
            _ => &[
                (CERTIFICATE, CERTIFICATE, " (the certificate registered with the app, PEM)"),
                (PRIVATE_KEY, PRIVATE_KEY, " (the certificate's RSA key, PEM)"),
            ],
        };
        let mut data = secret.data.unwrap_or_default();
        let mut values = BTreeMap::new();
        for (value, key, or) in wanted {
            let missing =
                || ScopeAccessError::KeyMissing { secret: name.to_owned(), key: (*key).to_owned(), or };
            let ByteString(bytes) = data.remove(*key).ok_or_else(missing)?;
            let text = String::from_utf8(bytes).map_err(|_| missing())?;
            // An editor's final line break is no part of the value.
            let text = text.trim_end_matches(['\r', '\n']);
            if text.is_empty() {
                return Err(missing());
            }
            values.insert(*value, SecretString::from(text.to_owned()));
        }
        Ok(Self { values, version: secret.metadata.resource_version })
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        let values = |one: &Self| -> Vec<String> {
            one.values.values().map(|value| value.expose_secret().to_owned()).collect()
        };
        values(self) == values(other)
    }

    /// The credential, and when it ends if that can be told.
    pub(super) fn credential(
        &self,
        kube: &Client,
        namespace: &str,
        named: &Named,
        now: Timestamp,
    ) -> Result<(Credential, Option<Timestamp>), ScopeAccessError> {
        let value = |key: &str| self.values.get(key).cloned().unwrap_or_default();
        match named {
            Named::ClientSecret { .. } => Ok((Credential::ClientSecret(value(CLIENT_SECRET)), None)),
            Named::ClientCertificate { secret } => {
                let certificate = value(CERTIFICATE);
                let certificate = certificate.expose_secret().as_bytes();
                let read = CertificateCredential::from_pem(certificate, &value(PRIVATE_KEY), now);
                let read =
                    read.map_err(|cause| ScopeAccessError::Certificate { secret: secret.clone(), cause })?;
                let ends = read.not_after();
                Ok((Credential::ClientCertificate(read), Some(ends)))
            }
            Named::WorkloadIdentity { service_account } => {
                let api = Api::namespaced(kube.clone(), namespace);
                let tokens = ServiceAccountTokens { api, name: service_account.clone() };
                Ok((Credential::Assertion(Arc::new(tokens)), None))
            }
        }
    }
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
