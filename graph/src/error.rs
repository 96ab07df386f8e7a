//! What can go wrong with a call, and what follows from it.

use std::{fmt, time::Duration};

use uuid::Uuid;

use crate::{
    audit::{AuditError, Purpose},
    ids::{IdError, SubscriptionId},
    token::AssertionError,
};

/// What a caller does about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Heals itself: try again with the caller's own backoff.
    Retry,
    /// Try again after exactly this time, which Graph asked for.
    Wait(Duration),
    /// Nothing changes until a person acts.
    UserMustAct(Reason),
    /// What the call was about is not there.
    Gone(GoneReason),
    /// A subscription for the same resource and change types exists.
    Conflict {
        /// Its id, where Graph's message names one.
        existing: Option<SubscriptionId>,
    },
    /// Graph refused the token, also a new one.
    TokenRejected,
}

/// Why a person must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The credential was refused.
    AuthFailed,
    /// The tenant does not exist, or the app registration is unknown in it.
    TenantUnknown,
    /// An application permission or its admin consent is missing.
    PermissionMissing,
    /// A policy of the organisation keeps the app away from this mailbox.
    PolicyDenied,
    /// Graph could not validate the notification endpoint.
    EndpointValidationFailed,
    /// The expiry asked for is too far away.
    ExpiryTooLong {
        /// The maximum in force, in minutes from the time of the request.
        max_minutes: u32,
    },
    /// A quota on subscriptions is used up.
    QuotaExceeded,
    /// Graph does not accept the request as it is.
    BadRequest,
}

/// What is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GoneReason {
    /// The subscription was removed or has expired.
    SubscriptionNotFound,
    /// The event was deleted, moved or cancelled away.
    EventNotFound,
    /// The user does not exist.
    UserNotFound,
    /// The user has no mailbox that Graph can reach. The user's events are not gone.
    MailboxUnavailable,
    /// The group does not exist.
    GroupNotFound,
}

/// A failed call. Its text holds status, error code, request-id and AADSTS number, and nothing that Graph returned beyond them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// The audit entry is not durable, so the request was not sent.
    #[error("{purpose} was not sent: {cause}")]
    Audit {
        /// What the request was for.
        purpose: Purpose,
        /// What the audit said.
        cause: AuditError,
    },
    /// The gate of [`crate::http::Http::gated`] was shut, so the request was not sent.
    #[error("{purpose} was not sent: {why}")]
    Held {
        /// What the request was for.
        purpose: Purpose,
        /// The gate's reason.
        why: &'static str,
    },
    /// Graph asked this app to send nothing of the kind in this tenant for a while, so the request was not sent.
    #[error("{purpose} was not sent: Graph asked this app to wait")]
    Paused {
        /// What the request was for.
        purpose: Purpose,
        /// Time that is left.
        left: Duration,
    },
    /// The budget of this app in this tenant is used up for the moment, so the request was not sent.
    #[error(
        "{purpose} was not sent yet: as many writes as are let through in this time were sent for this app and tenant"
    )]
    Exhausted {
        /// What the request was for.
        purpose: Purpose,
        /// Time until there is a place.
        left: Duration,
    },
    /// An argument was refused before anything was sent.
    #[error("{0}")]
    Argument(#[from] ArgumentError),
    /// No answer was received.
    #[error("{purpose}: {fault} (client-request-id {client_request_id})")]
    Transport {
        /// What the request was for.
        purpose: Purpose,
        /// What happened.
        fault: TransportFault,
        /// The request's own id.
        client_request_id: Uuid,
    },
    /// There is no client assertion, so no token was asked for.
    #[error("{0}")]
    Assertion(#[from] AssertionError),
    /// Graph answered with an error.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The token endpoint answered with an error.
    #[error("{0}")]
    Token(Box<TokenRefusal>),
    /// The answer does not have the form that Graph documents.
    #[error("{purpose}: the answer's member {member:?} {problem} (client-request-id {client_request_id})")]
    UnexpectedAnswer {
        /// What the request was for.
        purpose: Purpose,
        /// The member, or `(body)` for the answer as a whole.
        member: &'static str,
        /// What is wrong with it.
        problem: Problem,
        /// The request's own id.
        client_request_id: Uuid,
    },
}

impl GraphError {
    /// What to do about it.
    pub fn decision(&self) -> Decision {
        match self {
            Self::Audit { .. }
            | Self::Held { .. }
            | Self::Transport { .. }
            | Self::UnexpectedAnswer { .. }
            | Self::Assertion(AssertionError::Unavailable(_)) => Decision::Retry,
            Self::Assertion(AssertionError::NotFound(_) | AssertionError::Forbidden(_)) => {
                Decision::UserMustAct(Reason::AuthFailed)
            }
            Self::Paused { left, .. } | Self::Exhausted { left, .. } => Decision::Wait(*left),
            Self::Argument(_) => Decision::UserMustAct(Reason::BadRequest),
            Self::Refused(refusal) => refusal.decision,
            Self::Token(refusal) => refusal.decision,
        }
    }
}

/// An argument that cannot be sent. Names the field, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// An id is malformed.
    #[error("{0}")]
    Id(#[from] IdError),
    /// Another field is malformed.
    #[error("{field} {rule}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// The rule that it breaks.
        rule: &'static str,
    },
}

