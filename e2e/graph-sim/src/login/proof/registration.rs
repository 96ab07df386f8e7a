//! Credentials as they are written, in the world file and to the control API.

use jiff::Timestamp;
use serde::Deserialize;

use super::{Certificate, Credentials, Federated, FederatedEntry, Unusable};

/// A client secret, and its end in simulated time.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Secret {
    pub(in crate::login) value: String,
    pub(in crate::login) expires: Option<Timestamp>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// What replaces the credentials of an app; what is absent stays.
#[derive(Default)]
pub(crate) struct CredentialChange {
    /// The only secret, for as long as the app lives.
    pub(crate) secret: Option<String>,
    pub(crate) secrets: Option<Vec<Secret>>,
    /// PEM.
    pub(crate) certificates: Option<Vec<String>>,
    pub(crate) federated: Option<Vec<FederatedEntry>>,
}

impl CredentialChange {
    /// Replaces all that is given, or nothing when something of it cannot be.
    pub(crate) fn apply(self, credentials: &mut Credentials) -> Result<(), Unusable> {
        let mut new = credentials.clone();
        // A secret is never repeated.
        let wrong = |field: &str, rule: &str| Unusable::new(field, "(secret)", rule);
        if self.secret.is_some() && self.secrets.is_some() {
            return Err(wrong("secrets", "must be absent beside secret: there is a list or a single one"));
        }
        if self.secret.as_ref().is_some_and(String::is_empty) {
            return Err(Unusable::new("secret", "", "must not be empty"));
        }
        let single = self.secret.map(|value| vec![Secret { value, expires: None }]);
        if let Some(secrets) = single.or(self.secrets) {
            if let Some(number) = secrets.iter().position(|secret| secret.value.is_empty()) {
                return Err(wrong(&format!("secrets[{number}]"), "must not be empty"));
            }
            new.secrets = secrets;
        }
        if let Some(certificates) = self.certificates {
            new.certificates = Vec::new();
            for (number, pem) in certificates.iter().enumerate() {
                let at = |unusable: Unusable| Unusable {
                    field: format!("{}[{number}]", unusable.field),
                    ..unusable
                };
                new.certificates.push(Certificate::read(pem).map_err(at)?);
            }
        }
        if let Some(federated) = self.federated {
            new.federated = Vec::new();
            for (number, entry) in federated.into_iter().enumerate() {
                let at = |unusable: Unusable| Unusable {
                    field: format!("federated[{number}].{}", unusable.field),
                    ..unusable
                };
                new.federated.push(Federated::read(entry).map_err(at)?);
            }
        }
        *credentials = new;
        Ok(())
    }
}
