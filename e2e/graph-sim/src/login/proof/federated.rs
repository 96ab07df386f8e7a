//! Federated credentials: whose tokens an app may prove itself with, and the keys of that issuer.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde_json::Value;

use super::{Unusable, text};

/// Longest issuer, subject or audience.
const LONGEST: usize = 600;
/// Most keys of one issuer.
const MOST_KEYS: usize = 100;

/// An entry of `federated`, as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Entry {
    issuer: String,
    subject: String,
    audience: String,
    /// A JWK set, inline or as JSON text: Entra fetches it from the issuer, the simulator has it from its world file.
    jwks: Value,
}

/// A federated credential with the keys of its issuer.
#[derive(Clone, Debug)]
pub(crate) struct Federated {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) audience: String,
    keys: Vec<(String, Key)>,
}

#[derive(Clone, Debug)]
enum Key {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// A point of P-256, uncompressed.
    P256(Vec<u8>),
}

impl Federated {
    pub(crate) fn read(entry: Entry) -> Result<Self, Unusable> {
        let Entry { issuer, subject, audience, jwks } = entry;
        for (field, value) in [("issuer", &issuer), ("subject", &subject), ("audience", &audience)] {
            if value.is_empty() || value.len() > LONGEST {
                return Err(Unusable::new(field, value, format!("must have 1 to {LONGEST} characters")));
            }
        }
        if !url::Url::parse(&issuer).is_ok_and(|url| url.scheme() == "https") {
            return Err(Unusable::new("issuer", issuer, "must be an https URL"));
        }
        let keys = keys(jwks)?;
        Ok(Self { issuer, subject, audience, keys })
    }

    pub(super) fn is_for(&self, issuer: &str, subject: &str, audience: &str) -> bool {
        // Case counts (Entra compares them exactly).
        self.issuer == issuer && self.subject == subject && self.audience == audience
    }

    /// Whether a key of that id signed it; `None` when the issuer has no such key.
    pub(super) fn verifies(&self, kid: &str, alg: &str, message: &[u8], signature: &[u8]) -> Option<bool> {
        let (_, key) = self.keys.iter().find(|(id, _)| id == kid)?;
        Some(match (key, alg) {
            (Key::Rsa { modulus, exponent }, "RS256") => RsaPublicKeyComponents { n: modulus, e: exponent }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
            (Key::P256(point), "ES256") => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            _ => false,
        })
    }
}

fn keys(jwks: Value) -> Result<Vec<(String, Key)>, Unusable> {
    let wrong = |rule: String| Unusable::new("jwks", "(JWK set)", rule);
    let set = match jwks {
        Value::String(text) => {
            serde_json::from_str(&text).map_err(|error| wrong(format!("is no JSON: {error}")))?
        }
        other => other,
    };
    let list = set.get("keys").and_then(Value::as_array);
    let list = list.ok_or_else(|| wrong("must be a JWK set: an object with the member keys".to_owned()))?;
    if list.is_empty() || list.len() > MOST_KEYS {
        return Err(wrong(format!("must hold 1 to {MOST_KEYS} keys")));
    }
    let mut keys: Vec<(String, Key)> = Vec::new();
    for (number, jwk) in list.iter().enumerate() {
        let kid = text(jwk, "kid").filter(|kid| !kid.is_empty());
        let kid = kid.ok_or_else(|| wrong(format!("keys[{number}].kid is missing")))?;
        if keys.iter().any(|(other, _)| other == kid) {
            return Err(wrong(format!("keys[{number}].kid occurs twice")));
        }
        let key = key(jwk).ok_or_else(|| {
            wrong(format!(
                "keys[{number}] must be a public RSA key of at least 2048 bits (kty RSA, n, e, alg RS256) or one of P-256 (kty EC, crv P-256, x, y, alg ES256), for signatures"
            ))
        })?;
        keys.push((kid.to_owned(), key));
    }
    Ok(keys)
}

fn key(jwk: &Value) -> Option<Key> {
    let bytes = |name: &str| BASE64URL_NOPAD.decode(text(jwk, name)?.as_bytes()).ok();
    // The private half has no place here.
    if jwk.get("d").is_some() || text(jwk, "use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let alg = |expected: &str| text(jwk, "alg").is_none_or(|alg| alg == expected);
    match text(jwk, "kty")? {
        "RSA" if alg("RS256") => {
            let (modulus, exponent) = (bytes("n")?, bytes("e")?);
            (modulus.len() >= 256 && !exponent.is_empty()).then_some(Key::Rsa { modulus, exponent })
        }
        "EC" if alg("ES256") && text(jwk, "crv")? == "P-256" => {
            let (x, y) = (bytes("x")?, bytes("y")?);
            (x.len() == 32 && y.len() == 32).then(|| Key::P256([&[4_u8][..], &x, &y].concat()))
        }
        _ => None,
    }
}
