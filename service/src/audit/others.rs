//! What the other writers of a scope stated last, and the keys that prove it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, api::ListParams};
use roomkeeper_crds::audit::{CHECKPOINTS, LABEL};
use roomkeeper_graph::audit::chain::{Checkpoint, EnvelopeError, Known, LogName, Signed, VerifyingKey};

use super::{
    kept::data_key,
    key::{KeyAccessError, call},
};

/// Why the other writers cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum OthersError {
    /// The ConfigMaps or the keys cannot be read.
    #[error(transparent)]
    Access(#[from] KeyAccessError),
    /// What is kept is no checkpoint that a published key signed.
    #[error(
        "ConfigMap {map}, key {key}: the checkpoint kept there {cause}; whoever changed it has to put it back"
    )]
    Envelope {
        /// The ConfigMap.
        map: String,
        /// Its data key.
        key: String,
        /// What is wrong.
        cause: EnvelopeError,
    },
}

/// Every writer of that log but `own`, with the checkpoints that the ConfigMaps of the installation's namespace keep of it. Those of other
/// logs, known by their data keys, are not looked into: they are as many as there are scopes.
pub(super) async fn others(
    client: &Client,
    namespace: &str,
    own: &str,
    log: &LogName,
    keys: &[VerifyingKey],
) -> Result<Vec<Known>, OthersError> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(&format!("{LABEL}={CHECKPOINTS}"));
    let maps = call("ConfigMaps of the audit".to_owned(), "listed", api.list(&params)).await?;
    let kept = maps.items.into_iter().flat_map(|map| {
        let name = map.metadata.name.unwrap_or_default();
        map.data.unwrap_or_default().into_iter().map(move |(key, envelope)| (name.clone(), key, envelope))
    });
    of_log(kept, own, log, keys)
}

fn of_log(
    kept: impl Iterator<Item = (String, String, String)>,
    own: &str,
    log: &LogName,
    keys: &[VerifyingKey],
) -> Result<Vec<Known>, OthersError> {
    let mut writers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let is_of_log = |key: &str| key.split_once('.').is_some_and(|(id, _)| key == data_key(id, log));
    for (map, key, envelope) in kept.filter(|(_, key, _)| is_of_log(key)) {
        let signed = Signed::<Checkpoint>::open(&envelope, keys).map_err(|cause| OthersError::Envelope {
            map,
            key,
            cause,
        })?;
        if signed.statement.scope == log.as_str() && signed.statement.writer != own {
            writers.entry(signed.statement.writer).or_default().push(envelope);
        }
    }
    Ok(writers.into_iter().map(|(writer, checkpoints)| Known { writer, checkpoints }).collect())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use roomkeeper_graph::audit::chain::{CheckpointChain, Hash, Head, SigningKey, Start};
    use secrecy::ExposeSecret as _;

    use super::*;

    fn log(scope: &str) -> LogName {
        LogName::of_scope(scope).unwrap()
    }

    fn checkpoint(writer: &str, scope: &str, key: &SigningKey) -> (String, String, String) {
        let head = Head { number: 3, hash: Hash::of(b"x") };
        let mut chain = CheckpointChain::resume(writer, log(scope), None, head).unwrap();
        let made = chain.next(head, Start::FIRST, 0, Timestamp::UNIX_EPOCH, key).unwrap();
        (format!("roomkeeper-audit-{writer}"), data_key("id", &log(scope)), made.envelope.clone())
    }

    #[test]
    fn the_writers_of_the_scope_are_told_and_what_is_forged_is_no_silence() {
        let made =
            || SigningKey::from_pem(SigningKey::generate_pem().unwrap().expose_secret().as_bytes()).unwrap();
        let (key, other) = (made(), made());
        let keys = [key.public()];
        let all = || {
            ["a", "b", "c"]
                .into_iter()
                .map(|writer| checkpoint(writer, "rooms/contoso", &key))
                .chain([checkpoint("d", "rooms/another", &key), checkpoint("b", "", &key)])
        };
        let found = of_log(all(), "a", &log("rooms/contoso"), &keys).unwrap();
        assert_eq!(found.iter().map(|known| known.writer.as_str()).collect::<Vec<_>>(), ["b", "c"]);
        assert!(found.iter().all(|known| known.checkpoints.len() == 1));
        let forged = all().chain([checkpoint("e", "rooms/contoso", &other)]);
        let error = of_log(forged, "a", &log("rooms/contoso"), &keys).unwrap_err().to_string();
        assert!(error.starts_with("ConfigMap roomkeeper-audit-e, key id.rooms_contoso: "), "{error}");
        // What is wrong of another log is found by that log's exports.
        let elsewhere = all().chain([checkpoint("e", "rooms/another", &other)]);
        assert_eq!(of_log(elsewhere, "a", &log("rooms/contoso"), &keys).unwrap().len(), 2);
    }
}
