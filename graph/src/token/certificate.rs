//! A certificate registered with the app: signs the client assertion (Microsoft identity platform, "certificate
//! credentials": PS256, `x5t#S256`).

use std::{fmt, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, crypto};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use uuid::Uuid;
use x509_parser::{parse_x509_certificate, pem::Pem, public_key::PublicKey};

/// Life of an assertion: it is used at once.
const LIFE: SignedDuration = SignedDuration::from_mins(10);

/// Shortest RSA key that Entra takes, in bits.
const SHORTEST_KEY: usize = 2_048;

/// Why certificate and key are no credential. Quotes neither.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// No PEM certificate.
    #[error("there is no certificate in PEM, from -----BEGIN CERTIFICATE----- to its end")]
    NoCertificate,
    /// The key is missing, encrypted or of another kind.
    #[error("there is no RSA private key in PEM without a password (PKCS #8 or PKCS #1)")]
    NoKey,
    /// Entra takes RSA keys only.
    #[error("the certificate's key is no RSA key of at least 2048 bits: Entra takes no other")]
    NotRsa,
    /// Two halves of different pairs.
    #[error("the private key is not the one of the certificate: store the two that belong together")]
    Mismatch,
    /// Its time is over.
    #[error("the certificate ended at {0}: register a new one with the app and store it with its key")]
    Ended(Timestamp),
    /// Its time has not come.
    #[error("the certificate does not count before {0}")]
    NotYet(Timestamp),
}

/// A certificate and its key.
#[derive(Clone)]
pub struct CertificateCredential {
    key: Arc<EncodingKey>,
    /// SHA-256 of the certificate, base64url.
    thumbprint: Arc<str>,
    not_after: Timestamp,
}

/// Shows the thumbprint, which the app registration shows too.
impl fmt::Debug for CertificateCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateCredential")
            .field("thumbprint", &self.thumbprint)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    iss: &'a str,
    sub: &'a str,
    jti: Uuid,
    iat: i64,
    nbf: i64,
    exp: i64,
}

impl CertificateCredential {
    /// Reads a certificate (the first one, where a chain follows) and its private key, both PEM.
    ///
    /// # Errors
    /// When they cannot prove anything at `now`; each error says what to store instead.
    pub fn from_pem(
        certificate: &[u8],
        key: &SecretString,
        now: Timestamp,
    ) -> Result<Self, CertificateError> {
        let pem = Pem::iter_from_buffer(certificate)
            .find_map(|pem| pem.ok().filter(|pem| pem.label == "CERTIFICATE"))
            .ok_or(CertificateError::NoCertificate)?;
        let (_, parsed) =
            parse_x509_certificate(&pem.contents).map_err(|_| CertificateError::NoCertificate)?;
        match parsed.public_key().parsed() {
            Ok(PublicKey::RSA(key)) if key.key_size() >= SHORTEST_KEY => {}
            _ => return Err(CertificateError::NotRsa),
        }
        let time = |seconds: i64| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        let (from, to) =
            (time(parsed.validity().not_before.timestamp()), time(parsed.validity().not_after.timestamp()));
        let key =
            EncodingKey::from_rsa_pem(key.expose_secret().as_bytes()).map_err(|_| CertificateError::NoKey)?;
        let public = DecodingKey::from_rsa_der(&parsed.public_key().subject_public_key.data);
        let probe = crypto::sign(b"probe", &key, Algorithm::PS256).map_err(|_| CertificateError::NoKey)?;
        if !crypto::verify(&probe, b"probe", &public, Algorithm::PS256).unwrap_or(false) {
            return Err(CertificateError::Mismatch);
        }
        if now >= to {
            return Err(CertificateError::Ended(to));
        }
        if now < from {
            return Err(CertificateError::NotYet(from));
        }
        Ok(Self {
            key: Arc::new(key),
            thumbprint: BASE64URL_NOPAD.encode(digest(&SHA256, &pem.contents).as_ref()).into(),
            not_after: to,
        })
    }

    /// When the certificate ends.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// A fresh assertion for one request to that token endpoint.
    pub(super) fn assertion(
        &self,
        token_endpoint: &str,
        client_id: &str,
        now: Timestamp,
    ) -> Result<SecretString, jsonwebtoken::errors::Error> {
        let mut header = Header::new(Algorithm::PS256);
        header.x5t_s256 = Some(self.thumbprint.to_string());
        let claims = Claims {
            aud: token_endpoint,
            iss: client_id,
            sub: client_id,
            jti: Uuid::new_v4(),
            iat: now.as_second(),
            nbf: now.as_second(),
            exp: now.as_second().saturating_add(LIFE.as_secs()),
        };
        Ok(jsonwebtoken::encode(&header, &claims, &self.key)?.into())
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, date_time_ymd};

    use super::{
        CertificateError::{Ended, Mismatch, NoCertificate, NoKey, NotRsa, NotYet},
        *,
    };

    fn pair(key: &KeyPair, from: i32, to: i32) -> String {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        params.self_signed(key).unwrap().pem()
    }

    fn read(certificate: &str, key: &str) -> Result<CertificateCredential, CertificateError> {
        let now = "2026-11-23T12:00:00Z".parse().unwrap();
        CertificateCredential::from_pem(certificate.as_bytes(), &key.to_owned().into(), now)
    }

    #[test]
    fn each_thing_wrong_is_said_and_nothing_is_quoted() {
        let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let other = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let curve = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let (good, key) = (pair(&rsa, 2020, 2030), rsa.serialize_pem());
        let credential = read(&good, &key).unwrap();
        assert_eq!(credential.not_after().to_string(), "2030-01-01T00:00:00Z");
        assert!(!format!("{credential:?}").contains("key"), "{credential:?}");
        let chain = format!("{good}{}", pair(&other, 2020, 2030));
        assert_eq!(
            read(&chain, &key).unwrap().thumbprint,
            credential.thumbprint,
            "the first one is the app's"
        );

        let at = |year: &str| format!("{year}-01-01T00:00:00Z").parse().unwrap();
        for (certificate, key, expected) in [
            (String::new(), key.clone(), NoCertificate),
            (key.clone(), key.clone(), NoCertificate),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
                key.clone(),
                NoCertificate,
            ),
            (good.clone(), String::new(), NoKey),
            (good.clone(), good.clone(), NoKey),
            (good.clone(), curve.serialize_pem(), NoKey),
            (pair(&curve, 2020, 2030), curve.serialize_pem(), NotRsa),
            (good.clone(), other.serialize_pem(), Mismatch),
            (pair(&rsa, 2020, 2025), key.clone(), Ended(at("2025"))),
            (pair(&rsa, 2028, 2030), key.clone(), NotYet(at("2028"))),
        ] {
            let error = read(&certificate, &key).unwrap_err();
            assert_eq!(error, expected);
        }
    }
}
