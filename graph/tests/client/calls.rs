//! Every call once, with answers as Graph documents them.

use std::sync::Arc;

use crate::support::{Server, json};
use roomkeeper_graph::{
    Cause, Decision, Deletion, EventId, EventType, GoneReason, GroupId, ManifestId, NewSubscription,
    Sensitivity, SubscriptionId, UserId,
    audit::MemoryAudit,
    budget::{Lane, Place},
};
use url::Url;

const USER: &str = "2189c720-90d5-44ff-818b-fe585706ee90";
const SUBSCRIPTION: &str = "f37536ac-b308-4bc7-b239-b2b51cd2ff24";

fn cause() -> Cause {
    Cause::new("CalendarSubscription/rooms/user1")
}

fn subscription(expiration: &str) -> String {
    format!(
        r#"{{"@odata.context":"https://graph.microsoft.com/v1.0/$metadata#subscriptions/$entity","id":"{SUBSCRIPTION}",
        "resource":"users/{USER}/events","applicationId":"9b0fbe07-0f3e-4f0f-8d6c-1c9f6f6c0a11",
        "changeType":"created,updated,deleted","clientState":null,"notificationUrl":"https://rooms.example/notifications/k/u",
        "notificationQueryOptions":null,"lifecycleNotificationUrl":"https://rooms.example/lifecycle/k/u",
        "expirationDateTime":"{expiration}","creatorId":"x","includeResourceData":null,"latestSupportedTlsVersion":"v1_2",
        "encryptionCertificate":null,"encryptionCertificateId":null,"notificationUrlAppId":null}}"#
    )
}

