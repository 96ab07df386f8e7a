//! The client over TLS: every call, the path that every request takes, and the simulator of Graph.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests stand in for people and for other programs"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod calls;
mod credentials;
mod outcomes;
mod simulator;
mod support;
mod transport;
