//! Deterministic object names and keys. The same input gives the same name in every process, so that repeating a step
//! changes nothing. No personal data can be read from them.

use data_encoding::BASE32_NOPAD;
use sha2::{Digest as _, Sha256};

/// Characters of a name's hash: 130 bits.
const HASH_CHARS: usize = 26;

/// Hash over `parts`, each with its length before it so that ("ab","c") and ("a","bc") differ; `kind` separates uses.
fn hash(kind: &str, parts: &[&str]) -> String {
    let mut sha = Sha256::new();
    for part in std::iter::once(&kind).chain(parts) {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part.as_bytes());
    }
    let mut text = BASE32_NOPAD.encode(&sha.finalize()).to_ascii_lowercase();
    text.truncate(HASH_CHARS);
    text
}

/// Name of the ConsentRecord of this user in this scope that has `earlier` ones before it, withdrawn or not.
///
/// Whoever grants at the same time gives the same name; granting after a withdrawal, or to another notice, gives a new one.
pub fn consent_record(scope_uid: &str, user_id: &str, earlier: usize) -> String {
    format!("consent-{}", hash("consent", &[scope_uid, user_id, &earlier.to_string()]))
}

/// Name of the CalendarSubscription that the operator makes from a consent.
pub fn calendar_subscription(scope_uid: &str, user_id: &str) -> String {
    format!("calendar-{}", hash("calendar", &[scope_uid, user_id]))
}

/// Name of the BookingRecord of an event: the immutable id of the single event or of the series master.
pub fn booking_record(tenant_id: &str, user_id: &str, event_id: &str) -> String {
    format!("booking-{}", hash("booking", &[tenant_id, user_id, event_id]))
}

/// Key of one resource's booking at the booking product: safe in a URL path, stable over the life of the record.
pub fn booking_key(record_name: &str, resource_id: &str) -> String {
    format!("{record_name}-{}", hash("resource", &[resource_id]))
}

/// Short stable stand-in for an identifier in logs, where the identifier itself would say too much.
pub fn log_hash(identifier: &str) -> String {
    let mut text = hash("log", &[identifier]);
    text.truncate(12);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable_and_distinct() {
        assert_eq!(consent_record("u", "v", 0), consent_record("u", "v", 0));
        assert_ne!(consent_record("u", "v", 0), consent_record("u", "v", 1));
        assert_ne!(booking_record("ab", "c", "d"), booking_record("a", "bc", "d"));
        assert_ne!(booking_key("r", "1"), booking_key("r", "2"));
        let name = booking_record("t", "u", "AAMkAD=-_");
        assert_eq!(name.len(), "booking-".len() + HASH_CHARS);
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
    }
}
