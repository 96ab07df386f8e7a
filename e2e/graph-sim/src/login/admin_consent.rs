//! `GET /{tenant}/adminconsent`: an administrator is asked for an app's permissions, and sent back (graph-facts §8).
//! Entra asks for a password first; here the administrator has signed in already, and says what the world file says.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use url::Url;
use uuid::Uuid;

use super::{LoginError, not_implemented, tenant};
use crate::{
    app::{App, lock},
    directory::Application,
    journal::Ticket,
    odata::Query,
    request::Request,
};

pub(super) fn answer(app: &Arc<App>, request: &Request, ticket: Ticket) -> Response {
    let name = request.segments.first().map(String::as_str).unwrap_or_default();
    if ["common", "organizations", "consumers"].iter().any(|shared| name.eq_ignore_ascii_case(shared)) {
        return not_implemented("adminconsent without a tenant");
    }
    match back(app, request, ticket) {
        Ok(location) => (StatusCode::FOUND, [(header::LOCATION, location)]).into_response(),
        Err(error) => {
            // Nobody is sent back to an address that is not known to be the app's: Entra shows a page.
            let body = error.body(app.clock.now(), None);
            let text = body.get("error_description").and_then(|text| text.as_str()).unwrap_or_default();
            let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let page = format!("<!DOCTYPE html><title>Sign in to your account</title><p>{escaped}</p>");
            (error.status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
        }
    }
}

fn required<'a>(query: &'a Query, name: &str) -> Result<&'a str, LoginError> {
    query.get(name).filter(|value| !value.is_empty()).ok_or_else(|| LoginError::missing(name))
}

fn back(app: &App, request: &Request, ticket: Ticket) -> Result<String, LoginError> {
    let tenant = tenant(app, request, "invalid_request")?;
    let query = request.query().map_err(|_| LoginError::malformed())?;
    query.only(&["client_id", "redirect_uri", "state"]).map_err(|_| LoginError::malformed())?;
    let client_id = required(&query, "client_id")?;
    let application =
        Uuid::try_parse(client_id).ok().and_then(|id| lock(&app.directory).application(tenant, id));
    let application = application.ok_or_else(|| LoginError::unknown_app(client_id, tenant))?;
    app.journal.by(ticket, tenant, application.client_id);
    let mut location = redirect(&application, required(&query, "redirect_uri")?)?;
    {
        let mut pairs = location.query_pairs_mut();
        if application.refuses_consent {
            pairs.append_pair("error", "permission_denied");
            pairs.append_pair("error_description", "The admin canceled the request");
        } else {
            pairs.append_pair("admin_consent", "True");
            pairs.append_pair("tenant", &tenant.to_string());
        }
        if let Some(state) = query.get("state") {
            pairs.append_pair("state", state);
        }
    }
    Ok(location.into())
}

/// An address that is registered, exactly.
fn redirect(application: &Application, asked: &str) -> Result<Url, LoginError> {
    if application.redirect_uris.is_empty() {
        let text = "No reply address is registered for the application.";
        return Err(LoginError::new("invalid_request", 500_113, text));
    }
    let registered = application.redirect_uris.iter().find(|registered| *registered == asked);
    registered.and_then(|uri| Url::parse(uri).ok()).ok_or_else(|| {
        LoginError::new(
            "invalid_request",
            50_011,
            format!(
                "The redirect URI '{asked}' specified in the request does not match the redirect URIs configured for the application '{}'.",
                application.client_id
            ),
        )
    })
}
