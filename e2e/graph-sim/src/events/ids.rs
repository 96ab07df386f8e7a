//! Identifiers in the form that Exchange gives them.

use data_encoding::{BASE64, BASE64URL, HEXUPPER};

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
        for bad in ["", "1", "AAMkAD=", &"!".repeat(152), &default.to_ascii_lowercase()] {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }
}
