//! What an audit entry says.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    error::TransportFault,
    ids::{EventId, UserId},
    unrequested::MemberClass,
};

/// What a request is for: the closed list of calls that this client can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Purpose {
    /// Client-credentials grant at the token endpoint.
    Token,
    /// `POST /subscriptions`.
    CreateSubscription,
    /// `PATCH /subscriptions/{id}` with a new expiry.
    RenewSubscription,
    /// `POST /subscriptions/{id}/reauthorize`.
    ReauthorizeSubscription,
    /// `GET /subscriptions/{id}`.
    GetSubscription,
    /// `GET /subscriptions`, all pages.
    ListSubscriptions,
    /// `DELETE /subscriptions/{id}`.
    DeleteSubscription,
    /// `GET /users/{id}`.
    UserLookup,
    /// `GET /groups/{id}`.
    GroupLookup,
    /// `GET /groups/{id}/transitiveMembers/microsoft.graph.user`, all pages.
    GroupMembers,
    /// First read of an event: identity and the add-in's property.
    EventMinimalRead,
    /// Second read of an event: the listed fields.
    EventFullRead,
    /// `GET /users/{id}/calendar/events/{id}/instances`, a page of the occurrences of a series.
    Occurrences,
    /// `PATCH /users/{id}/calendar/events/{id}` with our own property and nothing else.
    WriteBack,
    /// `GET /users/{id}/calendar/events`, a page of those that carry the add-in's property.
    Resync,
    /// `GET /{tenant}/v2.0/.well-known/openid-configuration` at the authority.
    OidcConfiguration,
    /// The tenant's signing keys, where the discovery document says.
    OidcKeys,
}

impl Purpose {
    /// All purposes, for metrics that start at zero.
    pub const ALL: [Self; 17] = [
        Self::Token,
        Self::CreateSubscription,
        Self::RenewSubscription,
        Self::ReauthorizeSubscription,
        Self::GetSubscription,
        Self::ListSubscriptions,
        Self::DeleteSubscription,
        Self::UserLookup,
        Self::GroupLookup,
        Self::GroupMembers,
        Self::EventMinimalRead,
        Self::EventFullRead,
        Self::Occurrences,
        Self::WriteBack,
        Self::Resync,
        Self::OidcConfiguration,
        Self::OidcKeys,
    ];

