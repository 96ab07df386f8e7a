//! Where exports go: a folder, a bucket of S3 or a container of Azure Blob Storage.

mod connector;
mod credential;
mod store;
mod target;
mod told;

pub use self::{
    credential::{Credential, CredentialError, Trust},
    store::{Put, Store, StoreError, StoreSettings, UploadError, open},
    target::{Target, TargetError},
};
