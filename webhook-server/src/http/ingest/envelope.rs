//! From the bytes of a POST to queue items. One bad item does not spoil the others.

use super::origin::{OriginCheck, OriginError};
use super::resource;
use crate::metrics::ingest::Dropped;
use crate::queue::{EventItem, Item, LifecycleEvents, LifecycleItem};
use jiff::Timestamp;
use roomkeeper_graph::SubscriptionId;
use roomkeeper_service::client_state::VerifyError;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Why a body is refused as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadEnvelope {
    /// Not the JSON of a changeNotificationCollection.
    NotJson,
    /// More items than are taken at a time.
    TooManyItems,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    value: Vec<&'a RawValue>,
}

/// What is used of a changeNotification. The items of both URLs have the same type at Graph.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Notification {
    tenant_id: String,
    client_state: Option<String>,
    subscription_id: String,
    change_type: Option<String>,
    resource: Option<String>,
    resource_data: Option<ResourceData>,
    lifecycle_event: Option<String>,
}

#[derive(Deserialize)]
struct ResourceData {
    #[serde(rename = "@odata.etag")]
    etag: Option<String>,
}

/// Longest version that is kept; a longer one is none that a record could hold.
const VERSION_LIMIT: usize = 256;

/// The version that an etag names: `W/"<changeKey>"`.
fn version(data: Option<ResourceData>) -> Option<String> {
    let etag = data?.etag?;
    let version = etag.strip_prefix("W/").unwrap_or(&etag).strip_prefix('"')?.strip_suffix('"')?;
    (1..=VERSION_LIMIT).contains(&version.len()).then(|| version.to_owned())
}

/// The items of a body, still to be read one by one.
pub(super) fn split(body: &[u8], max_items: usize) -> Result<Vec<&RawValue>, BadEnvelope> {
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(|_| BadEnvelope::NotJson)?;
    if envelope.value.len() > max_items {
        return Err(BadEnvelope::TooManyItems);
    }
    Ok(envelope.value)
}

/// Why an item is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// It is dropped for good.
    Dropped(Dropped),
    /// Whether it is ours cannot be said yet.
    NoKeys,
}

impl From<Dropped> for NotTaken {
    fn from(reason: Dropped) -> Self {
        Self::Dropped(reason)
    }
}

/// Reads one item; nothing but the tenant is looked at before its clientState is verified.
pub(super) fn item(
    raw: &RawValue,
    origins: &dyn OriginCheck,
    received_at: Timestamp,
) -> Result<Item, NotTaken> {
    let notification: Notification = serde_json::from_str(raw.get()).map_err(|_| Dropped::Malformed)?;
    let tenant = resource::guid(&notification.tenant_id).ok_or(Dropped::Malformed)?;
    let tenant_id = tenant.hyphenated().to_string();
    let client_state = notification.client_state.as_deref().ok_or(Dropped::BadClientState)?;
    let holder = origins.check(client_state, &tenant_id).map_err(|error| match error {
        OriginError::NoKeys => NotTaken::NoKeys,
        OriginError::NotOurs(VerifyError::UnknownKey) => NotTaken::Dropped(Dropped::UnknownKey),
        OriginError::NotOurs(VerifyError::Malformed | VerifyError::Forged) => {
            NotTaken::Dropped(Dropped::BadClientState)
        }
    })?;

    if let Some(event) = notification.lifecycle_event.as_deref() {
        let events = lifecycle(event).ok_or(Dropped::UnknownLifecycleEvent)?;
        let subscription =
            SubscriptionId::parse(&notification.subscription_id).map_err(|_| Dropped::Malformed)?;
        return Ok(Item::V1Lifecycle(LifecycleItem {
            tenant_id,
            subscription_uid: holder,
            subscription_id: subscription.as_str().to_owned(),
            events,
            received_at,
        }));
    }

    let deleted = match notification.change_type.as_deref() {
        Some(change) if change.eq_ignore_ascii_case("deleted") => true,
        Some(change) if ["created", "updated"].iter().any(|known| change.eq_ignore_ascii_case(known)) => {
            false
        }
        _ => return Err(Dropped::BadChangeType.into()),
    };
    let resource = notification.resource.as_deref().and_then(resource::parse).ok_or(Dropped::BadResource)?;
    if resource.tenant.is_some_and(|named| named != tenant) {
        return Err(Dropped::BadResource.into());
    }
    Ok(Item::V1Event(EventItem {
        tenant_id,
        user_id: resource.user.as_str().to_owned(),
        event_id: resource.event.as_str().to_owned(),
        subscription_uid: holder,
        deleted,
        found: false,
        version: version(notification.resource_data),
        received_at,
    }))
}

