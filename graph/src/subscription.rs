//! Change notification subscriptions on the events of a user's default calendar.

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::Url;

use crate::{
    answer::{MemberFault, Object},
    error::ArgumentError,
    ids::{SubscriptionId, UserId},
};

/// Change types that every subscription asks for.
const CHANGE_TYPE: &str = "created,updated,deleted";
/// Longest `clientState` that Graph takes, in characters (subscription resource type, v1.0).
const CLIENT_STATE_CHARS: usize = 128;

/// Members of a subscription that have a use; `clientState` is never kept.
pub(crate) const MEMBERS: &[&str] = &[
    "id",
    "resource",
    "notificationUrl",
    "lifecycleNotificationUrl",
    "expirationDateTime",
    "applicationId",
    "changeType",
];

/// A subscription to make.
#[derive(Debug, Clone)]
pub struct NewSubscription {
    /// Whose default calendar.
    pub user: UserId,
    /// Where notifications go: https.
    pub notification_url: Url,
    /// Where lifecycle notifications go: https. Cannot be changed later.
    pub lifecycle_notification_url: Url,
    /// Comes back in every notification; 1 to 128 characters.
    pub client_state: SecretString,
    /// Expiry asked for. What counts is the one in the answer.
    pub expiration: Timestamp,
}

impl NewSubscription {
    /// Path that the subscription is on, as Graph stores it.
    pub fn resource(&self) -> String {
        format!("users/{}/events", self.user)
    }

    pub(crate) fn body(&self) -> Result<Vec<u8>, ArgumentError> {
        let client_state = self.client_state.expose_secret();
        if client_state.is_empty() || client_state.chars().count() > CLIENT_STATE_CHARS {
            return Err(ArgumentError::Field { field: "clientState", rule: "must have 1 to 128 characters" });
        }
        https("notificationUrl", &self.notification_url)?;
        https("lifecycleNotificationUrl", &self.lifecycle_notification_url)?;
        encode(&CreateBody {
            change_type: CHANGE_TYPE,
            resource: self.resource(),
            notification_url: self.notification_url.as_str(),
            lifecycle_notification_url: self.lifecycle_notification_url.as_str(),
            client_state,
            expiration_date_time: graph_time(self.expiration),
            latest_supported_tls_version: "v1_2",
        })
    }
}

fn https(field: &'static str, url: &Url) -> Result<(), ArgumentError> {
    if url.scheme() == "https" {
        Ok(())
    } else {
        Err(ArgumentError::Field { field, rule: "must be an https URL" })
    }
}

pub(crate) fn renewal_body(expiration: Timestamp) -> Result<Vec<u8>, ArgumentError> {
    encode(&RenewBody { expiration_date_time: graph_time(expiration) })
}

fn encode(body: &impl Serialize) -> Result<Vec<u8>, ArgumentError> {
    serde_json::to_vec(body)
        .map_err(|_| ArgumentError::Field { field: "subscription", rule: "cannot be encoded" })
}

/// UTC with seven fractional digits, as Graph itself writes times.
fn graph_time(time: Timestamp) -> String {
    format!("{time:.7}")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreateBody<'a> {
    change_type: &'static str,
    resource: String,
    notification_url: &'a str,
    lifecycle_notification_url: &'a str,
    client_state: &'a str,
    expiration_date_time: String,
    latest_supported_tls_version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RenewBody {
    expiration_date_time: String,
}

/// A subscription as Graph has it. Graph never tells its `clientState`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// The path that it is on, in Graph's spelling.
    pub resource: String,
    /// Where notifications go.
    pub notification_url: Option<String>,
    /// Where lifecycle notifications go.
    pub lifecycle_notification_url: Option<String>,
    /// When it ends; may be earlier than asked for.
    pub expiration: Timestamp,
    /// Client id of the app that made it.
    pub application_id: Option<String>,
    /// Change types, comma-separated.
    pub change_type: String,
}

