//! Many subscriptions at once, without their handshakes: the state that a long life would have led to.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::store::{ChangeType, Subscription};
use crate::{
    app::{App, lock},
    login::service_principal,
};

/// Subscriptions of one app to put there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Planted {
    tenant_id: Uuid,
    application_id: Uuid,
    value: Vec<One>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct One {
    id: Uuid,
    user_id: Uuid,
    notification_url: String,
    lifecycle_notification_url: String,
    client_state: String,
    expiration_date_time: Timestamp,
}

/// Puts them there, up to the first that cannot be; returns how many.
pub(crate) fn plant(app: &App, planted: Planted) -> Result<usize, String> {
    let now = app.clock.now();
    let mut all = lock(&app.subscriptions);
    let count = planted.value.len();
    for one in planted.value {
        let id = one.id;
        let subscription = Subscription {
            id,
            tenant_id: planted.tenant_id,
            application_id: planted.application_id,
            creator_id: service_principal(planted.tenant_id, planted.application_id),
            user_id: one.user_id,
            resource: format!("users/{}/events", one.user_id),
            change_type: "created,updated,deleted".to_owned(),
            changes: BTreeSet::from([ChangeType::Created, ChangeType::Updated, ChangeType::Deleted]),
            notification_url: one.notification_url,
            lifecycle_notification_url: Some(one.lifecycle_notification_url),
            expires: one.expiration_date_time,
            client_state: Some(one.client_state),
            latest_supported_tls_version: "v1_2",
            immutable_ids: true,
            created: now,
            include_resource_data: None,
            challenged: None,
            renewed: None,
            reauthorized: None,
        };
        all.add(subscription, now).map_err(|fault| format!("subscription {id}: {fault:?}"))?;
    }
    Ok(count)
}
