//! A strict simulator of a room-booking product's REST API.

fn main() {}
