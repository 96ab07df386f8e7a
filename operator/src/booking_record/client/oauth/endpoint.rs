//! One request to a token endpoint, and what its answer means.

use std::time::Duration;

use reqwest::header;
use roomkeeper_graph::http::SendGate;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::Login;
use crate::booking_record::client::{fault, read, retry_after};

/// Most bytes of an answer that are read.
const BODY_LIMIT: usize = 64 * 1024;
/// Life of a token whose endpoint does not tell.
const UNTOLD: Duration = Duration::from_mins(5);
/// Longest life that is believed.
const LONGEST: Duration = Duration::from_hours(24);

/// Why there is no token. Holds nothing that an endpoint wrote.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub(in crate::booking_record::client) enum TokenError {
    /// This replica may not send.
    #[error("{0}")]
    Gate(&'static str),
    /// No answer.
    #[error("the token endpoint that spec.booking.oauth.tokenUrl of the AccessScope names: {0}")]
    Transport(&'static str),
    /// The endpoint failed.
    #[error("the token endpoint that spec.booking.oauth.tokenUrl of the AccessScope names answered {0}")]
    Failed(u16),
    /// The endpoint asked to wait.
    #[error("the token endpoint asked to wait {} s", .0.as_secs())]
    Wait(Duration),
    /// Unknown client, or a wrong secret.
    #[error(
        "the token endpoint refuses the client ({code}): correct the keys clientId and clientSecret of Secret {secret}, which spec.booking.oauth.secretName of the AccessScope names"
    )]
    Client {
        /// Error of the endpoint.
        code: &'static str,
        /// Name of the Secret.
        secret: String,
    },
    /// The scope is missing or unknown.
    #[error(
        "the token endpoint refuses the scope (invalid_scope): correct spec.booking.oauth.scope of the AccessScope, or leave it out where the endpoint wants none"
    )]
    Scope,
    /// The client may not use this grant, or the endpoint does not know it.
    #[error(
        "the token endpoint refuses the request ({0}): allow the client credentials grant to the client of spec.booking.oauth.secretName, or correct spec.booking.oauth.tokenUrl of the AccessScope"
    )]
    Grant(&'static str),
    /// A redirect.
    #[error(
        "the token endpoint answered {0}, a redirect, which is refused: name the final URL in spec.booking.oauth.tokenUrl of the AccessScope"
    )]
    Redirect(u16),
    /// Not a token endpoint.
    #[error(
        "the answer {0} is not one of a token endpoint: correct spec.booking.oauth.tokenUrl of the AccessScope"
    )]
    NoEndpoint(u16),
}

impl TokenError {
    /// Whether a person must act.
    pub(in crate::booking_record::client) fn is_stalled(&self) -> bool {
        !matches!(self, Self::Gate(_) | Self::Transport(_) | Self::Failed(_) | Self::Wait(_))
    }

    /// The same, told again when only this much of the wait is left.
    pub(super) fn waiting(&self, left: Duration) -> Self {
        match self {
            Self::Wait(_) => Self::Wait(left),
            other => other.clone(),
        }
    }
}

/// A token as an endpoint gives it.
pub(super) struct Granted {
    pub(super) secret: SecretString,
    pub(super) life: Duration,
}

#[derive(Deserialize)]
struct Success {
    access_token: String,
    token_type: String,
    #[serde(default)]
    expires_in: Option<Seconds>,
}

/// A number; some endpoints write it as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

#[derive(Deserialize)]
struct Failure {
    error: String,
}

/// Asks with the secret in the form: every large provider takes it there, and not all undo the form encoding that `Authorization: Basic` needs.
#[expect(clippy::disallowed_types, reason = "the booking product is called here, and no host of Microsoft")]
pub(super) async fn ask(
    http: &reqwest::Client,
    gate: &dyn SendGate,
    login: &Login,
) -> Result<Granted, TokenError> {
    let request = http
        .post(login.url.clone())
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ACCEPT, "application/json")
        .body(form(login));
    gate.check().map_err(TokenError::Gate)?;
    let response = request.send().await.map_err(|error| TokenError::Transport(fault(&error)))?;
    let (status, wait) = (response.status().as_u16(), retry_after(&response));
    let body = read(response, BODY_LIMIT).await.map_err(TokenError::Transport)?;
    judge(status, wait, &body, &login.client.from)
}

fn form(login: &Login) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials")
        .append_pair("client_id", &login.client.id)
        .append_pair("client_secret", login.client.secret.expose_secret());
    if let Some(scope) = &login.scope {
        form.append_pair("scope", scope);
    }
    form.finish()
}

