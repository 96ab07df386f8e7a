//! Takes Graph notifications into a durable queue and turns them into BookingRecords; takes consents.
