//! A daemon's audit: the logs on its own volume, and the signed checkpoints of them that leave the pod.
//!
//! What is in the installation's namespace: the Secret [`KEY_SECRET`] that statements are signed with, the ConfigMap
//! [`KEYS_CONFIG_MAP`](roomkeeper_crds::audit::KEYS_CONFIG_MAP) with every public key that ever was, and for each daemon a ConfigMap ([`config_map`](roomkeeper_crds::audit::config_map)) with the
//! last checkpoint of each of its logs. The format is in `docs/decisions/0015-the-audit-is-a-chain-per-writer-and-scope.md`.

mod args;
mod checkpoints;
pub mod kept;
mod key;
mod metrics;
mod open;
mod others;
mod sink;
mod writer;

pub use self::{
    args::AuditArgs,
    checkpoints::{CheckpointError, Checkpoints},
    key::{KEY_ENTRY, KEY_SECRET, KeyAccessError, KeyRole},
    metrics::MetricsError,
    open::{AuditSettings, DaemonAudit, OpenError, SEGMENT, open},
    others::OthersError,
    sink::GuardedAudit,
    writer::{WriterError, writer_id},
};
