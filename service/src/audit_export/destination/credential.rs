//! What proves to the storage who exports.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use secrecy::SecretString;

use super::Target;

/// What proves to the storage who exports. Shows nothing of it.
pub enum Credential {
    /// A folder needs none.
    None,
    /// Access key of S3.
    AccessKey {
        /// Its id.
        id: SecretString,
        /// The key.
        secret: SecretString,
        /// Token of a session, where the key is of one.
        session: Option<SecretString>,
    },
    /// Shared key of an Azure storage account.
    AccountKey(SecretString),
    /// Shared access signature of Azure.
    Sas(SecretString),
    /// A token of a service account that the storage's cloud trusts.
    Identity {
        /// Name of the service account.
        account: String,
        /// File with the token; read again whenever the cloud is asked, so it may be renewed.
        token: PathBuf,
        /// Whom the cloud takes its holder for.
        trust: Trust,
    },
}

/// Whom a cloud takes the holder of a token for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// A role of AWS.
    Role {
        /// Its name.
        arn: String,
    },
    /// An application in Entra.
    Application {
        /// Its client id.
        client: String,
        /// Its tenant.
        tenant: String,
    },
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::AccessKey { .. } => "AccessKey",
            Self::AccountKey(_) => "AccountKey",
            Self::Sas(_) => "Sas",
            Self::Identity { .. } => "Identity",
        })
    }
}

/// Why there is no credential. Quotes no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The Secret lacks a key.
    #[error("Secret {secret}, key {key}: is missing, empty or no text: add it")]
    Key {
        /// Name of the Secret.
        secret: String,
        /// The key.
        key: &'static str,
    },
    /// The service account lacks an annotation.
    #[error("ServiceAccount {account}, annotation {annotation}: is missing or empty: add it")]
    Annotation {
        /// Name of the service account.
        account: String,
        /// The annotation.
        annotation: &'static str,
    },
}

impl Credential {
    /// Out of the Secret of that name.
    ///
    /// # Errors
    /// A key that the target needs is missing.
    pub fn of_secret(
        target: &Target,
        secret: &str,
        data: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, CredentialError> {
        let optional = |key: &str| {
            let text = std::str::from_utf8(data.get(key)?).ok()?.trim();
            (!text.is_empty()).then(|| SecretString::from(text))
        };
        let needed = |key: &'static str| {
            optional(key).ok_or_else(|| CredentialError::Key { secret: secret.to_owned(), key })
        };
        match target {
            Target::Folder { .. } => Ok(Self::None),
            Target::S3 { .. } => Ok(Self::AccessKey {
                id: needed("accessKeyId")?,
                secret: needed("secretAccessKey")?,
                session: optional("sessionToken"),
            }),
            Target::Azure { .. } => match optional("sasToken") {
                Some(sas) => Ok(Self::Sas(sas)),
                None => needed("accountKey").map(Self::AccountKey),
            },
        }
    }

    /// Out of the annotations of the service account of that name, whose token is in a file.
    ///
    /// # Errors
    /// An annotation that the target needs is missing.
    pub fn of_service_account(
        target: &Target,
        account: &str,
        annotations: &BTreeMap<String, String>,
        token: &Path,
    ) -> Result<Self, CredentialError> {
        let needed = |annotation: &'static str| {
            annotations
                .get(annotation)
                .filter(|value| !value.is_empty())
                .cloned()
                .ok_or_else(|| CredentialError::Annotation { account: account.to_owned(), annotation })
        };
        let trust = match target {
            Target::Folder { .. } => return Ok(Self::None),
            Target::S3 { .. } => Trust::Role { arn: needed("eks.amazonaws.com/role-arn")? },
            Target::Azure { .. } => Trust::Application {
                client: needed("azure.workload.identity/client-id")?,
                tenant: needed("azure.workload.identity/tenant-id")?,
            },
        };
        Ok(Self::Identity { account: account.to_owned(), token: token.to_owned(), trust })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3() -> Target {
        Target::S3 {
            bucket: "b".to_owned(),
            prefix: String::new(),
            region: "r".to_owned(),
            endpoint: "https://s3.example".parse().unwrap(),
            sts: "https://s3.example".parse().unwrap(),
        }
    }

    fn azure() -> Target {
        Target::Azure {
            account: "a".to_owned(),
            container: "c".to_owned(),
            prefix: String::new(),
            endpoint: "https://a.example".parse().unwrap(),
        }
    }

    #[test]
    fn a_secret_needs_the_keys_of_its_target_and_is_never_shown() {
        let data = |pairs: &[(&str, &str)]| -> BTreeMap<String, Vec<u8>> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
        };
        let keys = data(&[("accessKeyId", "canary-1\n"), ("secretAccessKey", "canary-2")]);
        let credential = Credential::of_secret(&s3(), "s", &keys).unwrap();
        assert!(!format!("{credential:?}").contains("canary"));
        let error = Credential::of_secret(&s3(), "s", &data(&[("accessKeyId", "canary-1")])).unwrap_err();
        assert_eq!(error.to_string(), "Secret s, key secretAccessKey: is missing, empty or no text: add it");
        let both = data(&[("accountKey", "canary-1"), ("sasToken", "canary-2")]);
        assert!(matches!(Credential::of_secret(&azure(), "s", &both), Ok(Credential::Sas(_))));
        assert!(Credential::of_secret(&azure(), "s", &data(&[("accountKey", " ")])).is_err());
    }

    #[test]
    fn a_service_account_says_whom_the_cloud_takes_it_for() {
        let token = Path::new("/token");
        let none = BTreeMap::new();
        let error = Credential::of_service_account(&s3(), "sa", &none, token).unwrap_err().to_string();
        assert!(error.contains("annotation eks.amazonaws.com/role-arn"), "{error}");
        let error = Credential::of_service_account(&azure(), "sa", &none, token).unwrap_err().to_string();
        assert!(error.contains("annotation azure.workload.identity/client-id"), "{error}");
        let role =
            BTreeMap::from([("eks.amazonaws.com/role-arn".to_owned(), "arn:aws:iam::1:role/x".to_owned())]);
        assert!(matches!(
            Credential::of_service_account(&s3(), "sa", &role, token).unwrap(),
            Credential::Identity { trust: Trust::Role { .. }, .. }
        ));
    }
}
