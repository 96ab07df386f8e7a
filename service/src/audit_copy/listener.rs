//! The socket, and a certificate that lives as long as the process.

use std::{io, net::SocketAddr, sync::Arc};

use roomkeeper_crds::audit::{Announced, COPY_SERVER_NAME};
use rustls::ServerConfig;
use tokio::net::TcpListener;

use crate::https::{TlsConfigError, tls_config};

/// Why nobody can be given a copy.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be bound.
    #[error("--audit-listen {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No certificate could be made.
    #[error("the certificate for --audit-listen cannot be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The certificate cannot be used.
    #[error("the certificate for --audit-listen cannot be used: {0}")]
    Tls(#[from] TlsConfigError),
}

/// A bound socket with its certificate.
pub(super) struct Listener {
    pub(super) socket: TcpListener,
    pub(super) tls: Arc<ServerConfig>,
    announced: Announced,
}

impl Listener {
    pub(super) async fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let wrong = |source| ListenError::Bind { address, source };
        let socket = TcpListener::bind(address).await.map_err(wrong)?;
        let port = socket.local_addr().map_err(wrong)?.port();
        let made = rcgen::generate_simple_self_signed(vec![COPY_SERVER_NAME.to_owned()])?;
        let certificate = made.cert.pem();
        let tls = tls_config(certificate.as_bytes(), made.signing_key.serialize_pem().as_bytes())?;
        Ok(Self { socket, tls: Arc::new(tls), announced: Announced { port, certificate } })
    }

    pub(super) fn announced(&self) -> Announced {
        self.announced.clone()
    }
}
