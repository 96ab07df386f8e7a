//! A crash before and after each remote call and each write: what is left is one subscription for each user who has one and
//! none for each who has none, one booking for each record that is booked, and nothing at the end of the scope.

use futures::StreamExt as _;
use roomkeeper_operator::failpoint::{Failpoint, Place};

use crate::{life, stage::Stage};

/// Lives that are played. Each has crashes of its own, no two of them next to each other.
const LIVES: usize = 12;

/// Lives that are played at the same time, each with a namespace, a Graph and a booking product of its own.
const AT_ONCE: usize = 6;

/// A crash at the first time that a place is come to may be one where little is at stake: the first status of an object says
/// that nothing is known yet, and only a later one that a subscription was made.
const fn times(place: Place) -> u64 {
    match place {
        Place::StatusOfCalendarSubscription => 8,
        Place::StatusOfBookingRecord | Place::Create => 4,
        Place::LiveCalendarSubscription | Place::LiveConsentRecord => 3,
        Place::StatusOfAccessScope | Place::List | Place::Renew | Place::PutBooking => 2,
        _ => 1,
    }
}

/// A crash: where, and at which time the work comes there.
pub type Crash = (Failpoint, u64);

fn crashes() -> Vec<Crash> {
    Failpoint::all().flat_map(|point| (1..=times(point.place())).map(move |time| (point, time))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_place_ends_with_exactly_one_subscription() {
    let all = crashes();
    let lives = (0..LIVES).map(|life| all.iter().copied().skip(life).step_by(LIVES).collect::<Vec<Crash>>());
    let missed: Vec<String> = futures::stream::iter(lives)
        .map(|crashes| async move {
            let began = std::time::Instant::now();
            let stage = Stage::new(crashes).await;
            life::play(&stage).await;
            let missed = stage.missed().await;
            println!(
                "died {} times in {:?}, at {}",
                stage.phoenix.deaths(),
                began.elapsed(),
                stage.crashes_in_words()
            );
            missed
        })
        .buffer_unordered(AT_ONCE)
        .concat()
        .await;
    println!("{} crashes at {} failpoints", all.len(), Failpoint::all().count());
    assert!(missed.is_empty(), "the rehearsal never came to {missed:?}");
}
