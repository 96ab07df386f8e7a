//! The list of booked events, so that a test can hold its pages.

use async_trait::async_trait;
use roomkeeper_crds::AccessScope;
use roomkeeper_graph::{BookedPage, Cause, ManifestId, PageToken, UserId};
use roomkeeper_service::scope_access::ScopeClients;

use crate::worker::ReadError;

/// Lists booked events.
#[async_trait]
pub trait Listing: Send + Sync + 'static {
    /// One page: the first one, or the one that the last page named.
    ///
    /// # Errors
    /// See [`roomkeeper_graph::GraphError::decision`].
    async fn page(
        &self,
        scope: &AccessScope,
        cause: &Cause,
        user: &UserId,
        manifest: &ManifestId,
        page: Option<&PageToken>,
    ) -> Result<BookedPage, ReadError>;
}

#[async_trait]
impl Listing for ScopeClients {
    async fn page(
        &self,
        scope: &AccessScope,
        cause: &Cause,
        user: &UserId,
        manifest: &ManifestId,
        page: Option<&PageToken>,
    ) -> Result<BookedPage, ReadError> {
        Ok(self.client_for(scope).await?.booked_events(cause, user, manifest, page).await?)
    }
}
