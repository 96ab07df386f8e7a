//! Gets a token from Entra by way of `azure_identity`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use azure_core::{
    cloud::{CloudConfiguration, CustomConfiguration},
    credentials::{Secret, TokenCredential},
    http::{ClientOptions, RetryOptions, Transport},
    time::OffsetDateTime,
};
use azure_identity::{ClientSecretCredential, ClientSecretCredentialOptions};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{Credential, transport::AuditedTransport};
use crate::{
    audit::{Cause, Purpose},
    cloud::Endpoints,
    error::{ArgumentError, GraphError, Problem},
    send::Sender,
};

/// A token as received.
pub(crate) struct Acquired {
    pub(crate) secret: SecretString,
    /// Time left.
    pub(crate) life: Duration,
}

/// Where tokens come from. Each call is one request.
#[async_trait]
pub(crate) trait TokenSource: Send + Sync + 'static {
    async fn acquire(&self, cause: &Cause) -> Result<Acquired, GraphError>;
}

/// The token endpoint of a tenant.
pub(crate) struct EntraSource {
    pub(crate) sender: Arc<Sender>,
    pub(crate) endpoints: Endpoints,
    pub(crate) credential: Credential,
}

#[async_trait]
impl TokenSource for EntraSource {
    async fn acquire(&self, cause: &Cause) -> Result<Acquired, GraphError> {
        let transport = AuditedTransport::new(self.sender.clone(), cause.clone());
        // A new credential for each request: its own cache neither evicts nor tells who asks.
        let credential = self.credential(Arc::clone(&transport))?;
        let scope = self.endpoints.scope();
        let result = credential.get_token(&[&scope], None).await;
        if let Some(error) = transport.take_error() {
            return Err(error);
        }
        let unexpected = |member, problem| GraphError::UnexpectedAnswer {
            purpose: Purpose::Token,
            member,
            problem,
            client_request_id: transport.client_request_id().unwrap_or(Uuid::nil()),
        };
        // Whatever the library says beyond the transport's own errors is about the answer's form, and may quote it.
        let token = result.map_err(|_| unexpected("(body)", Problem::NotA { expected: "a token answer" }))?;
        if token.token.secret().is_empty() {
            return Err(unexpected("access_token", Problem::Missing));
        }
        let life = Duration::try_from(token.expires_on - OffsetDateTime::now_utc()).unwrap_or_default();
        if life.is_zero() {
            return Err(unexpected("expires_in", Problem::NotA { expected: "a time to come" }));
        }
        Ok(Acquired { secret: token.token.secret().into(), life })
    }
}

impl EntraSource {
    /// Checks tenant, client id and credential without sending anything.
    pub(crate) fn check(&self) -> Result<(), GraphError> {
        self.credential(AuditedTransport::new(self.sender.clone(), Cause::new(""))).map(drop)
    }

    fn credential(
        &self,
        transport: Arc<AuditedTransport>,
    ) -> Result<Arc<ClientSecretCredential>, GraphError> {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = self.endpoints.authority().origin().ascii_serialization();
        let client_options = ClientOptions {
            cloud: Some(Arc::new(CloudConfiguration::Custom(cloud))),
            transport: Some(Transport::new(transport)),
            // A retry inside the library would leave without an audit entry of its own decision.
            retry: RetryOptions::none(),
            ..ClientOptions::default()
        };
        let Credential::ClientSecret(secret) = &self.credential;
        ClientSecretCredential::new(
            &self.sender.tenant_id,
            self.sender.client_id.clone(),
            Secret::new(secret.expose_secret().to_owned()),
            Some(ClientSecretCredentialOptions { client_options }),
        )
        .map_err(|_| {
            ArgumentError::Field {
                field: "credential",
                rule: "needs a tenant id of letters, digits, dots and hyphens, a client id and a secret that is not empty",
            }
            .into()
        })
    }
}
