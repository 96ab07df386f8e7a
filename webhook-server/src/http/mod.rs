//! What the internet can reach.

pub mod addin;
pub mod client_address;
pub mod consent;
pub mod ingest;
