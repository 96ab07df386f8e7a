//! Uploads by `object_store`.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use object_store::{
    ObjectStore, ObjectStoreExt as _, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::MicrosoftAzureBuilder,
    local::LocalFileSystem,
    path::Path,
};
use secrecy::ExposeSecret as _;
use url::Url;

use super::{
    Credential, Target, Trust,
    connector::Connector,
    told::{Exchange, told},
};

/// What takes objects.
#[async_trait]
pub trait Put: Send + Sync {
    /// Puts an object in its place, in that of an earlier one too. Returns once it is there as a whole.
    ///
    /// # Errors
    /// It may be there or not.
    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), UploadError>;
}

/// An object was not taken. Quotes neither credentials nor URLs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot upload {name}: {cause}")]
pub struct UploadError {
    /// The object.
    pub name: String,
    /// Why, and where it is known what to do.
    pub cause: String,
}

/// How the storage is spoken to.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// Further certificate authorities in PEM, beside those of the system.
    pub extra_ca_pem: Option<Vec<u8>>,
    /// Longest time of one request.
    pub request_timeout: Duration,
    /// Longest time of one object with its repetitions.
    pub retry_timeout: Duration,
    /// Origin at which tokens of a service account are exchanged for those of Entra; `None`: the public cloud's.
    pub authority: Option<Url>,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            extra_ca_pem: None,
            request_timeout: Duration::from_mins(1),
            retry_timeout: Duration::from_mins(2),
            authority: None,
        }
    }
}

/// A destination that can be written to.
pub struct Store {
    objects: Box<dyn ObjectStore>,
    prefix: Path,
    exchange: Option<Exchange>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.objects)
    }
}

/// Why a destination cannot be opened. Quotes no credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The extra certificate authorities cannot be read.
    #[error("the extra CA file is not valid: expected one or more certificates in PEM")]
    ExtraCa,
    /// The credential is of another kind of storage.
    #[error("the credential does not fit the destination: name a Secret or service account for it")]
    OtherCredential,
    /// The library refuses the settings.
    #[error("the destination cannot be opened: {cause}")]
    Settings {
        /// Which of them.
        cause: &'static str,
    },
}

/// Opens a destination. Nothing is sent.
///
/// # Errors
/// See [`StoreError`].
pub fn open(target: &Target, credential: &Credential, settings: &StoreSettings) -> Result<Store, StoreError> {
    let (objects, prefix): (Box<dyn ObjectStore>, &str) = match target {
        Target::Folder { folder } => {
            let files = LocalFileSystem::new_with_prefix(folder)
                .map_err(|_| StoreError::Settings { cause: "the folder is not there" })?;
            (Box::new(files.with_fsync(true)), "")
        }
        Target::S3 { bucket, prefix, region, endpoint, sts } => {
            let builder = AmazonS3Builder::new()
                .with_bucket_name(bucket)
                .with_region(region)
                .with_endpoint(origin(endpoint))
                .with_http_connector(Connector::new(settings)?)
                .with_retry(retry(settings));
            let builder = match credential {
                Credential::AccessKey { id, secret, session } => {
                    let builder = builder
                        .with_access_key_id(id.expose_secret())
                        .with_secret_access_key(secret.expose_secret());
                    match session {
                        Some(session) => builder.with_token(session.expose_secret()),
                        None => builder,
                    }
                }
                Credential::Identity { token, trust: Trust::Role { arn }, .. } => builder
                    .with_config(AmazonS3ConfigKey::WebIdentityTokenFile, token.display().to_string())
                    .with_config(AmazonS3ConfigKey::RoleArn, arn)
                    .with_config(AmazonS3ConfigKey::RoleSessionName, "roomkeeper")
                    .with_config(AmazonS3ConfigKey::StsEndpoint, origin(sts)),
                _ => return Err(StoreError::OtherCredential),
            };
            let s3 =
                builder.build().map_err(|_| StoreError::Settings { cause: "bucket, region or endpoint" })?;
            (Box::new(s3), prefix)
        }
        Target::Azure { account, container, prefix, endpoint } => {
            let builder = MicrosoftAzureBuilder::new()
                .with_account(account)
                .with_container_name(container)
                .with_endpoint(origin(endpoint))
                .with_http_connector(Connector::new(settings)?)
                .with_retry(retry(settings));
            let builder = match credential {
                Credential::AccountKey(key) => builder.with_access_key(key.expose_secret()),
                Credential::Sas(sas) => {
                    let pairs = object_store::azure::split_sas(sas.expose_secret()).map_err(|_| {
                        StoreError::Settings { cause: "sasToken is no shared access signature" }
                    })?;
                    builder.with_sas_authorization(pairs)
                }
                Credential::Identity { token, trust: Trust::Application { client, tenant }, .. } => {
                    let builder = builder
                        .with_client_id(client)
                        .with_tenant_id(tenant)
                        .with_federated_token_file(token.display().to_string())
                        .with_credential_type("workload_identity");
                    match &settings.authority {
                        Some(authority) => builder.with_authority_host(origin(authority)),
                        None => builder,
                    }
                }
                _ => return Err(StoreError::OtherCredential),
            };
            let azure = builder
                .build()
                .map_err(|_| StoreError::Settings { cause: "container, endpoint or accountKey (base64)" })?;
            (Box::new(azure), prefix)
        }
    };
    Ok(Store { objects, prefix: Path::from(prefix), exchange: Exchange::of(credential) })
}

