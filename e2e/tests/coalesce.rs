//! Four notifications of each change over half a minute, to two pods by chance: most cost no read, and no change is missed. `make bench
//! BENCH=coalesce` is the same with more of them.

#![allow(clippy::unwrap_used, missing_docs)]

use roomkeeper_e2e::coalesce::{Settings, play};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_notification_costs_no_read_and_no_change_is_missed() {
    let figures = play(Settings { people: 4, meetings: 20 }, |text| println!("{text}")).await.unwrap();
    println!("{figures:?}");
    let changes = figures.booked.changes + figures.unbooked.changes;
    assert_eq!((changes, figures.missed), (160, 0), "{figures:?}");
    assert!(figures.told >= 4 * changes, "every one came: {figures:?}");
    assert!(figures.booked.most <= 2 && figures.unbooked.most <= 2, "{figures:?}");
    assert!(figures.booked.dropped_share() >= 0.9, "{figures:?}");
}
