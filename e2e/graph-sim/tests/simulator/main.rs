//! The simulator over TLS, as its clients meet it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod batch;
mod calendar_view;
mod control;
mod credentials;
mod directory;
mod events;
mod faults;
mod forms;
mod gaps;
mod login;
mod losses;
mod notifications;
mod receiver;
mod refused;
mod series;
mod series_delta;
mod subscriptions;
mod support;
