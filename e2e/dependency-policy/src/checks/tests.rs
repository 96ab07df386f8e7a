//! Each rule passes on a good graph and fails on one that breaks it.

use serde_json::{Value, json};

use super::*;
use crate::graph::Kinds;

/// Where the good crates come from.
const INDEX: &str = "registry+https://registry.example/index";

/// `app` links `left` and `right`; its tests use `tester`.
fn good() -> Value {
    let package = |name: &str, version: &str, licence: &str, source: Option<&str>| json!({"id": format!("{name}@{version}"), "name": name, "version": version, "license": licence, "source": source});
    json!({
        "packages": [
            package("app", "1.0.0", "Apache-2.0", None),
            package("left", "1.0.0", "MIT OR Apache-2.0", Some(INDEX)),
            package("right", "1.0.0", "MIT/Apache-2.0", Some(INDEX)),
            package("tester", "1.0.0", "MIT", Some(INDEX)),
        ],
        "workspace_members": ["app@1.0.0"],
    })
}

fn policy(text: &str) -> Policy {
    let base =
        "{licences: [MIT, Apache-2.0], banned: [], exactlyOne: [], duplicates: {}, layers: {}, direct: {}}";
    let mut value: Value = serde_yaml::from_str(base).unwrap();
    let change: Value = serde_yaml::from_str(text).unwrap();
    for (key, changed) in change.as_object().unwrap() {
        value[key] = changed.clone();
    }
    serde_json::from_value(value).unwrap()
}

const TREE: &str = "0 app v1.0.0 (folder)\n1 left v1.0.0\n2 right v1.0.0\n";

fn faults_of(metadata: &Value, tree: &str, rules: &str) -> Vec<String> {
    let graph = Graph::parse(metadata.to_string().as_bytes(), |_, kinds| {
        Ok(if kinds == Kinds::Programs { tree.to_owned() } else { format!("{tree}1 tester v1.0.0\n") })
    });
    all(&graph.unwrap(), &policy(rules))
}

fn faults(metadata: &Value, rules: &str) -> Vec<String> {
    faults_of(metadata, TREE, rules)
}

#[test]
fn a_good_graph_has_no_faults() {
    assert_eq!(faults(&good(), "{}"), Vec::<String>::new());
}

#[test]
fn a_licence_that_is_not_allowed_or_missing_is_a_fault() {
    let mut graph = good();
    graph["packages"][2]["license"] = json!("GPL-3.0-only");
    assert_eq!(faults(&graph, "{}").len(), 1);
    assert!(
        faults(&graph, "{}")[0]
            .contains("right 1.0.0: licence GPL-3.0-only is not allowed: app > left > right")
    );
    graph["packages"][2]["license"] = Value::Null;
    assert!(faults(&graph, "{}")[0].contains("names no licence"));
    graph["packages"][2]["license"] = json!("MIT AND GPL-3.0-only");
    assert_eq!(faults(&graph, "{}").len(), 1);
}

#[test]
fn a_banned_crate_is_a_fault_in_programs_and_where_said_in_tests() {
    let in_program = faults(&good(), "{banned: [{name: right, reason: old}]}");
    assert_eq!(in_program, ["right 1.0.0: banned (old): app > left > right"]);
    assert!(faults(&good(), "{banned: [{name: tester, reason: old}]}").is_empty());
    let in_tests = faults(&good(), "{banned: [{name: tester, reason: old, tests: true}]}");
    assert_eq!(in_tests, ["tester 1.0.0: banned (old): tests of app > tester"]);
}

#[test]
fn a_second_version_is_a_fault_unless_named_and_a_stale_name_is_one() {
    let mut graph = good();
    graph["packages"].as_array_mut().unwrap().push(
        json!({"id": "right@2.0.0", "name": "right", "version": "2.0.0", "license": "MIT", "source": INDEX}),
    );
    let tree = format!("{TREE}1 right v2.0.0\n");
    let faults =
        |graph: &Value, rules: &str| faults_of(graph, if *graph == good() { TREE } else { &tree }, rules);
    assert!(faults(&graph, "{}")[0].contains("right: 2 versions"));
    assert!(faults(&graph, "{duplicates: {right: left is behind}}").is_empty());
    assert!(faults(&good(), "{duplicates: {right: left is behind}}")[0].contains("no duplicate any more"));
    assert!(
        faults(&graph, "{duplicates: {right: x}, exactlyOne: [right]}")[0].contains("exactly one version")
    );
    assert!(faults(&good(), "{exactlyOne: [absent]}")[0].contains("found 0"));
}

#[test]
fn another_source_is_a_fault() {
    let mut graph = good();
    graph["packages"][1]["source"] = json!("git+https://example.org/left");
    assert!(faults(&graph, "{}")[0].contains("left 1.0.0: comes from git+https://example.org/left"));
    graph["packages"][1]["source"] = json!("registry+https://other.example/index");
    assert!(faults(&graph, "{}")[0].contains("left 1.0.0: comes from registry+https://other.example/index"));
    graph["packages"][1]["source"] = Value::Null;
    assert!(faults(&graph, "{}")[0].contains("a folder outside the workspace"));
}

#[test]
fn a_layer_that_reaches_down_is_a_fault() {
    assert_eq!(
        faults(&good(), "{layers: {app: [right]}}"),
        ["app: must not depend on right: app > left > right"]
    );
    assert!(faults(&good(), "{layers: {app: [tester]}}").is_empty(), "tests may");
    assert!(faults(&good(), "{layers: {gone: [right]}}")[0].contains("no crate of the workspace"));
}

#[test]
fn direct_use_by_others_than_named_is_a_fault() {
    assert_eq!(
        faults(&good(), "{direct: {left: [other]}}"),
        ["app: must not use left directly; only other may"]
    );
    assert!(faults(&good(), "{direct: {left: [app]}}").is_empty());
}
