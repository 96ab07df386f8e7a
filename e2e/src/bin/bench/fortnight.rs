//! Two weeks in the life of many subscriptions; see [`roomkeeper_e2e::fortnight`].

use std::time::Instant;

use roomkeeper_controlplane::{ControlPlane, StartOptions, process::scratch_dir};
use roomkeeper_e2e::fortnight::{Settings, play};

use crate::report::Report;

const SETTINGS: Settings = Settings { tenants: 3, mailboxes: 200, faults: 0.05, kills: 12, seed: 20_261_123 };

pub(crate) async fn run() -> anyhow::Result<Report> {
    let began = Instant::now();
    let control_plane = ControlPlane::start(StartOptions::default()).await?;
    let folder = scratch_dir("roomkeeper-fortnight")?;
    let settings = SETTINGS.seeded_by_environment();
    let figures =
        play(&control_plane, folder.path(), settings, |text| eprintln!("fortnight: {text}")).await?;
    control_plane.stop().await?;
    let mut report = Report::default();
    report.count("mailboxes", SETTINGS.mailboxes);
    report.count("kills", figures.kills);
    report.count("kills_at_work", figures.kills_at_work);
    report.count("expired", figures.expired);
    report.count("unnoticed", figures.unnoticed);
    report.count("duplicates", figures.duplicates);
    report.count("orphans", figures.orphans);
    report.count("renewals", figures.renewals);
    report.count("recreated", figures.recreated);
    report.count("troubles", figures.troubles);
    report.count("handshakes_failed", figures.handshakes_failed);
    report.count("kinds_of_trouble", figures.kinds);
    #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
    report.put("faults", figures.faults as f64);
    report.put("busiest_minute_ratio", figures.busiest_minute_ratio);
    report.put("seconds", began.elapsed().as_secs_f64());
    Ok(report)
}
