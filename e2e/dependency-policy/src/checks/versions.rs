//! Crates of which there must be one version, and duplicates.

use std::collections::BTreeMap;

use crate::{
    graph::{Graph, Package},
    policy::Policy,
};

/// Over programs and tests: two providers of cryptography, or two versions of what is passed between crates, do not work together.
pub(super) fn exactly_one(graph: &Graph, policy: &Policy) -> Vec<String> {
    let fault = |name: &String| {
        let found: Vec<&Package> = graph.packages().filter(|package| package.name == *name).collect();
        match found.as_slice() {
            [_] => None,
            [] => Some(format!(
                "{name}: no version is there, exactly one is wanted; take it out of exactlyOne if that is meant"
            )),
            several => Some(format!(
                "{name}: {} versions are there, exactly one is wanted: {}; align them",
                several.len(),
                ways(graph, several)
            )),
        }
    };
    policy.exactly_one.iter().filter_map(fault).collect()
}

/// Over programs only: what tests duplicate costs nobody anything.
pub(super) fn duplicates(graph: &Graph, policy: &Policy) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
    for package in graph.in_programs() {
        versions.entry(&package.name).or_default().push(package);
    }
    let mut faults = Vec::new();
    for (name, found) in versions.iter().filter(|(_, found)| found.len() > 1) {
        let Some(allowed) = policy.duplicates.get(*name) else {
            faults.push(format!(
                "{name}: {} versions: {}; align them, or name them under duplicates with the reason",
                found.len(),
                ways(graph, found)
            ));
            continue;
        };
        let further = found.iter().filter(|one| !allowed.versions.iter().any(|named| is(one, named)));
        faults.extend(further.map(|package| {
            let (key, why) = (package.key(), graph.why(package));
            format!("{key}: a further version: {why}; align it, or name it under duplicates.{name}")
        }));
    }
    for (name, allowed) in &policy.duplicates {
        let found = versions.get(name.as_str()).map(Vec::as_slice).unwrap_or_default();
        if found.len() < 2 {
            faults.push(format!("{name}: is no duplicate any more; take it out of duplicates"));
            continue;
        }
        for named in &allowed.versions {
            match found.iter().filter(|package| is(package, named)).count() {
                1 => {}
                0 => faults.push(format!("{name} {named}: is gone; take it out of duplicates.{name}")),
                count => faults.push(format!(
                    "{name} {named}: stands for {count} versions: {}; align them, or name each under duplicates.{name}",
                    ways(graph, found)
                )),
            }
        }
    }
    faults
}

/// Whether a version begins with those parts: `0.22` is the beginning of `0.22.1`, not of `0.220.1`.
fn is(package: &Package, named: &str) -> bool {
    package.version.strip_prefix(named).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn ways(graph: &Graph, found: &[&Package]) -> String {
    let way = |package: &&Package| format!("{} by {}", package.version, graph.why(package));
    found.iter().map(way).collect::<Vec<_>>().join(", ")
}
