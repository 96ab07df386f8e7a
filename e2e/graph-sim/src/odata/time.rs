//! Dates and times in the one form that OData has for them: parsers take others too.

use jiff::{
    Timestamp,
    civil::{Date, DateTime},
};

/// Most fractional digits of a second.
const FRACTION: usize = 12;
/// Fractional digits that are kept.
const KEPT: usize = 9;

/// `Edm.DateTimeOffset`: date, `T`, time, offset.
pub(crate) fn with_offset(text: &str) -> Option<Timestamp> {
    let (local, offset) = split(text)?;
    // An hour of offset more than there is in the world.
    let fits = |sign: &str| {
        let (hours, minutes) = sign.split_once(':')?;
        (number(hours, 2)? <= 14 && number(minutes, 2)? <= 59).then_some(())
    };
    match offset.strip_prefix(['+', '-']) {
        Some(distance) => fits(distance)?,
        None if offset == "Z" => {}
        None => return None,
    }
    format!("{}{offset}", plain(local)?).parse().ok()
}

/// A date and time without an offset.
pub(crate) fn without_offset(text: &str) -> Option<DateTime> {
    let (local, offset) = split(text)?;
    if offset.is_empty() { plain(local)?.parse().ok() } else { None }
}

/// `Edm.Date`.
pub(crate) fn date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    for length in [4, 2, 2] {
        number(parts.next()?, length)?;
    }
    if parts.next().is_none() { text.parse().ok() } else { None }
}

/// Before the offset, and the offset.
fn split(text: &str) -> Option<(&str, &str)> {
    let time = text.find('T')?;
    let offset = text.get(time..)?.find(['Z', '+', '-']).map_or(text.len(), |at| time + at);
    text.split_at_checked(offset)
}

/// `YYYY-MM-DDThh:mm[:ss[.f]]`, with seconds and no more digits than are kept.
fn plain(local: &str) -> Option<String> {
    let (day, time) = local.split_once('T')?;
    date(day)?;
    let (time, fraction) = time.split_once('.').map_or((time, None), |(time, rest)| (time, Some(rest)));
    let mut parts = time.split(':');
    let (hours, minutes) = (parts.next()?, parts.next()?);
    let seconds = parts.next();
    if parts.next().is_some() || (fraction.is_some() && seconds.is_none()) {
        return None;
    }
    let seconds = seconds.unwrap_or("00");
    for part in [hours, minutes, seconds] {
        // A leap second would become the second before it.
        number(part, 2).filter(|part| *part <= 59)?;
    }
    let fraction = fraction.unwrap_or("0");
    if fraction.len() > FRACTION {
        return None;
    }
    number(fraction, fraction.len())?;
    let kept = fraction.get(..KEPT).unwrap_or(fraction);
    Some(format!("{day}T{hours}:{minutes}:{seconds}.{kept}"))
}

/// So many digits and nothing else.
fn number(text: &str, digits: usize) -> Option<u64> {
    let all = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    if all { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_taken_whole() {
        let whole: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        for good in [
            "2026-01-01T12:00Z",
            "2026-01-01T12:00:00Z",
            "2026-01-01T12:00:00.0Z",
            "2026-01-01T12:00:00.000000000000Z",
            "2026-01-01T14:00:00+02:00",
            "2026-01-01T06:30-05:30",
            "2026-01-02T02:00:00+14:00",
        ] {
            assert_eq!(with_offset(good), Some(whole), "{good}");
        }
        assert_eq!(with_offset("2026-01-01T12:00:00.1234567Z").unwrap().subsec_nanosecond(), 123_456_700);
        assert_eq!(
            with_offset("2026-01-01T12:00:00.123456789012Z").unwrap().subsec_nanosecond(),
            123_456_789
        );
        assert!(without_offset("2026-01-01T12:00:00.1234567").is_some());
        assert_eq!(without_offset("2026-01-01T12:00"), without_offset("2026-01-01T12:00:00.000"));
        assert_eq!(date("2026-01-31").map(|date| date.to_string()).as_deref(), Some("2026-01-31"));
    }

    #[test]
    fn other_dialects_are_refused() {
        for bad in [
            "",
            "T",
            "2026-01-01",
            "2026-01-01 12:00:00",
            "2026-01-01t12:00:00",
            "20260101T120000",
            "20260101T12:00:00",
            "2026-01-01T120000",
            "2026-01-01T12",
            "2026-01-01T1:00:00",
            "2026-01-01T12:00:",
            "2026-01-01T12:00.5",
            "2026-01-01T12:00:00.",
            "2026-01-01T12:00:00,5",
            "2026-01-01T12:00:00.1234567890123",
            "2026-01-01T12:00:60",
            "2026-01-01T24:00:00",
            "2026-13-01T00:00:00",
            "2026-02-30T00:00:00",
            "2026-W01-1T00:00:00",
            "2026-001T00:00:00",
            "+002026-01-01T12:00:00",
        ] {
            assert_eq!(without_offset(bad), None, "{bad}");
            for offset in ["", "Z", "+01:00"] {
                assert_eq!(with_offset(&format!("{bad}{offset}")), None, "{bad}{offset}");
            }
        }
        let good = "2026-01-01T12:00:00";
        for bad in [
            "",
            "z",
            "ZZ",
            "+01",
            "+0100",
            "+1:00",
            "+15:00",
            "+01:60",
            "+01:00:00",
            "+01:00[Europe/Berlin]",
            "−01:00",
        ] {
            assert_eq!(with_offset(&format!("{good}{bad}")), None, "{bad}");
        }
        for offset in ["Z", "+01:00", "-01:00"] {
            assert_eq!(without_offset(&format!("{good}{offset}")), None, "{offset}");
        }
        for bad in ["", "20260101", "2026-1-1", "2026-01-01T00:00", "2026-02-30", "2026-01-01-", "-026-01-01"]
        {
            assert_eq!(date(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_strange(text: String) {
            let _ = (with_offset(&text), without_offset(&text), date(&text));
        }

        #[test]
        fn every_moment_reads_back(seconds in 0_i64..4_000_000_000, nanoseconds in 0_i32..1_000_000_000) {
            let time = Timestamp::new(seconds, nanoseconds).unwrap();
            proptest::prop_assert_eq!(with_offset(&format!("{time:.9}")), Some(time));
        }
    }
}
