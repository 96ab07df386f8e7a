//! Checks from outside that nothing but the listed data was asked for, and that nothing of it stands where it must not: they know
//! neither the code that builds requests nor the one that writes logs, so that they do not share its mistakes.

#![allow(clippy::missing_panics_doc)]

pub mod allow_list;
pub mod canary;
mod pattern;
pub mod requests;
