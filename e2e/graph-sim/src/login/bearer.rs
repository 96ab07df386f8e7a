//! Checking the bearer token of a Graph request.

use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use uuid::Uuid;

use super::is_graph;
use crate::{
    app::{App, lock},
    errors::GraphError,
    request::Request,
};

/// Seconds that clocks may differ by.
const LEEWAY: i64 = 300;

/// The app that calls.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) tenant: Uuid,
    pub(crate) client_id: Uuid,
    /// Application permissions, as the token lists them.
    roles: Vec<String>,
}

impl Caller {
    pub(crate) fn has_any(&self, roles: &[&str]) -> bool {
        self.roles.iter().any(|role| roles.contains(&role.as_str()))
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    appid: Uuid,
    tid: Uuid,
    #[serde(default)]
    roles: Vec<String>,
    nbf: i64,
    exp: i64,
}

pub(crate) fn authenticate(app: &App, request: &Request) -> Result<Caller, GraphError> {
    let header = request.header("authorization").unwrap_or_default();
    let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(invalid("Access token is empty."));
    }
    let claims = app.key.verify(token.trim()).ok_or_else(|| {
        invalid("Access token validation failure. The token is malformed or its signature is invalid.")
    })?;
    let audience = claims.get("aud").and_then(|aud| aud.as_str()).unwrap_or_default();
    if !is_graph(app, audience) {
        return Err(invalid("Access token validation failure. Invalid audience."));
    }
    let claims: Claims = serde_json::from_value(claims)
        .map_err(|_| invalid("Access token validation failure. A claim is missing."))?;
    if claims.iss != format!("https://sts.windows.net/{}/", claims.tid) {
        return Err(invalid("Access token validation failure. Invalid issuer."));
    }
    let now = app.clock.now().as_second();
    if now >= claims.exp || now.saturating_add(LEEWAY) < claims.nbf {
        return Err(invalid("Access token has expired or is not yet valid."));
    }
    if lock(&app.directory).application(claims.tid, claims.appid).is_none() {
        return Err(invalid("Access token validation failure. The application does not exist."));
    }
    Ok(Caller { tenant: claims.tid, client_id: claims.appid, roles: claims.roles })
}

fn invalid(message: &str) -> GraphError {
    GraphError::new(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", message).with_header(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static("Bearer realm=\"\", client_id=\"00000003-0000-0000-c000-000000000000\""),
    )
}
