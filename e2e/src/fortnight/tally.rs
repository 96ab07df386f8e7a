//! What the two weeks came to.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::Value;

/// Figures of a rehearsal.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Mailboxes that were found without a living subscription while nothing was due.
    pub expired: usize,
    /// Subscriptions at Graph beyond one for each mailbox.
    pub duplicates: usize,
    /// Subscriptions at Graph that no object knows of.
    pub orphans: usize,
    /// Renewals in the busiest minute against the mean of the minutes in which renewals were due, 1 at the least.
    pub busiest_minute_ratio: f64,
    /// Renewals that succeeded.
    pub renewals: usize,
    /// Faults that were injected, of every kind.
    pub faults: u64,
    /// Kinds of faults that were injected.
    pub kinds: usize,
}

/// Counts as it goes.
#[derive(Default)]
pub(super) struct Tally {
    expired: usize,
}

impl Tally {
    pub(super) fn note_expired(&mut self, mailboxes: usize) {
        self.expired += mailboxes;
    }

    /// From what the objects know (user, subscription), what lives at Graph and what Graph was asked.
    pub(super) fn conclude(
        self,
        known: &[(String, String)],
        living: &[Value],
        requests: &[Value],
        injected: &Value,
    ) -> anyhow::Result<Figures> {
        let ids: HashSet<&str> = known.iter().map(|(_, id)| id.as_str()).collect();
        let mut per_user: HashMap<&str, usize> = HashMap::new();
        let mut orphans = 0;
        for one in living {
            *per_user.entry(text(one, "userId")?).or_default() += 1;
            orphans += usize::from(!ids.contains(text(one, "id")?));
        }
        let injected = injected.get("injected").and_then(Value::as_object).context("no member injected")?;
        let mut renewals = Vec::new();
        for one in requests {
            let status = one.get("status").and_then(Value::as_u64);
            if text(one, "method")? == "PATCH" && status == Some(200) {
                renewals.push(text(one, "time")?.parse::<Timestamp>()?);
            }
        }
        Ok(Figures {
            expired: self.expired,
            duplicates: per_user.values().map(|count| count - 1).sum(),
            orphans,
            busiest_minute_ratio: busiest_minute_ratio(&renewals),
            renewals: renewals.len(),
            faults: injected.values().filter_map(Value::as_u64).sum(),
            kinds: injected.len(),
        })
    }
}

fn text<'a>(object: &'a Value, member: &str) -> anyhow::Result<&'a str> {
    object.get(member).and_then(Value::as_str).with_context(|| format!("no member {member}"))
}

/// Times that lie further apart than this belong to different rounds of renewals.
const PAUSE_MINUTES: i64 = 12 * 60;

/// The busiest minute of each round against the mean of that round, from its first renewal to its last. A minute cannot hold
/// less than one renewal, so that the mean counts as 1 at the least.
fn busiest_minute_ratio(times: &[Timestamp]) -> f64 {
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

    #[test]
    fn what_is_too_much_at_graph_is_counted() {
        let known = [("u1".to_owned(), "s1".to_owned()), ("u2".to_owned(), "s2".to_owned())];
        let living = ["s1", "s3"].map(|id| serde_json::json!({"id": id, "userId": "u1"}));
        let requests = [
            serde_json::json!({"method": "PATCH", "status": 200, "time": "2026-11-23T10:00:00Z"}),
            serde_json::json!({"method": "PATCH", "status": 429, "time": "2026-11-23T10:00:00Z"}),
        ];
        let injected =
            serde_json::json!({"injected": {"throttled": 3, "timeout": 1}, "lostNotifications": 0});
        let figures = Tally::default().conclude(&known, &living, &requests, &injected).unwrap();
        assert_eq!((figures.duplicates, figures.orphans), (1, 1));
        assert_eq!((figures.renewals, figures.faults, figures.kinds), (1, 4, 2));
    }
}
