//! The page about BookingRecord says for every field of the spec where it comes from, and its examples are BookingRecords.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{collections::BTreeSet, fs, path::Path};

use kube::{CustomResourceExt as _, core::cel::validate_cel_schema};
use roomkeeper_crds::{BookingRecord, booking_record::SPEC_LIMIT_BYTES, name};
use serde_json::Value;

const NOT_KEPT: &str = "not kept";

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/booking-record.md");
    fs::read_to_string(path).unwrap()
}

/// Paths of all fields that have no fields of their own; `[]` stands for each entry of a list of objects.
fn leaves(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, schema) in properties {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            leaves(schema, &path, found);
        }
    } else if schema["items"]["properties"].is_object() {
        leaves(&schema["items"], &format!("{path}[]"), found);
    } else {
        found.insert(path.to_owned());
    }
}

/// `a.{b,c}` is `a.b` and `a.c`.
fn spelled_out(path: &str) -> Vec<String> {
    match path.split_once('{') {
        None => vec![path.to_owned()],
        Some((before, rest)) => {
            let names = rest.strip_suffix('}').unwrap_or_else(|| panic!("{path}: the braces must come last"));
            names.split(',').map(|name| format!("{before}{name}")).collect()
        }
    }
}

/// The column `kept as` of all tables of the section, row by row.
fn kept() -> Vec<String> {
    let page = page();
    let section = page.split_once("\n## What is read and kept\n").unwrap().1.split("\n## ").next().unwrap();
    let tables: Vec<&str> = section.lines().filter(|line| line.starts_with('|')).collect();
    let headers = tables.iter().filter(|line| line.contains("| kept as |")).count();
    let rows: Vec<String> = tables
        .iter()
        .filter(|line| !line.contains("| kept as |") && !line.starts_with("|---"))
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            assert_eq!(cells.len(), 3, "{line}");
            assert!(cells.iter().all(|cell| !cell.is_empty()), "{line}");
            cells[1].to_owned()
        })
        .collect();
    assert_eq!(tables.len(), rows.len() + 2 * headers, "another table than those of what is kept");
    rows
}

#[test]
fn every_field_of_the_spec_is_in_a_row_and_no_row_names_another() {
    let crd = serde_json::to_value(BookingRecord::crd()).unwrap();
    let mut fields = BTreeSet::new();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    leaves(schema, "", &mut fields);
    assert!(fields.contains("singleValueExtendedProperties.resources[].capacity") && fields.len() > 40);
    let mut told = BTreeSet::new();
    for cell in kept().iter().filter(|cell| *cell != NOT_KEPT) {
        // Backticks come in pairs: every second part is a path, and between the paths there is nothing else.
        for (number, part) in cell.split('`').enumerate() {
            if number % 2 == 0 {
                assert!(["", ", "].contains(&part), "{cell}: paths, or \"{NOT_KEPT}\"");
                continue;
            }
            for path in spelled_out(part) {
                assert!(told.insert(path.clone()), "{path} is there twice");
            }
        }
    }
    let missing: Vec<_> = fields.difference(&told).collect();
    let invented: Vec<_> = told.difference(&fields).collect();
    assert!(missing.is_empty() && invented.is_empty(), "missing: {missing:#?}, invented: {invented:#?}");
}

#[test]
fn the_examples_are_records_that_the_api_server_takes() {
    let page = page();
    let blocks: Vec<&str> =
        page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 2, "a single event and a series");
    for block in blocks {
        let written: Value = serde_yaml::from_str(block).unwrap();
        let record: BookingRecord = serde_yaml::from_str(block).unwrap();
        // A field that the kind does not have would be lost on the way.
        let mut read = serde_json::to_value(&record).unwrap();
        json_patch::merge(&mut read, &written);
        assert_eq!(read, serde_json::to_value(&record).unwrap(), "{block}");
        validate_cel_schema::<BookingRecord>(&written, None).unwrap();
        assert!(serde_json::to_vec(&record.spec).unwrap().len() <= SPEC_LIMIT_BYTES);
        // The name that the worker would give it, of this tenant and user.
        let (tenant, user) = ("7f1d0cb7-93b9-405a-8dad-c21703b7af18", "2189c720-90d5-44ff-818b-fe585706ee90");
        let expected = name::booking_record(tenant, user, &record.spec.event_id);
        assert_eq!(record.metadata.name, Some(expected));
    }
}
