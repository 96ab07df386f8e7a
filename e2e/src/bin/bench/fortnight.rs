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
    #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
    let mut put = |key, count: usize| report.put(key, count as f64);
    put("mailboxes", SETTINGS.mailboxes);
    put("kills", figures.kills);
    put("kills_at_work", figures.kills_at_work);
    put("expired", figures.expired);
    put("unnoticed", figures.unnoticed);
    put("duplicates", figures.duplicates);
    put("orphans", figures.orphans);
    put("renewals", figures.renewals);
    put("recreated", figures.recreated);
    put("troubles", figures.troubles);
    put("handshakes_failed", figures.handshakes_failed);
    put("kinds_of_trouble", figures.kinds);
    #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
    report.put("faults", figures.faults as f64);
    report.put("busiest_minute_ratio", figures.busiest_minute_ratio);
    report.put("seconds", began.elapsed().as_secs_f64());
    Ok(report)
}
