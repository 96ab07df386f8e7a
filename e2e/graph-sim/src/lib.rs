//! A strict simulator of Microsoft Graph's calendar, directory and subscription APIs, and of the login host, over TLS.
//! See the README for each behaviour and where it comes from.

mod app;
mod batch;
mod clock;
mod control;
mod directory;
mod errors;
mod events;
mod faults;
mod graph;
mod journal;
mod login;
mod metadata;
mod notify;
mod odata;
mod policies;
mod quota;
mod request;
mod request_log;
mod resource_units;
mod route;
mod server;
mod subscriptions;
mod tls;
mod world;

use std::{io, net::SocketAddr, path::PathBuf};

use tokio_util::sync::CancellationToken;

pub use request_log::request_log_folder;
pub use world::{World, WorldError};

/// How a simulator is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Address to listen at; port 0 asks for a free one.
    pub listen: SocketAddr,
    /// Tenants, apps, users and groups to start with.
    pub world: World,
    /// Folder into which the certificate of the authority is written, as `ca.crt`; none for tests that take
    /// [`Running::ca_pem`].
    pub tls_dir: Option<PathBuf>,
    /// Certificates, PEM, that notification URLs are trusted by. Without any, no notification URL is trusted.
    pub trust_pem: Option<Vec<u8>>,
    /// Folder to which every request line is appended, in a file of its own; see [`request_log_folder`]. None for tests that send
    /// what no good client sends.
    pub request_log: Option<PathBuf>,
}

/// A running simulator. Dropping it ends the simulator.
#[derive(Debug)]
pub struct Running {
    /// Origin of login host and Graph, such as `https://127.0.0.1:8443`.
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
    /// The folder of the request log cannot be written.
    #[error("cannot write the request log in {}: {cause}", folder.display())]
    RequestLog {
        /// Folder asked for.
        folder: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Keys or certificates could not be made.
    #[error("cannot make keys and certificates: {0}")]
    Keys(String),
    /// The certificates to trust cannot be read.
    #[error("the certificates to trust for notification URLs cannot be read: {0}")]
    Trust(String),
}

/// Starts a simulator.
///
/// # Errors
/// When the address is taken, the folder cannot be written, or the certificates to trust cannot be read.
pub async fn start(options: Options) -> Result<Running, StartError> {
    server::start(options).await
}
