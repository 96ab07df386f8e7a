//! What the internet can reach.

pub mod ingest;
pub mod serve;
