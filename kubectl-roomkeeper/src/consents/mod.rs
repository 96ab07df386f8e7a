//! `consents`: the register of who consented when, and when that ended.

mod export;
mod list;

use anyhow::Context as _;
use kube::ResourceExt as _;
use roomkeeper_crds::{CalendarSubscription, ConsentRecord};

use crate::{
    api::Cluster,
    args::Consents,
    exit::Failure,
    output,
    user::{User, places},
};

/// Lists or exports.
pub(crate) async fn run(cluster: &Cluster, request: &Consents) -> anyhow::Result<()> {
    match request {
        Consents::List(request) => {
            let records = records(cluster, request.user.as_ref()).await?;
            list::print(cluster, &records, request.output.output)
        }
        Consents::Export(request) => {
            let records = records(cluster, request.user.as_ref()).await?;
            let mut bytes = Vec::new();
            export::write(&records, request.format, &mut bytes)?;
            output::say(&String::from_utf8(bytes).context("the export is no text")?)
        }
    }
}

/// The records in the order in which they were made.
async fn records(cluster: &Cluster, user: Option<&User>) -> anyhow::Result<Vec<ConsentRecord>> {
    let all: Vec<ConsentRecord> = cluster.list().await?;
    let mut records = match user {
        None => all,
        Some(user) => {
            let subscriptions: &[CalendarSubscription] = &[];
            let records: Vec<_> = places(user, &all, subscriptions, None)
                .into_iter()
                .flat_map(|place| place.consents)
                .collect();
            if records.is_empty() {
                return Err(Failure::NotFound(format!(
                    "USER {}: no ConsentRecord of that user {}: check the spelling and -n NAMESPACE (or -A)",
                    user.as_str(),
                    cluster.place
                ))
                .into());
            }
            records
        }
    };
    records.sort_by_key(|record| (record.namespace(), made(record), record.name_any()));
    Ok(records)
}

/// When the record came into being, by the clock of the API server.
fn made(record: &ConsentRecord) -> Option<jiff::Timestamp> {
    record.metadata.creation_timestamp.as_ref().map(|time| time.0)
}
