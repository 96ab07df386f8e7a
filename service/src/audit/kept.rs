//! Where checkpoints are kept outside of the pod: a ConfigMap for each daemon.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use roomkeeper_crds::audit::{Announced, CHECKPOINTS, LABEL, config_map};
use roomkeeper_graph::audit::chain::{Hash, LogName};
use serde_json::json;

use super::key::{KeyAccessError, call};

/// Field manager of the ConfigMaps.
const MANAGER: &str = "roomkeeper-audit";
/// Longest data key of a ConfigMap.
const KEY_LIMIT: usize = 253;

/// Data key of the last checkpoint of a log: the volume's id and the log's folder. Where that is too long, a hash stands in
/// for the folder; which log it is of, the checkpoint says itself.
pub fn data_key(id: &str, log: &LogName) -> String {
    let key = format!("{id}.{}", log.folder());
    if key.len() <= KEY_LIMIT { key } else { format!("{id}.{}", Hash::of(log.as_str().as_bytes())) }
}

/// Whether a data key is of the volume with that id.
pub(super) fn is_own(key: &str, id: &str) -> bool {
    key.strip_prefix(id).is_some_and(|log| log.starts_with('.'))
}

/// The ConfigMap, as it was read or written last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Kept {
    /// Envelopes by data key.
    pub(super) data: BTreeMap<String, String>,
    /// Where the daemon gives copies of its logs, if it does.
    pub(super) announced: Option<Announced>,
    /// Version that it had; none if it does not exist.
    pub(super) version: Option<String>,
}

/// A daemon's ConfigMap.
#[derive(Clone)]
pub(super) struct Place {
    api: Api<ConfigMap>,
    name: String,
}

impl Place {
    pub(super) fn new(client: &Client, namespace: &str, identity: &str) -> Self {
        Self { api: Api::namespaced(client.clone(), namespace), name: config_map(identity) }
    }

    fn what(&self) -> String {
        format!("ConfigMap {}", self.name)
    }

    pub(super) async fn read(&self) -> Result<Kept, KeyAccessError> {
        let map = call(self.what(), "read", self.api.get_opt(&self.name)).await?;
        Ok(map.map(kept).unwrap_or_default())
    }

    /// Writes all data in place of what was read.
    ///
    /// # Errors
    /// A conflict when somebody else wrote meanwhile.
    pub(super) async fn write(&self, kept: &Kept) -> Result<Kept, KeyAccessError> {
        let annotations = kept.announced.as_ref().map(Announced::annotations);
        // A version, or annotations, that are null are none.
        let body = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": self.name,
                "labels": {LABEL: CHECKPOINTS},
                "annotations": annotations,
                "resourceVersion": kept.version,
            },
            "data": kept.data,
        });
        let params = PatchParams::apply(MANAGER).force();
        let map =
            call(self.what(), "written", self.api.patch(&self.name, &params, &Patch::Apply(&body))).await?;
        Ok(self::kept(map))
    }
}

fn kept(map: ConfigMap) -> Kept {
    Kept {
        announced: Announced::read(map.metadata.annotations.as_ref()),
        data: map.data.unwrap_or_default(),
        version: map.metadata.resource_version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_key_fits_and_is_of_one_log() {
        let log = |scope: &str| LogName::of_scope(scope).unwrap();
        assert_eq!(data_key("0a1b2c3d", &log("")), "0a1b2c3d.system");
        assert_eq!(data_key("0a1b2c3d", &log("rooms/contoso")), "0a1b2c3d.rooms_contoso");
        let lengthy = |end: &str| data_key("0a1b2c3d", &log(&format!("rooms/{}{end}", "a".repeat(250))));
        assert!(lengthy("a").len() <= KEY_LIMIT);
        assert_ne!(lengthy("a"), lengthy("b"));
    }
}
