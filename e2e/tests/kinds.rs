//! The kinds at a real API server: every row of the tables in `crds/tests/rules`, with the sentence that the user sees.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::fs;

use json_patch::merge;
use kube::{
    Api, Client, Resource as _,
    api::{ApiResource, DynamicObject, Patch, PatchParams, ValidationDirective},
    core::{GroupVersionKind, discovery},
};
use roomkeeper_controlplane::{ControlPlane, apply};
use roomkeeper_e2e::programs;
use serde_json::Value;

async fn run(file: &str) {
    let control_plane = ControlPlane::shared().await.unwrap();
    let client: Client = control_plane.admin_client().await.unwrap();
    apply::apply_crds(&client, &programs::repository().join("crds/yaml")).await.unwrap();
    let namespace = control_plane.namespace("kinds").await.unwrap();
    let path = programs::repository().join("crds/tests/rules").join(file);
    let table: Value = serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let kind = table["kind"].as_str().unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("roomkeeper.dev", "v1alpha1", kind));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
    // As kubectl does: a field that the schema does not know is an error, not a silent loss.
    let url = format!("{}?fieldValidation=Strict", DynamicObject::url_path(&resource, Some(&namespace)));
    let create = async |object: &Value| {
        let request = http::Request::post(&url).header("content-type", "application/json");
        client.request::<DynamicObject>(request.body(serde_json::to_vec(object).unwrap()).unwrap()).await
    };
    let strict =
        PatchParams { field_validation: Some(ValidationDirective::Strict), ..PatchParams::default() };
    let mut failures = Vec::new();
    for (list, is_update) in [("create", false), ("update", true)] {
        for (number, case) in table[list].as_array().unwrap().iter().enumerate() {
            let name = format!("{list}-{number}");
            let mut object = table["base"].clone();
            object["metadata"] = serde_json::json!({"name": name});
            let outcome = if is_update {
                if !case["first"].is_null() {
                    merge(&mut object, &case["first"]);
                }
                create(&object).await.unwrap_or_else(|error| panic!("{file} {}: {error}", case["case"]));
                api.patch(&name, &strict, &Patch::Merge(&case["set"])).await
            } else {
                if !case["set"].is_null() {
                    merge(&mut object, &case["set"]);
                }
                create(&object).await
            };
            match (outcome, case["refused"].as_str()) {
                (Ok(_), None) => {}
                (Ok(_), Some(_)) => failures.push(format!("{}: was accepted", case["case"])),
                (Err(error), None) => failures.push(format!("{}: was refused: {error}", case["case"])),
                (Err(kube::Error::Api(status)), Some(sentence)) if status.message.contains(sentence) => {}
                (Err(error), Some(_)) => {
                    failures.push(format!("{}: another sentence: {error}", case["case"]));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{file}:\n{}", failures.join("\n"));
}

#[tokio::test]
async fn access_scope() {
    run("access_scope.yaml").await;
}

#[tokio::test]
async fn calendar_subscription() {
    run("calendar_subscription.yaml").await;
}

#[tokio::test]
async fn consent_record() {
    run("consent_record.yaml").await;
}

#[tokio::test]
async fn booking_record() {
    run("booking_record.yaml").await;
}

#[tokio::test]
async fn the_kinds_have_short_names_a_category_and_a_status_subresource() {
    let control_plane = ControlPlane::shared().await.unwrap();
    let client = control_plane.admin_client().await.unwrap();
    apply::apply_crds(&client, &programs::repository().join("crds/yaml")).await.unwrap();
    let group =
        kube::discovery::pinned_group(&client, &kube::core::GroupVersion::gv("roomkeeper.dev", "v1alpha1"))
            .await
            .unwrap();
    let mut seen: Vec<(String, bool)> = group
        .versioned_resources("v1alpha1")
        .into_iter()
        .map(|(resource, capabilities)| {
            (
                resource.kind,
                capabilities.scope == discovery::Scope::Namespaced && !capabilities.subresources.is_empty(),
            )
        })
        .collect();
    seen.sort();
    let wanted = ["AccessScope", "BookingRecord", "CalendarSubscription", "ConsentRecord"];
    assert_eq!(seen, wanted.map(|kind| (kind.to_owned(), true)));
    let listed =
        control_plane.kubectl().args(["get", "ascope,calsub,consent,booking,roomkeeper"]).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
}