fn origin(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

fn retry(settings: &StoreSettings) -> RetryConfig {
    RetryConfig { max_retries: 3, retry_timeout: settings.retry_timeout, ..RetryConfig::default() }
}

#[async_trait]
impl Put for Store {
    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), UploadError> {
        let path = name.split('/').fold(self.prefix.clone(), Path::join);
        let put = self.objects.put(&path, bytes.into()).await;
        put.map(drop).map_err(|error| {
            let cause = told(&error, self.exchange.as_ref());
            UploadError { name: name.to_owned(), cause }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;

    #[tokio::test]
    async fn a_folder_takes_objects_and_takes_them_again() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::Folder { folder: fs::canonicalize(dir.path()).unwrap() };
        let store = open(&target, &Credential::None, &StoreSettings::default()).unwrap();
        for text in ["one", "two"] {
            store.put("rooms_contoso/operator-0/a.jsonl.gz", text.into()).await.unwrap();
            let there = fs::read_to_string(dir.path().join("rooms_contoso/operator-0/a.jsonl.gz")).unwrap();
            assert_eq!(there, text);
        }
        let files = fs::read_dir(dir.path().join("rooms_contoso/operator-0")).unwrap().count();
        assert_eq!(files, 1, "nothing half written is left");
    }

    #[tokio::test]
    async fn an_error_quotes_neither_signature_nor_url() {
        let target = Target::Azure {
            account: "acc".to_owned(),
            container: "box".to_owned(),
            prefix: String::new(),
            // Nobody listens on port 1.
            endpoint: "https://127.0.0.1:1".parse().unwrap(),
        };
        let data = BTreeMap::from([("sasToken".to_owned(), b"sv=2021&sig=canary".to_vec())]);
        let credential = Credential::of_secret(&target, "s", &data).unwrap();
        crate::tls::install_provider();
        let settings = StoreSettings { retry_timeout: Duration::from_millis(1), ..StoreSettings::default() };
        let store = open(&target, &credential, &settings).unwrap();
        assert!(!format!("{store:?}").contains("canary"));
        let error = store.put("a/b", vec![1]).await.unwrap_err().to_string();
        assert_eq!(error, "cannot upload a/b: the storage cannot be reached");
    }

    #[test]
    fn a_credential_of_another_storage_is_refused() {
        let target = Target::S3 {
            bucket: "b".to_owned(),
            prefix: String::new(),
            region: "r".to_owned(),
            endpoint: "https://s3.example".parse().unwrap(),
            sts: "https://s3.example".parse().unwrap(),
        };
        for credential in [Credential::None, Credential::AccountKey("x".into())] {
            let error = open(&target, &credential, &StoreSettings::default()).unwrap_err();
            assert_eq!(error, StoreError::OtherCredential);
        }
        let settings = StoreSettings { extra_ca_pem: Some(b"none".to_vec()), ..StoreSettings::default() };
        let key = Credential::AccessKey { id: "i".into(), secret: "s".into(), session: None };
        assert_eq!(open(&target, &key, &settings).unwrap_err(), StoreError::ExtraCa);
    }
}
