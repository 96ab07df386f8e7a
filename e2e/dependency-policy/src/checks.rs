//! The rules, as pure functions from graph and policy to faults. A fault is one line: crate, version, who brings it in, what to do.

use std::collections::{BTreeMap, BTreeSet};

use spdx::{Expression, ParseMode};

use crate::{
    graph::{Graph, Package},
    policy::Policy,
};

/// How a source that is a package registry begins.
const REGISTRY: &str = "registry+";

/// Every fault of every rule.
pub(crate) fn all(graph: &Graph, policy: &Policy) -> Vec<String> {
    [licences, banned, exactly_one, duplicates, sources, layers, direct]
        .into_iter()
        .flat_map(|check| check(graph, policy))
        .collect()
}

fn licences(graph: &Graph, policy: &Policy) -> Vec<String> {
    let allowed = |expression: &Expression| {
        expression
            .evaluate(|requirement| policy.licences.iter().any(|licence| *licence == requirement.to_string()))
    };
    graph
        .packages()
        .filter_map(|package| {
            let what =
                match package.license.as_deref().map(|text| Expression::parse_mode(text, ParseMode::LAX)) {
                    Some(Ok(expression)) if allowed(&expression) => return None,
                    Some(Ok(expression)) => format!("licence {expression} is not allowed"),
                    Some(Err(_)) => "its licence is no SPDX expression".to_owned(),
                    None => "it names no licence".to_owned(),
                };
            Some(format!(
                "{}: {what}: {}; use another crate, or allow the licence",
                package.key(),
                graph.why(package)
            ))
        })
        .collect()
}

fn banned(graph: &Graph, policy: &Policy) -> Vec<String> {
    let linked: BTreeSet<String> = graph.in_programs().into_iter().map(Package::key).collect();
    graph
        .packages()
        .filter_map(|package| {
            let banned = policy.banned.iter().find(|banned| banned.name == package.name)?;
            (banned.tests || linked.contains(&package.key()))
                .then(|| format!("{}: banned ({}): {}", package.key(), banned.reason, graph.why(package)))
        })
        .collect()
}

fn exactly_one(graph: &Graph, policy: &Policy) -> Vec<String> {
    policy
        .exactly_one
        .iter()
        .filter_map(|name| {
            let found: Vec<String> =
                graph.packages().filter(|package| package.name == *name).map(Package::key).collect();
            (found.len() != 1).then(|| {
                format!("{name}: exactly one version is wanted, found {}: {}", found.len(), found.join(", "))
            })
        })
        .collect()
}

fn duplicates(graph: &Graph, policy: &Policy) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
    for package in graph.in_programs() {
        versions.entry(&package.name).or_default().push(package);
    }
    let mut faults: Vec<String> = versions
        .iter()
        .filter(|(name, found)| found.len() > 1 && !policy.duplicates.contains_key(**name))
        .map(|(name, found)| {
            let ways: Vec<String> = found
                .iter()
                .map(|package| format!("{} by {}", package.version, graph.why(package)))
                .collect();
            format!(
                "{name}: {} versions: {}; align them, or name it under duplicates with the reason",
                found.len(),
                ways.join("; ")
            )
        })
        .collect();
    let stale = policy
        .duplicates
        .keys()
        .filter(|name| versions.get(name.as_str()).is_none_or(|found| found.len() < 2));
    faults.extend(stale.map(|name| format!("{name}: is no duplicate any more; take it out of duplicates")));
    faults
}

/// Everything comes from the workspace or from one registry: the one that most crates come from.
fn sources(graph: &Graph, _: &Policy) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for source in graph.packages().filter_map(|package| package.source.as_deref()) {
        *counts.entry(source).or_default() += usize::from(source.starts_with(REGISTRY));
    }
    let registry = counts.into_iter().max_by_key(|(_, count)| *count).map(|(source, _)| source);
    graph
        .packages()
        .filter(|package| {
            !graph.is_member(package) && (package.source.is_none() || package.source.as_deref() != registry)
        })
        .map(|package| {
            let source = package.source.as_deref().unwrap_or("a folder outside the workspace");
            format!(
                "{}: comes from {source}: {}; use a release of the default registry",
                package.key(),
                graph.why(package)
            )
        })
        .collect()
}

fn layers(graph: &Graph, policy: &Policy) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, forbidden) in &policy.layers {
        let Some(member) = graph.members().find(|member| member.name == *name) else {
            faults.push(format!("{name}: named under layers, but no crate of the workspace"));
            continue;
        };
        let below = graph.below(member);
        faults.extend(
            below
                .iter()
                .filter(|(package, _)| forbidden.contains(&package.name))
                .map(|(package, way)| format!("{name}: must not depend on {}: {way}", package.name)),
        );
    }
    faults
}

fn direct(graph: &Graph, policy: &Policy) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, users) in &policy.direct {
        for member in graph.members().filter(|member| !users.contains(&member.name)) {
            if graph.direct(member).contains(&name.as_str()) {
                faults.push(format!(
                    "{}: must not use {name} directly; only {} may",
                    member.name,
                    users.join(", ")
                ));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests;
