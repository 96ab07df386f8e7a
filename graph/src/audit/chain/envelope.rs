//! Signed statements: DSSE envelopes (`PAE` of type and payload) with one Ed25519 signature.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use data_encoding::BASE64;
use secrecy::SecretString;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use x509_parser::pem::Pem;

use super::Hash;

/// What precedes the 32 bytes of an Ed25519 key in a `SubjectPublicKeyInfo` (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a key cannot be used. Quotes no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No such PEM block.
    #[error("there is no key in PEM, from -----BEGIN … KEY----- to its end")]
    NoPem,
    /// Another kind of key.
    #[error("the key is no Ed25519 key (PKCS #8 or SubjectPublicKeyInfo, without a password)")]
    NotEd25519,
}

/// Why an envelope is no statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum EnvelopeError {
    /// Not the expected JSON, base64 or payload type.
    #[error("is no envelope of this kind")]
    Malformed,
    /// Signed by a key that was not given.
    #[error("is signed by a key that is not known")]
    UnknownKey,
    /// The signature does not fit.
    #[error("has a signature that does not fit")]
    BadSignature,
}

/// The private key that checkpoints and manifests are signed with.
pub struct SigningKey(Ed25519KeyPair);

/// Shows the public half.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public().id()).finish()
    }
}

impl SigningKey {
    /// From a `PRIVATE KEY` in PEM, as `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// It is something else.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = block(pem, "PRIVATE KEY")?;
        Ed25519KeyPair::from_pkcs8(&der).map(Self).map_err(|_| KeyError::NotEd25519)
    }

    /// A new key, as a `PRIVATE KEY` in PEM that [`Self::from_pem`] reads.
    ///
    /// # Errors
    /// The library has no randomness.
    pub fn generate_pem() -> Result<SecretString, SignError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| SignError::Refused)?;
        let der = pair.to_pkcs8v1().map_err(|_| SignError::Refused)?;
        let der = BASE64.encode(der.as_ref());
        Ok(format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n").into())
    }

    /// The key that proves its signatures.
    pub fn public(&self) -> VerifyingKey {
        let mut key = [0; 32];
        for (to, from) in key.iter_mut().zip(self.0.public_key().as_ref()) {
            *to = *from;
        }
        VerifyingKey(key)
    }
}

/// A public key that signatures are proved with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey([u8; 32]);

impl VerifyingKey {
    /// From a `PUBLIC KEY` in PEM.
    ///
    /// # Errors
    /// It is something else.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let der = block(pem, "PUBLIC KEY")?;
        let key = der.strip_prefix(&SPKI_PREFIX).ok_or(KeyError::NotEd25519)?;
        key.try_into().map(Self).map_err(|_| KeyError::NotEd25519)
    }

    /// As a `PUBLIC KEY` in PEM.
    pub fn to_pem(&self) -> String {
        let der = [&SPKI_PREFIX[..], &self.0].concat();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(&der))
    }

    /// What envelopes call it: SHA-256 of its 32 bytes.
    pub fn id(&self) -> Hash {
        Hash::of(&self.0)
    }
}

fn block(pem: &[u8], label: &str) -> Result<Vec<u8>, KeyError> {
    Pem::iter_from_buffer(pem)
        .find_map(|pem| pem.ok().filter(|pem| pem.label == label))
        .map(|pem| pem.contents)
        .ok_or(KeyError::NoPem)
}

/// What can be signed.
pub trait Statement: Serialize + DeserializeOwned {
    /// Names the statement and its version; it is signed too, so no statement passes for one of another kind.
    const TYPE: &'static str;
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Envelope {
    payload_type: String,
    payload: String,
    signatures: [Signature; 1],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    keyid: Hash,
    sig: String,
}

/// A statement whose signature was made or proved here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<T> {
    /// What is stated.
    pub statement: T,
    /// Hash of the payload, by which the next statement of a chain refers to it.
    pub hash: Hash,
    /// The envelope: one line of JSON, without a line feed.
    pub envelope: String,
}

impl<T: Statement> Signed<T> {
    /// Signs a statement.
    ///
    /// # Errors
    /// It cannot be written as JSON, or the library refuses to sign.
    pub fn new(statement: T, key: &SigningKey) -> Result<Self, SignError> {
        let payload = serde_json::to_vec(&statement)?;
        let sig = key.0.try_sign(&pae(T::TYPE, &payload)).map_err(|_| SignError::Refused)?;
        let envelope = serde_json::to_string(&Envelope {
            payload_type: T::TYPE.to_owned(),
            payload: BASE64.encode(&payload),
            signatures: [Signature { keyid: key.public().id(), sig: BASE64.encode(sig.as_ref()) }],
        })?;
        Ok(Self { statement, hash: Hash::of(&payload), envelope })
    }

