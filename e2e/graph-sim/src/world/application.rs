//! App registrations: who an app is, and how it proves itself.

use jiff::Timestamp;
use serde::Deserialize;
use url::Url;
use uuid::Uuid;

use super::{ROLES, WorldError, wrong};
use crate::login::{CredentialChange, Credentials, FederatedEntry, Secret};

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AppRegistration {
    pub(crate) client_id: Uuid,
    /// As written, like the three below; `credentials` holds them read.
    secret: Option<String>,
    secrets: Option<Vec<Secret>>,
    certificates: Option<Vec<String>>,
    federated: Option<Vec<FederatedEntry>>,
    #[serde(skip)]
    pub(crate) credentials: Credentials,
    #[serde(default)]
    pub(crate) roles: Vec<String>,
    /// Where an administrator may be sent back to after consent.
    #[serde(default)]
    pub(crate) redirect_uris: Vec<String>,
    /// Whether an administrator who is asked for consent says no.
    #[serde(default)]
    pub(crate) refuses_consent: bool,
    /// Whether the tenant's administrator lets it sign in.
    #[serde(skip, default = "super::yes")]
    pub(crate) enabled: bool,
    /// Since when it may not have subscriptions any more: it was disabled, or lost the role.
    #[serde(skip)]
    pub(crate) unauthorized_since: Option<Timestamp>,
}

impl AppRegistration {
    pub(super) fn check(&mut self, at: &str) -> Result<(), WorldError> {
        let written = CredentialChange {
            secret: self.secret.take(),
            secrets: self.secrets.take(),
            certificates: self.certificates.take(),
            federated: self.federated.take(),
        };
        written
            .apply(&mut self.credentials)
            .map_err(|unusable| wrong(format!("{at}.{}", unusable.field), unusable.value, unusable.rule))?;
        if self.credentials.is_empty() {
            let rule = "is missing; an app needs a secret, certificates or federated credentials";
            return Err(wrong(format!("{at}.secret"), "", rule));
        }
        if let Some(role) = self.roles.iter().find(|role| !ROLES.contains(&role.as_str())) {
            let rule = format!("is no role that is simulated; known are {}", ROLES.join(", "));
            return Err(wrong(format!("{at}.roles"), role, rule));
        }
        for (number, uri) in self.redirect_uris.iter().enumerate() {
            if !Url::parse(uri)
                .is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.fragment().is_none())
            {
                let rule = "must be an http or https URL without a fragment";
                return Err(wrong(format!("{at}.redirectUris[{number}]"), uri, rule));
            }
        }
        Ok(())
    }

    /// Notes whether it may have subscriptions as of now. What it lacks shows after a while, and not before.
    pub(crate) fn note_authorization(&mut self, strict: bool, now: Timestamp) {
        let roles = crate::subscriptions::roles(strict);
        let authorized = self.enabled && self.roles.iter().any(|role| roles.contains(&role.as_str()));
        self.unauthorized_since = if authorized { None } else { self.unauthorized_since.or(Some(now)) };
    }
}
