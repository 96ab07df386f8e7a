//! Identifiers in the form that Exchange gives them.

use data_encoding::{BASE64, BASE64URL, HEXUPPER};
use jiff::{Span, civil::Date};

/// Shortest text that is taken for an event's id; anything shorter is malformed.
const SHORTEST: usize = 64;

/// The default id of an item: 152 characters, `AAMkA…=`.
pub(super) fn default_id() -> String {
    item_id(&[0x00, 0x03, 0x24, 0x00], 113)
}

/// The immutable id of an item: `AAkAL…=`.
pub(super) fn immutable_id() -> String {
    item_id(&[0x00, 0x09, 0x00, 0x2c], 65)
}

fn item_id(prefix: &[u8], length: usize) -> String {
    let mut bytes = prefix.to_vec();
    bytes.extend((prefix.len()..length).map(|_| rand::random::<u8>()));
    BASE64URL.encode(&bytes)
}

/// What an occurrence's id has after its series' id: a mark, and the date as Exchange counts time.
const OF_OCCURRENCE: [u8; 3] = [0x51, 0x00, 0x08];
/// Steps of Exchange's time in a day: 100 nanoseconds each, since the year 1.
const STEPS: i64 = 864_000_000_000;
/// The day that Exchange's time begins with.
const FIRST_DAY: Date = Date::constant(1, 1, 1);

/// The id of an occurrence: it is its series' id and the date, and so as stable as both.
pub(super) fn of_occurrence(master: &str, date: Date) -> String {
    let mut bytes = BASE64URL.decode(master.as_bytes()).unwrap_or_default();
    let days = i64::from((date - FIRST_DAY).get_days());
    bytes.extend(OF_OCCURRENCE);
    bytes.extend(days.saturating_mul(STEPS).to_le_bytes());
    BASE64URL.encode(&bytes)
}

/// The series' id and the date that an occurrence's id is made of.
pub(super) fn split_occurrence(id: &str) -> Option<(String, Date)> {
    let bytes = BASE64URL.decode(id.as_bytes()).ok()?;
    let (rest, steps) = bytes.split_last_chunk::<8>()?;
    let master = rest.strip_suffix(&OF_OCCURRENCE)?;
    let steps = i64::from_le_bytes(*steps);
    if steps < 0 || steps % STEPS != 0 {
        return None;
    }
    let date = FIRST_DAY.checked_add(Span::new().try_days(steps / STEPS).ok()?).ok()?;
    Some((BASE64URL.encode(master), date))
}

/// An occurrence's own id over all calendars: its date is where the series has none.
pub(super) fn i_cal_u_id_of_occurrence(master: &str, date: Date) -> String {
    let mut bytes = HEXUPPER.decode(master.as_bytes()).unwrap_or_default();
    let ([high, low], [month], [day]) =
        (date.year().to_be_bytes(), date.month().to_be_bytes(), date.day().to_be_bytes());
    let written = [high, low, month, day];
    if let Some(place) = bytes.get_mut(16..20) {
        place.copy_from_slice(&written);
    }
    HEXUPPER.encode(&bytes)
}

/// Whether a text can be an id at all.
pub(super) fn is_well_formed(id: &str) -> bool {
    id.len() >= SHORTEST && id.starts_with("AA") && BASE64URL.decode(id.as_bytes()).is_ok()
}

/// A new version of an item.
pub(super) fn change_key() -> String {
    let mut bytes = vec![0x0f, 0x00, 0x00, 0x00, 0x16, 0x00, 0x00, 0x00];
    bytes.extend(rand::random::<[u8; 22]>());
    BASE64.encode(&bytes)
}

/// The id of an event over all calendars.
pub(super) fn i_cal_u_id() -> String {
    let mut bytes = vec![
        0x04, 0x00, 0x00, 0x00, 0x82, 0x00, 0xe0, 0x00, 0x74, 0xc5, 0xb7, 0x10, 0x1a, 0x82, 0xe0, 0x08, 0, 0,
        0, 0,
    ];
    bytes.extend(rand::random::<[u8; 36]>());
    HEXUPPER.encode(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_look_like_exchange_ids() {
        let (default, immutable) = (default_id(), immutable_id());
        assert!(default.starts_with("AAMk") && default.ends_with('='), "{default}");
        assert!(immutable.starts_with("AAkA") && immutable.ends_with('='), "{immutable}");
        assert!(is_well_formed(&default) && is_well_formed(&immutable));
        assert!(i_cal_u_id().starts_with("040000008200E00074C5B7101A82E008"));
        let date = Date::constant(2026, 12, 1);
        for master in [&default, &immutable] {
            let id = of_occurrence(master, date);
            assert!(is_well_formed(&id));
            assert_eq!(split_occurrence(&id), Some((master.clone(), date)));
            assert_eq!(split_occurrence(master), None);
        }
        let uid = i_cal_u_id_of_occurrence(&i_cal_u_id(), date);
        assert!(uid.starts_with("040000008200E00074C5B7101A82E00807EA0C01"), "{uid}");
        for bad in ["", "1", "AAMkAD=", &"!".repeat(152), &default.to_ascii_lowercase()] {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }
}
