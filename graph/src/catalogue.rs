//! The one place that knows Graph's error answers: (call, status, code, inner status) to [`Decision`].
//!
//! Nothing else looks at `error.message`; here only where the code alone does not tell (an `ExtensionError` wraps the
//! mailbox server's status in its text, and a few answers differ in nothing but the text).

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use crate::{
    audit::Purpose,
    error::{Decision, GoneReason, Reason, Refusal, TokenRefusal},
    ids::SubscriptionId,
};

/// Strictest maximum that Graph ever documented for basic event subscriptions; used where it refuses an expiry without a figure.
const SHORTEST_MAXIMUM_MINUTES: u32 = 4_230;

/// An answer with an error status, as received.
pub(crate) struct ErrorAnswer<'a> {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    /// From the `request-id` header.
    pub(crate) request_id: Option<Uuid>,
    pub(crate) client_request_id: Uuid,
    pub(crate) body: &'a [u8],
}

/// Reads Graph's error body and decides.
pub(crate) fn refusal(purpose: Purpose, answer: &ErrorAnswer<'_>) -> Refusal {
    // A proxy in front of Graph may answer without JSON: the status alone decides then.
    let body: Value = serde_json::from_slice(answer.body).unwrap_or_default();
    let error = body.get("error").unwrap_or(&Value::Null);
    let code = text(error, "code");
    let message = text(error, "message");
    let decision = decide(purpose, answer.status, code, message, answer.retry_after);
    // Both spellings occur.
    let inner = || error.get("innerError").or_else(|| error.get("innererror"));
    let from_body = || Uuid::try_parse(text(inner()?, "request-id")).ok();
    Refusal {
        purpose,
        status: answer.status,
        code: printable(code),
        inner_status: inner_status(message).map(printable),
        request_id: answer.request_id.or_else(from_body),
        client_request_id: answer.client_request_id,
        decision,
    }
}

/// A member of an error body; absent and of another type count as empty.
fn text<'a>(object: &'a Value, member: &str) -> &'a str {
    object.get(member).and_then(Value::as_str).unwrap_or_default()
}

fn decide(
    purpose: Purpose,
    status: u16,
    code: &str,
    message: &str,
    retry_after: Option<Duration>,
) -> Decision {
    let later = retry_after.map_or(Decision::Retry, Decision::Wait);
    match code.to_ascii_lowercase().as_str() {
        "extensionerror" => return extension_error(purpose, status, message, later),
        "validationerror" => return Decision::UserMustAct(Reason::EndpointValidationFailed),
        "invalidrequest" if message.starts_with("Subscription validation request") => {
            return Decision::UserMustAct(Reason::EndpointValidationFailed);
        }
        // The PATCH holds nothing but the expiry, so that is the parameter meant.
        "errorinvalidparameter" if purpose == Purpose::RenewSubscription => {
            return Decision::UserMustAct(Reason::ExpiryTooLong {
                max_minutes: maximum_minutes(message).unwrap_or(SHORTEST_MAXIMUM_MINUTES),
            });
        }
        "objectidentifierinuse" if status == 409 => return conflict(message),
        "unauthenticated" | "invalidauthenticationtoken" => return Decision::TokenRejected,
        "activitylimitreached" | "servicenotavailable" | "applicationthrottled" | "toomanyrequests" => {
            return later;
        }
        "authorization_requestdenied" => return Decision::UserMustAct(Reason::PermissionMissing),
        "erroraccessdenied" => return Decision::UserMustAct(Reason::PolicyDenied),
        "mailboxnotenabledforrestapi" | "mailboxnotsupportedforrestapi" => {
            return Decision::Gone(GoneReason::MailboxUnavailable);
        }
        "errorinvaliduser" => return Decision::Gone(GoneReason::UserNotFound),
        "erroritemnotfound" if event(purpose) => return Decision::Gone(GoneReason::EventNotFound),
        "request_resourcenotfound" => return Decision::Gone(directory_object(purpose)),
        _ => {}
    }
    by_status(purpose, status, message, later)
}

