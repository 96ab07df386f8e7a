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
    let figures =
        play(&control_plane, folder.path(), SETTINGS, |text| eprintln!("fortnight: {text}")).await?;
    control_plane.stop().await?;
    let mut report = Report::default();
    #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
    let mut put = |key, count: usize| report.put(key, count as f64);
    put("mailboxes", SETTINGS.mailboxes);
    put("kills", SETTINGS.kills);
    put("expired", figures.expired);
    put("duplicates", figures.duplicates);
    put("orphans", figures.orphans);
    put("renewals", figures.renewals);
    #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
    report.put("faults", figures.faults as f64);
    report.put("busiest_minute_ratio", figures.busiest_minute_ratio);
    report.put("seconds", began.elapsed().as_secs_f64());
    Ok(report)
}
