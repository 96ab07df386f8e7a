//! From the object to what the later steps read. Pure; after this step the object's spec is not read again.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;
use roomkeeper_crds::{AccessScope, AccessScopeStatus, access_scope::BookingQuota, annotation};
use roomkeeper_graph::GroupId;

use super::directory::Policy;
use crate::key::Key;

/// A scope whose fields hold what they should.
#[derive(Clone, Debug, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a field of the object or a fact about it, not a state"
)]
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
    /// Who is in and who is out.
    pub policies: Vec<Policy>,
    /// Time between two reads of the groups.
    pub refresh_interval: Duration,
    /// Age from which members prove nothing.
    pub max_staleness: Duration,
    /// Share of the living subscriptions, in percent, that one read of the groups may end.
    pub max_shrink_percent: u8,
    /// Value of the annotation that confirms a larger one.
    pub confirmed: Option<String>,
    /// Most calls to its booking product, if it has one.
    pub quota: Option<BookingQuota>,
    /// Whether the scope's audit is to be exported.
    pub exports_audit: bool,
    /// Whether it is suspended.
    pub suspend: bool,
    /// The status as last written.
    pub status: AccessScopeStatus,
}

/// What the schema should have kept out.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ValidateError {
    /// Not from an API server.
    #[error("the object has no metadata.{0}")]
    Incomplete(&'static str),
    /// A group id is no GUID.
    #[error(
        "spec.policies[{0}].groupId must be a GUID: write the object id of a mail-enabled security group"
    )]
    GroupId(usize),
}

/// Checks a scope.
///
/// # Errors
/// On the first field that holds something else; the message names it.
pub fn validate(scope: &AccessScope) -> Result<Validated, ValidateError> {
    let membership = scope.spec.membership.clone().unwrap_or_default();
    let policies = scope.spec.policies.iter().enumerate().map(|(at, policy)| {
        let group = GroupId::parse(&policy.group_id).map_err(|_| ValidateError::GroupId(at))?;
        Ok(Policy { mode: policy.mode, group })
    });
    Ok(Validated {
        key: Key::of(scope),
        uid: scope.uid().ok_or(ValidateError::Incomplete("uid"))?,
        generation: scope.metadata.generation.ok_or(ValidateError::Incomplete("generation"))?,
        deleted_at: scope.metadata.deletion_timestamp.as_ref().map(|time| time.0),
        forced: scope.annotations().get(annotation::FORCE_DELETE).is_some_and(|value| value == "true"),
        has_finalizer: scope
            .finalizers()
            .iter()
            .any(|present| present == annotation::FINALIZER_END_SUBSCRIPTIONS),
        requested: requested(scope),
        policies: policies.collect::<Result<_, _>>()?,
        refresh_interval: membership.refresh_interval.into(),
        max_staleness: membership.max_staleness.into(),
        max_shrink_percent: membership.max_shrink_percent,
        confirmed: scope.annotations().get(annotation::CONFIRM_SHRINK).cloned(),
        quota: scope.spec.booking.as_ref().map(|booking| booking.quota.clone()),
        exports_audit: scope.spec.audit.as_ref().is_some_and(|audit| audit.export.is_some()),
        suspend: scope.spec.suspend,
        status: scope.status.clone().unwrap_or_default(),
    })
}

impl Validated {
    /// What people ask for by annotations: a run, and a shrink.
    pub fn asked(&self) -> (Option<&str>, Option<&str>) {
        (self.requested.as_deref(), self.confirmed.as_deref())
    }
}

/// The value that asks for a run, cut to what fits into the status.
pub fn requested(object: &impl kube::ResourceExt) -> Option<String> {
    asked_by(object, annotation::RECONCILE_REQUESTED_AT)
}

/// The value of an annotation that asks for something, cut to what fits into the status.
pub fn asked_by(object: &impl kube::ResourceExt, name: &str) -> Option<String> {
    let value = object.annotations().get(name)?;
    Some(value.chars().take(128).collect())
}
