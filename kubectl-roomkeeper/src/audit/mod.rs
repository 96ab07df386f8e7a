//! `audit`: logs, checked and read on the auditor's own machine, for which nothing is asked of Roomkeeper; and copied from their writers.

mod export;
mod files;
mod report;
mod verify;
mod words;

use jiff::Timestamp;

use crate::args::{Audit, Connection};

/// Verifies, reports, or copies.
pub(crate) async fn run(connection: &Connection, request: &Audit) -> anyhow::Result<()> {
    match request {
        Audit::Verify(request) => verify::run(request),
        Audit::Export(request) => export::run(connection, request).await,
        Audit::Report(request) => report::run(connection, request, Timestamp::now()).await,
    }
}
