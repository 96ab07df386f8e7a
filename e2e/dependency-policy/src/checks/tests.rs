//! Each rule passes on a good graph and fails on one that breaks it.

use serde_json::{Value, json};

use super::*;
use crate::graph::{GraphError, Kinds};

/// Where the good crates come from.
const REGISTRY: &str = "registry+https://registry.example/index";

fn package(name: &str, version: &str, licence: &str, source: Option<&str>) -> Value {
    json!({"id": format!("{name}@{version} {source:?}"), "name": name, "version": version, "license": licence, "source": source})
}

/// `app` links `left`, and `left` links `right`; the tests of `app` use `tester`, and `tester` uses `helper`.
fn good() -> Value {
    let registry = |name, licence| package(name, "1.0.0", licence, Some(REGISTRY));
    let app = package("app", "1.0.0", "Apache-2.0", None);
    json!({
        "workspace_members": [app["id"]],
        "packages": [
            app, registry("left", "MIT OR Apache-2.0"), registry("right", "MIT/Apache-2.0"), registry("tester", "MIT"), registry("helper", "MIT"),
        ],
    })
}

const PROGRAM: &str = "0 app v1.0.0 (folder)\n1 left v1.0.0\n2 right v1.0.0 (proc-macro)\n";
const TESTS: &str = "1 tester v1.0.0\n2 helper v1.0.0\n";

fn graph(metadata: &Value, program: &str, tests: &str) -> Result<Graph, GraphError> {
    Graph::parse(&metadata.to_string(), |member, kinds| {
        assert_eq!(member, "app");
        Ok(if kinds == Kinds::Programs { program.to_owned() } else { format!("{program}{tests}") })
    })
}

fn faults_of(metadata: &Value, program: &str, change: &str) -> Vec<String> {
    let mut policy = json!({
        "licences": ["MIT", "Apache-2.0"], "banned": [], "exactlyOne": [], "duplicates": {}, "layers": {"app": []}, "direct": {},
    });
    let change: Value = serde_yaml::from_str(change).unwrap();
    policy.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let policy = Policy::read(&policy.to_string()).unwrap();
    all(&graph(metadata, program, TESTS).unwrap(), &policy)
}

fn faults(change: &str) -> Vec<String> {
    faults_of(&good(), PROGRAM, change)
}

/// The good graph with one more version of `right`, linked by `app` itself.
fn doubled(version: &str) -> (Value, String) {
    let mut metadata = good();
    let second = package("right", version, "MIT", Some(REGISTRY));
    metadata["packages"].as_array_mut().unwrap().push(second);
    (metadata, format!("{PROGRAM}1 right v{version}\n"))
}

#[test]
fn a_good_graph_has_no_faults() {
    assert_eq!(faults("{}"), [""; 0]);
    let graph = graph(&good(), PROGRAM, TESTS).unwrap();
    assert_eq!((graph.len(), graph.in_programs().len(), graph.members().count()), (5, 3, 1));
}

#[test]
fn a_crate_of_which_nothing_is_known_is_an_error() {
    let error = graph(&good(), &format!("{PROGRAM}1 other v1.0.0\n"), TESTS).unwrap_err();
    assert!(error.to_string().contains("other 1.0.0"), "{error}");
}

#[test]
fn a_licence_that_is_not_allowed_or_missing_is_a_fault() {
    let with = |licence: Value| {
        let mut metadata = good();
        metadata["packages"][2]["license"] = licence;
        faults_of(&metadata, PROGRAM, "{}")
    };
    let fix = "app > left > right; use another crate, or allow the licence under licences";
    assert_eq!(
        with(json!("GPL-3.0-only")),
        [format!("right 1.0.0: licence GPL-3.0-only is not allowed: {fix}")]
    );
    assert_eq!(with(Value::Null), [format!("right 1.0.0: it names no licence: {fix}")]);
    assert_eq!(
        with(json!("as you like")),
        [format!("right 1.0.0: its licence is no SPDX expression: {fix}")]
    );
    assert_eq!(with(json!("MIT AND GPL-3.0-only")).len(), 1);
    assert_eq!(with(json!("Apache-2.0 WITH LLVM-exception")).len(), 1, "another licence than without");
    assert_eq!(with(json!("GPL-3.0-only OR (MIT AND Apache-2.0)")), [""; 0]);
}

#[test]
fn a_banned_crate_is_a_fault_in_programs_and_in_tests() {
    assert_eq!(
        faults("{banned: [{name: right, reason: old, fix: use new}]}"),
        ["right 1.0.0: banned (old): app > left > right; use new"]
    );
    assert_eq!(
        faults("{banned: [{name: helper, reason: old, fix: use new}]}"),
        ["helper 1.0.0: banned (old): tests of app > tester > helper; use new"]
    );
    assert_eq!(faults("{banned: [{name: absent, reason: old, fix: use new}]}"), [""; 0]);
}

