//! A TLS listener for axum, for whoever stands where Graph calls.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use anyhow::Context as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::system::System;

/// Accepts connections under the public URL, with the certificate of the webhook server.
pub struct TlsListener {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl TlsListener {
    /// Binds to the public URL of a system whose webhook server is elsewhere, or not there.
    ///
    /// # Errors
    /// When the address is taken or the certificate cannot be read.
    pub async fn at_public_url(system: &System) -> anyhow::Result<Self> {
        let (certificate, key) = system.server_certificate();
        let url = system.public_url();
        let address: SocketAddr = url.strip_prefix("https://").context("no https URL")?.parse()?;
        Self::bind(address, certificate, key).await
    }

    /// Binds to a free port of the loopback address, with a certificate and its key in PEM.
    ///
    /// # Errors
    /// When the certificate cannot be read.
    pub async fn on_loopback(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        Self::bind((Ipv4Addr::LOCALHOST, 0).into(), certificate, key).await
    }

    async fn bind(address: SocketAddr, certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let certificates = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
        let tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(certificates, PrivateKeyDer::from_pem_file(key)?)?;
        let tcp = TcpListener::bind(address).await?;
        Ok(Self { tcp, acceptor: TlsAcceptor::from(Arc::new(tls)) })
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            // Whoever does not finish the handshake is dropped.
            if let Ok((stream, address)) = self.tcp.accept().await
                && let Ok(stream) = self.acceptor.accept(stream).await
            {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}
