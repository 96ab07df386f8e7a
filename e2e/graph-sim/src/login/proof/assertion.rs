//! `client_assertion`: a JWT signed by a registered certificate, or by an issuer that the app trusts.

use data_encoding::{BASE64URL, BASE64URL_NOPAD};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::{
    Credentials,
    certificate::{Algorithm, Thumbprints, thumbprint},
    refusal, text,
};
use crate::login::LoginError;

/// The one kind of assertion.
const KIND: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Seconds that the beginning may lie ahead: some clients send `nbf` slightly in the future (graph-facts §12.10).
const LEEWAY: i64 = 300;
/// Seconds that an assertion is good for after its end; unconfirmed, but clocks do differ.
const EXPIRY_LEEWAY: i64 = 30;
/// Longest assertion, in characters.
const LONGEST: usize = 16 * 1024;

/// Which token endpoint is asked, and when.
pub(in crate::login) struct Endpoint<'a> {
    /// Names of the token endpoint that an assertion may be for.
    pub(in crate::login) is_audience: &'a dyn Fn(&str) -> bool,
    /// Simulated time: that of certificates.
    pub(in crate::login) now: Timestamp,
    /// The machine's time. A client whose clock is not moved along with the simulator's signs by this one, so an
    /// assertion is in time when it is so at either of the two.
    pub(in crate::login) real_now: Timestamp,
}

/// A JWT, split and decoded, unproven.
struct Jwt<'a> {
    header: Value,
    claims: Value,
    message: &'a str,
    signature: Vec<u8>,
}

impl<'a> Jwt<'a> {
    fn parse(token: &'a str) -> Option<Self> {
        if token.len() > LONGEST {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let object = |part: &str| -> Option<Value> {
            let value: Value = serde_json::from_slice(&decode(part)?).ok()?;
            value.is_object().then_some(value)
        };
        Some(Self {
            header: object(header)?,
            claims: object(claims)?,
            message,
            signature: decode(signature)?,
        })
    }

    fn claim(&self, name: &str) -> Result<&str, LoginError> {
        let missing = || refusal::invalid_token(&format!("The claim '{name}' is missing or no text."));
        text(&self.claims, name).filter(|value| !value.is_empty()).ok_or_else(missing)
    }

    /// The only audience. Several are refused, as Entra refuses them.
    fn audience(&self) -> Result<&str, LoginError> {
        let audience = match self.claims.get("aud") {
            Some(Value::String(one)) => Some(one.as_str()),
            Some(Value::Array(all)) => match all.as_slice() {
                [Value::String(one)] => Some(one.as_str()),
                _ => None,
            },
            _ => None,
        };
        audience.ok_or_else(|| refusal::invalid_token("The claim 'aud' must be one audience."))
    }

    /// `exp` is needed; `nbf` and `iat` count where they are there. An assertion of the app itself needs one of the two:
    /// Entra's page lists both, yet msal for Python sends no `nbf`, azure-identity for Python no `iat`, and they are served
    /// (graph-facts §12.10).
    fn in_time(&self, endpoint: &Endpoint<'_>) -> Result<(), LoginError> {
        let time = |name: &str| match self.claims.get(name) {
            None => Ok(None),
            Some(value) => match seconds(value) {
                Some(seconds) => Ok(Some(seconds)),
                None => Err(refusal::invalid_token(&format!("The claim '{name}' is no time."))),
            },
        };
        let until = time("exp")?.ok_or_else(|| refusal::invalid_token("The claim 'exp' is missing."))?;
        let (begun, issued) = (time("nbf")?, time("iat")?);
        let from = begun.max(issued).unwrap_or(i64::MIN);
        let good = |now: Timestamp| {
            let now = now.as_second();
            now < until.saturating_add(EXPIRY_LEEWAY) && from <= now.saturating_add(LEEWAY)
        };
        if until > from && (good(endpoint.now) || good(endpoint.real_now)) {
            return Ok(());
        }
        Err(refusal::out_of_time(endpoint.now, begun.or(issued).unwrap_or(0), until))
    }
}

/// A part of a JWT. It has no padding, yet azure-identity for Python sends some, and is served (graph-facts §12.10).
fn decode(part: &str) -> Option<Vec<u8>> {
    let coding = if part.ends_with('=') { BASE64URL } else { BASE64URL_NOPAD };
    coding.decode(part.as_bytes()).ok()
}

/// Whole seconds of a `NumericDate`, which may have a fraction (RFC 7519 §2): msal for Python sends one.
fn seconds(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let whole = value.as_number()?.to_string();
        let (whole, fraction) = whole.split_once('.')?;
        if fraction.bytes().all(|digit| digit.is_ascii_digit()) { whole.parse().ok() } else { None }
    })
}

