//! Requests that the policies decide on, in the order of `requests.yaml`.

use std::{collections::HashMap, fs, time::Duration};

use json_patch::merge;
use kube::{
    Api, Client,
    api::{
        ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
        ValidationDirective,
    },
    core::GroupVersionKind,
};
use roomkeeper_e2e::programs;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::installation::{BOUND, DEADLINE, client, installed};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    r#as: String,
    r#in: Option<String>,
    create: Option<String>,
    replace: Option<String>,
    patch: Option<String>,
    status: Option<String>,
    delete: Option<String>,
    list: Option<String>,
    #[serde(default)]
    set: Value,
    /// What the refusal says.
    refused: Option<String>,
}

pub fn api(client: &Client, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("roomkeeper.dev", "v1alpha1", kind));
    Api::namespaced_with(client.clone(), namespace, &resource)
}

/// An object of the kind as its rules are tried on, under another name.
pub fn object(kind: &str, name: &str) -> Value {
    let file = match kind {
        "AccessScope" => "access_scope",
        "BookingRecord" => "booking_record",
        "CalendarSubscription" => "calendar_subscription",
        "ConsentRecord" => "consent_record",
        other => panic!("{other}"),
    };
    let path = programs::repository().join(format!("crds/tests/rules/{file}.yaml"));
    let table: Value = serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut object = table["base"].clone();
    object["metadata"] = json!({"name": name});
    object
}

impl Step {
    async fn send(&self, client: &Client, dry_run: bool) -> Result<(), kube::Error> {
        let namespace = self.r#in.as_deref().unwrap_or(BOUND);
        let post = PostParams { dry_run, ..PostParams::default() };
        let strict = PatchParams {
            dry_run,
            field_validation: Some(ValidationDirective::Strict),
            ..PatchParams::default()
        };
        let target = |path: &Option<String>| {
            let path = path.as_ref()?;
            let (kind, name) = path.split_once('/').unwrap_or((path, ""));
            Some((kind.to_owned(), name.to_owned(), api(client, kind, namespace)))
        };
        let whole = |kind: &str, name: &str| {
            let mut whole = object(kind, name);
            if !self.set.is_null() {
                merge(&mut whole, &self.set);
            }
            serde_json::from_value::<DynamicObject>(whole).unwrap()
        };
        if let Some((kind, name, api)) = target(&self.create) {
            api.create(&post, &whole(&kind, &name)).await.map(drop)
        } else if let Some((kind, name, api)) = target(&self.replace) {
            let mut whole = whole(&kind, &name);
            whole.metadata.resource_version = api.get(&name).await?.metadata.resource_version;
            api.replace(&name, &post, &whole).await.map(drop)
        } else if let Some((_, name, api)) = target(&self.patch) {
            api.patch(&name, &strict, &Patch::Merge(&self.set)).await.map(drop)
        } else if let Some((_, name, api)) = target(&self.status) {
            api.patch_status(&name, &strict, &Patch::Merge(&self.set)).await.map(drop)
        } else if let Some((_, name, api)) = target(&self.delete) {
            let parameters = DeleteParams { dry_run, ..DeleteParams::default() };
            api.delete(&name, &parameters).await.map(drop)
        } else if let Some((_, _, api)) = target(&self.list) {
            api.list(&ListParams::default()).await.map(drop)
        } else {
            panic!("nothing to do: {self:?}")
        }
    }

    /// What is wrong with the answer.
    async fn problem(&self, client: &Client) -> Option<String> {
        let Some(says) = &self.refused else {
            return self.send(client, false).await.err().map(|error| format!("was refused: {error}"));
        };
        // Policies are in force a moment after they are made; a dry run changes nothing while they are not.
        let deadline = Instant::now() + DEADLINE;
        while self.send(client, true).await.is_ok() {
            if Instant::now() >= deadline {
                return Some("was accepted".to_owned());
            }
            sleep(Duration::from_millis(100)).await;
        }
        match self.send(client, false).await {
            Ok(()) => Some("was accepted after a refused dry run".to_owned()),
            Err(kube::Error::Api(status)) if status.message.contains(says) => None,
            Err(error) => Some(format!("says something else: {error}")),
        }
    }
}

#[tokio::test]
async fn each_request_is_answered_as_the_table_says() {
    let plane = installed().await;
    let steps: Vec<Step> = serde_yaml::from_str(include_str!("requests.yaml")).unwrap();
    let mut clients = HashMap::new();
    let mut wrong = Vec::new();
    for step in &steps {
        if !clients.contains_key(&step.r#as) {
            clients.insert(step.r#as.clone(), client(plane, &step.r#as).await);
        }
        if let Some(problem) = step.problem(&clients[&step.r#as]).await {
            wrong.push(format!("{step:?}: {problem}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} requests:\n{}", wrong.len(), steps.len(), wrong.join("\n"));
}
