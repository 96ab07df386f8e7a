//! What the worker's watches have in common: one for each namespace, all kept until shutdown.

use std::{error::Error, fmt::Debug};

use futures::{Stream, StreamExt as _};
use kube::{Api, Client, Resource, core::NamespaceResourceScope};
use tokio_util::sync::CancellationToken;

/// What is watched: each of these namespaces, and where none is given all of them at once (`None`).
pub(super) fn slices(namespaces: Vec<String>) -> Vec<Option<String>> {
    if namespaces.is_empty() { vec![None] } else { namespaces.into_iter().map(Some).collect() }
}

/// The objects of one slice.
pub(super) fn api<K>(client: &Client, slice: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType: Default, Scope = NamespaceResourceScope>,
{
    match slice {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Drives watches that take their events themselves, until `shutdown`. A watch that fails begins again by itself.
pub(super) async fn keep<E: Error + Debug>(
    what: &str,
    mut events: impl Stream<Item = Result<(), E>> + Unpin,
    shutdown: CancellationToken,
) {
    while let Some(Some(event)) = shutdown.run_until_cancelled(events.next()).await {
        if let Err(error) = event {
            tracing::warn!(%error, "watching {what} failed; trying again");
        }
    }
}
