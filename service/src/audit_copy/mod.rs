//! Copies of a log for auditors, straight from the writer that keeps it.
//!
//! The listener is for the pod's loopback: it is reached through the API server (`pods/portforward`) by whoever may do that, and answers
//! only to a token that was made for it, of somebody who may `get` `accessscopes/audit` of that scope. A copy is signed like an export and
//! counts as none. Decision: `docs/decisions/0020-a-copy-of-the-audit-comes-from-each-writer.md`.

mod answer;
mod listener;
mod review;

use std::sync::Arc;

use axum::Router;
use kube::Client;
use tokio_util::sync::CancellationToken;

use self::{answer::Answering, listener::Listener};
pub use self::{listener::ListenError, review::ReviewError};
use crate::{
    audit::{Checkpoints, DaemonAudit, GuardedAudit},
    https::{self, ServeLimits},
};

/// Auditors at a time, each of whom reads whole logs.
const CONNECTIONS: usize = 4;

/// Gives copies of a daemon's logs.
pub struct AuditCopies {
    listener: Option<Listener>,
    router: Router,
}

impl AuditCopies {
    /// Binds the listener that `--audit-listen` asks for and announces it beside the checkpoints. Without the flag nobody is answered.
    ///
    /// # Errors
    /// See [`ListenError`].
    pub async fn bind(client: Client, audit: &DaemonAudit) -> Result<Self, ListenError> {
        let listener = match audit.args().audit_listen {
            Some(address) => Some(Listener::bind(address).await?),
            None => None,
        };
        if let Some(listener) = &listener {
            audit.checkpoints.announce(listener.announced()).await;
        }
        let (sink, checkpoints) = (Arc::clone(&audit.sink), Arc::clone(&audit.checkpoints));
        Ok(Self { listener, router: router(client, sink, checkpoints) })
    }

    /// Answers until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let Some(Listener { socket, tls, .. }) = self.listener else {
            return shutdown.cancelled().await;
        };
        let limits = ServeLimits { max_connections: CONNECTIONS, ..ServeLimits::default() };
        https::serve(socket, tls, self.router, limits, shutdown).await;
    }
}

/// The paths of a daemon's copies.
pub fn router(client: Client, sink: Arc<GuardedAudit>, checkpoints: Arc<Checkpoints>) -> Router {
    answer::router(Answering { client, sink, checkpoints })
}
