//! CEL rules that several fields share. Each message says what is wrong and how to mend it.

use kube::core::Rule;
use schemars::{Schema, SchemaGenerator, json_schema};

const GUID: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";

/// The value is a GUID in lower case: other spellings are refused rather than rewritten, so that GitOps sees no diff.
pub(crate) fn guid(field: &str) -> Rule {
    Rule::new(format!("self.matches('{GUID}')")).message(&*format!(
        "{field} must be a GUID in lower case, such as 7f1d0cb7-93b9-405a-8dad-c21703b7af18"
    ))
}

/// The value never changes; `instead` says what to do when another value is wanted.
pub(crate) fn immutable(field: &str, instead: &str) -> Rule {
    Rule::new("self == oldSelf").message(&*format!("{field} is immutable: {instead}"))
}

/// The value is the name of a Kubernetes object (DNS subdomain).
pub(crate) fn object_name(field: &str) -> Rule {
    Rule::new(r"self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')")
        .message(&*format!("{field} must be the name of an object: lower-case letters, digits, '-' and '.'"))
}

/// The value is an `https` URL without user information, query or fragment.
pub(crate) fn https_url(field: &str) -> Rule {
    Rule::new("self.matches('^https://[A-Za-z0-9.:_\\\\[\\\\]-]+(/[^?#@]*)?$')")
        .message(&*format!("{field} must be an https URL without user name, query or fragment"))
}

const DURATION: &str = "^([0-9]+h)?([0-9]+m)?([0-9]+s)?$";

/// The value is a duration as Kubernetes writes it (`90s`, `15m`, `24h`, `1h30m`), not below `at_least`.
pub(crate) fn duration(field: &str, at_least: &str) -> Rule {
    Rule::new(format!(
        "self.matches('{DURATION}') && size(self) > 0 && duration(self) >= duration('{at_least}')"
    ))
    .message(&*format!("{field} must be a duration such as 90s, 15m or 24h, at least {at_least}"))
}

/// One duration of an object is shorter than another; `otherwise` says what would happen. What is no duration is for
/// [`duration`] to refuse.
pub(crate) fn shorter(field: &str, than: &str, otherwise: &str) -> Rule {
    let is_duration = |field: &str| format!("self.{field}.matches('{DURATION}') && size(self.{field}) > 0");
    let (one, other) = (is_duration(field), is_duration(than));
    Rule::new(format!("!({one} && {other}) || duration(self.{field}) < duration(self.{than})"))
        .message(&*format!("{field} must be shorter than {than}: {otherwise}"))
}

/// Schema of a list of conditions with the bounds of `metav1.Condition`.
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {"type": "string", "maxLength": 316},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "reason": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"},
                "message": {"type": "string", "maxLength": 4096},
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0}
            }
        }
    })
}
