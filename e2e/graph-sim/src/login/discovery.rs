//! Documents that every token client reads first.

use serde_json::{Value, json};

use super::{LoginError, LoginResult, tenant};
use crate::{app::App, request::Request};

/// `openid-configuration`, with the members of Microsoft's.
pub(super) fn configuration(app: &App, request: &Request) -> LoginResult {
    let origin = &request.origin;
    let name = request.segments.first().map(String::as_str).unwrap_or_default();
    let (name, issuer) = if is_shared(name) {
        (name.to_ascii_lowercase(), "{tenantid}".to_owned())
    } else {
        let id = tenant(app, request, "invalid_tenant")?.to_string();
        (id.clone(), id)
    };
    let base = format!("{origin}/{name}");
    Ok(json!({
        "token_endpoint": format!("{base}/oauth2/v2.0/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": format!("{base}/discovery/v2.0/keys"),
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "issuer": format!("{origin}/{issuer}/v2.0"),
        "request_uri_parameter_supported": false,
        "userinfo_endpoint": format!("{origin}/oidc/userinfo"),
        "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
        "device_authorization_endpoint": format!("{base}/oauth2/v2.0/devicecode"),
        "http_logout_supported": true,
        "frontchannel_logout_supported": true,
        "end_session_endpoint": format!("{base}/oauth2/v2.0/logout"),
        "claims_supported": ["sub", "iss", "cloud_instance_name", "cloud_instance_host_name", "cloud_graph_host_name",
            "msgraph_host", "aud", "exp", "iat", "auth_time", "acr", "nonce", "preferred_username", "name", "tid",
            "ver", "at_hash", "c_hash", "email"],
        "tenant_region_scope": Value::Null,
        "cloud_instance_name": host(origin),
        "cloud_graph_host_name": "graph.windows.net",
        "msgraph_host": host(origin),
        "rbac_url": "https://pas.windows.net",
    }))
}

/// The signing keys.
pub(super) fn keys(app: &App, request: &Request) -> LoginResult {
    let name = request.segments.first().map(String::as_str).unwrap_or_default();
    let issuer = if is_shared(name) {
        "{tenantid}".to_owned()
    } else {
        tenant(app, request, "invalid_tenant")?.to_string()
    };
    Ok(json!({"keys": [app.key.jwk(&format!("{}/{issuer}/v2.0", request.origin))]}))
}

/// Which hosts are the same cloud: this one is alone.
pub(super) fn instance(request: &Request) -> LoginResult {
    let query = request.query().map_err(|_| LoginError::malformed())?;
    let endpoint =
        query.get("authorization_endpoint").ok_or_else(|| LoginError::missing("authorization_endpoint"))?;
    let invalid = || LoginError::new("invalid_instance", 50_049, "Unknown or invalid instance.");
    let url = url::Url::parse(endpoint).map_err(|_| invalid())?;
    let origin = url.origin().ascii_serialization();
    if origin != request.origin {
        return Err(invalid());
    }
    let tenant = url.path_segments().and_then(|mut all| all.next()).unwrap_or("common").to_owned();
    let host = host(&origin);
    Ok(json!({
        "tenant_discovery_endpoint": format!("{origin}/{tenant}/v2.0/.well-known/openid-configuration"),
        "api-version": query.get("api-version").unwrap_or("1.1"),
        "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
    }))
}

fn is_shared(name: &str) -> bool {
    ["common", "organizations"].iter().any(|shared| name.eq_ignore_ascii_case(shared))
}

fn host(origin: &str) -> &str {
    origin.strip_prefix("https://").unwrap_or(origin)
}
