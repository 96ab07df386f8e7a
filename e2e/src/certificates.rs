//! A certificate authority for the webhook server of one run.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

/// Files of one server's TLS identity.
#[derive(Clone, Debug)]
pub struct ServerIdentity {
    /// Certificate of the authority that clients must trust, PEM.
    pub ca: PathBuf,
    /// Certificate of the server, PEM.
    pub certificate: PathBuf,
    /// Private key of the server, PEM.
    pub key: PathBuf,
}

/// Makes an authority and a certificate for `localhost` and the loopback addresses, as files in `folder`.
///
/// # Errors
/// When a file cannot be written.
pub fn loopback(folder: &Path) -> anyhow::Result<ServerIdentity> {
    let mut authority = CertificateParams::default();
    // A subject of its own per run, so that the authorities of two runs can be trusted side by side.
    authority
        .distinguished_name
        .push(DnType::CommonName, format!("Roomkeeper demo {}", uuid::Uuid::new_v4()));
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let server =
        CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()])?
            .signed_by(&key, &authority)?;
    let identity = ServerIdentity {
        ca: folder.join("webhook-ca.crt"),
        certificate: folder.join("webhook.crt"),
        key: folder.join("webhook.key"),
    };
    for (path, text) in [
        (&identity.ca, authority.pem()),
        (&identity.certificate, server.pem()),
        (&identity.key, key.serialize_pem()),
    ] {
        fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(identity)
}
