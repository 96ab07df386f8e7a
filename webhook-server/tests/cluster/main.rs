//! The parts that write to Kubernetes, on the real API server, with the rights that the chart gives them.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests stand in for people and for other programs"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod addin;
mod authority;
mod calendar;
mod cluster;
mod consent;
mod delivery;
mod end_to_end;
mod permission;
mod resync;
mod worker;
mod world;
mod write_rule;
