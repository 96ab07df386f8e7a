//! From kubectl's flags to a client.

use std::time::Duration;

use anyhow::Context as _;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{
    api::{Cluster, Where},
    args::Connection,
};

impl Connection {
    /// Longest time without an answer; `None` waits for ever.
    pub(crate) fn limit(&self) -> Option<Duration> {
        Some(self.request_timeout).filter(|limit| !limit.is_zero())
    }

    /// The cluster, and the namespaces that the flags and the context name.
    pub(crate) async fn cluster(&self) -> anyhow::Result<Cluster> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let kubeconfig = match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path)
                .with_context(|| format!("--kubeconfig {}: not a readable kubeconfig", path.display()))?,
            None => Kubeconfig::read().context("no kubeconfig: set --kubeconfig or KUBECONFIG")?,
        };
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .context("the kubeconfig cannot be used: check --context")?;
        if let Some(user) = &self.impersonate {
            config.auth_info.impersonate = Some(user.clone());
            config.auth_info.impersonate_groups =
                (!self.impersonate_groups.is_empty()).then(|| self.impersonate_groups.clone());
        }
        let limit = self.limit();
        config.read_timeout = limit;
        config.connect_timeout = limit;
        let place = match &self.namespace {
            _ if self.all_namespaces => Where::All,
            Some(name) => Where::Namespace(name.clone()),
            None => Where::Namespace(config.default_namespace.clone()),
        };
        let client = Client::try_from(config).context("the kubeconfig cannot be used")?;
        Ok(Cluster { client, place })
    }
}
