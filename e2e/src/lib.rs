//! End-to-end tests, the demo and the benches of Roomkeeper: a real API server, both simulators and both daemons on one
//! machine, each daemon with exactly the rights that the chart gives its ServiceAccount.

#![allow(clippy::missing_panics_doc)]

pub mod agreement;
pub mod certificates;
pub mod chance;
pub mod coalesce;
pub mod condition;
pub mod exports;
pub mod fortnight;
pub mod helm;
pub mod install;
pub mod kubelet;
pub mod outlook;
pub mod plugin;
pub mod programs;
pub mod scene;
pub mod simulator;
pub mod system;
pub mod tls_listener;
pub mod wait;
pub mod withdrawal;
pub mod world;
