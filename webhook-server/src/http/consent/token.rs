//! The user's access token: what is accepted of it, and why another one is not.
//!
//! Claims as listed under "Access token claims reference" of the Microsoft identity platform. A token is looked at twice:
//! without its signature, so that obvious nonsense costs no request to the authority, then with it.

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use roomkeeper_graph::UserId;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// Longest token, in bytes.
pub(super) const MAX_BYTES: usize = 8 * 1024;

/// How far clocks may differ, in seconds.
const LEEWAY: i64 = 60;

/// Longest key id.
const MAX_KID: usize = 256;

/// Why a token is refused. Holds nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Refused {
    /// No `Authorization: Bearer` header, or several.
    Missing,
    /// Longer than any token.
    TooLong,
    /// Not three base64url parts of which two are JSON objects.
    Malformed,
    /// Not RS256 or PS256.
    Algorithm,
    /// The header asks for an extension.
    Critical,
    /// No key id.
    NoKeyId,
    /// The tenant publishes no key of that id.
    UnknownKey,
    /// The signature does not fit.
    Signature,
    /// Another issuer.
    Issuer,
    /// Another audience.
    Audience,
    /// Another tenant.
    Tenant,
    /// Expired, or without expiry.
    Expired,
    /// Not valid yet.
    NotYet,
    /// Without the user's object id.
    NoUser,
    /// Of an app, not of a user: 403.
    AppOnly,
    /// The scope does not exist: told no differently.
    UnknownScope,
}

impl Refused {
    /// For the log.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "no bearer token",
            Self::TooLong => "too long",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Critical => "critical extension",
            Self::NoKeyId => "no key id",
            Self::UnknownKey => "unknown key",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Tenant => "tenant",
            Self::Expired => "expired",
            Self::NotYet => "not valid yet",
            Self::NoUser => "no object id",
            Self::AppOnly => "app-only",
            Self::UnknownScope => "unknown scope",
        }
    }
}

/// What a token must say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    pub(super) tenant_id: &'a str,
    pub(super) audience: &'a str,
}

/// The user whom a good token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) id: UserId,
    /// In lower case; absent where the token names none that can be one.
    pub(super) principal_name: Option<String>,
}

/// A token that can be read. Nothing in it is proven yet.
pub(super) struct Presented<'a> {
    token: &'a str,
    pub(super) kid: String,
    algorithm: Algorithm,
    claims: Map<String, Value>,
}

impl<'a> Presented<'a> {
    /// Reads header and claims.
    pub(super) fn read(token: &'a str) -> Result<Self, Refused> {
        if token.len() > MAX_BYTES {
            return Err(Refused::TooLong);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refused::Malformed);
        };
        let (header, claims) = (object(header)?, object(claims)?);
        let algorithm = match header.get("alg").and_then(Value::as_str) {
            Some("RS256") => Algorithm::RS256,
            Some("PS256") => Algorithm::PS256,
            _ => return Err(Refused::Algorithm),
        };
        if signature.is_empty() {
            return Err(Refused::Malformed);
        }
        if header.contains_key("crit") {
            return Err(Refused::Critical);
        }
        let kid = header.get("kid").and_then(Value::as_str).unwrap_or_default();
        if kid.is_empty() || kid.len() > MAX_KID {
            return Err(Refused::NoKeyId);
        }
        Ok(Self { token, kid: kid.to_owned(), algorithm, claims })
    }

    /// Refuses what no signature could make good.
    pub(super) fn plausible(&self, expected: Expected<'_>, now: Timestamp) -> Result<(), Refused> {
        let text = |name: &str| self.claims.get(name).and_then(Value::as_str);
        if text("aud") != Some(expected.audience) {
            return Err(Refused::Audience);
        }
        if !text("tid").is_some_and(|tid| tid.eq_ignore_ascii_case(expected.tenant_id)) {
            return Err(Refused::Tenant);
        }
        let now = now.as_second();
        let seconds = |name: &str| self.claims.get(name).map(Value::as_i64);
        match seconds("exp") {
            Some(Some(exp)) if now < exp.saturating_add(LEEWAY) => {}
            _ => return Err(Refused::Expired),
        }
        for claim in ["nbf", "iat"] {
            match seconds(claim) {
                None => {}
                Some(Some(from)) if from.saturating_sub(LEEWAY) <= now => {}
                Some(_) => return Err(Refused::NotYet),
            }
        }
        if text("oid").and_then(|oid| UserId::parse(oid).ok()).is_none() {
            return Err(Refused::NoUser);
        }
        Ok(())
    }

    /// Checks everything.
    pub(super) fn verify(
        &self,
        expected: Expected<'_>,
        issuer: &str,
        key: &DecodingKey,
        now: Timestamp,
    ) -> Result<User, Refused> {
        let mut signature_only = Validation::new(self.algorithm);
        signature_only.validate_exp = false;
        signature_only.validate_aud = false;
        signature_only.required_spec_claims.clear();
        jsonwebtoken::decode::<IgnoredAny>(self.token, key, &signature_only)
            .map_err(|_| Refused::Signature)?;
        self.plausible(expected, now)?;
        let text = |name: &str| self.claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(issuer) {
            return Err(Refused::Issuer);
        }
        // Only a token of a user carries delegated permissions.
        let delegated = text("scp").is_some_and(|scopes| !scopes.trim().is_empty());
        if !delegated || text("idtyp").is_some_and(|kind| kind.eq_ignore_ascii_case("app")) {
            return Err(Refused::AppOnly);
        }
        let id = text("oid").and_then(|oid| UserId::parse(oid).ok()).ok_or(Refused::NoUser)?;
        let principal_name =
            ["preferred_username", "upn"].iter().find_map(|name| text(name)).and_then(principal_name);
        Ok(User { id, principal_name })
    }
}

fn object(part: &str) -> Result<Map<String, Value>, Refused> {
    let bytes = BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| Refused::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Refused::Malformed)
}

/// Only what can be a user principal name: the claim is for people to read, the object id identifies.
fn principal_name(text: &str) -> Option<String> {
    let name = text.trim().to_lowercase();
    let parts = name.split('@').filter(|part| !part.is_empty()).count();
    let plain = !name.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '/' | '?' | '#'));
    (parts == 2 && name.matches('@').count() == 1 && plain && name.chars().count() <= 320).then_some(name)
}

#[cfg(test)]
mod tests;
