//! Waiting for the custom resources to be served: a chart may start the operator before its CRDs are there.

use std::time::Duration;

use kube::{Api, Client, api::ListParams};
use roomkeeper_crds::{AccessScope, BookingRecord, CalendarSubscription, ConsentRecord};
use roomkeeper_service::health::Gate;

use crate::api::{ApiError, Guarded, Object, bounded};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(2);

/// Returns once every kind can be listed. `installation` is the operator's own namespace.
pub async fn wait(client: &Client, installation: &str, namespaces: &[String], gate: &Gate) {
    let mut told = None;
    loop {
        match look(client, namespaces).await {
            Ok(()) => {
                gate.ready();
                return;
            }
            Err((kind, error)) => {
                let why = match error.code() {
                    Some(404) => {
                        format!("the API server does not serve {kind}: apply the CRDs of this version")
                    }
                    Some(403) => {
                        format!(
                            "{kind} may not be listed: bind the chart's ClusterRole roomkeeper-operator:{installation}"
                        )
                    }
                    _ => format!("{kind} cannot be listed: {error}"),
                };
                gate.not_ready(&why);
                if told.as_ref() != Some(&why) {
                    tracing::warn!(why, "waiting for the custom resources");
                    told = Some(why);
                }
                tokio::time::sleep(INTERVAL).await;
            }
        }
    }
}

async fn look(client: &Client, namespaces: &[String]) -> Result<(), (&'static str, ApiError)> {
    list::<AccessScope>(client, namespaces).await.map_err(|error| ("AccessScope", error))?;
    list::<CalendarSubscription>(client, namespaces)
        .await
        .map_err(|error| ("CalendarSubscription", error))?;
    list::<ConsentRecord>(client, namespaces).await.map_err(|error| ("ConsentRecord", error))?;
    list::<BookingRecord>(client, namespaces).await.map_err(|error| ("BookingRecord", error))
}

async fn list<K: Object>(client: &Client, namespaces: &[String]) -> Result<(), ApiError> {
    bounded(api::<K>(client, namespaces).list(&ListParams::default().limit(1))).await.map(drop)
}

/// The part of the cluster that is looked after. Several namespaces are watched as one and told apart afterwards: the
/// chart's ClusterRole covers our own kinds in any case.
pub fn api<K: Object>(client: &Client, namespaces: &[String]) -> Api<Guarded<K>> {
    match namespaces {
        [one] => Api::namespaced(client.clone(), one),
        _ => Api::all(client.clone()),
    }
}
