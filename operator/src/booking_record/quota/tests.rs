//! Whatever happens, there is never a call too many, judged by when the product gets them.

use std::{collections::VecDeque, time::Duration};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use roomkeeper_crds::access_scope::{BookingQuota, BookingQuotaStatus};

use super::ledger::{Exhausted, Ledger, Now, Purpose, Taken, Window};

fn start() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

/// One scope, one product, and one operator after the other.
struct Stage {
    quota: BookingQuota,
    status: BookingQuotaStatus,
    ledger: Ledger,
    /// True time since the start.
    time: Duration,
    /// How far the wall clock is ahead.
    ahead: SignedDuration,
    /// Calls under way: when they end.
    underway: VecDeque<Duration>,
    /// When the product got calls.
    got: Vec<Duration>,
}

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    Good,
    /// It is not taken.
    Lost,
    /// It is taken, and the answer does not come.
    Unanswered,
}

impl Stage {
    fn new(per_minute: u32, per_week: u32) -> Self {
        Self {
            quota: BookingQuota { per_minute, per_week },
            status: BookingQuotaStatus::default(),
            ledger: Ledger::default(),
            time: Duration::ZERO,
            ahead: SignedDuration::ZERO,
            underway: VecDeque::new(),
            got: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        let passed = SignedDuration::try_from(self.time).unwrap();
        Now { wall: start() + passed + self.ahead, passed: self.time }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.time + time;
        while let Some(end) = self.underway.iter().copied().filter(|end| *end <= until).min() {
            self.underway.retain(|one| *one != end);
            self.time = self.time.max(end);
            self.ledger.ended(end);
        }
        self.time = until;
    }

    /// Another process, which knows what the status says. Calls under way are cut off, or got by the product all the same.
    fn takeover(&mut self) {
        self.ledger = Ledger::default();
        self.underway.clear();
    }

    /// Asks for a call that the product gets after `late`, and that ends then.
    fn call(&mut self, purpose: Purpose, write: Write, late: Duration) -> Result<(), Option<Exhausted>> {
        for _ in 0..3 {
            let now = self.now();
            match self.ledger.take(&self.quota, purpose, "uid", now) {
                Taken::Yes => {
                    // Times of their own, so that each is one.
                    let mut end = self.time + late;
                    while self.underway.contains(&end) {
                        end += Duration::from_nanos(1);
                    }
                    self.got.push(end);
                    self.underway.push_back(end);
                    return Ok(());
                }
                Taken::No(exhausted) => return Err(Some(exhausted)),
                Taken::NoChunk => {}
            }
            let reservation = self.ledger.reserve(&self.status, &self.quota, purpose, now);
            if write != Write::Lost {
                // Through JSON, in which times are whole seconds.
                let text = serde_json::to_string(&reservation.status).unwrap();
                self.status = serde_json::from_str(&text).unwrap();
                assert!(self.status.recent.len() <= 64 && self.status.week.len() <= 40, "{text}");
            }
            if write != Write::Good {
                return Err(None);
            }
            if let Some(exhausted) = self.ledger.written(reservation, &self.quota, purpose, "uid", now) {
                return Err(Some(exhausted));
            }
        }
        panic!("a chunk was set aside, and nothing could be taken out of it");
    }

    fn judge(&mut self) {
        self.got.sort_unstable();
        for (window, most) in [
            (Duration::from_mins(1), self.quota.per_minute),
            (Duration::from_hours(7 * 24), self.quota.per_week),
        ] {
            let most = usize::try_from(most).unwrap();
            for (first, last) in self.got.iter().zip(self.got.iter().skip(most)) {
                assert!(last.saturating_sub(*first) >= window, "{most} in {window:?}: {first:?} to {last:?}");
            }
        }
    }
}

#[test]
fn what_is_left_of_a_minute_is_told_and_comes() {
    let mut stage = Stage::new(3, 1000);
    for _ in 0..3 {
        stage.call(Purpose::Put, Write::Good, Duration::ZERO).unwrap();
        stage.pass(Duration::from_millis(1));
    }
    let told =
        |stage: &mut Stage| stage.call(Purpose::Put, Write::Good, Duration::ZERO).unwrap_err().unwrap();
    let first = told(&mut stage);
    assert_eq!(first.window, Window::Minute);
    assert!((Duration::from_mins(1)..Duration::from_secs(90)).contains(&first.wait), "{first:?}");
    let second = told(&mut stage);
    assert_eq!(
        second.wait.saturating_sub(first.wait),
        Duration::from_secs(20),
        "each has a place of its own"
    );
    stage.pass(first.wait);
    stage.call(Purpose::Put, Write::Good, Duration::ZERO).unwrap();
    stage.judge();
}

#[test]
fn a_cancellation_goes_before_bookings() {
    let mut stage = Stage::new(2, 1000);
    for _ in 0..2 {
        stage.call(Purpose::Put, Write::Good, Duration::ZERO).unwrap();
    }
    let put = stage.call(Purpose::Put, Write::Good, Duration::ZERO).unwrap_err().unwrap();
    let cancel = stage.call(Purpose::Cancel, Write::Good, Duration::ZERO).unwrap_err().unwrap();
    assert!(cancel.wait < put.wait);
    stage.pass(cancel.wait + Duration::from_millis(1));
    let one = |stage: &mut Stage, purpose| stage.call(purpose, Write::Good, Duration::ZERO).is_ok();
    assert!(one(&mut stage, Purpose::Put), "two are free, and one of them is left for the cancellation");
    assert!(!one(&mut stage, Purpose::Put));
    assert!(one(&mut stage, Purpose::Cancel));
}

#[test]
fn a_part_of_a_large_quota_is_left_to_cancellations() {
    let mut stage = Stage::new(100, 100);
    let count = |stage: &mut Stage, purpose| {
        (0..200).take_while(|_| stage.call(purpose, Write::Good, Duration::ZERO).is_ok()).count()
    };
    assert_eq!(count(&mut stage, Purpose::Put), 95);
    assert_eq!(count(&mut stage, Purpose::Cancel), 5);
    stage.judge();
}

#[test]
fn a_week_that_is_used_up_says_when_it_goes_on() {
    let mut stage = Stage::new(10, 10);
    for _ in 0..10 {
        stage.call(Purpose::Put, Write::Good, Duration::ZERO).unwrap();
    }
    stage.pass(Duration::from_mins(2));
    let exhausted = stage.call(Purpose::Put, Write::Good, Duration::ZERO).unwrap_err().unwrap();
    assert_eq!(exhausted.window, Window::Week);
    let until = stage.status.exhausted_until.clone().unwrap().0;
    assert_eq!(until.to_string(), "2026-11-30T12:02:00Z", "a week and two minutes after the end of the span");
    stage.pass(exhausted.wait);
    stage.call(Purpose::Put, Write::Good, Duration::ZERO).unwrap();
    assert_eq!(stage.status.exhausted_until, None);
    stage.judge();
}

#[test]
fn what_was_not_used_of_a_chunk_is_given_back() {
    let mut stage = Stage::new(1000, 100_000);
    for _ in 0..30 {
        stage.call(Purpose::Put, Write::Good, Duration::ZERO).unwrap();
    }
    for _ in 0..5 {
        stage.pass(Duration::from_mins(1));
        stage.call(Purpose::Put, Write::Good, Duration::ZERO).unwrap();
    }
    let reserved: u32 = stage.status.week.iter().map(|span| span.reserved).sum();
    assert!((35..=36).contains(&reserved), "{reserved}");
}

#[test]
fn a_crash_wastes_what_was_left_of_a_chunk() {
    let mut stage = Stage::new(10, 1000);
    stage.call(Purpose::Put, Write::Good, Duration::ZERO).unwrap();
    for _ in 0..30 {
        stage.takeover();
        let _told = stage.call(Purpose::Put, Write::Unanswered, Duration::ZERO);
    }
    stage.takeover();
    let told = stage.call(Purpose::Put, Write::Good, Duration::ZERO).unwrap_err().unwrap();
    assert_eq!(told.window, Window::Minute);
    stage.pass(told.wait);
    stage.call(Purpose::Put, Write::Good, Duration::ZERO).unwrap();
    stage.judge();
}

/// The wall clock of one process may go wrong by days: what it let through itself it counts by the time that passed.
#[test]
fn a_clock_that_is_set_forward_by_a_day_does_not_empty_the_minute() {
    let mut stage = Stage::new(20, 100_000);
    let calls = |stage: &mut Stage| {
        (0..100).take_while(|_| stage.call(Purpose::Cancel, Write::Good, Duration::ZERO).is_ok()).count()
    };
    assert_eq!(calls(&mut stage), 20);
    stage.ahead += SignedDuration::from_hours(24);
    stage.pass(Duration::from_secs(30));
    assert_eq!(calls(&mut stage), 0);
    stage.pass(Duration::from_mins(1));
    assert_eq!(calls(&mut stage), 20);
    // And back: what the wrong clock set aside counts from when another process sees it, and not for a day.
    stage.ahead -= SignedDuration::from_hours(24);
    stage.takeover();
    let told = stage.call(Purpose::Cancel, Write::Good, Duration::ZERO).unwrap_err().unwrap();
    assert!(told.wait < Duration::from_mins(5), "{told:?}");
    stage.pass(told.wait);
    assert_eq!(calls(&mut stage), 20);
    stage.judge();
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Calls(u8, Purpose, Write, u64),
    Takeover,
    ClockBack(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let purpose = prop_oneof![3 => Just(Purpose::Put), 1 => Just(Purpose::Cancel)];
    let write = prop_oneof![6 => Just(Write::Good), 1 => Just(Write::Lost), 1 => Just(Write::Unanswered)];
    prop_oneof![
        4 => (0_u64..15_000).prop_map(Step::Pass),
        1 => (0_u64..100_000_000).prop_map(Step::Pass),
        8 => (1_u8..40, purpose, write, 0_u64..90_000).prop_map(|(n, purpose, write, late)| Step::Calls(n, purpose, write, late)),
        2 => Just(Step::Takeover),
        1 => (0_i64..400).prop_map(Step::ClockBack),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn there_is_never_a_call_too_many(
        per_minute in 1_u32..60,
        weeks in 1_u32..20,
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut stage = Stage::new(per_minute, per_minute * weeks);
        for step in steps {
            match step {
                Step::Pass(milliseconds) => stage.pass(Duration::from_millis(milliseconds)),
                Step::Calls(calls, purpose, write, late) => {
                    for number in 0..u64::from(calls) {
                        let late = Duration::from_millis(late / (number + 1));
                        let _told = stage.call(purpose, write, late);
                    }
                }
                Step::Takeover => stage.takeover(),
                Step::ClockBack(seconds) => stage.ahead -= SignedDuration::from_secs(seconds),
            }
        }
        stage.judge();
    }

    /// Set forward by no more than calls stay below their longest time under way: what others set aside counts that much too short.
    #[test]
    fn a_clock_that_is_set_forward_within_the_margin_leads_to_no_call_too_many(
        per_minute in 1_u32..60,
        weeks in 1_u32..20,
        before in proptest::collection::vec(step(), 0..60),
        forward in 0_i64..60,
        after in proptest::collection::vec(step(), 1..60),
    ) {
        let mut stage = Stage::new(per_minute, per_minute * weeks);
        let play = |stage: &mut Stage, steps: Vec<Step>| {
            for step in steps {
                match step {
                    Step::Pass(milliseconds) => stage.pass(Duration::from_millis(milliseconds)),
                    Step::Calls(calls, purpose, write, late) => {
                        for _ in 0..calls {
                            let _told = stage.call(purpose, write, Duration::from_millis(late / 3));
                        }
                    }
                    Step::Takeover => stage.takeover(),
                    Step::ClockBack(_) => {}
                }
            }
        };
        play(&mut stage, before);
        stage.ahead += SignedDuration::from_secs(forward);
        play(&mut stage, after);
        stage.judge();
    }

    /// Waiting as told leads to a call, so that nobody waits for ever.
    #[test]
    fn whoever_waits_as_told_is_served(
        per_minute in 1_u32..30,
        weeks in 1_u32..5,
        before in proptest::collection::vec(step(), 0..60),
        purpose in prop_oneof![Just(Purpose::Put), Just(Purpose::Cancel)],
    ) {
        let mut stage = Stage::new(per_minute, per_minute * weeks);
        for step in before {
            match step {
                Step::Pass(milliseconds) => stage.pass(Duration::from_millis(milliseconds)),
                Step::Calls(calls, purpose, write, late) => {
                    for _ in 0..calls {
                        let _told = stage.call(purpose, write, Duration::from_millis(late));
                    }
                }
                Step::Takeover => stage.takeover(),
                Step::ClockBack(_) => {}
            }
        }
        // Others that were told a place and did not come back do not hold it for ever.
        for _ in 0..4 {
            match stage.call(purpose, Write::Good, Duration::ZERO) {
                Ok(()) => return Ok(()),
                Err(told) => stage.pass(told.unwrap().wait + Duration::from_secs(30)),
            }
        }
        prop_assert!(stage.call(purpose, Write::Good, Duration::ZERO).is_ok());
    }
}
