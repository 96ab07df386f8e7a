//! Reads and errors of the API server.

use std::fmt::{Debug, Display};

use anyhow::Context as _;
use kube::{Api, Client, Resource, api::ListParams, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;

/// Objects of one page of a list.
const PAGE: u32 = 500;

/// Which namespaces a command looks at.
#[derive(Clone, Debug)]
pub(crate) enum Where {
    Namespace(String),
    All,
}

impl Display for Where {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Namespace(name) => write!(f, "in namespace {name}"),
            Self::All => f.write_str("in all namespaces"),
        }
    }
}

/// The cluster as a command reaches it.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) place: Where,
}

/// What a command reads.
pub(crate) trait Object:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned
{
}

impl<K> Object for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned
{
}

impl Cluster {
    /// The objects of a kind in one namespace.
    pub(crate) fn api<K: Object>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Every object of a kind where the command looks, page by page.
    pub(crate) async fn list<K: Object>(&self) -> anyhow::Result<Vec<K>> {
        let api: Api<K> = match &self.place {
            Where::Namespace(name) => self.api(name),
            Where::All => Api::all(self.client.clone()),
        };
        let mut params = ListParams::default().limit(PAGE);
        let mut all = Vec::new();
        loop {
            let page = api
                .list(&params)
                .await
                .map_err(told)
                .with_context(|| format!("list {} {}", K::plural(&()), self.place))?;
            all.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(all),
            }
        }
    }
}

/// An error of the client in words, with what to do where that is known.
pub(crate) fn told(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) if status.code == 403 => anyhow::anyhow!(
            "{}: ask for this permission; docs/kubectl-plugin.md lists those of each command",
            status.message
        ),
        kube::Error::Api(status) if status.code == 401 => anyhow::anyhow!(
            "the API server does not accept the credentials of the kubeconfig context: {}",
            status.message
        ),
        kube::Error::Api(status)
            if status.code == 404 && status.details.as_ref().is_none_or(|one| one.name.is_empty()) =>
        {
            anyhow::anyhow!(
                "{}: Roomkeeper's CustomResourceDefinitions are not installed in this cluster",
                status.message
            )
        }
        kube::Error::Api(status) => anyhow::anyhow!("{}", status.message),
        other => anyhow::Error::new(other)
            .context("the API server cannot be reached: check --context and --kubeconfig"),
    }
}

/// Whether the API server says that the object changed meanwhile.
pub(crate) fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}
