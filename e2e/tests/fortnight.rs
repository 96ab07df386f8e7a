//! Two weeks with mailboxes in three tenants, faults and kills. `make bench BENCH=fortnight` is the same with more of them.

#![allow(clippy::unwrap_used, missing_docs)]

use roomkeeper_controlplane::{ControlPlane, StartOptions, process::scratch_dir};
use roomkeeper_e2e::fortnight::{Settings, play};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_weeks_pass_without_an_expiry_a_duplicate_or_an_orphan() {
    roomkeeper_service::tls::install_provider();
    let control_plane = ControlPlane::start(StartOptions::default()).await.unwrap();
    let folder = scratch_dir("fortnight").unwrap();
    let settings = Settings { tenants: 3, mailboxes: 45, faults: 0.05, kills: 6, seed: 20_261_123 };
    let settings = settings.seeded_by_environment();
    let figures = play(&control_plane, folder.path(), settings, |text| println!("{text}")).await.unwrap();
    println!("{figures:?}");
    assert_eq!((figures.unnoticed, figures.duplicates, figures.orphans), (0, 0, 0), "{figures:?}");
    assert_eq!(figures.expired, 0, "every renewal came in time: {figures:?}");
    let kept_alive = figures.renewals + figures.recreated;
    assert!(kept_alive >= 2 * settings.mailboxes, "each comes to its time at least twice: {figures:?}");
    assert!(figures.busiest_minute_ratio <= 2.0, "{figures:?}");
    assert!(figures.faults > 20 && figures.kinds >= 16 && figures.troubles > 10, "they came: {figures:?}");
    assert!(figures.handshakes_failed > 0 && figures.recreated > 5, "{figures:?}");
    assert!(figures.kills == settings.kills && figures.kills_at_work > 0, "{figures:?}");
    control_plane.stop().await.unwrap();
}
