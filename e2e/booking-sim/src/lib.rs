//! A strict simulator of a room-booking product's REST API, over TLS. The contract is `docs/booking-api.yaml`; the README has the rest.

mod api;
mod control;
mod ledger;
mod members;
mod oauth;
mod rate;
mod recurrence;
mod refusal;
mod server;
mod strict;
mod tls;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use tokio_util::sync::CancellationToken;

/// How a simulator is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to listen at; port 0 asks for a free one.
    pub listen: SocketAddr,
    /// Folder into which the certificate of the authority is written, as `ca.crt`.
    pub tls_dir: PathBuf,
    /// Headers, as names and values, without which a call is refused.
    pub require_headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// Booking calls per minute, at least 1; unlimited when absent.
    pub rate_per_minute: Option<u32>,
    /// Booking calls within any seven days, at least 1; unlimited when absent.
    pub per_week: Option<u32>,
    /// Occurrences of a series that are taken, 1 to 1000.
    pub max_occurrences: u32,
    /// The client that gets tokens at `/oauth2/token`, without which booking calls are then refused; none are needed when absent.
    pub oauth_client: Option<OAuthClient>,
    /// Scopes, separated by spaces, of which a token request must name one or more; absent, it must name none.
    pub oauth_scope: Option<String>,
    /// Life of a token, at least 1.
    pub token_lifetime_seconds: u32,
    /// Whether the log keeps what each PUT said.
    pub log_bodies: bool,
}

/// A client and its secret, which never shows.
#[derive(Clone, PartialEq, Eq)]
pub struct OAuthClient {
    /// Value of `client_id`.
    pub id: String,
    /// Value of `client_secret`.
    pub secret: String,
}

/// At a free port of the loopback address, with `ca.crt` in the folder for temporary files; no limits, no headers, no tokens.
impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls_dir: std::env::temp_dir(),
            require_headers: Vec::new(),
            rate_per_minute: None,
            per_week: None,
            max_occurrences: 400,
            oauth_client: None,
            oauth_scope: None,
            token_lifetime_seconds: 3600,
            log_bodies: false,
        }
    }
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
    /// A limit or a time of nothing at all.
    #[error("{0} is 0: give at least 1")]
    Zero(&'static str),
}

/// Starts a simulator.
///
/// # Errors
/// See [`StartError`].
pub async fn start(options: Options) -> Result<Running, StartError> {
    server::start(options).await
}
