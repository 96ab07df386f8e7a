//! Checks licences, banned crates, one TLS provider and the layering of the workspace's crates.

fn main() {}
