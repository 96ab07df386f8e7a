//! A withdrawn consent ends what is done with that calendar, whatever waits, and also in a pod that cannot hear of it.

#![allow(clippy::unwrap_used, missing_docs)]

use roomkeeper_e2e::withdrawal::{Settings, play};

/// Answers of the API server serve for two seconds, and what was sent within them may take as long again under load.
const LONGEST_READING_S: f64 = 5.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawal_ends_reading_at_once_and_everything_else_soon() {
    let figures = play(Settings { backlog: 1_000, records: 20 }, |_| ()).await.unwrap();
    assert!(figures.waiting > 1_000, "{figures:?}");
    assert!(figures.last_read <= LONGEST_READING_S, "{figures:?}");
}
