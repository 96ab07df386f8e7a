//! What the installation's ConfigMaps say: the public keys, the checkpoints, and where each pod gives copies.

use std::collections::BTreeMap;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, api::ListParams};
use roomkeeper_crds::audit::{Announced, CHECKPOINTS, KEYS_CONFIG_MAP, LABEL, identity};
use roomkeeper_graph::audit::chain::{Checkpoint, LogName, Signed, VerifyingKey};

use crate::{
    api::{Cluster, told},
    exit::Failure,
};

/// A pod with a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AuditedPod {
    pub(super) name: String,
    /// `None` where it gives no copies.
    pub(super) listener: Option<Announced>,
}

/// What is known of a writer's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) pod: String,
    pub(super) writer: String,
    /// First line that retention left.
    pub(super) start: u64,
    pub(super) last: u64,
    pub(super) exported: u64,
}

/// What an installation says of its audit.
pub(super) struct Register {
    pub(super) keys: Vec<VerifyingKey>,
    pub(super) pods: Vec<AuditedPod>,
    checkpoints: Vec<(String, Signed<Checkpoint>)>,
}

impl Register {
    pub(super) async fn read(cluster: &Cluster, namespace: &str) -> anyhow::Result<Self> {
        let api: Api<ConfigMap> = cluster.api(namespace);
        let keys = api.get_opt(KEYS_CONFIG_MAP).await.map_err(told).context("read the public keys")?;
        let Some(keys) = keys else {
            return Err(Failure::NotFound(format!(
                "--installation {namespace}: there is no ConfigMap {KEYS_CONFIG_MAP}: give the namespace where Roomkeeper is installed"
            ))
            .into());
        };
        let params = ListParams::default().labels(&format!("{LABEL}={CHECKPOINTS}"));
        let maps = api.list(&params).await.map_err(told).context("list the checkpoints")?;
        Self::of(keys.data.unwrap_or_default(), maps.items)
    }

    fn of(keys: BTreeMap<String, String>, maps: Vec<ConfigMap>) -> anyhow::Result<Self> {
        let keys = keys
            .into_iter()
            .map(|(id, pem)| {
                VerifyingKey::from_pem(pem.as_bytes())
                    .with_context(|| format!("ConfigMap {KEYS_CONFIG_MAP}, key {id}"))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let (mut pods, mut checkpoints) = (Vec::new(), Vec::new());
        for map in maps {
            let name = map.metadata.name.unwrap_or_default();
            let Some(pod) = identity(&name) else { continue };
            let listener = Announced::read(map.metadata.annotations.as_ref());
            pods.push(AuditedPod { name: pod.to_owned(), listener });
            for (key, envelope) in map.data.unwrap_or_default() {
                let opened = Signed::open(&envelope, &keys).map_err(|error| {
                    Failure::Damaged(format!(
                        "ConfigMap {name}, key {key}: the checkpoint kept there {error}"
                    ))
                })?;
                checkpoints.push((pod.to_owned(), opened));
            }
        }
        Ok(Self { keys, pods, checkpoints })
    }

    fn of_log(&self, log: &LogName) -> impl Iterator<Item = &(String, Signed<Checkpoint>)> {
        self.checkpoints.iter().filter(|(_, one)| one.statement.scope == log.as_str())
    }

    /// The log's checkpoints, one a line.
    pub(super) fn kept(&self, log: &LogName) -> String {
        self.of_log(log).flat_map(|(_, one)| [one.envelope.as_str(), "\n"]).collect()
    }

    /// Every writer of the log that a checkpoint tells of.
    pub(super) fn known(&self, log: &LogName) -> Vec<Known> {
        self.of_log(log)
            .map(|(pod, one)| Known {
                pod: pod.clone(),
                writer: one.statement.writer.clone(),
                start: one.statement.start.number,
                last: one.statement.number,
                exported: one.statement.exported,
            })
            .collect()
    }
}
