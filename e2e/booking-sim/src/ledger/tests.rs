//! The rules of the ledger, without a network.

use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn wanted(resource: &str, start: i64, end: i64) -> Wanted {
    Wanted {
        all_day: false,
        resource_id: resource.to_owned(),
        start: Timestamp::from_second(start).unwrap(),
        end: Timestamp::from_second(end).unwrap(),
        subject: None,
        organizer: None,
        attendees: Vec::new(),
        i_cal_u_id: "0400".to_owned(),
        recurrence: None,
    }
}

/// What each interval is answered while `a` holds 100 to 200 and `b` 300 to 400.
#[test]
fn intervals_are_half_open() {
    for (start, end, free) in [
        (0, 50, true),
        (0, 100, true),
        (0, 101, false),
        (100, 200, false),
        (120, 150, false),
        (199, 250, false),
        (200, 300, true),
        (200, 301, false),
        (50, 500, false),
        (399, 500, false),
        (400, 500, true),
    ] {
        let mut ledger = Ledger::default();
        ledger.put("a", "1", wanted("room", 100, 200), NOW).unwrap();
        ledger.put("b", "2", wanted("room", 300, 400), NOW).unwrap();
        assert_eq!(ledger.put("c", "3", wanted("room", start, end), NOW).is_ok(), free, "{start} to {end}");
        assert!(ledger.put("d", "4", wanted("other", start, end), NOW).is_ok());
    }
}

/// The index by start against a comparison of every pair, over all small moves of three bookings on two resources.
#[test]
fn the_index_finds_what_a_comparison_of_all_pairs_finds() {
    let mut ledger = Ledger::default();
    let mut plain: BTreeMap<&str, (&str, i64, i64)> = BTreeMap::new();
    let (mut taken, mut free, mut deleted) = (0, 0, 0);
    for step in 0_i64..4000 {
        // A fixed walk without a pattern that a wrong index could fit by luck.
        let mixed = step.wrapping_mul(6_364_136_223_846_793_005).rotate_left(29).unsigned_abs();
        let key = ["a", "b", "c"][usize::try_from(mixed % 3).unwrap()];
        let resource = ["room", "other"][usize::try_from(mixed / 3 % 2).unwrap()];
        let start = i64::try_from(mixed / 6 % 10).unwrap();
        let end = start + 1 + i64::try_from(mixed / 60 % 5).unwrap();
        if mixed / 300 % 8 == 0 {
            assert_eq!(ledger.delete(key), plain.remove(key).is_some());
            deleted += 1;
            continue;
        }
        let clash =
            plain.iter().any(|(other, at)| *other != key && at.0 == resource && start < at.2 && at.1 < end);
        let answer = ledger.put(key, &step.to_string(), wanted(resource, start, end), NOW);
        assert_eq!(answer.is_err(), clash, "step {step}");
        if clash {
            taken += 1;
        } else {
            plain.insert(key, (resource, start, end));
            free += 1;
        }
        assert_eq!(ledger.plan.values().map(BTreeMap::len).sum::<usize>(), plain.len());
    }
    assert!(taken > 100 && free > 100 && deleted > 100, "{taken} {free} {deleted}");
}

#[test]
fn answers_are_remembered_up_to_the_limit() {
    let mut ledger = Ledger::default();
    for number in 0..=ANSWERS {
        ledger.put("a", &number.to_string(), wanted("room", 100, 200), NOW).unwrap();
    }
    assert_eq!(ledger.answered.len(), ANSWERS);
    assert_eq!(ledger.order.len(), ANSWERS);
    let other = wanted("room", 300, 400);
    assert!(ledger.put("a", "1", other.clone(), NOW).is_err(), "still remembered");
    assert!(ledger.put("a", "0", other, NOW).is_ok(), "the oldest is forgotten");
}
