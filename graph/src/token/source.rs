//! Gets a token from Entra by way of `azure_identity`.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use azure_core::{
    cloud::{CloudConfiguration, CustomConfiguration},
    credentials::{Secret, TokenCredential},
    http::{ClientMethodOptions, ClientOptions, RetryOptions, Transport},
    time::OffsetDateTime,
};
use azure_identity::{
    ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions,
};
use jiff::Timestamp;
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
        let proof = self.proof().await?;
        let credential = self.credential(proof, Arc::clone(&transport))?;
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

/// What is sent to prove the app's identity.
enum Proof {
    Secret(SecretString),
    Assertion(SecretString),
}

/// An assertion that is made already, in the form that the library wants.
struct Made(SecretString);

impl fmt::Debug for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Made(..)")
    }
}

#[async_trait]
impl ClientAssertion for Made {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        Ok(self.0.expose_secret().to_owned())
    }
}

impl EntraSource {
    /// Checks tenant, client id and credential without sending anything.
    pub(crate) fn check(&self) -> Result<(), GraphError> {
        let proof = match &self.credential {
            Credential::ClientSecret(secret) => Proof::Secret(secret.clone()),
            Credential::ClientCertificate(_) | Credential::Assertion(_) => Proof::Assertion("".into()),
        };
        self.credential(proof, AuditedTransport::new(self.sender.clone(), Cause::new(""))).map(drop)
    }

    async fn proof(&self) -> Result<Proof, GraphError> {
        Ok(match &self.credential {
            Credential::ClientSecret(secret) => Proof::Secret(secret.clone()),
            Credential::ClientCertificate(certificate) => {
                let endpoint = format!("{}/{}/oauth2/v2.0/token", self.authority(), self.sender.tenant_id);
                let made = certificate.assertion(&endpoint, &self.sender.client_id, Timestamp::now());
                Proof::Assertion(made.map_err(|_| unfit())?)
            }
            Credential::Assertion(source) => Proof::Assertion(source.assertion().await?),
        })
    }

    fn authority(&self) -> String {
        self.endpoints.authority().origin().ascii_serialization()
    }

    fn credential(
        &self,
        proof: Proof,
        transport: Arc<AuditedTransport>,
    ) -> Result<Arc<dyn TokenCredential>, GraphError> {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = self.authority();
        let client_options = ClientOptions {
            cloud: Some(Arc::new(CloudConfiguration::Custom(cloud))),
            transport: Some(Transport::new(transport)),
            // A retry inside the library would leave without an audit entry of its own decision.
            retry: RetryOptions::none(),
            ..ClientOptions::default()
        };
        let client_id = self.sender.client_id.clone();
        let credential: azure_core::Result<Arc<dyn TokenCredential>> = match proof {
            Proof::Secret(secret) => ClientSecretCredential::new(
                &self.sender.tenant_id,
                client_id,
                Secret::new(secret.expose_secret().to_owned()),
                Some(ClientSecretCredentialOptions { client_options }),
            )
            .map(|credential| credential as _),
            Proof::Assertion(assertion) => ClientAssertionCredential::new(
                self.sender.tenant_id.clone(),
                client_id,
                Made(assertion),
                Some(ClientAssertionCredentialOptions { client_options }),
            )
            .map(|credential| credential as _),
        };
        credential.map_err(|_| unfit())
    }
}

fn unfit() -> GraphError {
    ArgumentError::Field {
        field: "credential",
        rule: "needs a tenant id of letters, digits, dots and hyphens, a client id and a secret that is not empty",
    }
    .into()
}
