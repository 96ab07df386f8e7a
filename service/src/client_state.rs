//! clientState: how a notification proves that it answers a subscription of ours.
//!
//! Basic notifications carry no signature; the only thing in them that an outsider cannot know is the clientState that we
//! gave Graph. It is `v1.<key id>.<CR uid>.<HMAC-SHA256 over uid and tenant>`, at most 128 characters (the limit of the
//! `clientState` property), so that it can be verified without a look-up. Two keys are valid at once, so that one can be
//! retired while subscriptions made with it still live.

use std::collections::BTreeMap;

use aws_lc_rs::{hmac, rand};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use secrecy::SecretString;

/// Name of the Secret that holds the keys, in the namespace of the installation.
pub const SECRET_NAME: &str = "roomkeeper-client-state";

/// Data key of the Secret that names the key to sign with.
const CURRENT: &str = "current";

/// Prefix of the data keys of the Secret that hold 32 random bytes each.
const KEY_PREFIX: &str = "key.";

/// Bytes of a key: as many as SHA-256 puts out.
const KEY_BYTES: usize = 32;

/// Longest key id; with it a clientState stays below 128 characters.
const KEY_ID_LIMIT: usize = 16;

/// The keys in force.
#[derive(Clone)]
pub struct KeyRing {
    current: String,
    keys: BTreeMap<String, hmac::Key>,
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing")
            .field("current", &self.current)
            .field("ids", &self.ids().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Why the Secret cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyRingError {
    /// A data key is missing.
    #[error(
        "Secret {SECRET_NAME} has no data key {0}: delete the Secret and let the operator make it again, or restore it"
    )]
    Missing(String),
    /// The current key's name is not usable.
    #[error("Secret {SECRET_NAME}: data key {0} must hold 1 to 16 letters and digits")]
    KeyId(String),
    /// A key has the wrong length.
    #[error("Secret {SECRET_NAME}: data key {0} must hold exactly 32 bytes")]
    Length(String),
    /// No randomness to be had.
    #[error("the system's random generator failed")]
    Random,
}

/// What a valid clientState says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The key that it was made with.
    pub key_id: String,
    /// `metadata.uid` of the CalendarSubscription.
    pub uid: String,
}

/// Why a clientState is not ours. Says nothing of its value.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum VerifyError {
    /// Not of the form `v1.<key id>.<uid>.<mac>`.
    #[error("malformed clientState")]
    Malformed,
    /// Made with a key that is not in force.
    #[error("clientState of an unknown key")]
    UnknownKey,
    /// The MAC does not fit uid and tenant.
    #[error("forged clientState")]
    Forged,
}

impl KeyRing {
    /// Reads the keys out of the Secret.
    ///
    /// # Errors
    /// When a key is missing or malformed: the message names the data key, never its value.
    pub fn from_secret(secret: &Secret) -> Result<Self, KeyRingError> {
        let data = secret.data.as_ref().ok_or_else(|| KeyRingError::Missing(CURRENT.to_owned()))?;
        let current = data.get(CURRENT).ok_or_else(|| KeyRingError::Missing(CURRENT.to_owned()))?;
        let current = std::str::from_utf8(&current.0)
            .ok()
            .filter(|id| valid_key_id(id))
            .ok_or_else(|| KeyRingError::KeyId(CURRENT.to_owned()))?
            .to_owned();
        let mut keys = BTreeMap::new();
        for (name, ByteString(bytes)) in data {
            let Some(id) = name.strip_prefix(KEY_PREFIX) else { continue };
            if !valid_key_id(id) {
                return Err(KeyRingError::KeyId(name.clone()));
            }
            if bytes.len() != KEY_BYTES {
                return Err(KeyRingError::Length(name.clone()));
            }
            keys.insert(id.to_owned(), hmac::Key::new(hmac::HMAC_SHA256, bytes));
        }
        if !keys.contains_key(&current) {
            return Err(KeyRingError::Missing(format!("{KEY_PREFIX}{current}")));
        }
        Ok(Self { current, keys })
    }

    /// Makes the data of a new Secret with one random key.
    ///
    /// # Errors
    /// When the system's random generator fails.
    pub fn generate() -> Result<BTreeMap<String, ByteString>, KeyRingError> {
        let (mut id, mut key) = ([0_u8; 4], [0_u8; KEY_BYTES]);
        rand::fill(&mut id).map_err(|_| KeyRingError::Random)?;
        rand::fill(&mut key).map_err(|_| KeyRingError::Random)?;
        let id = HEXLOWER.encode(&id);
        Ok(BTreeMap::from([
            (CURRENT.to_owned(), ByteString(id.clone().into_bytes())),
            (format!("{KEY_PREFIX}{id}"), ByteString(key.to_vec())),
        ]))
    }

    /// Id of the key that signs.
    pub fn current_id(&self) -> &str {
        &self.current
    }

    /// Ids of all keys in force.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// Whether a key of that id is in force.
    pub fn knows(&self, key_id: &str) -> bool {
        self.keys.contains_key(key_id)
    }