fn by_status(purpose: Purpose, status: u16, message: &str, later: Decision) -> Decision {
    match status {
        401 => Decision::TokenRejected,
        403 if purpose == Purpose::CreateSubscription && names_a_limit(message) => {
            Decision::UserMustAct(Reason::QuotaExceeded)
        }
        403 => Decision::UserMustAct(Reason::PermissionMissing),
        404 | 410 if subscription(purpose) && purpose != Purpose::CreateSubscription => {
            Decision::Gone(GoneReason::SubscriptionNotFound)
        }
        404 => match purpose {
            Purpose::UserLookup => Decision::Gone(GoneReason::UserNotFound),
            Purpose::GroupLookup | Purpose::GroupMembers => Decision::Gone(GoneReason::GroupNotFound),
            // An unknown kind of "not found" proves nothing about the event: it must not cancel a booking.
            _ => Decision::Retry,
        },
        409 if purpose == Purpose::CreateSubscription => conflict(message),
        400 | 405 | 406 | 411 | 413..=416 | 422 | 501 => Decision::UserMustAct(Reason::BadRequest),
        _ => later,
    }
}

/// The mailbox server's status is in the text: `Operation: Create; Exception: [Status Code: Forbidden; Reason: …]`.
fn extension_error(purpose: Purpose, status: u16, message: &str, later: Decision) -> Decision {
    if let Some(max_minutes) = maximum_minutes(message) {
        return Decision::UserMustAct(Reason::ExpiryTooLong { max_minutes });
    }
    match inner_status(message).map(str::to_ascii_lowercase).as_deref() {
        Some("forbidden") => Decision::UserMustAct(Reason::PolicyDenied),
        Some("unauthorized") => Decision::TokenRejected,
        Some("notfound") => match purpose {
            Purpose::CreateSubscription if message.contains("The requested user") => {
                Decision::Gone(GoneReason::UserNotFound)
            }
            Purpose::CreateSubscription => Decision::Gone(GoneReason::MailboxUnavailable),
            Purpose::EventMinimalRead
            | Purpose::EventFullRead
            | Purpose::Occurrences
            | Purpose::WriteBack
            | Purpose::Resync => Decision::Retry,
            _ => Decision::Gone(GoneReason::SubscriptionNotFound),
        },
        Some("badrequest") => Decision::UserMustAct(Reason::BadRequest),
        // ServiceUnavailable and the like, and whatever is not known: the outer status proves nothing.
        Some(_) => later,
        None => match status {
            403 => Decision::UserMustAct(Reason::PolicyDenied),
            401 | 404 | 410 => by_status(purpose, status, message, later),
            _ => later,
        },
    }
}

/// Status that an `ExtensionError` wraps.
fn inner_status(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("Status Code:")?;
    let end = rest.find([';', ']', ',']).unwrap_or(rest.len());
    rest.get(..end).map(str::trim).filter(|status| !status.is_empty())
}

/// The figure of "Subscription expiration can only be 10070 minutes in the future."
fn maximum_minutes(message: &str) -> Option<u32> {
    let (_, rest) = message.split_once("expiration can only be ")?;
    let (figure, _) = rest.split_once(" minutes")?;
    figure.parse().ok()
}

/// `Subscription Id {id} already exists for the requested combination`.
fn conflict(message: &str) -> Decision {
    let existing = message.split_whitespace().find_map(|word| SubscriptionId::parse(word).ok());
    Decision::Conflict { existing }
}

fn names_a_limit(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["limit", "quota", "maximum number"].iter().any(|word| message.contains(word))
}

fn subscription(purpose: Purpose) -> bool {
    matches!(
        purpose,
        Purpose::CreateSubscription
            | Purpose::RenewSubscription
            | Purpose::ReauthorizeSubscription
            | Purpose::GetSubscription
            | Purpose::ListSubscriptions
            | Purpose::DeleteSubscription
    )
}

fn event(purpose: Purpose) -> bool {
    matches!(
        purpose,
        Purpose::EventMinimalRead | Purpose::EventFullRead | Purpose::Occurrences | Purpose::WriteBack
    )
}

fn directory_object(purpose: Purpose) -> GoneReason {
    match purpose {
        Purpose::GroupLookup | Purpose::GroupMembers => GoneReason::GroupNotFound,
        Purpose::Token
        | Purpose::UserLookup
        | Purpose::EventMinimalRead
        | Purpose::EventFullRead
        | Purpose::Occurrences
        | Purpose::WriteBack
        | Purpose::Resync
        | Purpose::CreateSubscription
        | Purpose::OidcConfiguration
        | Purpose::OidcKeys => GoneReason::UserNotFound,
        Purpose::RenewSubscription
        | Purpose::ReauthorizeSubscription
        | Purpose::GetSubscription
        | Purpose::ListSubscriptions
        | Purpose::DeleteSubscription => GoneReason::SubscriptionNotFound,
    }
}

