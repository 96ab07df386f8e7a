//! Graph's error answers: `{"error":{"code","message","innerError":{…}}}`.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

/// A refusal in Graph's words.
#[derive(Clone, Debug)]
pub(crate) struct GraphError {
    pub(crate) status: StatusCode,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl GraphError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code: Cow::Borrowed(code), message: message.into(), headers: Vec::new() }
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// 400 with the code that the gateway uses for whatever it cannot parse.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(crate) fn unknown_segment(segment: &str) -> Self {
        Self::bad_request(format!("Resource not found for the segment '{segment}'."))
    }

    /// What Graph has and this simulator does not: said openly.
    pub(crate) fn not_simulated(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            "NotImplemented",
            format!("graph-sim does not simulate {what}; see its README."),
        )
    }

    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "Request_BadRequest",
            "Specified HTTP method is not allowed for the request target.",
        )
        .with_header(header::ALLOW, HeaderValue::from_static(allow))
    }

    /// An option that this resource does not take.
    pub(crate) fn option_not_allowed(option: &str) -> Self {
        Self::bad_request(format!(
            "The query specified in the URI is not valid. Query option '{option}' is not allowed or not known for this resource."
        ))
    }

    /// A directory query that Graph's directory does not support.
    pub(crate) fn unsupported_query(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Request_UnsupportedQuery", message)
    }

    /// graph-facts §1.6: a missing role at the directory.
    pub(crate) fn directory_denied() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "Authorization_RequestDenied",
            "Insufficient privileges to complete the operation.",
        )
    }

    pub(crate) fn resource_not_found(id: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "Request_ResourceNotFound",
            format!(
                "Resource '{id}' does not exist or one of its queried reference-property objects are not present."
            ),
        )
    }

    /// The mailbox server's refusal of a subscription, wrapped by the gateway (graph-facts §1.6).
    pub(crate) fn extension(status: StatusCode, operation: &str, inner: &str, reason: &str) -> Self {
        Self::new(
            status,
            "ExtensionError",
            format!("Operation: {operation}; Exception: [Status Code: {inner}; Reason: {reason}]"),
        )
    }

    /// A member of a body that the type does not have.
    pub(crate) fn unknown_member(member: &str, type_name: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "RequestBodyRead",
            format!(
                "The property '{member}' does not exist on type 'microsoft.graph.{type_name}'. Make sure to only use property names that are defined by the type or mark the type as open type."
            ),
        )
    }

    /// A member of a body with a value of another type.
    pub(crate) fn wrong_type(member: &str, expected: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "RequestBodyRead",
            format!("Cannot convert the value of property '{member}' to the expected type '{expected}'."),
        )
    }

    /// graph-facts §11.
    pub(crate) fn body(&self, now: Timestamp, request_id: Uuid, client_request_id: &str) -> Value {
        let date = now.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        json!({"error": {
            "code": self.code,
            "message": self.message,
            "innerError": {"date": date, "request-id": request_id, "client-request-id": client_request_id},
        }})
    }
}