fn lifecycle(event: &str) -> Option<LifecycleEvents> {
    let mut events = LifecycleEvents::default();
    let field = if event.eq_ignore_ascii_case("missed") {
        &mut events.missed
    } else if event.eq_ignore_ascii_case("subscriptionRemoved") {
        &mut events.subscription_removed
    } else if event.eq_ignore_ascii_case("reauthorizationRequired") {
        &mut events.reauthorization_required
    } else {
        return None;
    };
    *field = true;
    Some(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    struct Known;

    impl OriginCheck for Known {
        fn check(&self, client_state: &str, tenant_id: &str) -> Result<String, OriginError> {
            assert_eq!(tenant_id, "7f1d0cb7-93b9-405a-8dad-c21703b7af18");
            match client_state {
                "ours" => Ok("uid".to_owned()),
                "retired" => Err(VerifyError::UnknownKey.into()),
                "early" => Err(OriginError::NoKeys),
                _ => Err(VerifyError::Forged.into()),
            }
        }
    }

    fn notification() -> Value {
        json!({
            "subscriptionId": "f37536ac-b308-4bc7-b239-b2b51cd2ff24",
            "subscriptionExpirationDateTime": "2023-05-26T23:29:18.2277768+00:00",
            "changeType": "created",
            "resource": "Users/2189c720-90d5-44ff-818b-fe585706ee90/Events/AAMkAD_a-B=",
            "resourceData": {"@odata.type": "#Microsoft.Graph.Event", "@odata.etag": "W/\"DwAA/bYAAAA=\"", "id": "AAMkAD_a-B="},
            "clientState": "ours",
            "tenantId": "7F1D0CB7-93b9-405a-8dad-c21703b7af18",
        })
    }

    fn read(notification: &Value) -> Result<Item, NotTaken> {
        let raw = RawValue::from_string(notification.to_string()).unwrap();
        item(&raw, &Known, Timestamp::UNIX_EPOCH)
    }

    fn with(field: &str, value: Value) -> Value {
        let mut notification = notification();
        notification[field] = value;
        notification
    }

    #[test]
    fn a_notification_becomes_an_event_item() {
        let Ok(Item::V1Event(event)) = read(&notification()) else { panic!("not an event") };
        assert_eq!(event.tenant_id, "7f1d0cb7-93b9-405a-8dad-c21703b7af18");
        assert_eq!(event.user_id, "2189c720-90d5-44ff-818b-fe585706ee90");
        assert_eq!((event.event_id.as_str(), event.subscription_uid.as_str()), ("AAMkAD_a-B=", "uid"));
        assert!(!event.deleted);
        let Ok(Item::V1Event(event)) = read(&with("changeType", json!("Deleted"))) else {
            panic!("not an event")
        };
        assert!(event.deleted);
    }

    #[test]
    fn a_lifecycle_event_becomes_a_lifecycle_item_on_either_url() {
        let mut notification = with("lifecycleEvent", json!("subscriptionRemoved"));
        notification.as_object_mut().unwrap().remove("resource");
        notification.as_object_mut().unwrap().remove("changeType");
        let Ok(Item::V1Lifecycle(item)) = read(&notification) else { panic!("not a lifecycle item") };
        assert!(item.events.subscription_removed && !item.events.missed);
        assert_eq!(item.subscription_id, "f37536ac-b308-4bc7-b239-b2b51cd2ff24");
    }

    #[test]
    fn each_fault_has_its_reason() {
        let other_tenant =
            "users/2189c720-90d5-44ff-818b-fe585706ee90@00000000-0000-0000-0000-000000000000/events/A";
        for (notification, reason) in [
            (json!("text"), Dropped::Malformed),
            (json!({}), Dropped::Malformed),
            (with("tenantId", json!("contoso")), Dropped::Malformed),
            (with("clientState", json!(7)), Dropped::Malformed),
            (with("clientState", json!(null)), Dropped::BadClientState),
            (with("clientState", json!("forged")), Dropped::BadClientState),
            (with("clientState", json!("retired")), Dropped::UnknownKey),
            (with("changeType", json!("renamed")), Dropped::BadChangeType),
            (with("changeType", json!(null)), Dropped::BadChangeType),
            (with("resource", json!("groups/1")), Dropped::BadResource),
            (with("resource", json!(other_tenant)), Dropped::BadResource),
            (with("lifecycleEvent", json!("exploded")), Dropped::UnknownLifecycleEvent),
        ] {
            assert_eq!(read(&notification), Err(NotTaken::Dropped(reason)), "{notification}");
        }
        assert_eq!(read(&with("clientState", json!("early"))), Err(NotTaken::NoKeys));
    }

    #[test]
    fn a_forged_item_is_not_looked_into() {
        let mut forged = with("clientState", json!("forged"));
        forged["resource"] = json!("nonsense");
        assert_eq!(read(&forged), Err(NotTaken::Dropped(Dropped::BadClientState)));
    }

    #[test]
    fn a_body_that_is_no_collection_is_refused() {
        for body in ["", "{", "[]", "null", "{}", r#"{"value":{}}"#, r#"{"value":[]} trailing"#, "\u{feff}{}"]
        {
            assert_eq!(split(body.as_bytes(), 10).unwrap_err(), BadEnvelope::NotJson, "{body}");
        }
        assert_eq!(split(br#"{"value":[1,2,3]}"#, 2).unwrap_err(), BadEnvelope::TooManyItems);
        assert_eq!(split(br#"{"value":[1,"x"],"validationTokens":["jwt"]}"#, 2).unwrap().len(), 2);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = split(&body, 10);
        }
    }
}
