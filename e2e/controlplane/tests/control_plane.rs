//! The control plane as its users meet it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use k8s_openapi::api::{
    authentication::v1::{SelfSubjectReview, TokenRequest, TokenReview},
    core::v1::{ConfigMap, Namespace, ServiceAccount},
};
use kube::{
    Api, Client, Error,
    api::{ListParams, PostParams},
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use roomkeeper_controlplane::ControlPlane;
use serde_json::json;

fn code(result: Result<impl Sized, Error>) -> u16 {
    match result {
        Ok(_) => 200,
        Err(Error::Api(status)) => status.code,
        Err(other) => panic!("no answer of the API server: {other}"),
    }
}

async fn identity(client: &Client) -> (String, Vec<String>) {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap();
    let user = review.status.unwrap().user_info.unwrap();
    (user.username.unwrap(), user.groups.unwrap())
}

#[tokio::test]
async fn the_server_has_the_pinned_version_and_a_default_namespace() {
    let cp = ControlPlane::shared().await.unwrap();
    let client = cp.admin_client().await.unwrap();
    let version = client.apiserver_version().await.unwrap();
    let go_mod = include_str!("../go/go.mod");
    let required = format!("k8s.io/kubernetes {}", version.git_version);
    assert!(
        go_mod.lines().any(|line| line.trim().trim_end_matches(" // indirect") == required),
        "{required}"
    );
    Api::<Namespace>::all(client).get("default").await.unwrap();
}

#[tokio::test]
async fn a_certificate_carries_its_user_and_all_groups() {
    let cp = ControlPlane::shared().await.unwrap();
    let user = "system:serviceaccount:roomkeeper-system:roomkeeper-operator";
    let groups = ["system:serviceaccounts", "system:serviceaccounts:roomkeeper-system", "third"];
    let client = cp.client_for(user, &groups).await.unwrap();
    let (name, mut found) = identity(&client).await;
    assert_eq!(name, user);
    found.sort();
    assert_eq!(found, ["system:authenticated", groups[0], groups[1], groups[2]]);
}

#[tokio::test]
async fn a_user_may_what_a_role_says_and_nothing_else() {
    let cp = ControlPlane::shared().await.unwrap();
    let allowed = cp.namespace("rbac").await.unwrap();
    let other = cp.namespace("rbac").await.unwrap();
    assert_ne!(allowed, other);
    let jane = cp.client_for("jane", &["support"]).await.unwrap();
    let list = |client: &Client, namespace: &str| {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        async move { code(api.list(&ListParams::default()).await) }
    };
    assert_eq!(list(&jane, &allowed).await, 403);

    // For her group, so that this shows that groups count.
    cp.apply_yaml(&format!(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: reader, namespace: {allowed}}}
rules: [{{apiGroups: [''], resources: [configmaps], verbs: [list]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: reader, namespace: {allowed}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}}
subjects: [{{apiGroup: rbac.authorization.k8s.io, kind: Group, name: support}}]
"
    ))
    .await
    .unwrap();
    // The authorizer learns of a role through a watch.
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while list(&jane, &allowed).await != 200 {
        assert!(tokio::time::Instant::now() < deadline, "the role is not in force");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(list(&jane, &other).await, 403);
    let create: Api<ConfigMap> = Api::namespaced(jane.clone(), &allowed);
    let mut map = ConfigMap::default();
    map.metadata.name = Some("m".to_owned());
    assert_eq!(code(create.create(&PostParams::default(), &map).await), 403);

    let stranger = cp.client_for("jane", &["other-group"]).await.unwrap();
    assert_eq!(list(&stranger, &allowed).await, 403);
}

#[tokio::test]
async fn tokens_of_service_accounts_are_issued_for_any_audience_and_reviewed() {
    let cp = ControlPlane::shared().await.unwrap();
    let client = cp.admin_client().await.unwrap();
    let namespace = cp.namespace("token").await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": "robot"}})).unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let request: TokenRequest =
        serde_json::from_value(json!({"spec": {"audiences": ["api://AzureADTokenExchange"]}})).unwrap();
    let issued = accounts.create_token_request("robot", &PostParams::default(), &request).await.unwrap();

    let token = issued.status.unwrap().token;
    let reviews: Api<TokenReview> = Api::all(client);
    let review = |audience: &str| {
        serde_json::from_value(json!({"spec": {"token": token, "audiences": [audience]}})).unwrap()
    };
    let good = reviews.create(&PostParams::default(), &review("api://AzureADTokenExchange")).await.unwrap();
    let user = good.status.unwrap().user.unwrap().username.unwrap();
    assert_eq!(user, format!("system:serviceaccount:{namespace}:robot"));
    let wrong = reviews.create(&PostParams::default(), &review("somebody-else")).await.unwrap();
    assert_ne!(wrong.status.unwrap().authenticated, Some(true));
}

#[tokio::test]
async fn a_definition_and_its_object_apply_in_one_text_and_twice() {
    let cp = ControlPlane::shared().await.unwrap();
    let namespace = cp.namespace("apply").await.unwrap();
    let client = cp.admin_client().await.unwrap();
    let yaml = format!(
        "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: parcels.apply.roomkeeper.dev}}
spec:
  group: apply.roomkeeper.dev
  scope: Namespaced
  names: {{kind: Parcel, plural: parcels, singular: parcel}}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              grams: {{type: integer}}
            x-kubernetes-validations:
            - {{rule: 'self.grams > 0', message: 'grams must be more than nothing'}}
---
apiVersion: apply.roomkeeper.dev/v1
kind: Parcel
metadata: {{name: p, namespace: {namespace}}}
spec: {{grams: 3}}
"
    );
    for _ in 0..2 {
        let applied = cp.apply_yaml(&yaml).await.unwrap();
        assert_eq!(applied.len(), 2);
        assert_eq!(applied[1].data["spec"]["grams"], 3);
    }
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("apply.roomkeeper.dev", "v1", "Parcel"));
    let parcels: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &resource);
    assert_eq!(parcels.list(&ListParams::default()).await.unwrap().items.len(), 1);

    // A refused object is named, with the sentence of its rule.
    let error = cp.apply_yaml(&yaml.replace("grams: 3", "grams: -1")).await.unwrap_err().to_string();
    assert!(error.starts_with("Parcel p: ") && error.contains("grams must be more than nothing"), "{error}");
    let error = cp
        .apply_yaml("apiVersion: nowhere.example/v1\nkind: Nothing\nmetadata: {name: n}\n")
        .await
        .unwrap_err();
    assert!(error.to_string().starts_with("nowhere.example/v1 Nothing is not served"), "{error}");
}

