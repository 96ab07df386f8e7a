//! Two weeks with mailboxes in three tenants, faults and kills. `make bench BENCH=fortnight` is the same with more of them.

#![allow(clippy::unwrap_used, missing_docs)]

use roomkeeper_controlplane::{ControlPlane, StartOptions, process::scratch_dir};
use roomkeeper_e2e::fortnight::{Settings, play};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_weeks_pass_without_an_expiry_a_duplicate_or_an_orphan() {
    roomkeeper_service::tls::install_provider();
    let control_plane = ControlPlane::start(StartOptions::default()).await.unwrap();
    let folder = scratch_dir("fortnight").unwrap();
    let settings = Settings { tenants: 3, mailboxes: 60, faults: 0.05, kills: 6, seed: 20_261_123 };
    let figures = play(&control_plane, folder.path(), settings, |text| println!("{text}")).await.unwrap();
    println!("{figures:?}");
    assert_eq!((figures.expired, figures.duplicates, figures.orphans), (0, 0, 0), "{figures:?}");
    assert!(figures.renewals >= 2 * settings.mailboxes, "each is renewed at least twice: {figures:?}");
    assert!(figures.busiest_minute_ratio <= 2.0, "{figures:?}");
    assert!(figures.faults > 20 && figures.kinds > 4, "the faults came: {figures:?}");
    control_plane.stop().await.unwrap();
}
