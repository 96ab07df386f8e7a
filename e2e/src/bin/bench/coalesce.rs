//! Repeated notifications that cost no read; see [`roomkeeper_e2e::coalesce`].

use roomkeeper_e2e::coalesce::{Settings, play};

use crate::report::Report;

const SETTINGS: Settings = Settings { people: 8, meetings: 25 };

pub(crate) async fn run() -> anyhow::Result<Report> {
    let figures = play(SETTINGS, |text| eprintln!("coalesce: {text}")).await?;
    let (booked, unbooked) = (figures.booked, figures.unbooked);
    let mut report = Report::default();
    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    let mut put = |key, count: usize| report.put(key, count as f64);
    put("changes", booked.changes + unbooked.changes);
    put("notifications", figures.told);
    put("missed", figures.missed);
    put("reads", booked.reads);
    put("reads_per_change_max", booked.most);
    put("reads_without_booking", unbooked.reads);
    put("reads_per_change_max_without_booking", unbooked.most);
    report.put("dropped_share", booked.dropped_share());
    report.put("dropped_share_without_booking", unbooked.dropped_share());
    Ok(report)
}