#[tokio::test]
async fn a_subscription_from_creation_to_deletion() {
    let server = Server::start().await;
    let client = server.client(server.http(), Arc::new(MemoryAudit::new()));
    let id = SubscriptionId::parse(SUBSCRIPTION).unwrap();
    let in_use = format!(
        r#"{{"error":{{"code":"ObjectIdentifierInUse","message":"Subscription Id {SUBSCRIPTION} already exists for the requested combination"}}}}"#
    );
    let next = format!("{}v1.0/subscriptions?$skiptoken=x", server.origin);
    let not_found = r#"{"error":{"code":"ResourceNotFound","message":"The object was not found."}}"#;
    server.will_answer([
        json(201, subscription("2026-11-30T10:00:00.1234567Z")),
        json(409, in_use),
        json(200, subscription("2026-12-01T10:00:00Z")),
        json(200, subscription("2026-12-01T10:00:00+00:00")),
        json(
            200,
            format!(r#"{{"value":[{}],"@odata.nextLink":"{next}"}}"#, subscription("2026-12-01T10:00:00Z")),
        ),
        json(200, format!(r#"{{"value":[{}]}}"#, subscription("2026-12-01T10:00:00Z"))),
        json(204, ""),
        json(404, not_found),
        json(404, not_found),
    ]);
    let new = NewSubscription {
        user: UserId::parse(USER).unwrap(),
        notification_url: Url::parse("https://rooms.example/notifications/k/u").unwrap(),
        lifecycle_notification_url: Url::parse("https://rooms.example/lifecycle/k/u").unwrap(),
        client_state: "state".into(),
        expiration: "2026-12-07T10:00:00Z".parse().unwrap(),
    };
    let made = client.create_subscription(&cause(), &new, Place::default()).await.unwrap();
    // The returned expiry counts, not the one asked for.
    assert_eq!((made.id, made.expiration), (id, "2026-11-30T10:00:00.1234567Z".parse().unwrap()));
    let error = client.create_subscription(&cause(), &new, Place::default()).await.unwrap_err();
    assert_eq!(error.decision(), Decision::Conflict { existing: Some(id) });
    let asked = "2026-12-01T10:00:00Z".parse().unwrap();
    assert_eq!(client.renew_subscription(&cause(), &id, asked).await.unwrap().expiration, asked);
    let read = client.get_subscription(&cause(), &id).await.unwrap();
    assert_eq!(read.expiration, asked);
    assert_eq!(read.notification_url.as_deref(), Some("https://rooms.example/notifications/k/u"));
    assert_eq!(client.list_subscriptions(&cause()).await.unwrap(), [read.clone(), read]);
    assert_eq!(client.delete_subscription(&cause(), &id, Lane::Delete).await.unwrap(), Deletion::Deleted);
    assert_eq!(client.delete_subscription(&cause(), &id, Lane::Delete).await.unwrap(), Deletion::AlreadyGone);
    let error = client.get_subscription(&cause(), &id).await.unwrap_err();
    assert_eq!(error.decision(), Decision::Gone(GoneReason::SubscriptionNotFound));

    let sent: Vec<_> =
        server.graph_seen().into_iter().map(|s| (s.method.to_string(), s.uri.to_string(), s.body)).collect();
    let one = format!("/v1.0/subscriptions/{SUBSCRIPTION}");
    let expected = [
        ("POST", "/v1.0/subscriptions"),
        ("POST", "/v1.0/subscriptions"),
        ("PATCH", &one),
        ("GET", &one),
        ("GET", "/v1.0/subscriptions"),
        ("GET", "/v1.0/subscriptions?$skiptoken=x"),
        ("DELETE", &one),
        ("DELETE", &one),
        ("GET", &one),
    ];
    assert_eq!(sent.iter().map(|(m, u, _)| (m.as_str(), u.as_str())).collect::<Vec<_>>(), expected);
    assert_eq!(sent[2].2, r#"{"expirationDateTime":"2026-12-01T10:00:00.0000000Z"}"#);
    assert_eq!(client.unrequested_members(), 0);
}

#[tokio::test]
async fn users_and_groups() {
    let server = Server::start().await;
    let client = server.client(server.http(), Arc::new(MemoryAudit::new()));
    let group = GroupId::parse("5d6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a10").unwrap();
    let missing = r#"{"error":{"code":"Request_ResourceNotFound","message":"Resource 'x' does not exist."}}"#;
    server.will_answer([
        json(200, format!(r#"{{"@odata.context":"x","id":"{USER}","userPrincipalName":"user1@contoso.example"}}"#)),
        json(404, missing),
        json(
            200,
            format!(r#"{{"@odata.context":"x","id":"{group}","mailEnabled":true,"securityEnabled":true,"groupTypes":[]}}"#),
        ),
        json(404, missing),
        json(404, missing),
    ]);
    let user = client.user(&cause(), USER).await.unwrap();
    assert_eq!(user.user_principal_name.as_deref(), Some("user1@contoso.example"));
    let error = client.user(&cause(), "nobody@contoso.example").await.unwrap_err();
    assert_eq!(error.decision(), Decision::Gone(GoneReason::UserNotFound));
    let read = client.group(&cause(), &group).await.unwrap();
    assert!(read.mail_enabled && read.security_enabled && read.group_types.is_empty());
    for error in [
        client.group(&cause(), &group).await.unwrap_err(),
        client.transitive_members(&cause(), &group).await.unwrap_err(),
    ] {
        assert_eq!(error.decision(), Decision::Gone(GoneReason::GroupNotFound));
    }
}

#[tokio::test]
async fn events_minimal_full_and_gone() {
    let server = Server::start().await;
    let client = server.client(server.http(), Arc::new(MemoryAudit::new()));
    let user = UserId::parse(USER).unwrap();
    let event = EventId::parse("AAMkAD=").unwrap();
    let manifest = ManifestId::parse("0c64d6b6-cc36-4b6a-8f9c-0e3a4b6c2d1f").unwrap();
    let head = r#""@odata.etag":"W/\"k\"","id":"AAMkAD=","iCalUId":"u","changeKey":"k","lastModifiedDateTime":"2026-11-20T08:00:00Z",
        "isOrganizer":true,"type":"seriesMaster","isCancelled":false,"singleValueExtendedProperties@odata.context":"x",
        "singleValueExtendedProperties":[{"id":"String {00020329-0000-0000-c000-000000000046} Name cecp-0c64d6b6-cc36-4b6a-8f9c-0e3a4b6c2d1f",
        "value":"{\"version\":1}"}]"#;
    let rest = r#""subject":null,"start":{"dateTime":"2026-11-23T17:00:00.0000000","timeZone":"UTC"},
        "end":{"dateTime":"2026-11-23T18:30:00.0000000","timeZone":"UTC"},"isAllDay":false,"attendees":[],
        "organizer":{"emailAddress":{"name":"n","address":"user1@contoso.example"}},
        "sensitivity":"normal","seriesMasterId":null,"recurrence":{"pattern":{"type":"daily","interval":1},"range":{"type":"noEnd"}}"#;
    server.will_answer([
        json(200, format!("{{{head}}}")),
        json(200, format!("{{{head},{rest}}}")),
        json(404, r#"{"error":{"code":"ErrorItemNotFound","message":"The specified object was not found in the store."}}"#),
        json(404, r#"{"error":{"code":"MailboxNotEnabledForRESTAPI","message":"x"}}"#),
    ]);
    let minimal = client.event_minimal(&cause(), &user, &event, &manifest).await.unwrap();
    assert_eq!(minimal.add_in_value.as_deref(), Some(r#"{"version":1}"#));
    assert_eq!(minimal.event_type, EventType::SeriesMaster);
    let full = client.event_full(&cause(), &user, &event, &manifest).await.unwrap();
    assert_eq!(full.head, minimal);
    assert_eq!((full.subject, full.sensitivity), (None, Sensitivity::Normal));
    assert_eq!(full.end, "2026-11-23T18:30:00Z".parse().unwrap());
    assert_eq!(full.recurrence.unwrap()["range"]["type"], "noEnd");
    let error = client.event_full(&cause(), &user, &event, &manifest).await.unwrap_err();
    assert_eq!(error.decision(), Decision::Gone(GoneReason::EventNotFound));
    let error = client.event_minimal(&cause(), &user, &event, &manifest).await.unwrap_err();
    assert_eq!(error.decision(), Decision::Gone(GoneReason::MailboxUnavailable));
    assert_eq!(client.unrequested_members(), 0);
}
