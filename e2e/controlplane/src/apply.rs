//! Server-side apply of YAML.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
    discovery::{self, Scope},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::kubeconfig::KubeconfigError;

/// Who owns the fields that are applied.
const FIELD_MANAGER: &str = "roomkeeper-e2e";
/// How long a new kind may take until it is served.
const SERVED_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// Why something was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The folder or a file in it cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// There is nothing to apply.
    #[error("{}: no file *.yaml in it", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// Not YAML.
    #[error("YAML: {0}")]
    Yaml(#[from] serde_yaml::Error),
    /// A document that is no Kubernetes object.
    #[error(
        "document {index} of the YAML (from 1): {field} is missing; every object needs apiVersion, kind and metadata.name"
    )]
    Field {
        /// Which document.
        index: usize,
        /// Which field.
        field: &'static str,
    },
    /// The API server does not know the kind.
    #[error(
        "{kind} is not served by the API server (is apiVersion spelt right, is its CustomResourceDefinition applied?): {source}"
    )]
    Kind {
        /// Group, version and kind.
        kind: String,
        /// The API server's answer.
        source: kube::Error,
    },
    /// A custom resource definition that the API server did not take into use.
    #[error("CustomResourceDefinition {name} is not established after {SERVED_WITHIN:?}: {conditions}")]
    NotEstablished {
        /// Its name.
        name: String,
        /// What its status says.
        conditions: String,
    },
    /// No client.
    #[error(transparent)]
    Client(#[from] KubeconfigError),
    /// The API server refused.
    #[error("{object}: {source}")]
    Refused {
        /// Kind and name.
        object: String,
        /// The API server's answer.
        source: kube::Error,
    },
}

/// Applies every object of a YAML text, in order; `---` separates documents and a `List` stands for its items. Namespaced objects
/// without a namespace go to the client's default one. Returns the objects as the API server has them.
///
/// A `CustomResourceDefinition` is awaited until it is served, so that its objects can follow in the same text.
pub async fn apply_yaml(client: &Client, yaml: &str) -> Result<Vec<DynamicObject>, ApplyError> {
    let mut applied = Vec::new();
    for (index, object) in documents(yaml)?.into_iter().enumerate() {
        applied.push(apply(client, object, index + 1).await?);
    }
    Ok(applied)
}

/// Applies all files `*.yaml` of a folder in the order of their names, and waits until their kinds are served.
pub async fn apply_crds(client: &Client, dir: &Path) -> Result<(), ApplyError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| ApplyError::File { path, source }
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(file(dir))? {
        let path = entry.map_err(file(dir))?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(ApplyError::Empty { path: dir.to_owned() });
    }
    paths.sort();
    for path in paths {
        apply_yaml(client, &fs::read_to_string(&path).map_err(file(&path))?).await?;
    }
    Ok(())
}

/// Makes a namespace whose name starts with `prefix`.
pub(crate) async fn namespace(client: &Client, prefix: &str) -> Result<String, ApplyError> {
    let refused = |source| ApplyError::Refused { object: format!("Namespace {prefix}-…"), source };
    let mut namespace = Namespace::default();
    namespace.metadata.generate_name = Some(format!("{prefix}-"));
    namespace.metadata.labels = Some([("roomkeeper.dev/e2e".to_owned(), "true".to_owned())].into());
    let made = Api::<Namespace>::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await
        .map_err(refused)?;
    Ok(made.metadata.name.unwrap_or_default())
}

fn documents(yaml: &str) -> Result<Vec<Value>, ApplyError> {
    let mut objects = Vec::new();
    for document in serde_yaml::Deserializer::from_str(yaml) {
        match Value::deserialize(document)? {
            // An empty document, as a leading `---` makes it.
            Value::Null => {}
            Value::Object(mut list) if list.get("kind").is_some_and(|kind| kind == "List") => {
                match list.remove("items") {
                    Some(Value::Array(items)) => objects.extend(items),
                    _ => return Err(ApplyError::Field { index: objects.len() + 1, field: "items" }),
                }
            }
            object => objects.push(object),
        }
    }
    Ok(objects)
}

async fn apply(client: &Client, object: Value, index: usize) -> Result<DynamicObject, ApplyError> {
    let text = |pointer: &str, field| {
        object.pointer(pointer).and_then(Value::as_str).ok_or(ApplyError::Field { index, field })
    };
    let kind = text("/kind", "kind")?;
    let name = text("/metadata/name", "metadata.name")?.to_owned();
    let (group, version) = match text("/apiVersion", "apiVersion")? {
        version if !version.contains('/') => ("", version),
        both => both.split_once('/').unwrap_or_default(),
    };
    let gvk = GroupVersionKind::gvk(group, version, kind);
    let (resource, scope) = lookup(client, &gvk).await?;
    let api: Api<DynamicObject> = match scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
            Api::namespaced_with(client.clone(), namespace.unwrap_or(client.default_namespace()), &resource)
        }
    };
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let applied = api.patch(&name, &params, &Patch::Apply(&object)).await;
    let applied =
        applied.map_err(|source| ApplyError::Refused { object: format!("{kind} {name}"), source })?;
    if group == "apiextensions.k8s.io" && kind == "CustomResourceDefinition" {
        established(client, &name).await?;
    }
    Ok(applied)
}

async fn lookup(client: &Client, gvk: &GroupVersionKind) -> Result<(ApiResource, Scope), ApplyError> {
    match discovery::pinned_kind(client, gvk).await {
        Ok((resource, capabilities)) => Ok((resource, capabilities.scope)),
        Err(source) => Err(ApplyError::Kind { kind: format!("{} {}", gvk.api_version(), gvk.kind), source }),
    }
}

/// A definition is established some time before discovery tells of its kind.
async fn served(client: &Client, gvk: &GroupVersionKind, deadline: Instant) -> Result<(), ApplyError> {
    loop {
        match lookup(client, gvk).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => sleep(POLL).await,
        }
    }
}

async fn established(client: &Client, name: &str) -> Result<(), ApplyError> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let refused = |source| ApplyError::Refused { object: format!("CustomResourceDefinition {name}"), source };
    let deadline = Instant::now() + SERVED_WITHIN;
    loop {
        let crd = api.get(name).await.map_err(refused)?;
        let conditions = crd.status.and_then(|status| status.conditions).unwrap_or_default();
        if conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True") {
            for version in crd.spec.versions.iter().filter(|version| version.served) {
                let kind = &crd.spec.names.kind;
                served(client, &GroupVersionKind::gvk(&crd.spec.group, &version.name, kind), deadline)
                    .await?;
            }
            return Ok(());
        }
        if Instant::now() >= deadline {
            let said = conditions
                .iter()
                .map(|c| format!("{}={} {}", c.type_, c.status, c.message.as_deref().unwrap_or("")));
            let conditions = said.collect::<Vec<_>>().join("; ");
            return Err(ApplyError::NotEstablished { name: name.to_owned(), conditions });
        }
        sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists_are_taken_apart() {
        let yaml = "---\nkind: A\n---\n# nothing\n---\nkind: List\nitems:\n- kind: B\n- kind: C\n";
        let kinds: Vec<_> = documents(yaml).unwrap().iter().map(|object| object["kind"].clone()).collect();
        assert_eq!(kinds, ["A", "B", "C"]);
        assert!(documents("kind: List\n").unwrap_err().to_string().contains("items is missing"));
        assert!(matches!(documents("a: [\n"), Err(ApplyError::Yaml(_))));
    }
}
