//! kubectl plugin of Roomkeeper.

fn main() {}
