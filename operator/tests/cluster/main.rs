//! The operator's program against a real API server and the simulators.

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

mod audit;
mod bookings;
mod credentials;
mod election;
mod endpoint;
mod graph;
mod lag;
mod life;
mod lives;
mod product;
mod purge;
mod quota;
mod scopes;
mod site;
mod start;
mod subscriptions;
mod takeover;
mod way;
mod world;
