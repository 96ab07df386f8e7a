//! A strict simulator of a room-booking product's REST API, over TLS. See the README for the contract.

mod api;
mod control;
mod ledger;
mod refusal;
mod server;

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
    /// Booking calls per minute; unlimited when absent.
    pub rate_per_minute: Option<u32>,
}

/// A running simulator.
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

/// Starts a simulator.
///
/// # Errors
/// When the address is taken or the folder cannot be written.
pub async fn start(options: Options) -> io::Result<Running> {
    server::start(options).await
}
