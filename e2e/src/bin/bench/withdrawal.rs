//! From a withdrawn consent to the last read, the end at Graph and the last record; see [`roomkeeper_e2e::withdrawal`].

use roomkeeper_e2e::withdrawal::{Settings, play};

use crate::report::Report;

const SETTINGS: Settings = Settings { backlog: 10_000, records: 100 };

pub(crate) async fn run() -> anyhow::Result<Report> {
    let figures = play(SETTINGS, |text| eprintln!("withdrawal: {text}")).await?;
    let mut report = Report::default();
    report.count("notifications_waiting", figures.waiting);
    report.count("reads_before", figures.reads_before);
    report.count("reads_after", figures.reads_after);
    report.put("last_read_s", figures.last_read);
    report.put("remote_delete_s", figures.remote_delete);
    report.put("records_gone_s", figures.records_gone);
    Ok(report)
}
