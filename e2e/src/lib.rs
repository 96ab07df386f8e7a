//! End-to-end tests, the demo and the benches of Roomkeeper.