    /// Stable name, as in the audit and fit for a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::CreateSubscription => "createSubscription",
            Self::RenewSubscription => "renewSubscription",
            Self::ReauthorizeSubscription => "reauthorizeSubscription",
            Self::GetSubscription => "getSubscription",
            Self::ListSubscriptions => "listSubscriptions",
            Self::DeleteSubscription => "deleteSubscription",
            Self::UserLookup => "userLookup",
            Self::GroupLookup => "groupLookup",
            Self::GroupMembers => "groupMembers",
            Self::EventMinimalRead => "eventMinimalRead",
            Self::EventFullRead => "eventFullRead",
            Self::Occurrences => "occurrences",
            Self::WriteBack => "writeBack",
            Self::Resync => "resync",
            Self::OidcConfiguration => "oidcConfiguration",
            Self::OidcKeys => "oidcKeys",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who caused a call: a short object reference such as `CalendarSubscription/contoso/user1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cause(String);

impl Cause {
    /// Longest reference, in characters: kind, namespace and name of any Kubernetes object fit.
    pub const MAX_CHARS: usize = 400;

    /// Control characters are left out and what exceeds [`Self::MAX_CHARS`] is cut.
    pub fn new(reference: impl AsRef<str>) -> Self {
        Self(reference.as_ref().chars().filter(|c| !c.is_control()).take(Self::MAX_CHARS).collect())
    }

    /// The reference.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why an announced call has no whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum CallFault {
    /// It was not sent: the gate was shut meanwhile.
    Held,
    /// No connection.
    Connect,
    /// No answer in time.
    Timeout,
    /// The answer was a redirect, which is not followed.
    Redirect,
    /// The answer exceeded the bound and was not read on.
    TooLarge,
    /// The connection broke.
    Broken,
    /// Whoever made the call gave up waiting; what Graph did with it is not known.
    Abandoned,
}

impl From<TransportFault> for CallFault {
    fn from(fault: TransportFault) -> Self {
        match fault {
            TransportFault::Connect => Self::Connect,
            TransportFault::Timeout => Self::Timeout,
            TransportFault::Redirect => Self::Redirect,
            TransportFault::TooLarge { .. } => Self::TooLarge,
            // The last two are about lists, and are found out after the answer.
            TransportFault::Broken
            | TransportFault::ForeignPageLink
            | TransportFault::TooManyPages { .. } => Self::Broken,
        }
    }
}

/// One entry of the audit. It tells of the call, never of the data returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum AuditEntry {
    /// A request to Graph or to the token endpoint is about to be sent.
    Call {
        /// When the entry was made.
        time: Timestamp,
        /// `namespace/name` of the `AccessScope`.
        scope: String,
        /// Tenant that the call is made in.
        tenant_id: String,
        /// App registration that makes the call.
        client_id: String,
        /// What the call is for.
        purpose: Purpose,
        /// HTTP method.
        method: String,
        /// The exact URL, query included.
        url: String,
        /// Object that caused the call.
        caused_by: Cause,
        /// The `client-request-id` header of the request; Graph echoes it and keeps it in its logs.
        client_request_id: uuid::Uuid,
        /// 1 for the first try, 2 for the repetition with a new token.
        attempt: u32,
    },
    /// What became of a call. An intent without an outcome belongs to a process that ended before it could tell.
    Outcome {
        /// When the entry was made.
        time: Timestamp,
        /// `namespace/name` of the `AccessScope`.
        scope: String,
        /// What the call was for.
        purpose: Purpose,
        /// The `client-request-id` of the entry that announced the call.
        client_request_id: uuid::Uuid,
        /// The attempt that was announced.
        attempt: u32,
        /// HTTP status, where an answer began.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// Graph's `request-id`, where the answer has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_id: Option<uuid::Uuid>,
        /// Time from the announcement's being durable to the end of the answer, in milliseconds.
        duration_ms: u64,
        /// The wait that the answer asks for, in whole seconds, rounded up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_seconds: Option<u64>,
        /// Why no whole answer was received; absent where one was, of whatever status.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<CallFault>,
    },
    /// A change notification was taken for processing.
    Notification {
        /// When the entry was made.
        time: Timestamp,
        /// `namespace/name` of the `AccessScope`.
        scope: String,
        /// Tenant of the mailbox.
        tenant_id: String,
        /// Owner of the mailbox.
        #[serde(with = "as_text")]
        user_id: UserId,
        /// Event that changed.
        #[serde(with = "as_text")]
        event_id: EventId,
        /// The event's iCalUId, once it is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        i_cal_u_id: Option<String>,
        /// Object that caused the entry.
        caused_by: Cause,
    },
    /// A consent was recorded.
    ConsentGranted {
        /// When the entry was made.
        time: Timestamp,
        /// `namespace/name` of the `AccessScope`.
        scope: String,
        /// Tenant of the user.
        tenant_id: String,
        /// Who consented.
        #[serde(with = "as_text")]
        user_id: UserId,
        /// Name of the `ConsentRecord`.
        consent: String,
    },
    /// A consent was withdrawn.
    ConsentWithdrawn {
        /// When the entry was made.
        time: Timestamp,
        /// `namespace/name` of the `AccessScope`.
        scope: String,
        /// Tenant of the user.
        tenant_id: String,
        /// Whose consent was withdrawn.
        #[serde(with = "as_text")]
        user_id: UserId,
        /// Name of the `ConsentRecord`.
        consent: String,
    },
    /// A violation of the promise of least data by the server: an answer held members that were not asked for. They were stripped
    /// before anything saw them.
    UnrequestedMembers {
        /// When the entry was made.
        time: Timestamp,
        /// `namespace/name` of the `AccessScope`.
        scope: String,
        /// Tenant that the call was made in.
        tenant_id: String,
        /// What the call was for.
        purpose: Purpose,
        /// The `client-request-id` header of the request.
        client_request_id: uuid::Uuid,
        /// Object that caused the call.
        caused_by: Cause,
        /// How many there were of each class. Neither name nor value is kept.
        members: BTreeMap<MemberClass, u64>,
    },
    /// Something else that the audit must show, such as a forced deletion without its remote call.
    Note {
        /// When the entry was made.
        time: Timestamp,
        /// `namespace/name` of the `AccessScope`.
        scope: String,
        /// Object that caused the entry.
        caused_by: Cause,
        /// One sentence without personal data.
        text: String,
    },
}

impl AuditEntry {
    /// When the entry was made.
    pub fn time(&self) -> Timestamp {
        match self {
            Self::Call { time, .. }
            | Self::Outcome { time, .. }
            | Self::Notification { time, .. }
            | Self::ConsentGranted { time, .. }
            | Self::ConsentWithdrawn { time, .. }
            | Self::UnrequestedMembers { time, .. }
            | Self::Note { time, .. } => *time,
        }
    }

    /// `namespace/name` of the `AccessScope`; empty for what belongs to none.
    pub fn scope(&self) -> &str {
        match self {
            Self::Call { scope, .. }
            | Self::Outcome { scope, .. }
            | Self::Notification { scope, .. }
            | Self::ConsentGranted { scope, .. }
            | Self::ConsentWithdrawn { scope, .. }
            | Self::UnrequestedMembers { scope, .. }
            | Self::Note { scope, .. } => scope,
        }
    }
}

mod as_text {
    use std::{fmt::Display, str::FromStr};

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<T: Display, S: Serializer>(id: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_one_object_with_a_type() {
        let entry = AuditEntry::Call {
            time: "2026-11-23T10:00:00Z".parse().unwrap(),
            scope: "rooms/contoso".into(),
            tenant_id: "7f1d0cb7-93b9-405a-8dad-c21703b7af18".into(),
            client_id: "9b0fbe07-0f3e-4f0f-8d6c-1c9f6f6c0a11".into(),
            purpose: Purpose::EventMinimalRead,
            method: "GET".into(),
            url: "https://graph.microsoft.com/v1.0/users/x".into(),
            caused_by: Cause::new("CalendarSubscription/rooms/user1"),
            client_request_id: uuid::Uuid::nil(),
            attempt: 1,
        };
        let text = serde_json::to_string(&entry).unwrap();
        assert_eq!(
            text,
            r#"{"type":"call","time":"2026-11-23T10:00:00Z","scope":"rooms/contoso","tenantId":"7f1d0cb7-93b9-405a-8dad-c21703b7af18","clientId":"9b0fbe07-0f3e-4f0f-8d6c-1c9f6f6c0a11","purpose":"eventMinimalRead","method":"GET","url":"https://graph.microsoft.com/v1.0/users/x","causedBy":"CalendarSubscription/rooms/user1","clientRequestId":"00000000-0000-0000-0000-000000000000","attempt":1}"#
        );
        assert_eq!(serde_json::from_str::<AuditEntry>(&text).unwrap(), entry);
    }

    #[test]
    fn an_outcome_has_no_place_for_data() {
        let outcome = |status, fault| AuditEntry::Outcome {
            time: "2026-11-23T10:00:00Z".parse().unwrap(),
            scope: "rooms/contoso".into(),
            purpose: Purpose::EventMinimalRead,
            client_request_id: uuid::Uuid::nil(),
            attempt: 1,
            status,
            request_id: status.map(|_| uuid::Uuid::nil()),
            duration_ms: 31,
            retry_after_seconds: None,
            fault,
        };
        for (entry, expected) in [
            (
                outcome(Some(200), None),
                r#"{"type":"outcome","time":"2026-11-23T10:00:00Z","scope":"rooms/contoso","purpose":"eventMinimalRead","clientRequestId":"00000000-0000-0000-0000-000000000000","attempt":1,"status":200,"requestId":"00000000-0000-0000-0000-000000000000","durationMs":31}"#,
            ),
            (
                outcome(None, Some(CallFault::TooLarge)),
                r#"{"type":"outcome","time":"2026-11-23T10:00:00Z","scope":"rooms/contoso","purpose":"eventMinimalRead","clientRequestId":"00000000-0000-0000-0000-000000000000","attempt":1,"durationMs":31,"fault":"tooLarge"}"#,
            ),
        ] {
            let text = serde_json::to_string(&entry).unwrap();
            assert_eq!(text, expected);
            assert_eq!(serde_json::from_str::<AuditEntry>(&text).unwrap(), entry);
        }
    }

    #[test]
    fn a_notification_reads_back_with_and_without_its_i_cal_u_id() {
        for i_cal_u_id in [None, Some("040000008200E00074C5B7101A82E008".to_owned())] {
            let entry = AuditEntry::Notification {
                time: "2026-11-23T10:00:00Z".parse().unwrap(),
                scope: "rooms/contoso".into(),
                tenant_id: "7f1d0cb7-93b9-405a-8dad-c21703b7af18".into(),
                user_id: UserId::parse("2189c720-90d5-44ff-818b-fe585706ee90").unwrap(),
                event_id: EventId::parse("AAMkAD=").unwrap(),
                i_cal_u_id,
                caused_by: Cause::new("CalendarSubscription/rooms/user1"),
            };
            let text = serde_json::to_string(&entry).unwrap();
            assert_eq!(serde_json::from_str::<AuditEntry>(&text).unwrap(), entry);
        }
    }

    #[test]
    fn members_that_were_not_asked_for_stand_by_class() {
        let entry = AuditEntry::UnrequestedMembers {
            time: "2026-11-23T10:00:00Z".parse().unwrap(),
            scope: "rooms/contoso".into(),
            tenant_id: "7f1d0cb7-93b9-405a-8dad-c21703b7af18".into(),
            purpose: Purpose::EventMinimalRead,
            client_request_id: uuid::Uuid::nil(),
            caused_by: Cause::new("CalendarSubscription/rooms/user1"),
            members: BTreeMap::from([(MemberClass::Body, 2)]),
        };
        let text = serde_json::to_string(&entry).unwrap();
        assert_eq!(
            text,
            r#"{"type":"unrequestedMembers","time":"2026-11-23T10:00:00Z","scope":"rooms/contoso","tenantId":"7f1d0cb7-93b9-405a-8dad-c21703b7af18","purpose":"eventMinimalRead","clientRequestId":"00000000-0000-0000-0000-000000000000","causedBy":"CalendarSubscription/rooms/user1","members":{"body":2}}"#
        );
        assert_eq!(serde_json::from_str::<AuditEntry>(&text).unwrap(), entry);
    }

    #[test]
    fn purposes_have_one_spelling() {
        for purpose in Purpose::ALL {
            assert_eq!(serde_json::to_string(&purpose).unwrap(), format!("\"{purpose}\""));
        }
    }

    #[test]
    fn a_cause_is_bounded_and_has_no_line_breaks() {
        let cause = Cause::new(format!("a\nb{}", "x".repeat(1_000)));
        assert!(cause.as_str().starts_with("abx"));
        assert_eq!(cause.as_str().len(), Cause::MAX_CHARS);
    }
}