#[tokio::test]
async fn a_folder_without_definitions_is_refused() {
    let cp = ControlPlane::shared().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let error = cp.apply_crds(dir.path()).await.unwrap_err().to_string();
    assert!(error.contains("no file *.yaml"), "{error}");
}

#[tokio::test]
async fn kubectl_and_kubeconfig_files_work() {
    let cp = ControlPlane::shared().await.unwrap();
    let out =
        cp.kubectl().args(["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "admin", "{}", String::from_utf8_lossy(&out.stderr));

    let file = cp.kubeconfig_for("robot", &["robots"]).unwrap();
    assert_eq!(file, cp.kubeconfig_for("robot", &["robots"]).unwrap());
    let out = cp
        .kubectl()
        .env("KUBECONFIG", file)
        .args(["auth", "whoami", "-o", "jsonpath={.status.userInfo}"])
        .output()
        .unwrap();
    let user: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(user["username"], "robot");
    assert_eq!(user["groups"], json!(["robots", "system:authenticated"]));
}

#[tokio::test]
async fn the_administrators_word_is_not_taken_without_a_certificate() {
    let cp = ControlPlane::shared().await.unwrap();
    let config = Kubeconfig::read_from(cp.admin_kubeconfig_path()).unwrap();
    let mut config =
        kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
    config.auth_info = AuthInfo::default();
    let anonymous = Client::try_from(config).unwrap();
    let namespaces: Api<Namespace> = Api::all(anonymous);
    assert_eq!(code(namespaces.list(&ListParams::default()).await), 403);
}

#[tokio::test]
async fn the_kinds_of_a_folder_are_served_once_it_is_applied() {
    let cp = ControlPlane::shared().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    for kind in ["Apple", "Pear"] {
        let plural = format!("{}s", kind.to_lowercase());
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.folder.roomkeeper.dev")},
            "spec": {
                "group": "folder.roomkeeper.dev",
                "scope": "Cluster",
                "names": {"kind": kind, "plural": plural},
                "versions": [{
                    "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}},
                }],
            },
        });
        std::fs::write(dir.path().join(format!("{plural}.yaml")), definition.to_string()).unwrap();
    }
    std::fs::write(dir.path().join("README.md"), "not YAML: [").unwrap();
    cp.apply_crds(dir.path()).await.unwrap();
    for kind in ["Apple", "Pear"] {
        let yaml = format!("apiVersion: folder.roomkeeper.dev/v1\nkind: {kind}\nmetadata: {{name: a}}\n");
        assert_eq!(cp.apply_yaml(&yaml).await.unwrap().len(), 1);
    }
}
