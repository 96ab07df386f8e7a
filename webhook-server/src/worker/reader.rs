//! Reads of events, and what their errors mean to an item.

use async_trait::async_trait;
use roomkeeper_crds::AccessScope;
use roomkeeper_graph::{
    Cause, Decision, Event, EventHead, EventId, GoneReason, GraphError, ManifestId, OccurrencePage,
    PageToken, Reason, Series, TransportFault, UserId, Window,
};
use roomkeeper_service::scope_access::{ScopeAccessError, ScopeClients};

use super::outcome::Setback;
use crate::queue::Failure;

/// Which event is read, and for whom.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Object that causes the read.
    pub cause: Cause,
    /// Owner of the calendar.
    pub user: UserId,
    /// Event.
    pub event: EventId,
    /// Manifest id of the add-in.
    pub manifest: ManifestId,
}

/// Why there is no event.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The scope has no client.
    #[error(transparent)]
    Access(#[from] ScopeAccessError),
    /// Graph has no answer, or a refusal.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// The reads, so that a test can hold their answers.
#[async_trait]
pub trait Reader: Send + Sync + 'static {
    /// Gets what a read needs (credential, token), so that the read itself is one request.
    ///
    /// # Errors
    /// There is no client, or no token.
    async fn prepare(&self, scope: &AccessScope, cause: &Cause) -> Result<(), ReadError>;

    /// The minimal read.
    ///
    /// # Errors
    /// See [`GraphError::decision`].
    async fn head(&self, scope: &AccessScope, wanted: &Wanted) -> Result<EventHead, ReadError>;

    /// The read of the listed fields.
    ///
    /// # Errors
    /// See [`GraphError::decision`].
    async fn full(&self, scope: &AccessScope, wanted: &Wanted) -> Result<Event, ReadError>;

    /// The series that an occurrence or exception is of; `None` where Graph names none.
    ///
    /// # Errors
    /// See [`GraphError::decision`].
    async fn master(&self, scope: &AccessScope, wanted: &Wanted) -> Result<Option<EventId>, ReadError>;

    /// A page of the occurrences of a series: the first one, or the one that the last page named.
    ///
    /// # Errors
    /// See [`GraphError::decision`].
    async fn occurrences(
        &self,
        scope: &AccessScope,
        wanted: &Wanted,
        window: &Window,
        page: Option<&PageToken>,
    ) -> Result<OccurrencePage, ReadError>;
}

#[async_trait]
impl Reader for ScopeClients {
    async fn prepare(&self, scope: &AccessScope, cause: &Cause) -> Result<(), ReadError> {
        let client = self.client_for(scope).await?;
        Ok(client.acquire_token(cause).await?)
    }

    async fn head(&self, scope: &AccessScope, wanted: &Wanted) -> Result<EventHead, ReadError> {
        let Wanted { cause, user, event, manifest } = wanted;
        Ok(self.client_for(scope).await?.event_minimal(cause, user, event, manifest).await?)
    }

    async fn full(&self, scope: &AccessScope, wanted: &Wanted) -> Result<Event, ReadError> {
        let Wanted { cause, user, event, manifest } = wanted;
        Ok(self.client_for(scope).await?.event_full(cause, user, event, manifest).await?)
    }

    async fn master(&self, scope: &AccessScope, wanted: &Wanted) -> Result<Option<EventId>, ReadError> {
        let Wanted { cause, user, event, .. } = wanted;
        Ok(self.client_for(scope).await?.series_master(cause, user, event).await?)
    }

    async fn occurrences(
        &self,
        scope: &AccessScope,
        wanted: &Wanted,
        window: &Window,
        page: Option<&PageToken>,
    ) -> Result<OccurrencePage, ReadError> {
        let Wanted { cause, user, event, manifest } = wanted;
        let series = Series { master: event, manifest, window };
        Ok(self.client_for(scope).await?.occurrences(cause, user, &series, page).await?)
    }
}

/// What a failed read means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadFault {
    /// The permit ended before the request was sent: ask again.
    PermitEnded,
    /// The item waits.
    Setback(Setback),
}

/// Decides on a failed read.
pub(super) fn fault(error: &ReadError) -> ReadFault {
    let failed = |failure| ReadFault::Setback(Setback::Failed(failure));
    match error {
        ReadError::Access(error) if error.is_transient() => failed(Failure::KubernetesUnavailable),
        ReadError::Access(_) => failed(Failure::AccessDenied),
        ReadError::Graph(GraphError::Held { .. }) => ReadFault::PermitEnded,
        ReadError::Graph(GraphError::Audit { .. }) => failed(Failure::AuditUnavailable),
        // These come back for this very event, however long one waits: they must use up its attempts.
        ReadError::Graph(
            GraphError::UnexpectedAnswer { .. }
            | GraphError::Transport {
                fault:
                    TransportFault::TooLarge { .. }
                    | TransportFault::Redirect
                    | TransportFault::ForeignPageLink
                    | TransportFault::TooManyPages { .. },
                ..
            },
        ) => failed(Failure::Rejected),
        ReadError::Graph(error) => match error.decision() {
            Decision::Retry => failed(Failure::GraphUnavailable),
            Decision::Wait(time) => ReadFault::Setback(Setback::Wait(time)),
            Decision::Gone(GoneReason::EventNotFound) => ReadFault::Setback(Setback::Missing),
            Decision::UserMustAct(
                Reason::AuthFailed | Reason::TenantUnknown | Reason::PermissionMissing | Reason::PolicyDenied,
            )
            | Decision::TokenRejected => failed(Failure::AccessDenied),
            // A mailbox that cannot be reached or a user who is gone says nothing about the event.
            Decision::Gone(_) | Decision::UserMustAct(_) | Decision::Conflict { .. } => {
                failed(Failure::Rejected)
            }
        },
    }
}
