//! From the object to what the later steps read. Pure; after this step the object's spec is not read again.

use jiff::Timestamp;
use kube::ResourceExt as _;
use roomkeeper_crds::{
    CalendarSubscription, CalendarSubscriptionStatus, annotation, calendar_subscription::OnDelete,
};
use roomkeeper_graph::{SubscriptionId, UserId};

use crate::{
    access_scope::validate::{asked_by, requested},
    key::Key,
};

/// A CalendarSubscription whose fields hold what they should.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    /// Namespace and name.
    pub key: Key,
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// Since when it is under deletion.
    pub deleted_at: Option<Timestamp>,
    /// Whether the deletion is to go without its remote part.
    pub forced: bool,
    /// Whether our finalizer is on it.
    pub has_finalizer: bool,
    /// Value of the annotation that asks for a run.
    pub requested: Option<String>,
    /// Value of the annotation that asks for a renewal.
    pub renew_requested: Option<String>,
    /// The AccessScope.
    pub scope: Key,
    /// The user as written: principal name or object id.
    pub user: String,
    /// Whether it is suspended.
    pub suspend: bool,
    /// What its deletion means for the consent.
    pub on_delete: OnDelete,
    /// The user, once resolved.
    pub user_id: Option<UserId>,
    /// The Graph subscription that is known to live.
    pub remote: Option<Remote>,
    /// The status as last written.
    pub status: CalendarSubscriptionStatus,
}

/// The Graph subscription that the status tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its id.
    pub id: SubscriptionId,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it is to be renewed.
    pub renew_at: Timestamp,
}

/// What the schema should have kept out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ValidateError {
    /// Not from an API server.
    #[error("the object has no metadata.{0}")]
    Incomplete(&'static str),
    /// The status was written by something else.
    #[error(
        "{0} is not a GUID: remove the status with a patch of the status subresource, and it is made again"
    )]
    Status(&'static str),
}

/// Checks a CalendarSubscription.
///
/// # Errors
/// On the first field that holds something else; the message names it.
pub fn validate(object: &CalendarSubscription) -> Result<Validated, ValidateError> {
    let key = Key::of(object);
    let status = object.status.clone().unwrap_or_default();
    Ok(Validated {
        uid: object.uid().ok_or(ValidateError::Incomplete("uid"))?,
        generation: object.metadata.generation.ok_or(ValidateError::Incomplete("generation"))?,
        deleted_at: object.metadata.deletion_timestamp.as_ref().map(|time| time.0),
        forced: object.annotations().get(annotation::FORCE_DELETE).is_some_and(|value| value == "true"),
        has_finalizer: object
            .finalizers()
            .iter()
            .any(|present| present == annotation::FINALIZER_GRAPH_SUBSCRIPTION),
        requested: requested(object),
        renew_requested: asked_by(object, annotation::RENEW_REQUESTED_AT),
        scope: Key::new(&key.namespace, &object.spec.scope_ref.name),
        user: object.spec.user.clone(),
        suspend: object.spec.suspend,
        on_delete: object.spec.on_delete,
        user_id: user_id(&status)?,
        remote: remote(&status)?,
        key,
        status,
    })
}

impl Validated {
    /// Whether a person asks for a renewal that was not answered yet.
    pub fn asks_to_renew(&self) -> bool {
        self.renew_requested.is_some() && self.renew_requested != self.status.last_handled_renew_at
    }

    /// The same object after a step that led to another status.
    ///
    /// # Errors
    /// As [`validate`].
    pub fn with(mut self, status: CalendarSubscriptionStatus) -> Result<Self, ValidateError> {
        self.user_id = user_id(&status)?;
        self.remote = remote(&status)?;
        self.status = status;
        Ok(self)
    }
}

fn user_id(status: &CalendarSubscriptionStatus) -> Result<Option<UserId>, ValidateError> {
    status
        .user_id
        .as_deref()
        .map(UserId::parse)
        .transpose()
        .map_err(|_| ValidateError::Status("status.userId"))
}

fn remote(status: &CalendarSubscriptionStatus) -> Result<Option<Remote>, ValidateError> {
    let Some(subscription) = &status.subscription else { return Ok(None) };
    let id = SubscriptionId::parse(&subscription.id)
        .map_err(|_| ValidateError::Status("status.subscription.id"))?;
    Ok(Some(Remote { id, expires_at: subscription.expires_at.0, renew_at: subscription.renew_at.0 }))
}