    /// Reads an envelope and proves its signature by one of these keys.
    ///
    /// # Errors
    /// See [`EnvelopeError`].
    pub fn open(envelope: &str, keys: &[VerifyingKey]) -> Result<Self, EnvelopeError> {
        let malformed = |_| EnvelopeError::Malformed;
        let Envelope { payload_type, payload, signatures: [Signature { keyid, sig }] } =
            serde_json::from_str(envelope).map_err(malformed)?;
        let payload = BASE64.decode(payload.as_bytes()).map_err(|_| EnvelopeError::Malformed)?;
        let sig = BASE64.decode(sig.as_bytes()).map_err(|_| EnvelopeError::Malformed)?;
        if payload_type != T::TYPE {
            return Err(EnvelopeError::Malformed);
        }
        let key = keys.iter().find(|key| key.id() == keyid).ok_or(EnvelopeError::UnknownKey)?;
        UnparsedPublicKey::new(&ED25519, key.0)
            .verify(&pae(T::TYPE, &payload), &sig)
            .map_err(|_| EnvelopeError::BadSignature)?;
        let statement = serde_json::from_slice(&payload).map_err(malformed)?;
        Ok(Self { statement, hash: Hash::of(&payload), envelope: envelope.to_owned() })
    }
}

/// Why a statement could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// It is no JSON.
    #[error("cannot encode a statement of the audit: {0}")]
    Encode(#[from] serde_json::Error),
    /// The library refused to sign, or to make a key.
    #[error("the cryptographic library refused to sign, or to make a key")]
    Refused,
}

/// DSSE's pre-authentication encoding.
fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    struct Word(String);

    impl Statement for Word {
        const TYPE: &'static str = "application/word";
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Other(String);

    impl Statement for Other {
        const TYPE: &'static str = "application/other";
    }

    fn key() -> SigningKey {
        SigningKey(Ed25519KeyPair::generate().unwrap())
    }

    #[test]
    fn pae_is_as_in_the_specification() {
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn a_statement_is_proved_by_its_key_and_type_alone() {
        let (ours, theirs) = (key(), key());
        let signed = Signed::new(Word("hello".into()), &ours).unwrap();
        let open = |keys: &[VerifyingKey]| Signed::<Word>::open(&signed.envelope, keys);
        assert_eq!(open(&[theirs.public(), ours.public()]).unwrap(), signed);
        assert_eq!(open(&[theirs.public()]), Err(EnvelopeError::UnknownKey));
        let disguised = signed.envelope.replace("/word", "/other");
        let keys = [ours.public()];
        assert_eq!(Signed::<Other>::open(&disguised, &keys).unwrap_err(), EnvelopeError::BadSignature);
        assert_eq!(Signed::<Other>::open(&signed.envelope, &keys).unwrap_err(), EnvelopeError::Malformed);
    }

    #[test]
    fn keys_are_pem() {
        let key = key();
        assert_eq!(VerifyingKey::from_pem(key.public().to_pem().as_bytes()).unwrap(), key.public());
        let der = key.0.to_pkcs8v1().unwrap();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            BASE64.encode(der.as_ref())
        );
        let again = SigningKey::from_pem(pem.as_bytes()).unwrap();
        assert_eq!(again.public(), key.public());
        let (one, other) = (SigningKey::generate_pem().unwrap(), SigningKey::generate_pem().unwrap());
        let public =
            |pem: &SecretString| SigningKey::from_pem(pem.expose_secret().as_bytes()).unwrap().public();
        assert_ne!(public(&one), public(&other));
        assert_eq!(SigningKey::from_pem(b"").unwrap_err(), KeyError::NoPem);
        let rsa = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        assert_eq!(SigningKey::from_pem(rsa.serialize_pem().as_bytes()).unwrap_err(), KeyError::NotEd25519);
        assert_eq!(
            VerifyingKey::from_pem(rsa.public_key_pem().as_bytes()).unwrap_err(),
            KeyError::NotEd25519
        );
        assert!(!format!("{key:?}").contains(&BASE64.encode(der.as_ref())));
    }
}