    /// Makes the clientState of the CalendarSubscription with that uid in that tenant.
    ///
    /// # Errors
    /// Never for a ring made by [`Self::from_secret`]; the current key is then in the ring.
    pub fn sign(&self, uid: &str, tenant_id: &str) -> Result<SecretString, KeyRingError> {
        let key = self
            .keys
            .get(&self.current)
            .ok_or_else(|| KeyRingError::Missing(format!("{KEY_PREFIX}{}", self.current)))?;
        let mac = hmac::sign(key, &signed_text(uid, tenant_id));
        Ok(SecretString::from(format!("v1.{}.{uid}.{}", self.current, BASE64URL_NOPAD.encode(mac.as_ref()))))
    }

    /// Checks a clientState from a notification of that tenant, in time that does not depend on where it differs.
    ///
    /// # Errors
    /// When it is not one of ours.
    pub fn verify(&self, client_state: &str, tenant_id: &str) -> Result<Verified, VerifyError> {
        let mut parts = client_state.split('.');
        let (Some("v1"), Some(key_id), Some(uid), Some(mac), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(VerifyError::Malformed);
        };
        let mac = BASE64URL_NOPAD.decode(mac.as_bytes()).map_err(|_| VerifyError::Malformed)?;
        let key = self.keys.get(key_id).ok_or(VerifyError::UnknownKey)?;
        hmac::verify(key, &signed_text(uid, tenant_id), &mac).map_err(|_| VerifyError::Forged)?;
        Ok(Verified { key_id: key_id.to_owned(), uid: uid.to_owned() })
    }
}

fn valid_key_id(id: &str) -> bool {
    (1..=KEY_ID_LIMIT).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn signed_text(uid: &str, tenant_id: &str) -> Vec<u8> {
    format!("{uid}\n{tenant_id}").into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    use super::*;

    const UID: &str = "0b0f1d4e-6f0b-4f3c-9e2e-6b1d8a2c4e11";
    const TENANT: &str = "7f1d0cb7-93b9-405a-8dad-c21703b7af18";

    fn secret(data: BTreeMap<String, ByteString>) -> Secret {
        Secret { data: Some(data), ..Secret::default() }
    }

    fn ring() -> KeyRing {
        KeyRing::from_secret(&secret(KeyRing::generate().unwrap())).unwrap()
    }

    #[test]
    fn what_was_signed_verifies_and_fits_graph() {
        let ring = ring();
        let state = ring.sign(UID, TENANT).unwrap();
        assert!(state.expose_secret().len() <= 128);
        let verified = ring.verify(state.expose_secret(), TENANT).unwrap();
        assert_eq!(verified, Verified { key_id: ring.current_id().to_owned(), uid: UID.to_owned() });
    }

    #[test]
    fn another_tenant_uid_or_ring_is_refused() {
        let ring = ring();
        let state = ring.sign(UID, TENANT).unwrap();
        let state = state.expose_secret();
        assert_eq!(ring.verify(state, "another-tenant"), Err(VerifyError::Forged));
        let other_uid = state.replace(UID, "1b0f1d4e-6f0b-4f3c-9e2e-6b1d8a2c4e11");
        assert_eq!(ring.verify(&other_uid, TENANT), Err(VerifyError::Forged));
        assert_eq!(super::tests::ring().verify(state, TENANT), Err(VerifyError::UnknownKey));
        assert_eq!(ring.verify("", TENANT), Err(VerifyError::Malformed));
        assert_eq!(ring.verify(&format!("{state}.x"), TENANT), Err(VerifyError::Malformed));
    }

    #[test]
    fn a_second_key_stays_valid_while_it_is_in_the_secret() {
        let mut data = KeyRing::generate().unwrap();
        let old = KeyRing::from_secret(&secret(data.clone())).unwrap();
        let state = old.sign(UID, TENANT).unwrap();
        data.extend(KeyRing::generate().unwrap());
        let both = KeyRing::from_secret(&secret(data)).unwrap();
        assert_ne!(both.current_id(), old.current_id());
        assert_eq!(both.verify(state.expose_secret(), TENANT).unwrap().key_id, old.current_id());
    }

    #[test]
    fn a_broken_secret_names_the_data_key() {
        let data = KeyRing::generate().unwrap();
        let mut short = data.clone();
        for (name, value) in &mut short {
            if name.starts_with(KEY_PREFIX) {
                value.0.truncate(31);
            }
        }
        assert!(matches!(KeyRing::from_secret(&secret(short)), Err(KeyRingError::Length(_))));
        let mut without = data;
        without.retain(|name, _| name == CURRENT);
        assert!(matches!(KeyRing::from_secret(&secret(without)), Err(KeyRingError::Missing(_))));
        assert!(matches!(KeyRing::from_secret(&Secret::default()), Err(KeyRingError::Missing(_))));
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_never_accepted(text in ".{0,200}") {
            prop_assert!(ring().verify(&text, TENANT).is_err());
        }

        #[test]
        fn one_changed_character_is_never_accepted(at in 0_usize..90, with in "[a-zA-Z0-9._-]") {
            let ring = ring();
            let state = ring.sign(UID, TENANT).unwrap();
            let mut changed: Vec<char> = state.expose_secret().chars().collect();
            let at = at % changed.len();
            let with = with.chars().next().unwrap();
            prop_assume!(changed[at] != with);
            changed[at] = with;
            let changed: String = changed.into_iter().collect();
            prop_assert!(ring.verify(&changed, TENANT).is_err());
        }
    }
}
