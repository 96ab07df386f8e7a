//! The token endpoint of Entra: exchanges tokens of a service account for those of Azure's storage, as the client credentials flow with
//! a federated credential does.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::post,
};
use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use roomkeeper_e2e::{certificates::ServerIdentity, tls_listener::TlsListener};
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;
use url::{Url, form_urlencoded};
use uuid::Uuid;

use super::{
    account::Prover,
    exchanges::{Exchanges, Mood},
};

pub(crate) const TENANT: &str = "7f1d0cb7-93b9-405a-8dad-c21703b7af18";
pub(crate) const CLIENT: &str = "9b0fbe07-0f3e-4f0f-8d6c-1c9f6f6c0a11";
/// Whom tokens of a service account are for.
pub(crate) const AUDIENCE: &str = "api://AzureADTokenExchange";

struct Endpoint {
    prover: Prover,
    exchanges: Arc<Exchanges>,
}

/// The endpoint; it ends with this value.
pub(crate) struct Entra {
    pub(crate) url: Url,
    pub(crate) exchanges: Arc<Exchanges>,
    _serving: AbortOnDropHandle<std::io::Result<()>>,
}

impl Entra {
    pub(crate) async fn start(identity: &ServerIdentity, prover: Prover) -> anyhow::Result<Self> {
        let listener = TlsListener::on_loopback(&identity.certificate, &identity.key).await?;
        let address = axum::serve::Listener::local_addr(&listener)?;
        let exchanges = Arc::<Exchanges>::default();
        let endpoint = Arc::new(Endpoint { prover, exchanges: Arc::clone(&exchanges) });
        let router = Router::new().route("/{tenant}/oauth2/v2.0/token", post(token)).with_state(endpoint);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        let serving = AbortOnDropHandle::new(serving);
        Ok(Self { url: format!("https://{address}").parse()?, exchanges, _serving: serving })
    }
}

/// An error as Entra has it, which quotes what it refuses: a log that repeats it would be found out.
fn refused(code: u32, text: &str) -> Response {
    let said = json!({
        "error": "invalid_client", "error_codes": [code], "error_description": format!("AADSTS{code}: {text}"),
        "trace_id": Uuid::new_v4(), "correlation_id": Uuid::new_v4(), "timestamp": Timestamp::now().to_string(),
    });
    (StatusCode::UNAUTHORIZED, Json(said)).into_response()
}

async fn token(State(endpoint): State<Arc<Endpoint>>, Path(tenant): Path<String>, body: String) -> Response {
    let asked: BTreeMap<_, _> = form_urlencoded::parse(body.as_bytes()).collect();
    let is = |name: &str, expected: &str| asked.get(name).is_some_and(|value| value == expected);
    let assertion = asked.get("client_assertion").map(AsRef::as_ref).unwrap_or_default();
    endpoint.exchanges.keep(assertion);
    for (name, expected) in [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("scope", "https://storage.azure.com/.default"),
        ("client_id", CLIENT),
    ] {
        if !is(name, expected) {
            return refused(900_144, &format!("{name} is not {expected}"));
        }
    }
    let mood = endpoint.exchanges.mood();
    let is_taken = tenant == TENANT && mood != Mood::Refusing;
    if !(is_taken && matches!(endpoint.prover.takes(assertion).await, Ok(true))) {
        return refused(700_213, &format!("No matching federated identity record found for {assertion}"));
    }
    let audience = match mood {
        Mood::Worthless => "https://vault.azure.net",
        Mood::Honest | Mood::Refusing => "https://storage.azure.com",
    };
    let given = bearer(audience);
    endpoint.exchanges.keep(&given);
    endpoint.exchanges.made();
    Json(json!({"token_type": "Bearer", "expires_in": 3_600, "access_token": given})).into_response()
}

/// azurite proves times, issuer and audience, and no signature.
fn bearer(audience: &str) -> String {
    let now = Timestamp::now().as_second();
    let claims = json!({
        "aud": audience, "iss": format!("https://sts.windows.net/{TENANT}/"), "uti": Uuid::new_v4(),
        "iat": now - 60, "nbf": now - 60, "exp": now + 3_600, "appid": CLIENT, "tid": TENANT,
    });
    let parts =
        [json!({"alg": "RS256", "typ": "JWT"}).to_string(), claims.to_string(), "signature".to_owned()];
    parts.map(|part| BASE64URL_NOPAD.encode(part.as_bytes())).join(".")
}
