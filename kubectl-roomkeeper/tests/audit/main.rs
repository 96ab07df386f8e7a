//! The plugin's audit commands as an auditor runs them: on exported files, without a cluster.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod export;
mod report;
mod verify;
