//! The rules, as pure functions from graph and policy to faults. A fault is one line: crate, version, who brings it in, what to do.

mod banned;
mod layers;
mod licences;
mod sources;
mod versions;

use crate::{graph::Graph, policy::Policy};

/// Every fault of every rule.
pub(crate) fn all(graph: &Graph, policy: &Policy) -> Vec<String> {
    [
        licences::faults,
        banned::faults,
        versions::exactly_one,
        versions::duplicates,
        sources::faults,
        layers::faults,
        layers::unnamed,
        layers::direct,
    ]
    .into_iter()
    .flat_map(|rule| rule(graph, policy))
    .collect()
}

#[cfg(test)]
mod tests;
