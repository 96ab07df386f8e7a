//! Takes Graph notifications into a durable queue and turns them into BookingRecords; takes consents.

pub mod args;
pub mod http;
pub mod keys;
pub mod metrics;
pub mod queue;
pub mod run;
pub mod worker;
