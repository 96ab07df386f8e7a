//! The pages about the kinds hold exactly the reasons that exist.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{collections::BTreeSet, fs, path::Path};

use roomkeeper_crds::condition::{
    Allowed, AuditExported, AuditWritable, BookingQuotaAvailable, CredentialsValid, Delivered, Delivering,
    MembersResolved, Subscribed, Summary,
};

/// First column of the table under a heading.
fn documented(page: &str, heading: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs").join(page);
    let text = fs::read_to_string(&path).unwrap();
    let start = format!("### {heading}\n");
    let section = text.split_once(&start).unwrap_or_else(|| panic!("{page} has no {start}")).1;
    let section = section.split("\n#").next().unwrap();
    let reasons = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let reasons: Vec<String> = reasons.map(|(reason, _)| reason.to_owned()).collect();
    let all: BTreeSet<String> = reasons.iter().cloned().collect();
    assert_eq!(all.len(), reasons.len(), "{page}, {heading}: one is there twice");
    all
}

macro_rules! assert_documented {
    ($page:literal, $set:ident) => {
        let expected: BTreeSet<String> = $set::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(documented($page, stringify!($set)), expected, "{}: {}", $page, stringify!($set));
    };
}

#[test]
fn every_reason_has_its_row_and_no_row_is_invented() {
    assert_documented!("access-scope.md", CredentialsValid);
    assert_documented!("access-scope.md", MembersResolved);
    assert_documented!("calendar-subscription.md", Allowed);
    assert_documented!("calendar-subscription.md", Subscribed);
    assert_documented!("calendar-subscription.md", Delivering);
    assert_documented!("access-scope.md", BookingQuotaAvailable);
    assert_documented!("access-scope.md", AuditWritable);
    assert_documented!("access-scope.md", AuditExported);
    assert_documented!("booking-record.md", Delivered);
}

#[test]
fn the_summarys_own_reasons_are_on_the_pages() {
    let heading = "Ready, Reconciling, Stalled";
    let mut told = documented("access-scope.md", heading);
    told.extend(documented("calendar-subscription.md", heading));
    told.extend(documented("booking-record.md", heading));
    let own: BTreeSet<String> = Summary::ALL.iter().map(ToString::to_string).collect();
    assert!(told.is_superset(&own), "missing: {:?}", own.difference(&told));
    let elsewhere = [Allowed::Suspended.to_string()];
    assert!(told.iter().all(|one| own.contains(one) || elsewhere.contains(one)), "{told:?}");
}
