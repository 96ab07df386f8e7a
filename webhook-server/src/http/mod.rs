//! What the internet can reach.

pub mod consent;
pub mod ingest;
pub mod serve;