impl Subscription {
    pub(crate) fn read(object: &Object) -> Result<Self, MemberFault> {
        Ok(Self {
            id: object.parsed("id", "a GUID")?,
            resource: object.text("resource")?.to_owned(),
            notification_url: object.optional_text("notificationUrl")?.map(str::to_owned),
            lifecycle_notification_url: object.optional_text("lifecycleNotificationUrl")?.map(str::to_owned),
            expiration: object.timestamp("expirationDateTime")?,
            application_id: object.optional_text("applicationId")?.map(str::to_owned),
            change_type: object.text("changeType")?.to_owned(),
        })
    }
}

/// How a deletion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// Graph deleted the subscription.
    Deleted,
    /// There was none any more.
    AlreadyGone,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{Shape, one};

    fn new(client_state: &str) -> NewSubscription {
        NewSubscription {
            user: UserId::parse("2189c720-90d5-44ff-818b-fe585706ee90").unwrap(),
            notification_url: Url::parse("https://rooms.example/notifications/k/u").unwrap(),
            lifecycle_notification_url: Url::parse("https://rooms.example/lifecycle/k/u").unwrap(),
            client_state: client_state.into(),
            expiration: "2026-11-23T10:00:00.5Z".parse().unwrap(),
        }
    }

    #[test]
    fn the_body_asks_for_all_changes_of_the_default_calendar() {
        let body: serde_json::Value = serde_json::from_slice(&new("state").body().unwrap()).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "changeType": "created,updated,deleted",
                "resource": "users/2189c720-90d5-44ff-818b-fe585706ee90/events",
                "notificationUrl": "https://rooms.example/notifications/k/u",
                "lifecycleNotificationUrl": "https://rooms.example/lifecycle/k/u",
                "clientState": "state",
                "expirationDateTime": "2026-11-23T10:00:00.5000000Z",
                "latestSupportedTlsVersion": "v1_2",
            })
        );
        assert_eq!(
            renewal_body("2026-11-23T10:00:00Z".parse().unwrap()).unwrap(),
            br#"{"expirationDateTime":"2026-11-23T10:00:00.0000000Z"}"#
        );
    }

    #[test]
    fn what_graph_would_refuse_is_refused_here_without_its_value() {
        let error = new(&"s".repeat(129)).body().unwrap_err();
        assert_eq!(error.to_string(), "clientState must have 1 to 128 characters");
        assert!(new(&"s".repeat(128)).body().is_ok());
        assert!(new("").body().is_err());
        let mut plain = new("state");
        plain.lifecycle_notification_url = Url::parse("http://rooms.example/").unwrap();
        assert_eq!(plain.body().unwrap_err().to_string(), "lifecycleNotificationUrl must be an https URL");
        assert!(!format!("{:?}", new("canary")).contains("canary"));
    }

    #[test]
    fn a_subscription_is_read_with_its_own_expiry() {
        let body = br#"{"@odata.context":"https://graph.microsoft.com/v1.0/$metadata#subscriptions/$entity",
            "id":"f37536ac-b308-4bc7-b239-b2b51cd2ff24","resource":"users/2189c720-90d5-44ff-818b-fe585706ee90/events",
            "applicationId":"9b0fbe07-0f3e-4f0f-8d6c-1c9f6f6c0a11","changeType":"created,updated,deleted",
            "clientState":null,"notificationUrl":"https://rooms.example/n","lifecycleNotificationUrl":null,
            "expirationDateTime":"2022-01-01T21:42:18.2257768Z","creatorId":"x","includeResourceData":null}"#;
        let read = Subscription::read(&one(body, Shape::Subscription).unwrap().object).unwrap();
        assert_eq!(read.expiration, "2022-01-01T21:42:18.2257768Z".parse::<Timestamp>().unwrap());
        assert_eq!(read.lifecycle_notification_url, None);
        let fault =
            Subscription::read(&one(br#"{"id":"x"}"#, Shape::Subscription).unwrap().object).unwrap_err();
        assert_eq!(fault, MemberFault::not_a("id", "a GUID"));
    }
}
