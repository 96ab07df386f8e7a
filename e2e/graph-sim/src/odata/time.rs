//! Dates and times in the one form that OData has for them.

use jiff::{Timestamp, civil::DateTime};

/// `Edm.DateTimeOffset`: date, `T`, time, offset.
pub(crate) fn with_offset(text: &str) -> Option<Timestamp> {
    if is_plain(text) { text.parse().ok() } else { None }
}

/// A date and time without an offset.
pub(crate) fn without_offset(text: &str) -> Option<DateTime> {
    let (_, time) = text.split_once('T')?;
    // The parser would drop an offset without a word.
    if is_plain(text) && !time.contains(['Z', '+', '-']) { text.parse().ok() } else { None }
}

/// Spaces, zone names and lower case are other dialects.
fn is_plain(text: &str) -> bool {
    text.contains('T')
        && text.chars().all(|c| c.is_ascii_digit() || matches!(c, 'T' | ':' | '.' | '+' | '-' | 'Z'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_dialects_are_refused() {
        assert!(with_offset("2026-01-01T12:00:00.1234567Z").is_some());
        assert!(with_offset("2026-01-01T12:00:00+05:30").is_some());
        assert!(without_offset("2026-01-01T12:00:00.1234567").is_some());
        for bad in [
            "",
            "2026-01-01",
            "2026-01-01 12:00:00Z",
            "2026-01-01T12:00:00",
            "2026-01-01T12:00:00+01:00[Europe/Berlin]",
        ] {
            assert_eq!(with_offset(bad), None, "{bad}");
        }
        for bad in [
            "",
            "2026-01-01",
            "2026-01-01 12:00:00",
            "2026-01-01T12:00:00Z",
            "2026-01-01T12:00:00-01:00",
            "2026-13-01T00:00:00",
        ] {
            assert_eq!(without_offset(bad), None, "{bad}");
        }
    }
}
