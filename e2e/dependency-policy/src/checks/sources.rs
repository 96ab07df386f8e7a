//! Crates come from the default registry, or are the workspace's own.

use crate::{graph::Graph, policy::Policy};

/// How the default registry stands in every lock file, wherever cargo really fetches from.
pub(super) const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(super) fn faults(graph: &Graph, _: &Policy) -> Vec<String> {
    graph
        .listed()
        .iter()
        .filter(|package| {
            package.source.as_deref() != Some(REGISTRY)
                && (package.source.is_some() || !graph.is_member(package))
        })
        .map(|package| {
            let source = package.source.as_deref().unwrap_or("a folder outside the workspace");
            let (key, why) = (package.key(), graph.why(package));
            format!("{key}: comes from {source}: {why}; use a release of the default registry")
        })
        .collect()
}
