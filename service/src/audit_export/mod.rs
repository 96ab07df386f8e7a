//! Exports of the audit: each writer carries away what is new in its log of a scope, so that anyone can verify it there.
//!
//! [`Schedule`] says when, [`Target`] where to, [`Exporter::run`] does it; what it does is planned by [`plan`], a pure step. An export that
//! failed is repeated with the same manifest, byte for byte, so that the destination has neither a gap nor an overlap.

mod checkpoints;
mod dereference;
mod destination;
mod exports;
mod kept;
mod metrics;
mod name;
mod plan;
mod run;
mod schedule;
mod standing;
mod trouble;

pub use self::{
    checkpoints::{CheckpointError, Checkpoints},
    dereference::{Access, DereferenceError, dereference},
    destination::{
        Credential, CredentialError, Put, Store, StoreError, StoreSettings, Target, TargetError, Trust,
        UploadError, open,
    },
    exports::{Exports, SetupError},
    kept::{Kept, KeptError, Manifests},
    name::{lines_name, manifest_name, object_folder},
    plan::{Plan, PlanError, Planned, Situation, copied, plan},
    run::{ExportError, Exported, Exporter},
    schedule::{Schedule, ScheduleError},
    standing::{Standing, Standings},
};
