//! A strict simulator of a room-booking product's REST API, over TLS. See the README for the contract.

mod api;
mod control;
mod ledger;
mod members;
mod rate;
mod refusal;
mod server;
mod tls;

use std::{io, net::SocketAddr, path::PathBuf};

use tokio_util::sync::CancellationToken;

/// How a simulator is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to listen at; port 0 asks for a free one.
    pub listen: SocketAddr,
    /// Folder into which the certificate of the authority is written, as `ca.crt`.
    pub tls_dir: PathBuf,
    /// Header, as name and value, without which a call is refused.
    pub require_header: Option<(http::HeaderName, http::HeaderValue)>,
    /// Booking calls per minute, at least 1; unlimited when absent.
    pub rate_per_minute: Option<u32>,
}

/// A running simulator. Dropping it ends the simulator.
#[derive(Debug)]
pub struct Running {
    /// Origin, such as `https://127.0.0.1:8443`.
    pub origin: String,
    /// Certificate of the authority, PEM.
    pub ca_pem: String,
    /// Cancelling it ends the simulator.
    pub shutdown: CancellationToken,
    /// Ends when the simulator has ended.
    pub task: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Why a simulator could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or cannot be listened at.
    #[error("cannot listen at {address}: {cause}")]
    Listen {
        /// Address asked for.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// The folder cannot be written.
    #[error("cannot write {}: {cause}", path.display())]
    TlsDir {
        /// File that could not be written.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Keys or certificates could not be made.
    #[error("cannot make keys and certificates: {0}")]
    Keys(String),
    /// A limit of no calls at all.
    #[error("the rate per minute is 0: give at least 1, or none for no limit")]
    Rate,
}

/// Starts a simulator.
///
/// # Errors
/// See [`StartError`].
pub async fn start(options: Options) -> Result<Running, StartError> {
    server::start(options).await
}
