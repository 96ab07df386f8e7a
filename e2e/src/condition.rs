//! What the conditions of an object say, for tests that wait on them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::DynamicObject;

/// `status/reason` of a condition of any object; `None` while it is absent.
pub fn of(object: &DynamicObject, type_: &str) -> Option<String> {
    let conditions = object.data.get("status")?.get("conditions")?.as_array()?;
    let found =
        conditions.iter().find(|one| one.get("type").and_then(|text| text.as_str()) == Some(type_))?;
    Some(format!("{}/{}", found.get("status")?.as_str()?, found.get("reason")?.as_str()?))
}

/// `status/reason` of a typed condition list; `None` while it is absent.
pub fn among(conditions: &[Condition], type_: &str) -> Option<String> {
    conditions.iter().find(|one| one.type_ == type_).map(|one| format!("{}/{}", one.status, one.reason))
}
