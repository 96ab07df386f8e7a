//! Two installations of the chart on one API server, and the users that hold its roles.

use std::{fs, time::Duration};

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, Client, api::PostParams};
use roomkeeper_controlplane::ControlPlane;
use roomkeeper_e2e::{
    helm::{self, Helm},
    install,
};
use tokio::{
    sync::OnceCell,
    time::{Instant, sleep},
};

/// Where the roles of people are bound.
pub const BOUND: &str = "contoso";
/// Looked after by the second installation, whose ingest and worker are apart.
pub const OTHER: &str = "fabrikam";
/// Ends during the test.
pub const ENDING: &str = "ending";
const SPLIT: &str = "roomkeeper-split";

pub const DEADLINE: Duration = Duration::from_mins(1);

const VALUES: &str = r"
publicUrl: https://roomkeeper.contoso.example
watchNamespaces: [contoso, ending]
scopes:
- {namespace: contoso, graphSecrets: [contoso-graph], bookingSecrets: [contoso-booking], serviceAccounts: [contoso-calendars]}
rbac:
  bindings:
  - {role: view, namespace: contoso, groups: [view-people]}
  - {role: edit, namespace: contoso, users: [edit]}
  - {role: consents-view, namespace: contoso, groups: [consents-view-people]}
  - {role: bookings-view, namespace: contoso, groups: [bookings-view-people]}
  - {role: scope-admin, namespace: contoso, groups: [scope-admin-people]}
  - {role: support, namespace: contoso, groups: [support-people]}
  - {role: auditor, namespace: contoso, users: [auditor], serviceAccounts: [{namespace: contoso, name: roomkeeper-auditor}]}
";

const SPLIT_VALUES: &str = r#"
publicUrl: https://roomkeeper.fabrikam.example
watchNamespaces: [fabrikam]
crds: {enabled: false}
rbac: {people: false}
webhook: {split: {enabled: true, queueArgs: ["--queue-url=nats://nats.example"]}}
"#;

/// The roles of the table, in its words. `nobody` is signed in and holds none.
pub const ROLES: [&str; 11] = [
    "view",
    "edit",
    "consents-view",
    "bookings-view",
    "scope-admin",
    "support",
    "auditor",
    "operator",
    "webhook",
    "ingest",
    "nobody",
];

/// Roles that hold everywhere.
pub const EVERYWHERE: [&str; 3] = ["operator", "webhook", "ingest"];

static INSTALLED: OnceCell<()> = OnceCell::const_new();

/// The control plane with both installations.
pub async fn installed() -> &'static ControlPlane {
    let plane = ControlPlane::shared().await.unwrap();
    INSTALLED.get_or_init(|| install(plane)).await;
    plane
}

async fn install(plane: &ControlPlane) {
    let admin = plane.admin_client().await.unwrap();
    for namespace in [BOUND, OTHER, ENDING] {
        install::namespace(&admin, namespace).await.unwrap();
    }
    let helm = Helm::of(plane).unwrap();
    let chart = helm::chart();
    let chart = helm::argument(&chart).unwrap();
    for (release, namespace, values) in
        [("roomkeeper", install::NAMESPACE, VALUES), ("split", SPLIT, SPLIT_VALUES)]
    {
        let file = plane.dir().join(format!("{release}.yaml"));
        fs::write(&file, values).unwrap();
        let file = helm::argument(&file).unwrap();
        helm.run(&["install", release, chart, "-n", namespace, "--create-namespace", "-f", file]).unwrap();
    }
    // Roles are in force a moment after they are made, in the order of their arrival.
    let ours = "roomkeeper.dev";
    for (role, verb, group, resource, namespace) in [
        ("view", "get", ours, "accessscopes", BOUND),
        ("edit", "create", ours, "calendarsubscriptions", BOUND),
        ("consents-view", "get", ours, "consentrecords", BOUND),
        ("bookings-view", "get", ours, "bookingrecords", BOUND),
        ("scope-admin", "create", ours, "accessscopes", BOUND),
        ("support", "patch", ours, "consentrecords", BOUND),
        ("auditor", "get", ours, "consentrecords", BOUND),
        ("auditor", "list", "", "configmaps", install::NAMESPACE),
        ("auditor-account", "get", ours, "accessscopes/audit", BOUND),
        ("operator", "patch", ours, "consentrecords", BOUND),
        ("webhook", "create", ours, "consentrecords", BOUND),
        ("ingest", "create", ours, "consentrecords", BOUND),
        ("ingest", "list", "", "configmaps", SPLIT),
        ("split-worker", "create", ours, "bookingrecords", BOUND),
    ] {
        let client = client(plane, role).await;
        let asked = attributes(group, resource, Some(namespace), None, verb);
        let deadline = Instant::now() + DEADLINE;
        while !allowed(&client, asked.clone()).await {
            assert!(Instant::now() < deadline, "{role} may not {verb} {resource} in {namespace}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// A client of the user that has a role.
pub async fn client(plane: &ControlPlane, role: &str) -> Client {
    let account = |namespace: &str, name: &str| {
        let groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        (format!("system:serviceaccount:{namespace}:{name}"), groups)
    };
    let (user, groups) = match role {
        "operator" | "webhook" => account(install::NAMESPACE, &format!("roomkeeper-{role}")),
        "ingest" => account(SPLIT, "roomkeeper-ingest"),
        "split-worker" => account(SPLIT, "roomkeeper-webhook"),
        "auditor-account" => account(BOUND, "roomkeeper-auditor"),
        "garbage-collector" => account("kube-system", "generic-garbage-collector"),
        "namespace-controller" => account("kube-system", "namespace-controller"),
        "admin" => (role.to_owned(), vec!["system:masters".to_owned()]),
        "break-glass" => {
            (role.to_owned(), vec!["system:masters".to_owned(), "roomkeeper:break-glass".to_owned()])
        }
        role => (role.to_owned(), vec![format!("{role}-people")]),
    };
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    plane.client_for(&user, &groups).await.unwrap()
}

/// What is asked about a resource such as `pods/exec`.
pub fn attributes(
    group: &str,
    resource: &str,
    namespace: Option<&str>,
    name: Option<&str>,
    verb: &str,
) -> ResourceAttributes {
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (resource, None),
    };
    ResourceAttributes {
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        namespace: namespace.map(str::to_owned),
        name: name.map(str::to_owned),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    }
}

/// What the API server answers the user about itself.
pub async fn allowed(client: &Client, attributes: ResourceAttributes) -> bool {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    api.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
}
