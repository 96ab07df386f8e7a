//! What still stands against an uninstallation. Pure.

use std::fmt;

use kube::ResourceExt as _;
use roomkeeper_crds::{
    AccessScope, CalendarSubscription,
    condition::{self, Allowed, Type},
};
use serde::Serialize;

use crate::output;

/// An object that is not at rest.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Left {
    kind: &'static str,
    namespace: String,
    object: String,
    why: String,
}

impl Left {
    pub(super) fn name(&self) -> String {
        output::name(self.kind, &self.object)
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "left: {} -n {}: {}", self.name(), self.namespace, self.why)
    }
}

/// Everything that is not at rest yet.
pub(super) fn left(scopes: &[AccessScope], subscriptions: &[CalendarSubscription]) -> Vec<Left> {
    let of_scopes = scopes.iter().filter_map(|scope| {
        Some(Left {
            kind: "accessscope",
            namespace: scope.namespace().unwrap_or_default(),
            object: scope.name_any(),
            why: of_scope(scope)?,
        })
    });
    let of_subscriptions = subscriptions.iter().filter_map(|object| {
        Some(Left {
            kind: "calendarsubscription",
            namespace: object.namespace().unwrap_or_default(),
            object: object.name_any(),
            why: of_subscription(object)?,
        })
    });
    of_scopes.chain(of_subscriptions).collect()
}

/// The operator says of a suspended scope that nothing of it is left at Graph, once it has seen that it is suspended. What it says of
/// an older generation proves nothing.
fn of_scope(scope: &AccessScope) -> Option<String> {
    if scope.metadata.deletion_timestamp.is_some() {
        return Some("it is being deleted".to_owned());
    }
    if !scope.spec.suspend {
        return Some(
            "spec.suspend was set back to false: set it to true where it is kept (Git), and keep others from changing it".to_owned(),
        );
    }
    let status = scope.status.clone().unwrap_or_default();
    let ready = condition::get(&status.conditions, Type::Ready);
    match ready {
        Some(ready) if status.observed_generation == scope.metadata.generation => {
            let rests = ready.status == "True" && ready.reason == Allowed::Suspended.as_str();
            // An older scope serves the application of a duplicate: nothing was ever made under it.
            let idle = ready.reason == condition::Summary::DuplicateApplication.as_str()
                && status.subscriptions.is_none_or(|counts| counts.active == 0);
            (!rests && !idle).then(|| format!("{}: {}", ready.reason, ready.message))
        }
        _ => Some("the operator has not seen the suspension yet: is it running?".to_owned()),
    }
}

fn of_subscription(object: &CalendarSubscription) -> Option<String> {
    let status = object.status.clone().unwrap_or_default();
    if object.metadata.deletion_timestamp.is_some() {
        return Some("it is being deleted".to_owned());
    }
    let living = status.subscription?;
    let ready = condition::get(&status.conditions, Type::Ready).filter(|ready| ready.status != "True");
    let why = ready.map(|ready| format!(": {}: {}", ready.reason, ready.message)).unwrap_or_default();
    Some(format!(
        "its Graph subscription is not ended yet (it ends by itself at {}){why}",
        living.expires_at.0
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn scope(patch: &Value) -> AccessScope {
        let mut scope: Value = serde_yaml::from_str(include_str!("../../fixtures/scope.yaml")).unwrap();
        json_patch::merge(&mut scope, patch);
        serde_json::from_value(scope).unwrap()
    }

    fn suspended(reason: &str, status: &str) -> Value {
        json!({"spec": {"suspend": true}, "status": {"conditions": [
            {"type": "Ready", "status": status, "reason": reason, "message": "why", "lastTransitionTime": "2026-11-01T08:00:00Z"},
        ]}})
    }

    fn whys(scope: AccessScope) -> Vec<String> {
        left(&[scope], &[]).into_iter().map(|left| left.why).collect()
    }

    #[test]
    fn a_scope_rests_once_the_operator_says_so_of_this_generation() {
        assert_eq!(whys(scope(&suspended("Suspended", "True"))), Vec::<String>::new());
        assert_eq!(whys(scope(&suspended("Suspended", "False"))), ["Suspended: why"]);
        let mut stale = suspended("Suspended", "True");
        json_patch::merge(&mut stale, &json!({"metadata": {"generation": 2}}));
        assert!(whys(scope(&stale))[0].contains("has not seen the suspension"));
        assert!(whys(scope(&json!({})))[0].contains("set back to false"));
        let mut going = suspended("Suspended", "True");
        json_patch::merge(&mut going, &json!({"metadata": {"deletionTimestamp": "2026-11-01T08:00:00Z"}}));
        assert_eq!(whys(scope(&going)), ["it is being deleted"]);
        let mut duplicate = suspended("DuplicateApplication", "False");
        assert_eq!(whys(scope(&duplicate)), ["DuplicateApplication: why"], "while something lives under it");
        json_patch::merge(&mut duplicate, &json!({"status": {"subscriptions": {"active": 0}}}));
        assert_eq!(whys(scope(&duplicate)), Vec::<String>::new());
    }

    #[test]
    fn a_subscription_rests_without_anything_at_graph() {
        let object = |status: Value| -> CalendarSubscription {
            serde_json::from_value(json!({
                "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "CalendarSubscription",
                "metadata": {"name": "user1", "namespace": "rooms"},
                "spec": {"scopeRef": {"name": "contoso"}, "user": "user1@contoso.example"},
                "status": status,
            }))
            .unwrap()
        };
        assert!(left(&[], &[object(json!({}))]).is_empty());
        let living = json!({
            "subscription": {"id": "x", "createdAt": "2026-11-23T09:00:00Z", "renewAt": "2026-11-28T10:00:00Z", "expiresAt": "2026-11-30T10:00:00Z"},
            "conditions": [{"type": "Ready", "status": "False", "reason": "RemoteError", "message": "no access", "lastTransitionTime": "2026-11-01T08:00:00Z"}],
        });
        assert_eq!(
            left(&[], &[object(living)]).iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "left: calendarsubscription.roomkeeper.dev/user1 -n rooms: its Graph subscription is not ended yet (it ends by itself at 2026-11-30T10:00:00Z): RemoteError: no access"
            ]
        );
    }
}
