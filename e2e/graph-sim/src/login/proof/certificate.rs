//! Certificates registered on an app.

use aws_lc_rs::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest},
    signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey},
};
use data_encoding::{BASE64URL, BASE64URL_NOPAD, HEXUPPER};
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::{parse_x509_certificate, public_key::PublicKey};

use super::Unusable;

/// Shortest key that Entra takes, in bits.
const SHORTEST_KEY: usize = 2_048;

/// One certificate, as far as it matters here.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    sha1: Vec<u8>,
    sha256: Vec<u8>,
    /// RSAPublicKey, DER.
    key: Vec<u8>,
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

/// How an assertion names the certificate that it is signed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Thumbprints {
    pub(super) sha1: Option<Vec<u8>>,
    pub(super) sha256: Option<Vec<u8>>,
}

impl Thumbprints {
    /// As Entra writes it in its errors: in hexadecimal.
    pub(super) fn shown(&self) -> String {
        let bytes = self.sha256.as_ref().or(self.sha1.as_ref());
        bytes.map(|bytes| HEXUPPER.encode(bytes)).unwrap_or_default()
    }
}

/// Signature algorithms of certificate assertions (graph-facts §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Ps256,
    Rs256,
}

impl Certificate {
    /// Reads one PEM certificate with an RSA key.
    pub(crate) fn read(pem: &str) -> Result<Self, Unusable> {
        // The value may be a private key by mistake: it is not repeated.
        let wrong = |rule: &str| Unusable::new("certificates", "(PEM)", rule);
        if pem.contains("PRIVATE KEY") {
            return Err(wrong("must be the certificate alone: a private key has no place in a world file"));
        }
        let one = "must be exactly one certificate, PEM, from -----BEGIN CERTIFICATE----- to its end";
        let mut all = CertificateDer::pem_slice_iter(pem.as_bytes());
        let (Some(Ok(der)), None) = (all.next(), all.next()) else { return Err(wrong(one)) };
        let (rest, parsed) = parse_x509_certificate(&der).map_err(|_| wrong(one))?;
        if !rest.is_empty() {
            return Err(wrong(one));
        }
        let rsa = "must have an RSA key of at least 2048 bits: Entra takes no other";
        match parsed.public_key().parsed() {
            Ok(PublicKey::RSA(key)) if key.key_size() >= SHORTEST_KEY => {}
            _ => return Err(wrong(rsa)),
        }
        Ok(Self {
            sha1: digest(&SHA1_FOR_LEGACY_USE_ONLY, &der).as_ref().to_vec(),
            sha256: digest(&SHA256, &der).as_ref().to_vec(),
            key: parsed.public_key().subject_public_key.data.to_vec(),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
        })
    }

    /// Every thumbprint that is given must be this certificate's.
    pub(super) fn is_named_by(&self, thumbprints: &Thumbprints) -> bool {
        let is = |given: &Option<Vec<u8>>, own: &Vec<u8>| given.as_ref().is_none_or(|given| given == own);
        is(&thumbprints.sha1, &self.sha1) && is(&thumbprints.sha256, &self.sha256)
    }

    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let scheme = match algorithm {
            Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        };
        UnparsedPublicKey::new(scheme, &self.key).verify(message, signature).is_ok()
    }

    /// `Start=…, End=…`, as Entra describes a key that it found.
    pub(super) fn period(&self) -> String {
        let time = |seconds: i64| {
            let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
            time.strftime("%m/%d/%Y %H:%M:%S").to_string()
        };
        format!("Start={}, End={}", time(self.not_before), time(self.not_after))
    }
}

/// A thumbprint in a header; `None` when it is no base64url of that many bytes. Msal for Python pads it.
pub(super) fn thumbprint(text: &str, bytes: usize) -> Option<Vec<u8>> {
    let coding = if text.ends_with('=') { BASE64URL } else { BASE64URL_NOPAD };
    coding.decode(text.as_bytes()).ok().filter(|decoded| decoded.len() == bytes)
}
