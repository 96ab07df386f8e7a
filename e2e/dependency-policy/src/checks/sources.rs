//! Crates come from one registry, or are the workspace's own.

use std::collections::BTreeMap;

use crate::{graph::Graph, policy::Policy};

/// How a source that is a package registry begins.
const REGISTRY: &str = "registry+";

/// Which registry it is does not matter, only that it is one: the one that most crates come from.
pub(super) fn faults(graph: &Graph, _: &Policy) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for source in graph.listed().iter().filter_map(|package| package.source.as_deref()) {
        if source.starts_with(REGISTRY) {
            *counts.entry(source).or_default() += 1;
        }
    }
    let registry = counts.into_iter().max_by_key(|(_, count)| *count).map(|(source, _)| source);
    graph
        .listed()
        .iter()
        .filter(|package| match package.source.as_deref() {
            Some(source) => Some(source) != registry,
            None => !graph.is_member(package),
        })
        .map(|package| {
            let source = package.source.as_deref().unwrap_or("a folder outside the workspace");
            let (key, why) = (package.key(), graph.why(package));
            format!("{key}: comes from {source}: {why}; use a release of the registry of the other crates")
        })
        .collect()
}
