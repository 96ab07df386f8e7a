//! How evenly renewals are spread.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// Times that lie further apart than this belong to different rounds of renewals.
const PAUSE_MINUTES: i64 = 12 * 60;

/// The busiest minute of each round against the mean of that round, from its first renewal to its last. A minute cannot hold
/// less than one renewal, so that the mean counts as 1 at the least.
pub(super) fn busiest_minute_ratio(times: &[Timestamp]) -> f64 {
    let mut minutes: BTreeMap<i64, u32> = BTreeMap::new();
    for time in times {
        *minutes.entry(time.as_second() / 60).or_default() += 1;
    }
    let mut rounds: Vec<Vec<(i64, u32)>> = Vec::new();
    for (minute, count) in minutes {
        match rounds.last_mut() {
            Some(round) if round.last().is_some_and(|(last, _)| minute - last <= PAUSE_MINUTES) => {
                round.push((minute, count));
            }
            _ => rounds.push(vec![(minute, count)]),
        }
    }
    rounds.iter().map(|round| ratio(round)).fold(0.0, f64::max)
}

fn ratio(round: &[(i64, u32)]) -> f64 {
    let (Some((first, _)), Some((last, _))) = (round.first(), round.last()) else { return 0.0 };
    let total: u32 = round.iter().map(|(_, count)| count).sum();
    let busiest = round.iter().map(|(_, count)| *count).max().unwrap_or_default();
    let length = u32::try_from(last - first + 1).unwrap_or(u32::MAX);
    f64::from(busiest) / (f64::from(total) / f64::from(length)).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: impl IntoIterator<Item = i64>) -> Vec<Timestamp> {
        minutes.into_iter().map(|minute| Timestamp::from_second(minute * 60).unwrap()).collect()
    }

    fn near(ratio: f64, expected: f64) -> bool {
        (ratio - expected).abs() < 1e-9
    }

    #[test]
    fn a_bunch_shows_and_an_even_spread_does_not() {
        assert!(near(busiest_minute_ratio(&at(0..100)), 1.0));
        assert!(near(busiest_minute_ratio(&at((0..100).map(|minute| minute * 5))), 1.0), "sparse");
        assert!(near(busiest_minute_ratio(&at((0..100).chain([50; 9]))), 10.0 / 1.09));
        assert!(
            near(busiest_minute_ratio(&at((0..10).chain([9_000, 9_000, 9_001, 9_001]))), 1.0),
            "two rounds"
        );
    }
}
