//! Situations from YAML fixtures: each file changes the healthy one of `base.yaml` and says which steps differ.

use std::collections::BTreeMap;

use roomkeeper_crds::{AccessScope, CalendarSubscription, ConsentRecord};
use serde::Deserialize;
use serde_json::Value;

use super::steps::{Facts, Name, State, Warning, steps, what_to_do};
use crate::user::Place;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Situation {
    /// Merged into the healthy scope; null: there is none.
    #[serde(default = "unchanged")]
    scope: Value,
    /// In the place of the one of the healthy situation.
    consents: Option<Vec<Value>>,
    /// Merged into the healthy CalendarSubscription, one object each.
    subscriptions: Option<Vec<Value>>,
    /// In the place of conditions of the same type of the healthy CalendarSubscription.
    #[serde(default)]
    conditions: Vec<Value>,
    #[serde(default)]
    scope_conditions: Vec<Value>,
    warnings: Option<Vec<Warning>>,
    #[serde(default)]
    no_events: bool,
    /// The steps that are not ok.
    expect: BTreeMap<Name, State>,
    /// Part of a step's detail.
    #[serde(default)]
    says: BTreeMap<Name, String>,
    /// Part of what to do.
    to_do: String,
}

fn unchanged() -> Value {
    Value::Object(serde_json::Map::new())
}

fn base() -> (Value, Value, Value) {
    #[derive(Deserialize)]
    struct Base {
        consent: Value,
        subscription: Value,
    }
    let scope = serde_yaml::from_str(include_str!("../../fixtures/scope.yaml")).unwrap();
    let base: Base = serde_yaml::from_str(include_str!("../../fixtures/explain/base.yaml")).unwrap();
    (scope, base.consent, base.subscription)
}

fn replace(object: &mut Value, conditions: &[Value]) {
    let Some(all) = object.pointer_mut("/status/conditions").and_then(Value::as_array_mut) else { return };
    for wanted in conditions {
        let mut wanted = wanted.clone();
        let at = serde_json::json!("2026-11-23T09:59:00Z");
        wanted.as_object_mut().unwrap().insert("lastTransitionTime".to_owned(), at);
        all.retain(|one| one["type"] != wanted["type"]);
        all.push(wanted);
    }
}

fn merged<T: serde::de::DeserializeOwned>(base: &Value, patch: &Value) -> T {
    let mut object = base.clone();
    json_patch::merge(&mut object, patch);
    serde_json::from_value(object).unwrap()
}

fn check(name: &str, text: &str) {
    let situation: Situation = serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (mut scope, consent, mut subscription) = base();
    replace(&mut scope, &situation.scope_conditions);
    replace(&mut subscription, &situation.conditions);
    let scope: Option<AccessScope> = (!situation.scope.is_null()).then(|| merged(&scope, &situation.scope));
    let consents = situation.consents.unwrap_or_else(|| vec![unchanged()]);
    let subscriptions = situation.subscriptions.unwrap_or_else(|| vec![unchanged()]);
    let place = Place {
        namespace: "rooms".to_owned(),
        scope: "contoso".to_owned(),
        ids: ["2189c720-90d5-44ff-818b-fe585706ee90".to_owned()].into(),
        consents: consents.iter().map(|patch| merged::<ConsentRecord>(&consent, patch)).collect(),
        subscriptions: subscriptions
            .iter()
            .map(|patch| merged::<CalendarSubscription>(&subscription, patch))
            .collect(),
    };
    let warnings = if situation.no_events {
        Err("not allowed".to_owned())
    } else {
        Ok(situation.warnings.unwrap_or_default())
    };
    let facts = Facts::new(scope.as_ref(), &place, warnings, "2026-11-23T10:00:00Z".parse().unwrap());
    let steps = steps(&facts);
    let order: Vec<Name> = steps.iter().map(|step| step.step).collect();
    assert!(order.is_sorted() && order.len() == 9, "{name}: {order:?}");
    let not_ok: BTreeMap<Name, State> =
        steps.iter().filter(|step| step.state != State::Ok).map(|step| (step.step, step.state)).collect();
    assert_eq!(not_ok, situation.expect, "{name}: {steps:#?}");
    for (step, part) in &situation.says {
        let found = steps.iter().find(|one| one.step == *step).unwrap();
        assert!(found.detail.contains(part), "{name}: {step} says: {}", found.detail);
    }
    let to_do = what_to_do(&steps);
    assert!(to_do.contains(&situation.to_do), "{name}: to do: {to_do}");
}

#[test]
fn every_situation_is_explained() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/explain");
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "base.yaml" {
            continue;
        }
        count += 1;
        check(&name, &std::fs::read_to_string(&path).unwrap());
    }
    assert!(count >= 20, "{count} situations");
}
