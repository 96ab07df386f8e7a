//! Every role × verb × resource.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use kube::Client;
use serde::Deserialize;

use crate::installation::{BOUND, EVERYWHERE, OTHER, ROLES, allowed, attributes, client, installed};

const GROUP: &str = "roomkeeper.dev";
const VERBS: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];
/// Reviews of one user in flight.
const AT_ONCE: usize = 8;

/// Verbs by role.
type Allowed = BTreeMap<String, String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    kinds: BTreeMap<String, Allowed>,
    others: Vec<Other>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Other {
    #[serde(default)]
    group: String,
    resource: String,
    namespace: Option<String>,
    name: Option<String>,
    /// Verbs besides the usual ones.
    #[serde(default)]
    also: String,
    #[serde(default)]
    allowed: Allowed,
}

struct Question {
    asked: ResourceAttributes,
    expected: bool,
}

fn table() -> Table {
    serde_yaml::from_str(include_str!("matrix.yaml")).unwrap()
}

fn holds(allowed: &Allowed, role: &str, verb: &str) -> bool {
    allowed.get(role).is_some_and(|verbs| verbs.split(' ').any(|one| one == verb))
}

/// Resources and subresources of our group in all its versions, with their verbs.
async fn discovered(client: &Client) -> BTreeMap<String, BTreeSet<String>> {
    let groups = client.list_api_groups().await.unwrap().groups;
    let ours = groups.into_iter().find(|group| group.name == GROUP).unwrap();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for version in ours.versions {
        let list = client.list_api_group_resources(&version.group_version).await.unwrap();
        for resource in list.resources {
            found.entry(resource.name).or_default().extend(resource.verbs);
        }
    }
    found
}

fn questions(role: &str, table: &Table, discovered: &BTreeMap<String, BTreeSet<String>>) -> Vec<Question> {
    let mut questions = Vec::new();
    for (resource, theirs) in discovered {
        let empty = Allowed::new();
        let listed = table.kinds.get(resource).unwrap_or(&empty);
        let verbs: BTreeSet<&str> = VERBS.into_iter().chain(theirs.iter().map(String::as_str)).collect();
        for namespace in [Some(BOUND), Some(OTHER), None] {
            for verb in &verbs {
                let here = namespace == Some(BOUND) || EVERYWHERE.contains(&role);
                questions.push(Question {
                    asked: attributes(GROUP, resource, namespace, None, verb),
                    expected: here && holds(listed, role, verb),
                });
            }
        }
    }
    for other in &table.others {
        for verb in VERBS.into_iter().chain(other.also.split_whitespace()) {
            let (namespace, name) = (other.namespace.as_deref(), other.name.as_deref());
            questions.push(Question {
                asked: attributes(&other.group, &other.resource, namespace, name, verb),
                expected: holds(&other.allowed, role, verb),
            });
        }
    }
    questions
}

#[tokio::test]
async fn every_role_may_do_its_part_and_nothing_else() {
    let plane = installed().await;
    let table = table();
    let discovered = discovered(&plane.admin_client().await.unwrap()).await;
    let named: BTreeSet<&String> = table.kinds.keys().collect();
    assert_eq!(discovered.keys().collect::<BTreeSet<_>>(), named, "classify them in tests/roles/matrix.yaml");

    let mut wrong = Vec::new();
    let mut asked = 0;
    for role in ROLES {
        let client = client(plane, role).await;
        let questions = questions(role, &table, &discovered);
        asked += questions.len();
        let granted = questions.iter().filter(|question| question.expected).count();
        assert_eq!(granted == 0, role == "nobody", "{role} is to have {granted} rights");
        let answers = stream::iter(&questions).map(|question| {
            let client = client.clone();
            async move { (allowed(&client, question.asked.clone()).await, question) }
        });
        let answers: Vec<(bool, &Question)> = answers.buffer_unordered(AT_ONCE).collect().await;
        let differing = answers.into_iter().filter(|(got, question)| *got != question.expected);
        wrong.extend(differing.map(|(got, question)| {
            let may = if got { "may" } else { "may not" };
            format!("{role} {may} {}", words(&question.asked))
        }));
    }
    wrong.sort();
    assert!(wrong.is_empty(), "{} of {asked} answers differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn words(asked: &ResourceAttributes) -> String {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    format!(
        "{} {}/{}/{} {:?} in {:?}",
        text(&asked.verb),
        text(&asked.group),
        text(&asked.resource),
        text(&asked.subresource),
        text(&asked.name),
        asked.namespace,
    )
}

#[test]
fn the_table_names_known_roles_and_verbs() {
    let table = table();
    let verbs: BTreeSet<&str> = VERBS.into_iter().collect();
    for allowed in table.kinds.values().chain(table.others.iter().map(|other| &other.allowed)) {
        for (role, listed) in allowed {
            assert!(ROLES.contains(&role.as_str()), "{role}");
            assert!(listed.split(' ').all(|verb| verbs.contains(verb)), "{role}: {listed}");
        }
    }
}
