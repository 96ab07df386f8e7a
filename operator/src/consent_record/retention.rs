//! When a withdrawn consent leaves the register, where the scope does not keep it for good. Pure.

use std::time::Duration;

use jiff::Timestamp;
use roomkeeper_crds::ConsentRecord;

/// When the record of a withdrawn consent may go at the earliest; `None` while it stands. `kept` is how long it is kept.
///
/// `withdrawn.at` is a claim of whoever withdrew it: a record is never younger than the API server says that it was changed last.
pub fn leaves_at(record: &ConsentRecord, kept: Duration) -> Option<Timestamp> {
    let withdrawn = record.spec.withdrawn.as_ref()?.at.0;
    let metadata = &record.metadata;
    let changes = metadata.managed_fields.iter().flatten().filter(|entry| entry.subresource.is_none());
    let known = changes.filter_map(|entry| entry.time.as_ref()).chain(&metadata.creation_timestamp);
    let latest = known.map(|time| time.0).fold(withdrawn, Timestamp::max);
    // A time beyond what can be told is never reached.
    Some(latest.checked_add(kept).unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> ConsentRecord {
        let record = include_str!("../fixtures/consent_record.yaml");
        serde_yaml::from_str(&format!("{record}{text}")).unwrap()
    }

    const WITHDRAWN: &str = "  withdrawn: {at: \"2026-11-23T11:00:00Z\", by: support, reason: ticket 1}\n";
    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn a_standing_consent_stays() {
        assert_eq!(leaves_at(&record(""), HOUR), None);
    }

    #[test]
    fn a_withdrawn_one_goes_after_its_time_however_early_the_withdrawal_claims_to_be() {
        let mut record = record(WITHDRAWN);
        assert_eq!(leaves_at(&record, HOUR), Some("2026-11-23T12:00:00Z".parse().unwrap()));
        record.metadata.creation_timestamp = serde_yaml::from_str("\"2026-11-23T11:30:00Z\"").unwrap();
        assert_eq!(leaves_at(&record, HOUR), Some("2026-11-23T12:30:00Z".parse().unwrap()));
        record.metadata.managed_fields = serde_yaml::from_str(
            "[{manager: support, operation: Update, time: \"2026-11-23T15:00:00Z\"}, \
              {manager: operator, operation: Apply, subresource: status, time: \"2026-11-23T19:00:00Z\"}]",
        )
        .unwrap();
        assert_eq!(leaves_at(&record, HOUR), Some("2026-11-23T16:00:00Z".parse().unwrap()));
    }

    #[test]
    fn a_time_that_cannot_be_told_is_never_reached() {
        assert_eq!(leaves_at(&record(WITHDRAWN), Duration::from_secs(u64::MAX)), Some(Timestamp::MAX));
    }
}
