//! Tokens of users of an add-in, which Entra gives only to somebody at a browser.

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::is_graph;
use crate::{
    app::{App, lock},
    directory::derived_id,
};

/// What the control API is asked for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct UserTokenRequest {
    tenant_id: Uuid,
    user_id: Uuid,
    audience: String,
    scope: Option<String>,
    /// Life of the token; negative for one that has expired.
    expires_in_seconds: Option<i64>,
}

/// A v2.0 token of that user for that audience; an error says what is wrong with the request.
pub(crate) fn user_token(app: &App, origin: &str, asked: &UserTokenRequest) -> Result<Value, String> {
    if is_graph(app, &asked.audience) {
        return Err("audience is Graph: a user's token for Graph is not simulated".to_owned());
    }
    if asked.audience.is_empty() {
        return Err("audience is empty: give the add-in's app id".to_owned());
    }
    let tenant = asked.tenant_id;
    let user = lock(&app.directory)
        .user(tenant, asked.user_id)
        .ok_or_else(|| format!("userId {} is no user of tenant {tenant}", asked.user_id))?;
    let now = app.clock.now().as_second();
    let lifetime = asked.expires_in_seconds.unwrap_or_else(|| app.settings.token_lifetime_seconds.into());
    // A token of the past was issued in the past.
    let issued = now.saturating_add(lifetime.min(0)).saturating_sub(if lifetime < 0 { 3_600 } else { 0 });
    let user_id = user.id.to_string();
    let claims = json!({
        "aud": asked.audience,
        "iss": format!("{origin}/{tenant}/v2.0"),
        "iat": issued,
        "nbf": issued,
        "exp": now.saturating_add(lifetime),
        "azp": asked.audience,
        "azpacr": "0",
        "name": user.display_name,
        "oid": user_id,
        "preferred_username": user.user_principal_name,
        "scp": asked.scope.as_deref().unwrap_or("access_as_user"),
        // Pairwise: another audience sees another subject.
        "sub": derived_id(&["subject", &user_id, &asked.audience]),
        "tid": tenant,
        "uti": BASE64URL_NOPAD.encode(Uuid::new_v4().as_bytes()),
        "ver": "2.0",
    });
    let token = app.key.sign(&claims).ok_or("the token could not be signed")?;
    Ok(json!({"token_type": "Bearer", "expires_in": lifetime, "access_token": token}))
}
