//! Crates that nobody may use, or only through those that the policy names.

use crate::{
    graph::{Graph, Kinds, Package},
    policy::{Banned, Policy},
};

pub(super) fn faults(graph: &Graph, policy: &Policy) -> Vec<String> {
    let mut faults = Vec::new();
    for banned in &policy.banned {
        let found: Vec<&Package> = graph.packages().filter(|package| package.name == banned.name).collect();
        faults.extend(found.iter().filter_map(|package| fault(graph, banned, package)));
        let users: Vec<&Package> =
            found.iter().flat_map(|package| graph.users(package, Kinds::Tests)).collect();
        let tolerated = banned.only_by.iter().chain(&banned.in_tests_only_by);
        let stale = tolerated.filter(|name| !users.iter().any(|user| user.name == **name));
        faults.extend(stale.map(|name| {
            format!("{}: {name} does not use it any more; take {name} out of its exceptions", banned.name)
        }));
    }
    faults
}

fn fault(graph: &Graph, banned: &Banned, package: &Package) -> Option<String> {
    let in_programs = |user: &&Package| !banned.only_by.contains(&user.name);
    let in_tests = |user: &&Package| in_programs(user) && !banned.in_tests_only_by.contains(&user.name);
    let program = graph.users(package, Kinds::Programs).into_iter().find(in_programs);
    let user = program.or_else(|| graph.users(package, Kinds::Tests).into_iter().find(in_tests))?;
    let (key, way) = (package.key(), graph.why(user));
    Some(format!("{key}: banned ({}): {way} > {}; {}", banned.reason, package.name, banned.fix))
}
