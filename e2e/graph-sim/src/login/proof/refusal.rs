//! Entra's words for assertions that it does not take. Numbers and wording as seen in public reports.

use jiff::Timestamp;
use uuid::Uuid;

use super::super::LoginError;

const REVIEW: &str = "Review the documentation at https://learn.microsoft.com/entra/identity-platform/certificate-credentials .";

pub(super) fn invalid_token(why: &str) -> LoginError {
    LoginError::new("invalid_client", 50_027, format!("JWT token is invalid or malformed. {why}"))
}

pub(super) fn key_not_found(thumbprint: &str, app: Uuid) -> LoginError {
    LoginError::new(
        "invalid_client",
        700_027,
        format!(
            "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found., Thumbprint of key used by client: '{thumbprint}', Please visit the Azure Portal, Graph Explorer or directly use MS Graph to see configured keys for app Id '{app}'.]"
        ),
    )
}

/// The certificate is registered, but `reason` keeps it from being good for this assertion.
pub(super) fn key_unusable(reason: &str, thumbprint: &str, period: &str, app: Uuid) -> LoginError {
    LoginError::new(
        "invalid_client",
        700_027,
        format!(
            "Client assertion failed signature validation. [Reason - {reason}, Thumbprint of key used by client: '{thumbprint}', Found key '{period}', Please visit the Azure Portal, Graph Explorer or directly use MS Graph to see configured keys for app Id '{app}'.]"
        ),
    )
}

pub(super) fn out_of_time(now: Timestamp, from: i64, until: i64) -> LoginError {
    let time = |seconds: i64| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    LoginError::new(
        "invalid_client",
        700_024,
        format!(
            "Client assertion is not within its valid time range. Current time: {now:.7}, assertion valid from {:.7}, expiry time of assertion {:.7}. {REVIEW}",
            time(from),
            time(until)
        ),
    )
}

pub(super) fn wrong_audience() -> LoginError {
    LoginError::new(
        "invalid_client",
        700_023,
        format!("Client assertion audience claim does not match Realm issuer. {REVIEW}"),
    )
}

pub(super) fn wrong_client() -> LoginError {
    LoginError::new(
        "invalid_client",
        700_021,
        format!("Client assertion application identifier doesn't match 'client_id' parameter. {REVIEW}"),
    )
}

/// graph-facts §8: HTTP 400, `invalid_request`.
pub(super) fn no_federated_match(issuer: &str, subject: &str, audience: &str) -> LoginError {
    LoginError::new(
        "invalid_request",
        70_021,
        format!(
            "No matching federated identity record found for presented assertion. Assertion Issuer: '{issuer}'. Assertion Subject: '{subject}'. Assertion Audience: '{audience}'. https://learn.microsoft.com/entra/workload-id/workload-identity-federation"
        ),
    )
}

pub(super) fn foreign_signature(kid: &str, reason: &str) -> LoginError {
    LoginError::new(
        "invalid_request",
        50_013,
        format!(
            "Assertion failed signature validation. [Reason - {reason}, Thumbprint of key used by client: '{kid}']"
        ),
    )
}
