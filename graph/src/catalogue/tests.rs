//! Every row of the error tables, from the literal body to the decision.

use std::time::SystemTime;

use super::*;
use Decision::{Gone, Retry, TokenRejected, UserMustAct, Wait};

const SUBSCRIPTION: &str = "f37536ac-b308-4bc7-b239-b2b51cd2ff24";

fn body(code: &str, message: &str) -> String {
    serde_json::json!({"error": {"code": code, "message": message, "innerError": {
        "date": "2025-02-13T10:17:05", "request-id": "0b3a1c6e-0000-4000-8000-000000000001",
        "client-request-id": "0b3a1c6e-0000-4000-8000-000000000002"}}})
    .to_string()
}

fn answer(status: u16, retry_after: Option<Duration>, body: &str) -> ErrorAnswer<'_> {
    ErrorAnswer {
        status,
        retry_after,
        request_id: None,
        client_request_id: Uuid::nil(),
        body: body.as_bytes(),
    }
}

fn decision(purpose: Purpose, status: u16, body: &str) -> Decision {
    refusal(purpose, &answer(status, None, body)).decision
}

fn check(rows: &[(Purpose, u16, &str, &str, Decision)]) {
    for (purpose, status, code, message, expected) in rows {
        assert_eq!(
            decision(*purpose, *status, &body(code, message)),
            *expected,
            "{purpose} {status} {code} {message}"
        );
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn subscription_answers() {
    use Purpose::{
        CreateSubscription as Create, DeleteSubscription as Delete, GetSubscription as Get,
        RenewSubscription as Renew,
    };
    let endpoint = UserMustAct(Reason::EndpointValidationFailed);
    let policy = UserMustAct(Reason::PolicyDenied);
    let bad = UserMustAct(Reason::BadRequest);
    let not_found = Gone(GoneReason::SubscriptionNotFound);
    let too_long = |max_minutes| UserMustAct(Reason::ExpiryTooLong { max_minutes });
    let conflict = Decision::Conflict { existing: SubscriptionId::parse(SUBSCRIPTION).ok() };
    let in_use = format!("Subscription Id {SUBSCRIPTION} already exists for the requested combination");
    check(&[
        (
            Create,
            400,
            "ValidationError",
            "Subscription validation request failed. Notification endpoint must respond with 200 OK to validation request.",
            endpoint,
        ),
        (
            Create,
            400,
            "ValidationError",
            "Subscription validation request failed. HTTP status code is 'Forbidden'. Notification endpoint must respond with 200 OK to validation request.",
            endpoint,
        ),
        (Create, 400, "InvalidRequest", "Subscription validation request timed out.", endpoint),
        (Create, 400, "InvalidRequest", "Something else.", bad),
        (
            Create,
            400,
            "ExtensionError",
            "Subscription expiration can only be 10070 minutes in the future.",
            too_long(10_070),
        ),
        (
            Renew,
            400,
            "ExtensionError",
            "Subscription expiration can only be 4230 minutes in the future.",
            too_long(4_230),
        ),
        (Renew, 400, "ErrorInvalidParameter", "", too_long(4_230)),
        (Create, 400, "ErrorInvalidParameter", "", bad),
        (Create, 409, "ObjectIdentifierInUse", &in_use, conflict),
        (Create, 409, "", &in_use, conflict),
        (Create, 409, "ObjectIdentifierInUse", "reworded", Decision::Conflict { existing: None }),
        (Renew, 409, "Conflict", "", Retry),
        (
            Create,
            403,
            "ExtensionError",
            "Operation: Create; Exception: [Status Code: Forbidden; Reason: Forbidden]",
            policy,
        ),
        (
            Create,
            403,
            "ExtensionError",
            "Operation: Create; Exception: [Status Code: Forbidden; Reason: Caller does not have access to ...]",
            policy,
        ),
        (Create, 403, "ExtensionError", "", policy),
        (
            Create,
            401,
            "ExtensionError",
            "Operation: Create; Exception: [Status Code: Unauthorized; Reason: Authentication failed]",
            TokenRejected,
        ),
        (
            Create,
            403,
            "ExtensionError",
            "Operation: Create; Exception: [Status Code: ServiceUnavailable; Reason: Target resource '...' hosted on database '...' is currently on backend 'Unknown']",
            Retry,
        ),
        (
            Create,
            403,
            "ExtensionError",
            "Operation: Create; Exception: [Status Code: SomethingNew; Reason: x]",
            Retry,
        ),
        (
            Create,
            404,
            "ExtensionError",
            "Operation: Create; Exception: [Status Code: NotFound; Reason: Not Found]",
            Gone(GoneReason::MailboxUnavailable),
        ),
        (
            Create,
            404,
            "ExtensionError",
            "Operation: Create; Exception: [Status Code: NotFound; Reason: The requested user '<id>@<tenant>' is invalid.]",
            Gone(GoneReason::UserNotFound),
        ),
        (
            Create,
            400,
            "ExtensionError",
            "Operation: Create; Exception: [Status Code: BadRequest; Reason: The specified object was not found in the store., The process failed to get the correct properties.]",
            bad,
        ),
        (
            Create,
            401,
            "InvalidAuthenticationToken",
            "Access token has expired or is not yet valid.",
            TokenRejected,
        ),
        (Create, 401, "InvalidAuthenticationToken", "Access token has expired.", TokenRejected),
        (
            Create,
            403,
            "Authorization_RequestDenied",
            "Insufficient privileges to complete the operation.",
            UserMustAct(Reason::PermissionMissing),
        ),
        (
            Create,
            403,
            "Forbidden",
            "The maximum number of subscriptions for this mailbox is reached: limit 1000.",
            UserMustAct(Reason::QuotaExceeded),
        ),
        (Get, 404, "ResourceNotFound", "The object was not found.", not_found),
        (Renew, 404, "ResourceNotFound", "The object was not found.", not_found),
        (Delete, 404, "ResourceNotFound", "The object was not found.", not_found),
        (Renew, 410, "", "", not_found),
        (
            Delete,
            404,
            "ExtensionError",
            "Operation: Delete; Exception: [Status Code: NotFound; Reason: The requested user '<id>@<tenant>' is invalid.]",
            not_found,
        ),
        (Get, 404, "ExtensionError", "There was an error processing a storage extension.", not_found),
        (Get, 500, "ExtensionError", "There was an error processing a storage extension.", Retry),
        (
            Renew,
            400,
            "InvalidRequest",
            "Subscription must contain either the 'expirationDateTime' or 'notificationUrl' property and its value.",
            bad,
        ),
    ]);
}

#[test]
fn event_answers() {
    use Purpose::{EventFullRead as Full, EventMinimalRead as Minimal};
    let policy = UserMustAct(Reason::PolicyDenied);
    let mailbox = Gone(GoneReason::MailboxUnavailable);
    for purpose in [Minimal, Full] {
        check(&[
            (
                purpose,
                404,
                "ErrorItemNotFound",
                "The specified object was not found in the store.",
                Gone(GoneReason::EventNotFound),
            ),
            (
                purpose,
                404,
                "ErrorItemNotFound",
                "The specified object was not found in the store., The process failed to get the correct properties.",
                Gone(GoneReason::EventNotFound),
            ),
            (
                purpose,
                404,
                "MailboxNotEnabledForRESTAPI",
                "The mailbox is either inactive, soft-deleted, or is hosted on-premise.",
                mailbox,
            ),
            (
                purpose,
                404,
                "MailboxNotEnabledForRESTAPI",
                "REST API is not yet supported for this mailbox.",
                mailbox,
            ),
            (
                purpose,
                404,
                "MailboxNotSupportedForRESTAPI",
                "REST API is not yet supported for this mailbox.",
                mailbox,
            ),
            (
                purpose,
                404,
                "ErrorInvalidUser",
                "The requested user 'x' is invalid.",
                Gone(GoneReason::UserNotFound),
            ),
            (
                purpose,
                404,
                "Request_ResourceNotFound",
                "Resource 'x' does not exist.",
                Gone(GoneReason::UserNotFound),
            ),
            (purpose, 403, "ErrorAccessDenied", "Access to OData is disabled.", policy),
            (purpose, 403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.", policy),
            // Not proven to be about the event: a booking must not be cancelled for it.
            (purpose, 404, "SomethingNew", "", Retry),
            (purpose, 404, "", "", Retry),
            (
                purpose,
                429,
                "ApplicationThrottled",
                "Application is over its MailboxConcurrency limit.",
                Retry,
            ),
        ]);
    }
}

#[test]
fn directory_answers() {
    use Purpose::{GroupLookup, GroupMembers, UserLookup};
    check(&[
        (
            UserLookup,
            404,
            "Request_ResourceNotFound",
            "Resource 'x' does not exist.",
            Gone(GoneReason::UserNotFound),
        ),
        (
            GroupLookup,
            404,
            "Request_ResourceNotFound",
            "Resource 'x' does not exist.",
            Gone(GoneReason::GroupNotFound),
        ),
        (
            GroupMembers,
            404,
            "Request_ResourceNotFound",
            "Resource 'x' does not exist.",
            Gone(GoneReason::GroupNotFound),
        ),
        (GroupMembers, 400, "Request_UnsupportedQuery", "Unsupported cast.", UserMustAct(Reason::BadRequest)),
        (
            GroupMembers,
            403,
            "Authorization_RequestDenied",
            "Insufficient privileges to complete the operation.",
            UserMustAct(Reason::PermissionMissing),
        ),
    ]);
}

#[test]
fn listed_statuses_and_basic_codes() {
    let bad = UserMustAct(Reason::BadRequest);
    for (status, expected) in [
        (400, bad),
        (401, TokenRejected),
        (403, UserMustAct(Reason::PermissionMissing)),
        (405, bad),
        (406, bad),
        (409, Retry),
        (410, Retry),
        (411, bad),
        (412, Retry),
        (413, bad),
        (415, bad),
        (416, bad),
        (422, bad),
        (423, Retry),
        (429, Retry),
        (500, Retry),
        (501, bad),
        (502, Retry),
        (503, Retry),
        (504, Retry),
        (507, Retry),
        (509, Retry),
    ] {
        assert_eq!(decision(Purpose::EventMinimalRead, status, &body("", "")), expected, "{status}");
        assert_eq!(decision(Purpose::EventMinimalRead, status, "<html>a proxy</html>"), expected, "{status}");
    }
    for (status, code, expected) in [
        (403, "activityLimitReached", Retry),
        (500, "serviceNotAvailable", Retry),
        (403, "unauthenticated", TokenRejected),
        (403, "extensionError", UserMustAct(Reason::PolicyDenied)),
    ] {
        assert_eq!(decision(Purpose::GetSubscription, status, &body(code, "")), expected, "{code}");
    }
}

#[test]
fn retry_after_is_obeyed_exactly() {
    let asked = Some(Duration::from_secs(17));
    for (status, code, message) in [
        (429, "ApplicationThrottled", "Application is over its MailboxConcurrency limit."),
        (429, "TooManyRequests", ""),
        (503, "", ""),
        (403, "activityLimitReached", ""),
        (403, "ExtensionError", "Operation: Create; Exception: [Status Code: ServiceUnavailable; Reason: x]"),
    ] {
        let read = refusal(Purpose::CreateSubscription, &answer(status, asked, &body(code, message)));
        assert_eq!(read.decision, Wait(Duration::from_secs(17)), "{status} {code}");
    }
    // It does not turn a decided case into a wait.
    let read = refusal(Purpose::EventFullRead, &answer(404, asked, &body("ErrorItemNotFound", "")));
    assert_eq!(read.decision, Gone(GoneReason::EventNotFound));
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    for (value, expected) in [
        ("120", Some(120)),
        (" 3 ", Some(3)),
        ("0", Some(0)),
        ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
        ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
        ("99999999999", Some(86_400)),
        ("soon", None),
        ("-1", None),
        ("", None),
    ] {
        assert_eq!(retry_after(value, now), expected.map(Duration::from_secs), "{value}");
    }
}

#[test]
fn only_codes_and_ids_are_shown() {
    let text = body("ErrorAccessDenied", "canary message");
    let shown = refusal(Purpose::EventFullRead, &answer(403, None, &text)).to_string();
    assert_eq!(
        shown,
        "eventFullRead: Graph answered 403 ErrorAccessDenied, request-id 0b3a1c6e-0000-4000-8000-000000000001"
    );
    let text =
        body("ExtensionError", "Operation: Create; Exception: [Status Code: Forbidden; Reason: canary]");
    let shown = refusal(Purpose::CreateSubscription, &answer(403, None, &text)).to_string();
    assert!(
        shown.starts_with("createSubscription: Graph answered 403 ExtensionError (Forbidden), request-id"),
        "{shown}"
    );
    let text = body("canary user@contoso.example", "[Status Code: canary user@contoso.example]");
    let shown = refusal(Purpose::UserLookup, &answer(400, None, &text)).to_string();
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn inner_errors_are_read_in_both_spellings() {
    for spelling in ["innerError", "innererror"] {
        let text = format!(
            r#"{{"error":{{"code":"X","message":"","{spelling}":{{"request-id":"0b3a1c6e-0000-4000-8000-000000000001"}}}}}}"#
        );
        let id = refusal(Purpose::GetSubscription, &answer(400, None, &text)).request_id;
        assert_eq!(id, Uuid::try_parse("0b3a1c6e-0000-4000-8000-000000000001").ok());
    }
}

#[test]
fn members_of_the_wrong_type_do_not_hide_the_code() {
    let text = r#"{"error":{"code":"ErrorItemNotFound","message":null,"innerError":"x","details":[1]}}"#;
    assert_eq!(decision(Purpose::EventFullRead, 404, text), Gone(GoneReason::EventNotFound));
}

#[test]
fn token_answers() {
    let failed = UserMustAct(Reason::AuthFailed);
    let tenant = UserMustAct(Reason::TenantUnknown);
    for (status, error, description, codes, number, expected) in [
        (
            401,
            "invalid_client",
            "AADSTS7000215: Invalid client secret provided. canary",
            vec![7_000_215],
            Some(7_000_215),
            failed,
        ),
        (
            401,
            "invalid_client",
            "AADSTS7000215: Invalid client secret provided. canary",
            vec![],
            Some(7_000_215),
            failed,
        ),
        (
            401,
            "invalid_client",
            "AADSTS7000222: The provided client secret keys are expired.",
            vec![7_000_222],
            Some(7_000_222),
            failed,
        ),
        (
            400,
            "invalid_request",
            "AADSTS70021: No matching federated identity record found ...",
            vec![70_021],
            Some(70_021),
            failed,
        ),
        (
            400,
            "unauthorized_client",
            "AADSTS700016: Application not found",
            vec![700_016],
            Some(700_016),
            tenant,
        ),
        (400, "invalid_request", "AADSTS90002: Tenant not found.", vec![90_002], Some(90_002), tenant),
        (
            400,
            "invalid_grant",
            "AADSTS53003: Blocked by Conditional Access",
            vec![53_003],
            Some(53_003),
            UserMustAct(Reason::PolicyDenied),
        ),
        (
            401,
            "invalid_client",
            "AADSTS7000229: no service principal",
            vec![7_000_229],
            Some(7_000_229),
            UserMustAct(Reason::PermissionMissing),
        ),
        (
            400,
            "invalid_scope",
            "AADSTS70011: scope",
            vec![70_011],
            Some(70_011),
            UserMustAct(Reason::BadRequest),
        ),
        (400, "invalid_request", "AADSTS1: unknown number", vec![1], Some(1), failed),
        (401, "invalid_client", "", vec![], None, failed),
        (404, "", "", vec![], None, tenant),
        (400, "temporarily_unavailable", "", vec![], None, Retry),
        (
            400,
            "invalid_request",
            "AADSTS90033: A transient error has occurred.",
            vec![90_033],
            Some(90_033),
            Retry,
        ),
        (500, "server_error", "AADSTS90033", vec![90_033], Some(90_033), Retry),
        (429, "", "", vec![], None, Retry),
    ] {
        let text = serde_json::json!({
            "error": error, "error_description": description, "error_codes": codes,
            "timestamp": "x", "trace_id": "x", "correlation_id": "x"})
        .to_string();
        let read = token_refusal(&answer(status, None, &text));
        assert_eq!((read.decision, read.aadsts), (expected, number), "{status} {error} {description}");
        assert!(!read.to_string().contains("canary"));
        if let Some(number) = number {
            assert!(read.to_string().starts_with(&format!("no token: AADSTS{number}: ")), "{read}");
        }
    }
    let read = token_refusal(&answer(429, Some(Duration::from_secs(9)), ""));
    assert_eq!(read.decision, Wait(Duration::from_secs(9)));
}

#[test]
fn a_wrong_secret_says_what_to_do() {
    let text = r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.","error_codes":[7000215]}"#;
    assert_eq!(
        token_refusal(&answer(401, None, text)).to_string(),
        "no token: AADSTS7000215: the client secret is wrong: store the secret's value, not its id \
         (client-request-id 00000000-0000-0000-0000-000000000000)"
    );
}

proptest::proptest! {
    /// Outside data never panics, and nothing of it but short words is shown.
    #[test]
    fn any_body_gives_a_decision_and_a_bounded_text(
        status in 300_u16..600,
        code in ".{0,80}",
        message in "(Subscription Id |Operation: \\[Status Code:|expiration can only be |AADSTS)?.{0,80}",
        raw in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64),
    ) {
        for text in [body(&code, &message).into_bytes(), raw] {
            let text = ErrorAnswer { status, retry_after: None, request_id: None, client_request_id: Uuid::nil(), body: &text };
            for purpose in Purpose::ALL {
                let shown = refusal(purpose, &text).to_string();
                proptest::prop_assert!(shown.is_ascii() && shown.len() < 300, "{}", shown);
            }
            proptest::prop_assert!(token_refusal(&text).to_string().is_ascii());
        }
    }
}
