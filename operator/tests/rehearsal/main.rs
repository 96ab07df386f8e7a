//! The operator's program with a clock that can be moved and with crashes at named places, against a real API server and the
//! simulators: `cargo test -p roomkeeper-operator --features rehearsal --test rehearsal`.

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
    dead_code,
    missing_docs,
    unreachable_pub
)]

mod clock;
mod crash;
mod life;
mod phoenix;
mod stage;

#[path = "../cluster/endpoint.rs"]
mod endpoint;
#[path = "../cluster/graph.rs"]
mod graph;
#[path = "../cluster/product.rs"]
mod product;
#[path = "../cluster/site.rs"]
mod site;
#[path = "../cluster/way.rs"]
mod way;
#[path = "../cluster/world.rs"]
mod world;
