//! Exchanges one service account's token: for one of Azure's storage as Entra does, and for keys of a session as AWS's STS does.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::{Path, Query},
    http::StatusCode,
    routing::post,
};
use data_encoding::BASE64URL_NOPAD;
use jiff::{SignedDuration, Timestamp};
use roomkeeper_e2e::{certificates::ServerIdentity, tls_listener::TlsListener};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use url::{Url, form_urlencoded};

pub(crate) const TENANT: &str = "7f1d0cb7-93b9-405a-8dad-c21703b7af18";
pub(crate) const CLIENT: &str = "9b0fbe07-0f3e-4f0f-8d6c-1c9f6f6c0a11";
/// Role of AWS.
pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/contoso-audit";
/// Token of the service account.
pub(crate) const ASSERTION: &str = "a.service-account.token";

/// The endpoint; it ends with this value.
pub(crate) struct Authority {
    pub(crate) url: Url,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Authority {
    pub(crate) async fn start(identity: &ServerIdentity) -> anyhow::Result<Self> {
        let listener = TlsListener::on_loopback(&identity.certificate, &identity.key).await?;
        let address = axum::serve::Listener::local_addr(&listener)?;
        let router =
            Router::new().route("/{tenant}/oauth2/v2.0/token", post(token)).route("/", post(assume_role));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url: format!("https://{address}").parse()?, serving })
    }
}

async fn token(Path(tenant): Path<String>, body: String) -> Result<Json<Value>, StatusCode> {
    let asked: BTreeMap<_, _> = form_urlencoded::parse(body.as_bytes()).collect();
    let is = |name: &str, expected: &str| asked.get(name).is_some_and(|value| value == expected);
    let is_it = tenant == TENANT
        && is("client_id", CLIENT)
        && is("client_assertion", ASSERTION)
        && is("scope", "https://storage.azure.com/.default")
        && is("grant_type", "client_credentials");
    if !is_it {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let now = Timestamp::now().as_second();
    let claims = json!({
        "aud": "https://storage.azure.com", "iss": format!("https://sts.windows.net/{TENANT}/"),
        "iat": now - 60, "nbf": now - 60, "exp": now + 3_600, "appid": CLIENT, "tid": TENANT,
    });
    // azurite proves times, issuer and audience, and no signature.
    let parts =
        [json!({"alg": "RS256", "typ": "JWT"}).to_string(), claims.to_string(), "signature".to_owned()];
    let token = parts.map(|part| BASE64URL_NOPAD.encode(part.as_bytes())).join(".");
    Ok(Json(json!({"token_type": "Bearer", "expires_in": 3_600, "access_token": token})))
}

async fn assume_role(Query(asked): Query<BTreeMap<String, String>>) -> Result<String, StatusCode> {
    let is = |name: &str, expected: &str| asked.get(name).is_some_and(|value| value == expected);
    let is_it =
        is("Action", "AssumeRoleWithWebIdentity") && is("RoleArn", ROLE) && is("WebIdentityToken", ASSERTION);
    if !is_it {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let end = Timestamp::now() + SignedDuration::from_hours(1);
    Ok(format!(
        "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
         <AccessKeyId>ASIAEXAMPLE</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
         <SessionToken>session</SessionToken><Expiration>{end}</Expiration>\
         </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    ))
}
