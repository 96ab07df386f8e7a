//! A writer's log, and its exports.

use std::{fs, path::Path, sync::Mutex};

use async_trait::async_trait;
use futures::TryStreamExt as _;
use jiff::Timestamp;
use object_store::{
    ClientOptions, ObjectStore, ObjectStoreExt as _, aws::AmazonS3Builder, azure::MicrosoftAzureBuilder,
};
use rcgen::{KeyPair, PKCS_ED25519};
use roomkeeper_graph::audit::{
    AuditEntry, AuditSink as _, Cause,
    chain::{ChainedAudit, Checkpoint, CheckpointChain, Head, Known, LogName, Signed, SigningKey, Start},
};
use roomkeeper_service::audit_export::{
    CheckpointError, Checkpoints, ExportError, Exported, Exporter, Put, StoreSettings, Target,
};

use super::server::{ACCOUNT, account_key};

const SCOPE: &str = "rooms/contoso";
const WRITER: &str = "operator-0";

/// A log whose checkpoints are kept in memory.
pub(crate) struct Log {
    audit: ChainedAudit,
    name: LogName,
    key: SigningKey,
    chain: Mutex<CheckpointChain>,
}

impl Log {
    pub(crate) fn open(dir: &Path) -> Self {
        let name = LogName::of_scope(SCOPE).unwrap();
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem();
        let chain = CheckpointChain::resume(WRITER, name.clone(), None, Head::EMPTY).unwrap();
        Self {
            audit: ChainedAudit::open(dir, WRITER, 1_000).unwrap(),
            key: SigningKey::from_pem(key.as_bytes()).unwrap(),
            chain: Mutex::new(chain),
            name,
        }
    }

    pub(crate) async fn write(&self, lines: usize) {
        for _ in 0..lines {
            let entry = AuditEntry::Note {
                time: Timestamp::now(),
                scope: SCOPE.to_owned(),
                caused_by: Cause::new("Test/rooms/a"),
                text: "something".to_owned(),
            };
            self.audit.record(entry).await.unwrap();
        }
    }

    pub(crate) async fn export(&self, to: &dyn Put) -> Result<Exported, ExportError> {
        let folder = self.audit.folder(&self.name);
        let exporter = Exporter {
            writer: WRITER,
            log: &self.name,
            folder: &folder,
            key: &self.key,
            earlier_keys: &[],
            checkpoints: self,
            destination: to,
        };
        exporter.run(Timestamp::now()).await
    }

    pub(crate) fn write_key(&self, path: &Path) {
        fs::write(path, self.key.public().to_pem()).unwrap();
    }
}

/// Reads every object of the destination into a folder, with a client of its own.
pub(crate) async fn bring_home(target: &Target, settings: &StoreSettings, home: &Path) {
    let ca = object_store::Certificate::from_pem(settings.extra_ca_pem.as_ref().unwrap()).unwrap();
    let options = ClientOptions::new().with_root_certificate(ca);
    let (store, prefix): (Box<dyn ObjectStore>, &String) = match target {
        Target::S3 { bucket, prefix, region, endpoint, .. } => {
            let builder = AmazonS3Builder::new()
                .with_bucket_name(bucket)
                .with_region(region)
                .with_endpoint(endpoint.as_str())
                .with_access_key_id("AKIAEXAMPLE")
                .with_secret_access_key("secret");
            (Box::new(builder.with_client_options(options).build().unwrap()), prefix)
        }
        Target::Azure { container, prefix, endpoint, .. } => {
            let builder = MicrosoftAzureBuilder::new()
                .with_account(ACCOUNT)
                .with_container_name(container)
                .with_endpoint(endpoint.to_string())
                .with_access_key(account_key(1));
            (Box::new(builder.with_client_options(options).build().unwrap()), prefix)
        }
        Target::Folder { .. } => panic!("a folder is at home"),
    };
    let prefix = object_store::path::Path::from(prefix.as_str());
    let all: Vec<_> = store.list(Some(&prefix)).try_collect().await.unwrap();
    for one in all {
        let bytes = store.get(&one.location).await.unwrap().bytes().await.unwrap();
        let below: Vec<_> = one.location.prefix_match(&prefix).unwrap().collect();
        let path = below.iter().fold(home.to_owned(), |path, part| path.join(part.as_ref()));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[async_trait]
impl Checkpoints for Log {
    async fn last(&self, _: &LogName) -> Result<Option<Signed<Checkpoint>>, CheckpointError> {
        Ok(self.chain.lock().unwrap().last().cloned())
    }

    async fn state(&self, log: &LogName, exported: u64) -> Result<Signed<Checkpoint>, CheckpointError> {
        let head = self.audit.heads()[log];
        let mut chain = self.chain.lock().unwrap();
        Ok(chain.next(head, Start::FIRST, exported, Timestamp::now(), &self.key).unwrap().clone())
    }

    async fn others(&self, _: &LogName) -> Result<Vec<Known>, CheckpointError> {
        Ok(Vec::new())
    }
}
