//! The certificate authority of one control plane: its API server's certificate and its users'.

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SigningKey,
};
use sha2::{Digest, Sha256};

use crate::der::{self, ClientCertificate};

const NAME: &str = "roomkeeper-controlplane";
/// As long as controller-runtime's envtest gives its own.
const VALIDITY: SignedDuration = SignedDuration::from_hours(168);
/// For clocks that are behind, in containers and virtual machines.
const BACKDATED: SignedDuration = SignedDuration::from_hours(1);

/// RFC 5280 says 64, but Go, which reads it, knows no limit, and a service account's name is up to 337 characters long
/// (`system:serviceaccount:`, a namespace of up to 63, a name of up to 253).
const MAX_NAME: usize = 512;

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The cryptography refused.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// An empty or endless name.
    #[error("{field} {value:?} cannot stand in a client certificate: give it 1 to {MAX_NAME} characters")]
    Name {
        /// `user` or `group`.
        field: &'static str,
        /// The value refused.
        value: String,
    },
}

/// A certificate and its key, both PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

pub(crate) struct Authority {
    key: KeyPair,
    params: CertificateParams,
    certificate: String,
}

impl Authority {
    pub(crate) fn new() -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params(NAME, Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { key, params, certificate })
    }

    /// PEM of the authority's own certificate.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// For a server on this machine.
    pub(crate) fn server(&self) -> Result<Identity, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params("kube-apiserver", vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer)?.pem();
        Ok(Identity { certificate, key: key.serialize_pem() })
    }

    /// For a user of the API server.
    pub(crate) fn client(&self, user: &str, groups: &[&str]) -> Result<Identity, AuthorityError> {
        for (field, value) in
            std::iter::once(("user", &user)).chain(groups.iter().map(|group| ("group", group)))
        {
            if value.is_empty() || value.chars().count() > MAX_NAME {
                return Err(AuthorityError::Name { field, value: (*value).to_owned() });
            }
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let public_key = key.subject_public_key_info();
        let now = Timestamp::now();
        let mut serial = [0; 16];
        // The key is fresh, so its digest is unique.
        serial.iter_mut().zip(Sha256::digest(&public_key)).for_each(|(to, from)| *to = from);
        let to_be_signed = ClientCertificate {
            issuer: NAME,
            user,
            groups,
            public_key: &public_key,
            serial,
            not_before: now - BACKDATED,
            not_after: now + VALIDITY,
        }
        .to_be_signed();
        let signature = self.key.sign(&to_be_signed)?;
        let certificate = pem("CERTIFICATE", &der::certificate(&to_be_signed, &signature));
        Ok(Identity { certificate, key: key.serialize_pem() })
    }
}

/// A key pair for service-account tokens: (private, public), both PEM.
pub(crate) fn token_key() -> Result<(String, String), AuthorityError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

fn params(common_name: &str, names: Vec<String>) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = std::time::SystemTime::now();
    params.not_before = (now - BACKDATED.unsigned_abs()).into();
    params.not_after = (now + VALIDITY.unsigned_abs()).into();
    Ok(params)
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_certificate_parses_and_names_its_issuer_as_the_authority_does() {
        let authority = Authority::new().unwrap();
        let identity = authority.client("someone", &["one", "two", "three"]).unwrap();
        // rcgen reads it back with an independent parser; a wrong length or tag anywhere is an error.
        let key = KeyPair::from_pem(&identity.key).unwrap();
        Issuer::from_ca_cert_pem(&identity.certificate, key).unwrap();
        let line_lengths: Vec<usize> = identity.certificate.lines().map(str::len).collect();
        assert!(line_lengths.iter().all(|length| *length <= 64), "{line_lengths:?}");
    }

    #[test]
    fn impossible_names_are_refused_and_named() {
        let authority = Authority::new().unwrap();
        let error = authority.client("", &[]).err().unwrap().to_string();
        assert!(error.starts_with("user \"\""), "{error}");
        let error = authority.client("u", &["g", &"x".repeat(513)]).err().unwrap().to_string();
        assert!(error.starts_with("group \"xxx") && error.contains("512"), "{error}");
    }
}