/// Why no answer was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransportFault {
    /// No connection: name resolution, TCP or TLS.
    #[error("no connection to the server, or its certificate is not trusted")]
    Connect,
    /// The overall timeout passed.
    #[error("no answer in time")]
    Timeout,
    /// The answer is a redirect; tokens are not sent elsewhere.
    #[error("the server answered with a redirect, which is refused")]
    Redirect,
    /// The answer exceeds the bound.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// The connection broke.
    #[error("the connection broke before the answer was complete")]
    Broken,
    /// A link to the next page leads away from the list that was asked for.
    #[error("a page link leads to another place than the list asked for, which is refused")]
    ForeignPageLink,
    /// More pages than any list has.
    #[error("the list has more than {limit} pages")]
    TooManyPages {
        /// The bound.
        limit: usize,
    },
}

/// Graph's refusal, reduced to what may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What the request was for.
    pub purpose: Purpose,
    /// HTTP status.
    pub status: u16,
    /// `error.code`, bounded; empty where Graph sent none.
    pub code: String,
    /// The inner `Status Code:` of an `ExtensionError`.
    pub inner_status: Option<String>,
    /// Graph's `request-id`.
    pub request_id: Option<Uuid>,
    /// The request's own id.
    pub client_request_id: Uuid,
    /// What follows from it.
    pub decision: Decision,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: Graph answered {}", self.purpose, self.status)?;
        if !self.code.is_empty() {
            write!(f, " {}", self.code)?;
        }
        if let Some(inner) = &self.inner_status {
            write!(f, " ({inner})")?;
        }
        match self.request_id {
            Some(id) => write!(f, ", request-id {id}"),
            None => write!(f, ", client-request-id {}", self.client_request_id),
        }
    }
}

/// The token endpoint's refusal, reduced to what may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRefusal {
    /// HTTP status.
    pub status: u16,
    /// Number after `AADSTS`.
    pub aadsts: Option<u32>,
    /// OAuth error such as `invalid_client`, bounded; empty where none was sent.
    pub error: String,
    /// What the person who must act can do.
    pub fix: &'static str,
    /// The request's own id.
    pub client_request_id: Uuid,
    /// What follows from it.
    pub decision: Decision,
}

impl fmt::Display for TokenRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.aadsts {
            Some(number) => write!(f, "no token: AADSTS{number}")?,
            None if self.error.is_empty() => write!(f, "no token: HTTP {}", self.status)?,
            None => write!(f, "no token: HTTP {} {}", self.status, self.error)?,
        }
        write!(f, ": {} (client-request-id {})", self.fix, self.client_request_id)
    }
}

/// What is wrong with a member of an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It is absent or null.
    #[error("is missing")]
    Missing,
    /// It has another type, or a value outside its list.
    #[error("is not {expected}")]
    NotA {
        /// What was expected.
        expected: &'static str,
    },
    /// A time is given in another zone than UTC, which was asked for.
    #[error("is in time zone {zone:?} instead of UTC")]
    Zone {
        /// The zone, bounded.
        zone: String,
    },
}
