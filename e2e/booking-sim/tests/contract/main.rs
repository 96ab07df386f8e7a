//! The contract, over TLS. Every exchange is judged by `docs/booking-api.yaml` too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod bookings;
mod contract;
mod limits;
mod series;
mod sim;
mod tokens;
