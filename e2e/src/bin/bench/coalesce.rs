//! Repeated notifications that cost no read; see [`roomkeeper_e2e::coalesce`].

use roomkeeper_e2e::coalesce::{Settings, play};

use crate::report::Report;

const SETTINGS: Settings = Settings { people: 8, meetings: 25 };

pub(crate) async fn run() -> anyhow::Result<Report> {
    let figures = play(SETTINGS, |text| eprintln!("coalesce: {text}")).await?;
    let (booked, unbooked) = (figures.booked, figures.unbooked);
    let mut report = Report::default();
    report.count("changes", booked.changes + unbooked.changes);
    report.count("notifications", figures.told);
    report.count("missed", figures.missed);
    report.count("reads", booked.reads);
    report.count("reads_per_change_max", booked.most);
    report.count("reads_without_booking", unbooked.reads);
    report.count("reads_per_change_max_without_booking", unbooked.most);
    report.put("dropped_share", booked.dropped_share());
    report.put("dropped_share_without_booking", unbooked.dropped_share());
    Ok(report)
}
