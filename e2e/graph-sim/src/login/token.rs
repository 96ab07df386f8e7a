//! The token endpoint: client credentials.

use std::{collections::BTreeMap, sync::Arc};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use http::{Method, StatusCode};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    LoginError, LoginResult, is_graph,
    proof::{Endpoint, check},
    service_principal, tenant,
};
use crate::{
    app::{App, lock},
    directory::Application,
    journal::Ticket,
    request::Request,
};

/// Parameters that clients send beside the grant and that change nothing in its answer.
const TELEMETRY: &[&str] =
    &["client_info", "client-request-id", "x-anchormailbox", "x-app-name", "x-app-ver"];
const TELEMETRY_PREFIXES: &[&str] = &["x-client-", "x-ms-lib-"];

type Form = BTreeMap<String, String>;

pub(super) fn answer(app: &Arc<App>, request: &Request, ticket: Ticket) -> LoginResult {
    if request.method != Method::POST {
        let mut error = LoginError::new(
            "invalid_request",
            900_561,
            "The endpoint only accepts POST requests. Received a GET request.",
        );
        error.status = StatusCode::METHOD_NOT_ALLOWED;
        return Err(error);
    }
    let tenant = tenant(app, request, "invalid_request")?;
    let form = form(request)?;
    let grant = required(&form, "grant_type")?;
    if grant != "client_credentials" {
        return Err(LoginError::new(
            "unsupported_grant_type",
            70_003,
            format!("The app requested an unsupported grant type '{grant}'."),
        ));
    }
    let (client_id, secret) = client(request, &form)?;
    let application =
        crate::odata::guid(&client_id).and_then(|id| lock(&app.directory).application(tenant, id));
    let Some(application) = application else {
        return Err(LoginError::unknown_app(&client_id, tenant));
    };
    app.journal.by(ticket, tenant, application.client_id);
    if !application.enabled {
        return Err(LoginError::new(
            "unauthorized_client",
            7_000_112,
            format!("Application '{client_id}'({client_id}) is disabled."),
        ));
    }
    let proof = prove(app, request, tenant, &application, secret.as_deref(), &form)?;
    let resource = resource(app, required(&form, "scope")?, tenant)?;
    issue(app, tenant, &application, &resource, proof)
}

fn form(request: &Request) -> Result<Form, LoginError> {
    let content_type = request.header("content-type").unwrap_or_default();
    let media = content_type.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(LoginError::missing("grant_type"));
    }
    let mut form = Form::new();
    for (name, value) in url::form_urlencoded::parse(&request.body) {
        let lower = name.to_ascii_lowercase();
        let known = [
            "grant_type",
            "client_id",
            "client_secret",
            "scope",
            "client_assertion",
            "client_assertion_type",
            "claims",
        ]
        .contains(&lower.as_str());
        let telemetry = TELEMETRY.contains(&lower.as_str())
            || TELEMETRY_PREFIXES.iter().any(|prefix| lower.starts_with(prefix));
        if (!known && !telemetry) || form.insert(lower, value.into_owned()).is_some() {
            return Err(LoginError::malformed());
        }
    }
    Ok(form)
}

fn required<'a>(form: &'a Form, name: &str) -> Result<&'a str, LoginError> {
    form.get(name)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
        .ok_or_else(|| LoginError::missing(name))
}

/// Client id and secret, from the form or from basic authentication.
fn client(request: &Request, form: &Form) -> Result<(String, Option<String>), LoginError> {
    let secret = form.get("client_secret").cloned();
    let Some(header) = request.header("authorization") else {
        return Ok((required(form, "client_id")?.to_owned(), secret));
    };
    let encoded = header.strip_prefix("Basic ").ok_or_else(LoginError::malformed)?;
    let text = BASE64.decode(encoded.trim().as_bytes()).map_err(|_| LoginError::malformed())?;
    let text = String::from_utf8(text).map_err(|_| LoginError::malformed())?;
    let (id, password) = text.split_once(':').ok_or_else(LoginError::malformed)?;
    let decode = |part: &str| {
        percent_decode_str(&part.replace('+', " "))
            .decode_utf8()
            .map(String::from)
            .map_err(|_| LoginError::malformed())
    };
    let id = decode(id)?;
    if secret.is_some() || form.get("client_id").is_some_and(|other| *other != id) {
        return Err(LoginError::malformed());
    }
    Ok((id, Some(decode(password)?)))
}

/// How an app proved itself, as `appidacr` of its token says it.
#[derive(Clone, Copy, Debug)]
enum Proof {
    Secret,
    Assertion,
}

impl Proof {
    fn claim(self) -> &'static str {
        match self {
            Self::Secret => "1",
            Self::Assertion => "2",
        }
    }
}

