//! The dependency graph of each crate of the workspace.
//!
//! `cargo metadata` tells licences and sources, but its edges are those of the whole workspace with all features united. What one crate
//! really brings along is told by `cargo tree` for that crate alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Deserialize;

use crate::cargo::CargoError;

/// The graph cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GraphError {
    /// Cargo did not tell.
    #[error(transparent)]
    Cargo(#[from] CargoError),
    /// `cargo metadata` answered in another form.
    #[error("cargo metadata answered in another form")]
    Metadata(#[from] serde_json::Error),
    /// Nothing can be said of a crate without its licence and source.
    #[error("cargo tree names {0}, which cargo metadata does not")]
    Unknown(Key),
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
}

/// One crate in one version.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Package {
    id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    /// Absent for path dependencies.
    pub(crate) source: Option<String>,
}

/// `name version`, which names a crate in messages and in the graph.
type Key = String;

/// Who depends on whom, by [`Key`].
type Edges = BTreeMap<Key, Vec<Key>>;

/// Crates and who depends on whom.
#[derive(Debug)]
pub(crate) struct Graph {
    /// All of `cargo metadata`: with the source, more than one may have the same name and version.
    listed: Vec<Package>,
    packages: BTreeMap<Key, Package>,
    members: BTreeSet<Key>,
    /// Per crate of the workspace: normal and build dependencies.
    linked: BTreeMap<Key, Edges>,
    /// Per crate of the workspace: the same with the dependencies of its tests.
    tests: BTreeMap<Key, Edges>,
}

/// Which dependencies `cargo tree` is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kinds {
    /// What is linked into a program, or used to build it.
    Programs,
    /// That and what tests use.
    Tests,
}

impl Graph {
    /// Reads `cargo metadata`, and for each crate of the workspace what `tree` gives: `cargo tree --prefix depth --format ' {p}'`.
    pub(crate) fn parse(
        metadata: &str,
        tree: impl Fn(&str, Kinds) -> Result<String, CargoError>,
    ) -> Result<Self, GraphError> {
        let Metadata { packages: listed, workspace_members } = serde_json::from_str(metadata)?;
        let mut all: BTreeMap<Key, &Package> =
            listed.iter().map(|package| (package.key(), package)).collect();
        let (mut linked, mut tests) = (BTreeMap::new(), BTreeMap::new());
        for member in listed.iter().filter(|package| workspace_members.contains(&package.id)) {
            linked.insert(member.key(), edges(&tree(&member.name, Kinds::Programs)?));
            tests.insert(member.key(), edges(&tree(&member.name, Kinds::Tests)?));
        }
        let mut packages = BTreeMap::new();
        for key in linked.values().chain(tests.values()).flat_map(Edges::keys) {
            match all.remove(key) {
                Some(package) => _ = packages.insert(key.clone(), package.clone()),
                None if packages.contains_key(key) => {}
                None => return Err(GraphError::Unknown(key.clone())),
            }
        }
        let members = linked.keys().cloned().collect();
        Ok(Self { listed, packages, members, linked, tests })
    }

    pub(crate) fn len(&self) -> usize {
        self.packages.len()
    }

    /// Every crate that some program or test of the workspace uses.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &Package> {
        self.packages.values()
    }

    /// Every crate that `cargo metadata` lists, as often as it does.
    pub(crate) fn listed(&self) -> &[Package] {
        &self.listed
    }

    /// Crates of the workspace.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.members.iter().filter_map(|key| self.packages.get(key))
    }

    pub(crate) fn is_member(&self, package: &Package) -> bool {
        self.members.contains(&package.key())
    }

    /// Crates that are linked into some program of the workspace, or used to build one.
    pub(crate) fn in_programs(&self) -> Vec<&Package> {
        let keys: BTreeSet<&Key> = self.linked.values().flat_map(|edges| edges.keys()).collect();
        keys.into_iter().filter_map(|key| self.packages.get(key)).collect()
    }

    /// What a crate of the workspace depends on, directly or not; each with the way there, `a > b > c`.
    pub(crate) fn below(&self, member: &Package) -> Vec<(&Package, String)> {
        let Some(edges) = self.linked.get(&member.key()) else { return Vec::new() };
        edges
            .keys()
            .filter(|key| **key != member.key())
            .filter_map(|key| Some((self.packages.get(key)?, way(edges, &member.key(), key)?)))
            .collect()
    }

    /// Crates that a crate of the workspace names as normal or build dependencies.
    pub(crate) fn direct(&self, member: &Package) -> Vec<&Package> {
        let key = member.key();
        let named = self.linked.get(&key).and_then(|edges| edges.get(&key)).into_iter().flatten();
        named.filter_map(|key| self.packages.get(key)).collect()
    }

    /// Who names a crate as a dependency.
    pub(crate) fn users(&self, package: &Package, kinds: Kinds) -> Vec<&Package> {
        let graphs = match kinds {
            Kinds::Programs => &self.linked,
            Kinds::Tests => &self.tests,
        };
        let key = package.key();
        let users: BTreeSet<&Key> = graphs
            .values()
            .flatten()
            .filter_map(|(user, used)| used.contains(&key).then_some(user))
            .collect();
        users.into_iter().filter_map(|user| self.packages.get(user)).collect()
    }

    /// Who brings a crate in, for the message: one way from a crate of the workspace.
    pub(crate) fn why(&self, package: &Package) -> String {
        let find = |graphs: &BTreeMap<Key, Edges>| {
            graphs.iter().find_map(|(member, edges)| way(edges, member, &package.key()))
        };
        find(&self.linked)
            .or_else(|| find(&self.tests).map(|way| format!("tests of {way}")))
            .unwrap_or_else(|| "nobody".to_owned())
    }
}

impl Package {
    pub(crate) fn key(&self) -> Key {
        format!("{} {}", self.name, self.version)
    }
}

/// Reads lines such as `2 tokio v1.54.1 (*)`: depth, crate, and notes. A crate that was shown before has no lines below it.
fn edges(tree: &str) -> Edges {
    let mut edges = Edges::new();
    let mut above: Vec<Key> = Vec::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        let (Some(depth), Some(name), Some(version)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let Ok(depth) = depth.parse::<usize>() else { continue };
        let key = format!("{name} {}", version.trim_start_matches('v'));
        above.truncate(depth);
        if let Some(parent) = above.last() {
            let children = edges.entry(parent.clone()).or_default();
            if !children.contains(&key) {
                children.push(key.clone());
            }
        }
        edges.entry(key.clone()).or_default();
        above.push(key);
    }
    edges
}

/// The shortest way from one crate to another, by names.
fn way(edges: &Edges, from: &str, to: &str) -> Option<String> {
    let mut came_from: BTreeMap<&str, Option<&str>> = BTreeMap::from([(from, None)]);
    let mut queue = VecDeque::from([from]);
    while let Some(at) = queue.pop_front() {
        for next in edges.get(at).into_iter().flatten() {
            if !came_from.contains_key(next.as_str()) {
                came_from.insert(next, Some(at));
                queue.push_back(next);
            }
        }
    }
    let mut at = Some(*came_from.get_key_value(to)?.0);
    let mut names = Vec::new();
    while let Some(key) = at {
        names.push(key.split(' ').next().unwrap_or(key));
        at = came_from.get(key).copied().flatten();
    }
    names.reverse();
    Some(names.join(" > "))
}
