//! `audit`: exported logs, checked and read on the auditor's own machine. Nothing is asked of Roomkeeper.

mod files;
mod report;
mod verify;
mod words;

use jiff::Timestamp;

use crate::args::{Audit, Connection};

/// Verifies, or reports.
pub(crate) async fn run(connection: &Connection, request: &Audit) -> anyhow::Result<()> {
    match request {
        Audit::Verify(request) => verify::run(request),
        Audit::Report(request) => report::run(connection, request, Timestamp::now()).await,
    }
}
