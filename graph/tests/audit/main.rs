//! The tamper-evident log from outside: what it writes is intact, and every damage is found.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod copies;
mod damage;
mod fixture;
mod healing;
mod histories;
mod recovery;
mod retention;
mod second_verifier;
mod statements;
