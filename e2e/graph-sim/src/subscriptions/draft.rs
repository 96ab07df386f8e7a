//! Reading what a subscription is asked to be.

use std::{collections::BTreeSet, time::Duration};

use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::{
    handshake::notification_url,
    resource,
    store::{ChangeType, Subscription},
};
use crate::{
    errors::GraphError,
    graph::Call,
    login::service_principal,
    odata::{Given, Members, with_offset},
};

/// Longest clientState, in characters (graph-facts §1.1).
const CLIENT_STATE: usize = 128;
/// An expiry nearer than this is moved there (graph-facts §1.3).
const SHORTEST: Duration = Duration::from_mins(45);

fn invalid(message: impl Into<String>) -> GraphError {
    GraphError::new(StatusCode::BAD_REQUEST, "InvalidRequest", message)
}

fn required<'a>(members: &mut Members<'a>, name: &str) -> Result<&'a str, GraphError> {
    members
        .text(name)?
        .value()
        .filter(|text| !text.is_empty())
        .ok_or_else(|| invalid(format!("The property '{name}' is required for a subscription.")))
}

/// The subscription that the body asks for, not yet validated at its endpoints.
pub(super) fn read(call: &Call<'_>, body: &Value) -> Result<Subscription, GraphError> {
    let mut members = Members::new(body, "body", "subscription")?;
    let change_type = required(&mut members, "changeType")?.to_owned();
    let changes = changes(&change_type)?;
    let resource = required(&mut members, "resource")?.to_owned();
    let url = required(&mut members, "notificationUrl")?.to_owned();
    notification_url("notificationUrl", &url)?;
    let lifecycle = members.text("lifecycleNotificationUrl")?.value().map(str::to_owned);
    if let Some(url) = &lifecycle {
        notification_url("lifecycleNotificationUrl", url)?;
    }
    let asked = required(&mut members, "expirationDateTime")?.to_owned();
    let client_state = members.text("clientState")?.value().map(str::to_owned);
    if client_state.as_ref().is_some_and(|state| state.chars().count() > CLIENT_STATE) {
        return Err(invalid(format!(
            "The property 'clientState' must have at most {CLIENT_STATE} characters."
        )));
    }
    let tls = members.choice("latestSupportedTlsVersion", &["v1_0", "v1_1", "v1_2", "v1_3"])?;
    let include_resource_data = members.flag("includeResourceData")?;
    if include_resource_data == Some(true) {
        return Err(GraphError::not_simulated("notifications with resource data"));
    }
    for name in [
        "encryptionCertificate",
        "encryptionCertificateId",
        "notificationQueryOptions",
        "notificationUrlAppId",
    ] {
        if !matches!(members.take(name), Given::Absent | Given::Null) {
            return Err(invalid(format!(
                "The property '{name}' is not valid for a basic event subscription."
            )));
        }
    }
    for name in ["id", "applicationId", "creatorId"] {
        if !matches!(members.take(name), Given::Absent | Given::Null) {
            return Err(invalid(format!("The property '{name}' is read-only.")));
        }
    }
    members.end()?;
    let user = resource::user_of(call, &resource)?;
    let now = call.app.clock.now();
    let caller = &call.caller;
    Ok(Subscription {
        id: Uuid::new_v4(),
        tenant_id: caller.tenant,
        application_id: caller.client_id,
        creator_id: service_principal(caller.tenant, caller.client_id),
        user_id: user.id,
        resource,
        change_type,
        changes,
        notification_url: url,
        lifecycle_notification_url: lifecycle,
        expires: expiry(call, &asked)?,
        client_state,
        latest_supported_tls_version: tls.unwrap_or("v1_2"),
        immutable_ids: call.prefer.immutable_ids,
        created: now,
        include_resource_data,
        challenged: None,
        renewed: None,
        reauthorized: None,
    })
}

fn changes(text: &str) -> Result<BTreeSet<ChangeType>, GraphError> {
    let mut changes = BTreeSet::new();
    for one in text.split(',') {
        let change = match one {
            "created" => ChangeType::Created,
            "updated" => ChangeType::Updated,
            "deleted" => ChangeType::Deleted,
            other => {
                return Err(invalid(format!(
                    "The value '{other}' in 'changeType' is not valid. Use a comma-separated list of created, updated, deleted."
                )));
            }
        };
        if !changes.insert(change) {
            return Err(invalid(format!("The value '{one}' occurs twice in 'changeType'.")));
        }
    }
    Ok(changes)
}

/// The expiry that counts: raised when too near, refused when too far (graph-facts §1.3).
pub(super) fn expiry(call: &Call<'_>, asked: &str) -> Result<Timestamp, GraphError> {
    let asked = with_offset(asked)
        .ok_or_else(|| GraphError::wrong_type("expirationDateTime", "Edm.DateTimeOffset"))?;
    let clock = &call.app.clock;
    if asked <= clock.now() {
        return Err(invalid("The property 'expirationDateTime' must be in the future."));
    }
    let most = call.app.settings.subscription_max_minutes;
    if asked > clock.after(Duration::from_mins(most.into())) {
        return Err(GraphError::new(
            StatusCode::BAD_REQUEST,
            "ExtensionError",
            format!("Subscription expiration can only be {most} minutes in the future."),
        ));
    }
    let given = asked.max(clock.after(SHORTEST));
    // Clients are told a shorter life than they asked for at times (msgraph-sdk-dotnet#2930).
    let shorter =
        call.app.faults.shorter_expiry().map(|minutes| clock.after(Duration::from_mins(minutes.into())));
    Ok(shorter.map_or(given, |shorter| given.min(shorter)))
}
