//! Which crate of the workspace may depend on what. Tests may use anything.

use crate::{graph::Graph, policy::Policy};

pub(super) fn faults(graph: &Graph, policy: &Policy) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, forbidden) in &policy.layers {
        let Some(member) = graph.members().find(|member| member.name == *name) else {
            faults.push(format!("{name}: is no crate of the workspace; take it out of layers"));
            continue;
        };
        let below = graph.below(member).into_iter();
        let below = below.filter(|(package, _)| forbidden.iter().any(|one| matches(one, &package.name)));
        faults.extend(below.map(|(package, way)| {
            let (key, used) = (member.key(), package.key());
            format!("{key}: must not depend on {used}: {way}; drop it, or move the code to a crate that may")
        }));
    }
    faults
}

/// A crate that the policy does not name would be free of every rule.
pub(super) fn unnamed(graph: &Graph, policy: &Policy) -> Vec<String> {
    let unnamed = graph.members().filter(|member| !policy.layers.contains_key(&member.name));
    unnamed
        .map(|member| format!("{}: has no entry under layers; say what it must not depend on", member.key()))
        .collect()
}

pub(super) fn direct(graph: &Graph, policy: &Policy) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, users) in &policy.direct {
        let gone = users.iter().filter(|user| !graph.members().any(|member| member.name == **user));
        faults.extend(
            gone.map(|user| format!("{user}: is no crate of the workspace; take it out of direct.{name}")),
        );
        for member in graph.members().filter(|member| !users.contains(&member.name)) {
            for used in graph.direct(member).into_iter().filter(|used| used.name == *name) {
                faults.push(format!(
                    "{}: must not name {} as a dependency: {} > {name}; leave that to one of {}",
                    member.key(),
                    used.key(),
                    member.name,
                    users.join(", ")
                ));
            }
        }
    }
    faults
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}
