//! The key that signs all tokens, and compact JWTs.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey},
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(crate) struct SigningKey {
    pair: KeyPair,
    id: String,
}

impl SigningKey {
    pub(crate) fn generate() -> Result<Self, String> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| "no RSA key could be made".to_owned())?;
        let digest = Sha256::digest(pair.public_key().as_ref());
        let id = BASE64URL_NOPAD.encode(digest.get(..20).unwrap_or_default());
        Ok(Self { pair, id })
    }

    /// A signed token with those claims.
    pub(crate) fn sign(&self, claims: &Value) -> Option<String> {
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": self.id, "x5t": self.id});
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let message = format!("{}.{}", part(&header), part(claims));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).ok()?;
        Some(format!("{message}.{}", BASE64URL_NOPAD.encode(&signature)))
    }

    /// The claims of a token that this key signed.
    pub(crate) fn verify(&self, token: &str) -> Option<Value> {
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let json = |part: &str| -> Option<Value> {
            serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).ok()?).ok()
        };
        let header = json(header)?;
        if header.get("alg")? != "RS256" || header.get("kid")? != self.id.as_str() {
            return None;
        }
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok()?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.pair.public_key().as_ref())
            .verify(message.as_bytes(), &signature)
            .ok()?;
        json(claims)
    }

    /// The public half, as published.
    pub(crate) fn jwk(&self, issuer: &str) -> Value {
        let public = self.pair.public_key();
        json!({
            "kty": "RSA",
            "use": "sig",
            "kid": self.id,
            "x5t": self.id,
            "n": BASE64URL_NOPAD.encode(public.modulus().big_endian_without_leading_zero()),
            "e": BASE64URL_NOPAD.encode(public.exponent().big_endian_without_leading_zero()),
            "alg": "RS256",
            "issuer": issuer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_tokens_verify() {
        let (own, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let token = own.sign(&json!({"a": 1})).unwrap();
        assert_eq!(own.verify(&token), Some(json!({"a": 1})));
        assert_eq!(other.verify(&token), None);
        let forged =
            token.replacen(&BASE64URL_NOPAD.encode(br#"{"a":1}"#), &BASE64URL_NOPAD.encode(br#"{"a":2}"#), 1);
        assert_ne!(forged, token);
        assert_eq!(own.verify(&forged), None);
        for bad in ["", "a.b", "a.b.c", "..", "e30.e30."] {
            assert_eq!(own.verify(bad), None, "{bad}");
        }
    }
}
