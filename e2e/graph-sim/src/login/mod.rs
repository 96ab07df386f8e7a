//! The login host: discovery, keys, tokens.

mod bearer;
mod discovery;
mod errors;
mod key;
mod proof;
mod token;
mod user_token;

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode, header};
use serde_json::Value;
use uuid::Uuid;

use self::errors::LoginError;
pub(crate) use self::{
    bearer::{Caller, authenticate},
    key::SigningKey,
    proof::{Certificate, Credentials, Federated, FederatedEntry},
    user_token::{UserTokenRequest, user_token},
};
use crate::{
    app::{App, lock},
    journal::Ticket,
    request::{Request, is_own_origin},
};

/// Names of Graph as a resource beside the simulator's own origin.
const GRAPH_RESOURCES: [&str; 2] = ["https://graph.microsoft.com", "00000003-0000-0000-c000-000000000000"];

/// Whether a resource (audience) is Graph.
pub(crate) fn is_graph(resource: &str) -> bool {
    let resource = resource.strip_suffix('/').unwrap_or(resource);
    GRAPH_RESOURCES.contains(&resource) || is_own_origin(resource)
}

/// Object id of the app's service principal in the tenant; stable over runs.
pub(crate) fn service_principal(tenant: Uuid, client_id: Uuid) -> Uuid {
    crate::directory::derived_id(&["service principal", &tenant.to_string(), &client_id.to_string()])
}

/// URL templates of the login host, as counted.
pub(crate) fn template(segments: &[String]) -> Option<&'static str> {
    let lower: Vec<String> = segments.iter().skip(1).map(|one| one.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    match lower.as_slice() {
        ["v2.0", ".well-known", "openid-configuration"] => {
            Some("/{tenant}/v2.0/.well-known/openid-configuration")
        }
        ["discovery", "v2.0", "keys"] => Some("/{tenant}/discovery/v2.0/keys"),
        ["discovery", "instance"] => Some("/common/discovery/instance"),
        ["oauth2", "v2.0", "token"] => Some("/{tenant}/oauth2/v2.0/token"),
        _ => None,
    }
}

pub(crate) fn answer(app: &Arc<App>, request: &Request, ticket: Ticket) -> Response {
    let template = template(&request.segments);
    app.journal.routed(ticket, &request.method, template.unwrap_or("(unknown)"));
    let correlation = request.header("client-request-id").and_then(|id| Uuid::try_parse(id).ok());
    let result = match template {
        Some("/{tenant}/oauth2/v2.0/token") => token::answer(app, request, ticket),
        Some(template) if request.method == Method::GET => match template {
            "/{tenant}/v2.0/.well-known/openid-configuration" => discovery::configuration(app, request),
            "/{tenant}/discovery/v2.0/keys" => discovery::keys(app, request),
            _ => discovery::instance(request),
        },
        Some(_) => return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")]).into_response(),
        None => return StatusCode::NOT_FOUND.into_response(),
    };
    let (status, body) = match result {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => (error.status, error.body(app.clock.now(), correlation)),
    };
    let headers = [
        (header::CONTENT_TYPE, "application/json; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store, no-cache"),
    ];
    (status, headers, body.to_string()).into_response()
}

/// The tenant that the path names, by id or domain.
fn tenant(app: &App, request: &Request, error: &'static str) -> Result<Uuid, LoginError> {
    let name = request.segments.first().map(String::as_str).unwrap_or_default();
    lock(&app.directory).tenant_named(name).ok_or_else(|| LoginError::unknown_tenant(error, name))
}

type LoginResult = Result<Value, LoginError>;