#[test]
fn a_banned_crate_is_tolerated_only_through_those_named() {
    let banned = |exception: &str| format!("{{banned: [{{name: right, reason: old, fix: x, {exception}}}]}}");
    assert_eq!(faults(&banned("onlyBy: [left]")), [""; 0]);
    assert_eq!(
        faults(&banned("inTestsOnlyBy: [left]")),
        ["right 1.0.0: banned (old): app > left > right; x"],
        "left is in a program"
    );
    let program = format!("{PROGRAM}1 right v1.0.0\n");
    assert_eq!(
        faults_of(&good(), &program, &banned("onlyBy: [left]")),
        ["right 1.0.0: banned (old): app > right; x"],
        "a second user"
    );
    let helper = "{banned: [{name: helper, reason: old, fix: x, inTestsOnlyBy: [tester]}]}";
    assert_eq!(faults(helper), [""; 0]);
    let linked = format!("{PROGRAM}1 tester v1.0.0\n2 helper v1.0.0\n");
    assert_eq!(
        faults_of(&good(), &linked, helper),
        ["helper 1.0.0: banned (old): app > tester > helper; x"],
        "no test any more"
    );
    assert_eq!(
        faults(&banned("onlyBy: [left, tester]")),
        ["right: tester does not use it any more; take tester out of its exceptions"]
    );
}

#[test]
fn a_second_version_is_a_fault_unless_both_are_named() {
    let (metadata, program) = doubled("2.1.0");
    let faults = |change: &str| faults_of(&metadata, &program, change);
    let ways = "1.0.0 by app > left > right, 2.1.0 by app > right";
    assert_eq!(
        faults("{}"),
        [format!("right: 2 versions: {ways}; align them, or name them under duplicates with the reason")]
    );
    assert_eq!(faults("{duplicates: {right: {versions: ['1', '2.1'], reason: x}}}"), [""; 0]);
    assert_eq!(
        faults("{duplicates: {right: {versions: ['1', '2.10'], reason: x}}}"),
        [
            "right 2.1.0: a further version: app > right; align it, or name it under duplicates.right",
            "right 2.10: is gone; take it out of duplicates.right"
        ]
    );
    assert_eq!(
        faults("{exactlyOne: [right], duplicates: {right: {versions: ['1', '2'], reason: x}}}"),
        [format!("right: 2 versions are there, exactly one is wanted: {ways}; align them")]
    );
    let (metadata, program) = doubled("1.1.0");
    let same = faults_of(&metadata, &program, "{duplicates: {right: {versions: ['1', '1.1'], reason: x}}}");
    assert_eq!(same.len(), 1);
    assert!(same[0].starts_with("right 1: stands for 2 versions: "), "{same:?}");
}

#[test]
fn an_exception_that_is_needed_no_more_is_a_fault() {
    assert_eq!(
        faults("{duplicates: {right: {versions: ['1', '2'], reason: x}}}"),
        ["right: is no duplicate any more; take it out of duplicates"]
    );
    let absent = faults("{exactlyOne: [left, absent]}");
    assert_eq!(absent.len(), 1);
    assert!(absent[0].starts_with("absent: no version is there"), "{absent:?}");
}

/// Two versions of a provider of cryptography are one too many even where only tests bring the second.
#[test]
fn exactly_one_counts_what_tests_use() {
    let (metadata, _) = doubled("2.0.0");
    let graph = graph(&metadata, PROGRAM, &format!("{TESTS}2 right v2.0.0\n")).unwrap();
    let policy = "{licences: [], banned: [], exactlyOne: [right], duplicates: {}, layers: {}, direct: {}}";
    let found = versions::exactly_one(&graph, &Policy::read(policy).unwrap());
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("2.0.0 by tests of app > tester > right"), "{found:?}");
    assert_eq!(versions::duplicates(&graph, &Policy::read(policy).unwrap()), [""; 0], "programs only");
}

#[test]
fn another_source_is_a_fault() {
    let with = |source: Value| {
        let mut metadata = good();
        metadata["packages"][1]["source"] = source;
        faults_of(&metadata, PROGRAM, "{}")
    };
    let git = with(json!("git+https://git.example/left"));
    assert_eq!(
        git,
        [
            "left 1.0.0: comes from git+https://git.example/left: app > left; use a release of the registry of the other crates"
        ]
    );
    assert_eq!(with(json!("registry+https://other.example/index")).len(), 1);
    assert!(with(Value::Null)[0].contains("comes from a folder outside the workspace"));
    let mut twin = good();
    let second = package("left", "1.0.0", "MIT", Some("git+https://git.example/left"));
    twin["packages"].as_array_mut().unwrap().insert(0, second);
    assert_eq!(
        faults_of(&twin, PROGRAM, "{}").len(),
        1,
        "the registry's crate of the same version hides nothing"
    );
}

#[test]
fn a_layer_that_reaches_down_is_a_fault() {
    let fault = "app 1.0.0: must not depend on right 1.0.0: app > left > right; drop it, or move the code to a crate that may";
    assert_eq!(faults("{layers: {app: [right]}}"), [fault]);
    assert_eq!(faults("{layers: {app: ['rig*']}}"), [fault]);
    assert_eq!(faults("{layers: {app: [righ, tester]}}"), [""; 0], "another name; tests may");
    assert_eq!(
        faults("{layers: {app: [], gone: [right]}}"),
        ["gone: is no crate of the workspace; take it out of layers"]
    );
    assert_eq!(
        faults("{layers: {}}"),
        ["app 1.0.0: has no entry under layers; say what it must not depend on"]
    );
}

#[test]
fn direct_use_by_others_than_named_is_a_fault() {
    let two = "app 1.0.0: must not name left 1.0.0 as a dependency: app > left; leave that to one of other";
    assert_eq!(
        faults("{direct: {left: [other]}}"),
        ["other: is no crate of the workspace; take it out of direct.left", two]
    );
    assert_eq!(faults("{direct: {left: [app], right: [], tester: []}}"), [""; 0]);
}
