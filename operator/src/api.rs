//! Calls to the API server, each with a limit in time, and the few writes that the operator makes.

use std::{fmt::Debug, time::Duration};

use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::{DeserializeGuard, NamespaceResourceScope},
};
use roomkeeper_crds::annotation;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    context::Process,
    failpoint::{At, Delete, FinalizerOff, FinalizerOn, Live, Status, around},
    key::Key,
    lease::NotLeader,
};

/// Longest wait for one answer, retries of the client included.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What every kind of ours is.
pub trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
}

impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}

/// An object that may not fit its type: one that does not fit must not stop a watch.
pub type Guarded<K> = DeserializeGuard<K>;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No answer in time.
    #[error("the API server did not answer in time")]
    Timeout,
    /// An answer that is an error.
    #[error("{0}")]
    Kube(#[from] kube::Error),
    /// The lease is lost: what was found out may be out of date, and another replica writes now.
    #[error("nothing was written: {0}")]
    NotLeader(#[from] NotLeader),
    /// The object that was read does not fit its type.
    #[error("the object does not fit the schema of this version")]
    Undecodable,
}

impl ApiError {
    /// HTTP status of the answer, if there was one.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Kube(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }

    /// Whether the object changed since it was read, so that the next look decides anew.
    pub fn is_conflict(&self) -> bool {
        matches!(self.code(), Some(404 | 409))
    }
}

/// Limits a call in time.
///
/// # Errors
/// The call's own, and [`ApiError::Timeout`].
pub async fn bounded<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, ApiError> {
    match tokio::time::timeout(TIMEOUT, call).await {
        Ok(answer) => Ok(answer?),
        Err(_elapsed) => Err(ApiError::Timeout),
    }
}

/// The object as it is now, past every cache; `None` when it does not exist.
///
/// # Errors
/// See [`ApiError`].
pub async fn live<K: Object + At<Live>>(client: &Client, key: &Key) -> Result<Option<K>, ApiError> {
    let api: Api<Guarded<K>> = Api::namespaced(client.clone(), &key.namespace);
    match around(K::PLACE, bounded(api.get_opt(&key.name))).await? {
        None => Ok(None),
        Some(DeserializeGuard(object)) => object.map(Some).map_err(|_| ApiError::Undecodable),
    }
}

/// Makes `status` what this field manager says about the object. Fields of other managers stay.
///
/// # Errors
/// A conflict when the object was deleted, or replaced by another of the same name.
pub async fn apply_status<K: Object + At<Status>>(
    process: &Process,
    object: &K,
    status: &impl Serialize,
) -> Result<(), ApiError> {
    apply_status_to(process, object, None, status).await.map(drop)
}

/// As [`apply_status`], where a version is given only to exactly that one; returns the object as it is then, if it decodes.
///
/// # Errors
/// Also a conflict when it has another version by now.
pub async fn apply_status_to<K: Object + At<Status>>(
    process: &Process,
    object: &K,
    version: Option<&str>,
    status: &impl Serialize,
) -> Result<Option<K>, ApiError> {
    process.deadline.check()?;
    let key = Key::of(object);
    let mut body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": key.name, "uid": object.uid()},
        "status": status,
    });
    if let (Some(version), Some(metadata)) = (version, body.get_mut("metadata")) {
        metadata["resourceVersion"] = version.into();
    }
    let api: Api<Guarded<K>> = Api::namespaced(process.kube.clone(), &key.namespace);
    let params = PatchParams::apply(annotation::MANAGER_OPERATOR).force();
    let patch = Patch::Apply(&body);
    let call = bounded(api.patch_status(&key.name, &params, &patch));
    let DeserializeGuard(written) = around(K::PLACE, call).await?;
    Ok(written.ok().map(|mut written| {
        written.meta_mut().managed_fields = None;
        written
    }))
}

/// Adds a finalizer.
///
/// # Errors
/// A conflict when the object changed since it was read.
pub async fn add_finalizer<K: Object + At<FinalizerOn>>(
    process: &Process,
    object: &K,
    finalizer: &str,
) -> Result<(), ApiError> {
    let mut finalizers = object.finalizers().to_vec();
    finalizers.push(finalizer.to_owned());
    let call = set_finalizers(process, object, &finalizers);
    around(K::PLACE, call).await
}

/// Takes a finalizer away; an object that is gone has none.
///
/// # Errors
/// A conflict when the object changed since it was read.
pub async fn remove_finalizer<K: Object + At<FinalizerOff>>(
    process: &Process,
    object: &K,
    finalizer: &str,
) -> Result<(), ApiError> {
    let finalizers: Vec<String> =
        object.finalizers().iter().filter(|present| *present != finalizer).cloned().collect();
    let call = set_finalizers(process, object, &finalizers);
    match around(K::PLACE, call).await {
        Err(error) if error.code() == Some(404) => Ok(()),
        result => result,
    }
}

async fn set_finalizers<K: Object>(
    process: &Process,
    object: &K,
    finalizers: &[String],
) -> Result<(), ApiError> {
    process.deadline.check()?;
    let key = Key::of(object);
    let body = json!({"metadata": {
        "uid": object.uid(), "resourceVersion": object.resource_version(), "finalizers": finalizers,
    }});
    let api: Api<Guarded<K>> = Api::namespaced(process.kube.clone(), &key.namespace);
    let params = PatchParams {
        field_manager: Some(annotation::MANAGER_OPERATOR.to_owned()),
        ..PatchParams::default()
    };
    bounded(api.patch(&key.name, &params, &Patch::Merge(&body))).await?;
    Ok(())
}

/// Deletes exactly the object that was read.
///
/// # Errors
/// A conflict when it changed since.
pub async fn delete<K: Object + At<Delete>>(process: &Process, object: &K) -> Result<(), ApiError> {
    process.deadline.check()?;
    let key = Key::of(object);
    let preconditions = Preconditions { uid: object.uid(), resource_version: object.resource_version() };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let api: Api<Guarded<K>> = Api::namespaced(process.kube.clone(), &key.namespace);
    around(K::PLACE, bounded(api.delete(&key.name, &params))).await?;
    Ok(())
}
