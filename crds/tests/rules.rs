//! The rules of the kinds, run locally over the same tables that the end-to-end tests send to a real API server, and the
//! golden files of the CRDs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{fs, path::Path};

use json_patch::merge;
use kube::core::cel::validate_cel_schema;
use roomkeeper_crds::{AccessScope, BookingRecord, CalendarSubscription, ConsentRecord};
use serde_json::Value;

fn read(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules").join(file);
    serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Every message of a CEL rule anywhere in the schema.
fn messages(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(rules) = map.get("x-kubernetes-validations").and_then(Value::as_array) {
                found.extend(rules.iter().map(|rule| rule["message"].as_str().unwrap().to_owned()));
            }
            map.values().for_each(|value| messages(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| messages(value, found)),
        _ => {}
    }
}

fn run<T: kube::core::CustomResourceExt + schemars::JsonSchema>(file: &str) {
    let table = read(file);
    let mut rules = Vec::new();
    messages(&serde_json::to_value(T::crd()).unwrap(), &mut rules);
    assert!(!rules.is_empty(), "{file}: no rules found");
    let mut seen = 0;
    for (list, is_update) in [("create", false), ("update", true)] {
        for case in table[list].as_array().unwrap() {
            let name = case["case"].as_str().unwrap();
            let mut old = table["base"].clone();
            merge(&mut old, &case["first"]);
            if case["first"].is_null() {
                old = table["base"].clone();
            }
            let mut new = old.clone();
            if !case["set"].is_null() {
                merge(&mut new, &case["set"]);
            }
            let outcome = validate_cel_schema::<T>(&new, is_update.then_some(&old));
            match case["refused"].as_str() {
                None => assert!(outcome.is_ok(), "{file}: {name}: {outcome:?}"),
                Some(sentence) if rules.iter().any(|rule| rule.contains(sentence)) => {
                    let error = outcome.expect_err(&format!("{file}: {name} was accepted")).to_string();
                    assert!(error.contains(sentence), "{file}: {name}: {error}");
                    seen += 1;
                }
                // Schema errors (required, enum, length) are the API server's own; the end-to-end test shows them.
                Some(_) => {}
            }
        }
    }
    assert!(seen > 0, "{file}: no rule was exercised");
}

#[test]
fn access_scope() {
    run::<AccessScope>("access_scope.yaml");
}

#[test]
fn calendar_subscription() {
    run::<CalendarSubscription>("calendar_subscription.yaml");
}

#[test]
fn consent_record() {
    run::<ConsentRecord>("consent_record.yaml");
}

#[test]
fn booking_record() {
    run::<BookingRecord>("booking_record.yaml");
}

#[test]
fn the_golden_files_are_current() {
    for folder in ["yaml", "../charts/roomkeeper/files/crds"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for crd in roomkeeper_crds::all() {
            let path = folder.join(format!("{}.yaml", crd.metadata.name.as_ref().unwrap()));
            let written = fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(
                written,
                serde_yaml::to_string(&crd).unwrap(),
                "{} is stale: run 'make generate'",
                path.display()
            );
        }
        assert_eq!(
            fs::read_dir(&folder).unwrap().count(),
            roomkeeper_crds::all().len(),
            "{}",
            folder.display()
        );
    }
}

#[test]
fn every_field_is_documented_and_every_string_and_list_bounded() {
    fn check(path: &str, schema: &Value, faults: &mut Vec<String>) {
        if schema["description"].is_null() && !path.contains(".conditions") {
            faults.push(format!("{path} has no description"));
        }
        match schema["type"].as_str() {
            Some("string")
                if schema["maxLength"].is_null()
                    && schema["enum"].is_null()
                    && schema["format"] != "date-time" =>
            {
                faults.push(format!("{path} has no maxLength"));
            }
            Some("array") => {
                if schema["maxItems"].is_null() {
                    faults.push(format!("{path} has no maxItems"));
                }
                let item = &schema["items"];
                if item["type"] == "string" && item["maxLength"].is_null() && item["format"] != "date-time" {
                    faults.push(format!("{path}[] has no maxLength"));
                }
            }
            _ => {}
        }
        for (name, value) in schema["properties"].as_object().into_iter().flatten() {
            check(&format!("{path}.{name}"), value, faults);
        }
        for (name, value) in schema["items"]["properties"].as_object().into_iter().flatten() {
            check(&format!("{path}[].{name}"), value, faults);
        }
    }
    let mut faults = Vec::new();
    for crd in roomkeeper_crds::all() {
        let crd = serde_json::to_value(crd).unwrap();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        for part in ["spec", "status"] {
            check(
                &format!("{}.{part}", crd["spec"]["names"]["kind"].as_str().unwrap()),
                &schema["properties"][part],
                &mut faults,
            );
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}
