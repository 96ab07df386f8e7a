//! What daemons and the kubectl plugin agree on about the audit: what is kept of it in the installation's namespace, and how an auditor gets
//! a copy of a scope's log from each writer.

use std::collections::BTreeMap;

/// Label of the audit's ConfigMaps; of those with checkpoints its value is [`CHECKPOINTS`].
pub const LABEL: &str = "roomkeeper.dev/audit";

/// What the label of a daemon's ConfigMap says.
pub const CHECKPOINTS: &str = "checkpoints";

/// Name of the ConfigMap with the public keys: data keys are key ids, values PEM. Keys are added and never taken away.
pub const KEYS_CONFIG_MAP: &str = "roomkeeper-audit-keys";

const CONFIG_MAP: &str = "roomkeeper-audit-";

/// Name of the ConfigMap of the daemon with this identity, which is its pod's name. It has the checkpoints of every writer that the daemon
/// ever was, so that the Role can name it.
pub fn config_map(identity: &str) -> String {
    format!("{CONFIG_MAP}{identity}")
}

/// The daemon whose ConfigMap is called that.
pub fn identity(config_map: &str) -> Option<&str> {
    config_map.strip_prefix(CONFIG_MAP)
}

/// How a daemon's listener for copies is found and known again: two annotations of its ConfigMap of checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Port on the pod's loopback.
    pub port: u16,
    /// Its certificate in PEM.
    pub certificate: String,
}

impl Announced {
    /// What these annotations say; `None` where no copies are given.
    pub fn read(annotations: Option<&BTreeMap<String, String>>) -> Option<Self> {
        let port = annotations?.get(COPY_PORT)?.parse().ok()?;
        Some(Self { port, certificate: annotations?.get(COPY_CERTIFICATE)?.clone() })
    }

    /// The annotations that say it.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let port = (COPY_PORT.to_owned(), self.port.to_string());
        [port, (COPY_CERTIFICATE.to_owned(), self.certificate.clone())].into()
    }
}

/// Annotation of a daemon's ConfigMap of checkpoints: port, on the pod's loopback, where copies are given.
pub const COPY_PORT: &str = "roomkeeper.dev/audit-copy-port";

/// Annotation of a daemon's ConfigMap of checkpoints: the certificate (PEM) of that listener. It is made with each start and its key never
/// leaves the process.
pub const COPY_CERTIFICATE: &str = "roomkeeper.dev/audit-copy-certificate";

/// The name in that certificate.
pub const COPY_SERVER_NAME: &str = "audit.roomkeeper.dev";

/// Audience that a token has to be made for.
pub const COPY_AUDIENCE: &str = "audit.roomkeeper.dev";

/// Subresource of an `AccessScope` that whoever is given a copy has to be allowed to `get`. Only authorisation knows it.
pub const COPY_SUBRESOURCE: &str = "audit";

/// `ServiceAccount` whose token the plugin asks for, in the namespace of the `AccessScope`.
pub const COPY_SERVICE_ACCOUNT: &str = "roomkeeper-auditor";

/// Path of the copy of a scope's log.
pub fn copy_path(namespace: &str, name: &str) -> String {
    format!("/v1/logs/{namespace}/{name}")
}

/// Path of the copy of the log for what belongs to no scope.
pub const COPY_SYSTEM_PATH: &str = "/v1/system";
