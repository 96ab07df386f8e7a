//! The envelope, in the member order and letter case of the real capture (graph-facts §3.1).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    events::Change,
    subscriptions::{ChangeType, Subscription},
};

#[derive(Debug, Serialize)]
pub(super) struct Collection<'a> {
    pub(super) value: Vec<&'a Payload>,
}

/// One item of the envelope.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Payload {
    /// Something changed in a calendar.
    Change(Notification),
    /// Something is up with the subscription itself.
    Lifecycle(Lifecycle),
}

/// Lifecycle events (graph-facts §4), with Graph's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum LifecycleEvent {
    Missed,
    SubscriptionRemoved,
    ReauthorizationRequired,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names are Graph's")]
pub(super) struct Lifecycle {
    subscription_id: Uuid,
    subscription_expiration_date_time: String,
    tenant_id: Uuid,
    client_state: Option<String>,
    lifecycle_event: LifecycleEvent,
}

impl Lifecycle {
    pub(super) fn of(subscription: &Subscription, event: LifecycleEvent) -> Self {
        Self {
            subscription_id: subscription.id,
            subscription_expiration_date_time: expiration(subscription),
            tenant_id: subscription.tenant_id,
            client_state: subscription.client_state.clone(),
            lifecycle_event: event,
        }
    }
}

fn expiration(subscription: &Subscription) -> String {
    format!("{:.7}", subscription.expires).replace('Z', "+00:00")
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Notification {
    subscription_id: Uuid,
    subscription_expiration_date_time: String,
    change_type: ChangeType,
    resource: String,
    resource_data: ResourceData,
    client_state: Option<String>,
    tenant_id: Uuid,
}

#[derive(Clone, Debug, Serialize)]
struct ResourceData {
    #[serde(rename = "@odata.type")]
    odata_type: &'static str,
    #[serde(rename = "@odata.id")]
    odata_id: String,
    #[serde(rename = "@odata.etag")]
    odata_etag: String,
    id: String,
}

impl Notification {
    pub(super) fn of(subscription: &Subscription, change: &Change) -> Self {
        let id = if subscription.immutable_ids { &change.immutable_id } else { &change.id };
        let resource = format!("Users/{}/Events/{id}", change.user);
        Self {
            subscription_id: subscription.id,
            subscription_expiration_date_time: expiration(subscription),
            change_type: change.kind,
            resource: resource.clone(),
            resource_data: ResourceData {
                odata_type: "#Microsoft.Graph.Event",
                odata_id: resource,
                odata_etag: format!("W/\"{}\"", change.version),
                id: id.clone(),
            },
            client_state: subscription.client_state.clone(),
            tenant_id: subscription.tenant_id,
        }
    }
}
