//! The one TLS provider of the process.

/// Makes aws-lc-rs the process-wide provider of rustls. The first statement of every `main`: with two providers in one
/// binary rustls cannot choose and panics at the first connection.
///
/// Calling it again does nothing.
pub fn install_provider() {
    // An error means that a provider is installed already, which is what is wanted.
    let _already_installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