/// Checks an assertion of the app with that id.
pub(in crate::login) fn check(
    kind: &str,
    token: &str,
    app: Uuid,
    registered: &Credentials,
    endpoint: &Endpoint<'_>,
) -> Result<(), LoginError> {
    if kind != KIND {
        return Err(LoginError::malformed());
    }
    let jwt =
        Jwt::parse(token).ok_or_else(|| refusal::invalid_token("The token is not a JWT in compact form."))?;
    // Whoever issues the assertion in the app's own name signs it with a certificate; any other issuer is a federated one.
    let own = jwt.claim("iss")?.eq_ignore_ascii_case(&app.to_string());
    if own { by_certificate(&jwt, app, registered, endpoint) } else { by_issuer(&jwt, registered, endpoint) }
}

fn by_certificate(
    jwt: &Jwt<'_>,
    app: Uuid,
    registered: &Credentials,
    endpoint: &Endpoint<'_>,
) -> Result<(), LoginError> {
    // The type may be left out, but not be another one.
    if jwt
        .header
        .get("typ")
        .is_some_and(|typ| !typ.as_str().is_some_and(|typ| typ.eq_ignore_ascii_case("JWT")))
    {
        return Err(refusal::invalid_token("The header 'typ' must be JWT."));
    }
    let algorithm = match text(&jwt.header, "alg") {
        Some("PS256") => Algorithm::Ps256,
        Some("RS256") => Algorithm::Rs256,
        _ => return Err(refusal::invalid_token("The header 'alg' must be PS256 or RS256.")),
    };
    let read = |name: &str, bytes: usize| match jwt.header.get(name) {
        None => Ok(None),
        Some(value) => match value.as_str().and_then(|text| thumbprint(text, bytes)) {
            Some(thumbprint) => Ok(Some(thumbprint)),
            None => Err(refusal::invalid_token(&format!("The header '{name}' is no thumbprint."))),
        },
    };
    let thumbprints = Thumbprints { sha256: read("x5t#S256", 32)?, sha1: read("x5t", 20)? };
    // SHA-1 belongs to the older form, with RS256 (graph-facts §8).
    if thumbprints.sha256.is_none() && (thumbprints.sha1.is_none() || algorithm == Algorithm::Ps256) {
        return Err(refusal::invalid_token("No certificate thumbprint specified in token header."));
    }
    let shown = thumbprints.shown();
    let certificate = registered
        .certificates
        .iter()
        .find(|certificate| certificate.is_named_by(&thumbprints))
        .ok_or_else(|| refusal::key_not_found(&shown, app))?;
    let unusable = |reason: &str| refusal::key_unusable(reason, &shown, &certificate.period(), app);
    if !certificate.verifies(algorithm, jwt.message.as_bytes(), &jwt.signature) {
        return Err(unusable("The key was found, but use of the key to verify the signature failed."));
    }
    let now = endpoint.now.as_second();
    if now > certificate.not_after {
        return Err(unusable("The key used is expired."));
    }
    if now.saturating_add(LEEWAY) < certificate.not_before {
        return Err(unusable("The key used is not yet valid."));
    }
    if !jwt.claim("sub")?.eq_ignore_ascii_case(&app.to_string()) {
        return Err(refusal::wrong_client());
    }
    jwt.claim("jti")?;
    if jwt.claims.get("nbf").is_none() && jwt.claims.get("iat").is_none() {
        return Err(refusal::invalid_token("The claims 'nbf' and 'iat' are missing."));
    }
    if !(endpoint.is_audience)(jwt.audience()?) {
        return Err(refusal::wrong_audience());
    }
    jwt.in_time(endpoint)
}

fn by_issuer(jwt: &Jwt<'_>, registered: &Credentials, endpoint: &Endpoint<'_>) -> Result<(), LoginError> {
    let (issuer, subject, audience) = (jwt.claim("iss")?, jwt.claim("sub")?, jwt.audience()?);
    let credential = registered
        .federated
        .iter()
        .find(|one| one.is_for(issuer, subject, audience))
        .ok_or_else(|| refusal::no_federated_match(issuer, subject, audience))?;
    let alg = text(&jwt.header, "alg").unwrap_or_default();
    if !matches!(alg, "RS256" | "ES256") {
        return Err(refusal::invalid_token("The header 'alg' must be RS256 or ES256."));
    }
    let kid = text(&jwt.header, "kid")
        .ok_or_else(|| refusal::invalid_token("No key id specified in token header."))?;
    match credential.verifies(kid, alg, jwt.message.as_bytes(), &jwt.signature) {
        Some(true) => jwt.in_time(endpoint),
        Some(false) => Err(refusal::foreign_signature(
            kid,
            "The provided signature value did not match the expected signature value.",
        )),
        None => Err(refusal::foreign_signature(kid, "The key was not found.")),
    }
}