/// Reads the token endpoint's error body and decides.
pub(crate) fn token_refusal(answer: &ErrorAnswer<'_>) -> TokenRefusal {
    let body: Value = serde_json::from_slice(answer.body).unwrap_or_default();
    let error = text(&body, "error");
    let listed =
        body.pointer("/error_codes/0").and_then(Value::as_u64).and_then(|code| u32::try_from(code).ok());
    let aadsts = listed.or_else(|| aadsts(text(&body, "error_description")));
    let later = answer.retry_after.map_or(Decision::Retry, Decision::Wait);
    let (decision, fix) = match (answer.status, aadsts) {
        (429 | 500..=599, _) | (_, Some(50_196 | 90_033)) => {
            (later, "the token endpoint is busy, tried again later")
        }
        (_, Some(number)) => credential_fault(number),
        (_, None) if matches!(error, "temporarily_unavailable" | "server_error") => {
            (later, "the token endpoint is busy, tried again later")
        }
        (400 | 401 | 403, None) => {
            (Decision::UserMustAct(Reason::AuthFailed), "check the credential of the app registration")
        }
        (404, None) => (Decision::UserMustAct(Reason::TenantUnknown), "check the tenant id and the cloud"),
        (_, None) => (later, "tried again later"),
    };
    TokenRefusal {
        status: answer.status,
        aadsts,
        error: printable(error),
        fix,
        client_request_id: answer.client_request_id,
        decision,
    }
}

/// Numbers as listed under "Microsoft Entra authentication and authorization error codes".
fn credential_fault(number: u32) -> (Decision, &'static str) {
    let (reason, fix) = match number {
        7_000_215 => (Reason::AuthFailed, "the client secret is wrong: store the secret's value, not its id"),
        7_000_222 => (Reason::AuthFailed, "the client secret has expired: make a new one and store it"),
        7_000_216 => {
            (Reason::AuthFailed, "the request holds no client secret or assertion: check the credential")
        }
        700_027 => (Reason::AuthFailed, "the certificate is not registered with the app: upload it"),
        70_021 | 700_213 | 700_211 | 700_212 => (
            Reason::AuthFailed,
            "no federated credential of the app matches issuer, subject and audience of the service account's token",
        ),
        7_000_112 => (Reason::AuthFailed, "the app is disabled in the tenant: enable it"),
        53_003 => (
            Reason::PolicyDenied,
            "a Conditional Access policy refuses this sign-in: exempt the app or its address",
        ),
        90_002 | 900_023 | 90_013 => {
            (Reason::TenantUnknown, "the tenant does not exist in this cloud: check the tenant id")
        }
        700_016 => (
            Reason::TenantUnknown,
            "the app is unknown in the tenant: check the client id, or let the tenant's administrator consent",
        ),
        7_000_229 => (
            Reason::PermissionMissing,
            "the app has no service principal in the tenant: let its administrator consent",
        ),
        500_011 | 70_011 | 1_002_012 => {
            (Reason::BadRequest, "Graph is unknown in the tenant's cloud: check the cloud")
        }
        _ => (
            Reason::AuthFailed,
            "look the number up among the Entra error codes and check the app registration",
        ),
    };
    (Decision::UserMustAct(reason), fix)
}

fn aadsts(description: &str) -> Option<u32> {
    let (_, rest) = description.split_once("AADSTS")?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

/// Codes are short words; anything else could carry data and is not shown.
fn printable(code: &str) -> String {
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if code.len() <= 64 && code.bytes().all(word) { code.to_owned() } else { "(code not shown)".to_owned() }
}

/// `Retry-After` in seconds or as an HTTP date; bounded to a day.
pub(crate) fn retry_after(value: &str, now: std::time::SystemTime) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_hours(24);
    let wait = match value.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(value.trim()).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(LONGEST))
}

/// Whether a refusal for lack of patience is about one mailbox alone (`MailboxConcurrency`), and not about the app.
pub(crate) fn concerns_one_mailbox(body: &[u8]) -> bool {
    String::from_utf8_lossy(body).contains("MailboxConcurrency")
}

#[cfg(test)]
mod tests;
