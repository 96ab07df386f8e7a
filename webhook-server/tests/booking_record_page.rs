//! The page about BookingRecord says what becomes of every property of an event that can be asked for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{collections::BTreeSet, fs, path::Path};

use roomkeeper_graph::fields::EventField;

#[test]
fn every_property_that_can_be_asked_for_has_its_row() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/booking-record.md");
    let page = fs::read_to_string(path).unwrap();
    let section = page.split_once("\n### Of the event\n").unwrap().1.split("\n#").next().unwrap();
    let rows: Vec<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|row| row.0)
        .collect();
    let told: BTreeSet<&str> = rows.iter().copied().collect();
    assert_eq!(told.len(), rows.len(), "one is there twice");
    let asked: BTreeSet<&str> = EventField::ALL.iter().map(|field| field.name()).collect();
    assert_eq!(told, asked);
}
