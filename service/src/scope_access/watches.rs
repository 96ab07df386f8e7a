//! Watches of Secrets by name, so that a rotated one is in use at once. Only metadata is watched: what a Secret holds is
//! read when it is needed.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt as _,
    core::PartialObjectMeta,
    runtime::{WatchStreamExt as _, watcher, watcher::Event},
};
use tokio::task::AbortHandle;

/// A Secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SecretName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Called with each change.
pub(super) type OnChange = Arc<dyn Fn(&SecretName) + Send + Sync>;

/// The watches. They end with the value.
pub(super) struct Watches {
    kube: Client,
    all: Mutex<All>,
    on_change: OnChange,
}

#[derive(Default)]
struct All {
    /// By uid of the scope.
    wanted: HashMap<String, SecretName>,
    running: HashMap<SecretName, AbortHandle>,
}

impl Watches {
    pub(super) fn new(kube: Client, on_change: OnChange) -> Self {
        Self { kube, all: Mutex::default(), on_change }
    }

    /// The scope of that uid depends on this Secret, of which `version` was read, or on none.
    pub(super) fn want(&self, scope_uid: &str, secret: Option<SecretName>, version: Option<String>) {
        let mut all = self.all();
        match secret {
            Some(secret) => {
                if !all.running.contains_key(&secret) {
                    let task = watch(self.kube.clone(), secret.clone(), version, Arc::clone(&self.on_change));
                    all.running.insert(secret.clone(), tokio::spawn(task).abort_handle());
                }
                all.wanted.insert(scope_uid.to_owned(), secret);
            }
            None => drop(all.wanted.remove(scope_uid)),
        }
        let All { wanted, running } = &mut *all;
        let still: HashSet<&SecretName> = wanted.values().collect();
        running.retain(|secret, task| {
            let keep = still.contains(secret);
            if !keep {
                task.abort();
            }
            keep
        });
    }

    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watches {
    fn drop(&mut self) {
        for task in self.all().running.values() {
            task.abort();
        }
    }
}

async fn watch(kube: Client, secret: SecretName, mut version: Option<String>, on_change: OnChange) {
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(kube, &secret.namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={}", secret.name));
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    let mut said = false;
    let mut listed = None;
    while let Some(event) = events.next().await {
        let seen = match event {
            Ok(Event::Init) => {
                listed = None;
                continue;
            }
            Ok(Event::InitApply(object)) => {
                listed = object.resource_version();
                continue;
            }
            Ok(Event::InitDone) => listed.take(),
            Ok(Event::Apply(object)) => object.resource_version(),
            Ok(Event::Delete(_)) => None,
            Err(error) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(
                        namespace = secret.namespace, secret = secret.name, %error,
                        "a Secret cannot be watched: a change of it is found by reading it from time to time"
                    );
                }
                continue;
            }
        };
        if seen != version {
            version = seen;
            on_change(&secret);
        }
    }
}