/// Reads an answer. Pure.
fn judge(status: u16, wait: Option<Duration>, body: &[u8], secret: &str) -> Result<Granted, TokenError> {
    let client = |code| TokenError::Client { code, secret: secret.to_owned() };
    match status {
        200..=299 => granted(body).ok_or(TokenError::NoEndpoint(status)),
        300..=399 => Err(TokenError::Redirect(status)),
        429 | 503 if wait.is_some() => Err(TokenError::Wait(wait.unwrap_or_default())),
        408 | 429 | 500.. => Err(TokenError::Failed(status)),
        _ => {
            let failure = serde_json::from_slice::<Failure>(body).ok().map(|failure| failure.error);
            Err(match failure.as_deref() {
                Some("invalid_client") => client("invalid_client"),
                Some("invalid_scope") => TokenError::Scope,
                Some("unauthorized_client") => TokenError::Grant("unauthorized_client"),
                Some("unsupported_grant_type") => TokenError::Grant("unsupported_grant_type"),
                Some("invalid_request") => TokenError::Grant("invalid_request"),
                // Not of the standard, and given where the endpoint is overloaded.
                Some("temporarily_unavailable" | "server_error") => TokenError::Failed(status),
                _ if status == 401 => client("401"),
                _ => TokenError::NoEndpoint(status),
            })
        }
    }
}

fn granted(body: &[u8]) -> Option<Granted> {
    let success: Success = serde_json::from_slice(body).ok()?;
    let token = success.access_token;
    let good = success.token_type.eq_ignore_ascii_case("Bearer")
        && !token.is_empty()
        && token.bytes().all(|byte| byte.is_ascii_graphic());
    let life = match success.expires_in {
        None => UNTOLD,
        Some(Seconds::Number(seconds)) => Duration::from_secs(seconds),
        Some(Seconds::Text(text)) => text.parse().map_or(UNTOLD, Duration::from_secs),
    };
    good.then(|| Granted { secret: token.into(), life: life.min(LONGEST) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: u16, body: &str) -> TokenError {
        judge(status, None, body.as_bytes(), "login").err().unwrap()
    }

    #[test]
    fn a_token_has_a_type_and_a_life() {
        let life = |body: &str| granted(body.as_bytes()).map(|granted| granted.life.as_secs());
        assert_eq!(life(r#"{"access_token":"a.b-c","token_type":"bearer","expires_in":60}"#), Some(60));
        assert_eq!(life(r#"{"access_token":"a","token_type":"Bearer","expires_in":"60"}"#), Some(60));
        assert_eq!(life(r#"{"access_token":"a","token_type":"Bearer"}"#), Some(300));
        assert_eq!(life(r#"{"access_token":"a","token_type":"Bearer","expires_in":9999999}"#), Some(86_400));
        for wrong in [
            r#"{"access_token":"a","token_type":"mac"}"#,
            r#"{"access_token":"","token_type":"Bearer"}"#,
            r#"{"access_token":"a\nb","token_type":"Bearer"}"#,
            r#"{"token_type":"Bearer"}"#,
            "<html>",
        ] {
            assert_eq!(life(wrong), None, "{wrong}");
            assert_eq!(error(200, wrong), TokenError::NoEndpoint(200));
        }
    }

    #[test]
    fn each_error_says_whether_a_person_must_act() {
        let client = |code| TokenError::Client { code, secret: "login".to_owned() };
        for (status, body, expected, stalled) in [
            (401, r#"{"error":"invalid_client"}"#, client("invalid_client"), true),
            (400, r#"{"error":"invalid_client","error_description":"x"}"#, client("invalid_client"), true),
            (401, "", client("401"), true),
            (400, r#"{"error":"invalid_scope"}"#, TokenError::Scope, true),
            (400, r#"{"error":"unauthorized_client"}"#, TokenError::Grant("unauthorized_client"), true),
            (400, r#"{"error":"temporarily_unavailable"}"#, TokenError::Failed(400), false),
            (400, r#"{"error":"of its own"}"#, TokenError::NoEndpoint(400), true),
            (404, "", TokenError::NoEndpoint(404), true),
            (302, "", TokenError::Redirect(302), true),
            (429, "", TokenError::Failed(429), false),
            (500, r#"{"error":"invalid_client"}"#, TokenError::Failed(500), false),
        ] {
            let error = error(status, body);
            assert_eq!((&error, error.is_stalled()), (&expected, stalled), "{status} {body}");
        }
        let wait = Some(Duration::from_secs(9));
        assert_eq!(judge(503, wait, b"", "login").err().unwrap(), TokenError::Wait(Duration::from_secs(9)));
        let said = client("invalid_client").to_string();
        assert!(said.contains("Secret login") && said.contains("clientSecret"), "{said}");
    }
}
