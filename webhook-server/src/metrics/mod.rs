//! Metrics with closed label sets.

pub mod ingest;
pub mod queue;
