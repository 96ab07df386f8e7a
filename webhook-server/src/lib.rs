//! Takes Graph notifications into a durable queue and turns them into BookingRecords; takes consents.

pub mod http;
pub mod metrics;
pub mod queue;