fn prove(
    app: &App,
    request: &Request,
    tenant: Uuid,
    application: &Application,
    secret: Option<&str>,
    form: &Form,
) -> Result<Proof, LoginError> {
    let id = application.client_id;
    let secret = secret.filter(|secret| !secret.is_empty());
    if form.contains_key("client_assertion") || form.contains_key("client_assertion_type") {
        let assertion = required(form, "client_assertion")?;
        let kind = required(form, "client_assertion_type")?;
        // One credential (graph-facts §8).
        if secret.is_some() {
            return Err(LoginError::malformed());
        }
        let endpoint = Endpoint {
            is_audience: &|audience| is_token_endpoint(app, request, tenant, audience),
            now: app.clock.now(),
            real_now: Timestamp::now(),
        };
        check(kind, assertion, id, &application.credentials, &endpoint)?;
        return Ok(Proof::Assertion);
    }
    let registered =
        secret.map(|given| application.credentials.secrets.iter().filter(move |one| one.value == given));
    let now = app.clock.now();
    let state = registered.map(|mut all| {
        let known = all.clone().next().is_some();
        (known, all.any(|one| one.expires.is_none_or(|end| now < end)))
    });
    match state {
        Some((_, true)) => Ok(Proof::Secret),
        Some((true, false)) => Err(LoginError::new(
            "invalid_client",
            7_000_222,
            format!(
                "The provided client secret keys for app '{id}' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds."
            ),
        )),
        Some((false, false)) => Err(LoginError::new(
            "invalid_client",
            7_000_215,
            format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{id}'."
            ),
        )),
        None => Err(LoginError::new(
            "invalid_client",
            7_000_216,
            "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.",
        )),
    }
}

/// Whether a URL is the endpoint that is being asked, under the tenant's id or domain.
fn is_token_endpoint(app: &App, request: &Request, tenant: Uuid, audience: &str) -> bool {
    let named = audience
        .strip_prefix(request.origin.as_str())
        .and_then(|path| path.strip_prefix('/'))
        .and_then(|path| path.strip_suffix("/oauth2/v2.0/token"));
    named.is_some_and(|name| lock(&app.directory).tenant_named(name) == Some(tenant))
}

/// The one resource that a scope asks for.
fn resource(app: &App, scope: &str, tenant: Uuid) -> Result<String, LoginError> {
    let mut scopes = scope.split_ascii_whitespace();
    let (Some(one), None) = (scopes.next(), scopes.next()) else {
        return Err(LoginError::new(
            "invalid_scope",
            70_011,
            format!(
                "The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. The scope {scope} is not valid."
            ),
        ));
    };
    let Some(resource) = one.strip_suffix("/.default") else {
        return Err(LoginError::new(
            "invalid_scope",
            1_002_012,
            format!(
                "The provided value for scope {one} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."
            ),
        ));
    };
    if !is_graph(app, resource) {
        return Err(LoginError::new(
            "invalid_resource",
            500_011,
            format!(
                "The resource principal named {resource} was not found in the tenant named {tenant}. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant."
            ),
        ));
    }
    // A resource that ends with a slash gives an audience that does (`https://graph.microsoft.com//.default`).
    Ok(resource.to_owned())
}

/// A token of Graph's own form, version 1.0.
fn issue(app: &App, tenant: Uuid, application: &Application, resource: &str, proof: Proof) -> LoginResult {
    let now = app.clock.now().as_second();
    let lifetime = app.settings.token_lifetime_seconds;
    let principal = service_principal(tenant, application.client_id);
    let mut claims = json!({
        "aud": resource,
        "iss": format!("https://sts.windows.net/{tenant}/"),
        "iat": now,
        "nbf": now,
        "exp": now.saturating_add(i64::from(lifetime)),
        "app_displayname": "graph-sim",
        "appid": application.client_id,
        "appidacr": proof.claim(),
        "idp": format!("https://sts.windows.net/{tenant}/"),
        "idtyp": "app",
        "oid": principal,
        "sub": principal,
        "tid": tenant,
        "uti": BASE64URL_NOPAD.encode(Uuid::new_v4().as_bytes()),
        "ver": "1.0",
    });
    // A token without roles has no such claim (graph-facts §8).
    if !application.roles.is_empty()
        && let Some(claims) = claims.as_object_mut()
    {
        claims.insert("roles".to_owned(), Value::from(application.roles.clone()));
    }
    let token = app.key.sign(&claims).ok_or_else(LoginError::malformed)?;
    Ok(json!({
        "token_type": "Bearer",
        "expires_in": lifetime,
        "ext_expires_in": lifetime,
        "access_token": token,
    }))
}
