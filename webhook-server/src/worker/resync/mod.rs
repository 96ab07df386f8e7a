//! Reading a calendar again: the booked events are listed page by page and compared with the BookingRecords, and every
//! difference goes through the ordinary queue, whose reads decide. Nothing is written or cancelled from a list.
//!
//! The operator asks in `status.resync`, the answer is `status.delivery.resyncHandled`; a claim there keeps other workers
//! from doing the same, and runs out when its holder is gone.

mod compare;
mod list;
mod metrics;
mod pace;
mod read;
mod request;
mod run;

pub(super) use self::request::{Requests, Seen, Watched};
pub use self::{
    list::Listing,
    metrics::ResyncMetrics,
    run::{ResyncParts, Resyncs},
};
