//! Structured logs on standard error.

use tracing_subscriber::{
    EnvFilter, filter::LevelFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// Writes one JSON object per event to standard error, filtered by `RUST_LOG` (default `info`).
///
/// An invalid directive in `RUST_LOG` is ignored with a warning of the filter itself; calling this twice does nothing.
pub fn init() {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let layer = fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_writer(std::io::stderr);
    // Tests initialise once per binary; the second call finds the first one's subscriber.
    let _already_initialised = tracing_subscriber::registry().with(filter).with(layer).try_init();
}
