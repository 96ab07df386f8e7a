//! The login host: discovery, keys, tokens.

mod admin_consent;
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
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) use self::errors::LoginError;
pub(crate) use self::{
    bearer::{Caller, authenticate},
    key::SigningKey,
    proof::{CredentialChange, Credentials, FederatedEntry, Secret},
    user_token::{UserTokenRequest, user_token},
};
use crate::{
    app::{App, lock},
    journal::Ticket,
    request::Request,
};

/// Names of Graph as a resource beside the simulator's own origin.
const GRAPH_RESOURCES: [&str; 2] = ["https://graph.microsoft.com", "00000003-0000-0000-c000-000000000000"];

/// Whether a resource (audience) is Graph: by its public names, or by an origin under which this simulator is Graph.
pub(crate) fn is_graph(app: &App, resource: &str) -> bool {
    let resource = resource.strip_suffix('/').unwrap_or(resource);
    GRAPH_RESOURCES.contains(&resource) || app.own_origins.iter().any(|origin| origin == resource)
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
        ["adminconsent"] => Some("/{tenant}/adminconsent"),
        _ => None,
    }
}

pub(crate) fn answer(app: &Arc<App>, request: &Request, ticket: Ticket) -> Response {
    let template = template(&request.segments);
    app.journal.routed(ticket, &request.method, template.unwrap_or("(unknown)"));
    if let Some(known) = not_simulated(&request.segments) {
        return not_implemented(known);
    }
    let correlation = request.header("client-request-id").and_then(crate::odata::guid);
    let result = match template {
        Some("/{tenant}/oauth2/v2.0/token") => token::answer(app, request, ticket),
        Some(template) if request.method == Method::GET => match template {
            "/{tenant}/v2.0/.well-known/openid-configuration" => discovery::configuration(app, request),
            "/{tenant}/discovery/v2.0/keys" => discovery::keys(app, request),
            "/{tenant}/adminconsent" => return admin_consent::answer(app, request, ticket),
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

/// Endpoints that Entra has (and discovery names) and that are not simulated: people sign in there.
fn not_simulated(segments: &[String]) -> Option<&'static str> {
    let lower: Vec<String> = segments.iter().map(|one| one.to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    match lower.as_slice() {
        ["oidc", "userinfo"] => Some("userinfo"),
        [_, "oauth2", "v2.0", "authorize"] => Some("authorize"),
        [_, "oauth2", "v2.0", "devicecode"] => Some("devicecode"),
        [_, "oauth2", "v2.0", "logout"] => Some("logout"),
        [_, "v2.0", "adminconsent"] => Some("v2.0/adminconsent"),
        [_, "oauth2", "token" | "authorize" | "devicecode" | "logout"] => Some("the v1.0 endpoints"),
        _ => None,
    }
}

/// Said openly, so that nobody takes a gap for Entra's behaviour.
fn not_implemented(what: &str) -> Response {
    let body = json!({
        "error": "not_implemented",
        "error_description": format!("graph-sim does not simulate {what} of the login host; see its README."),
    });
    let headers = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
    (StatusCode::NOT_IMPLEMENTED, headers, body.to_string()).into_response()
}

/// The tenant that the path names, by id or domain.
fn tenant(app: &App, request: &Request, error: &'static str) -> Result<Uuid, LoginError> {
    let name = request.segments.first().map(String::as_str).unwrap_or_default();
    lock(&app.directory).tenant_named(name).ok_or_else(|| LoginError::unknown_tenant(error, name))
}

type LoginResult = Result<Value, LoginError>;
