//! Custom resources of Roomkeeper (`roomkeeper.dev/v1alpha1`): types, CEL rules, condition and reason names, object names.
//!
//! The crate holds types only. It knows no Kubernetes client and no runtime, so that every other crate, the kubectl plugin
//! included, can share it. Rules that the API server enforces stand beside the field they guard.

// The derive of kube puts a second, private item beside each public type, and takes one attribute per printer column.
#![allow(unreachable_pub, clippy::duplicated_attributes)]

pub mod access_scope;
pub mod annotation;
pub mod audit;
pub mod audit_export;
pub mod booking_record;
pub mod calendar_subscription;
pub mod condition;
pub mod consent_record;
pub mod ending;
pub mod name;
mod rule;

pub use access_scope::{AccessScope, AccessScopeSpec, AccessScopeStatus};
pub use booking_record::{BookingRecord, BookingRecordSpec, BookingRecordStatus};
pub use calendar_subscription::{CalendarSubscription, CalendarSubscriptionSpec, CalendarSubscriptionStatus};
pub use consent_record::{ConsentRecord, ConsentRecordSpec, ConsentRecordStatus};

/// API group of all kinds.
pub const GROUP: &str = "roomkeeper.dev";

/// Every CustomResourceDefinition in the order in which they are best applied.
///
/// Names are those of the golden files in `crds/yaml/`.
pub fn all()
-> Vec<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition> {
    use kube::core::CustomResourceExt as _;
    vec![AccessScope::crd(), CalendarSubscription::crd(), ConsentRecord::crd(), BookingRecord::crd()]
}
