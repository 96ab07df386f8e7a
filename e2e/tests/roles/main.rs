//! The chart's roles and policies at a real API server, asked as their users, each with a certificate of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod ending;
mod installation;
mod matrix;
mod requests;
