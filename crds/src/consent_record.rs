//! ConsentRecord: the register of who consented when, and when that ended. Append-only.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rule;

/// One consent of one user. `granted` never changes; `withdrawn` is set once.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "roomkeeper.dev",
    version = "v1alpha1",
    kind = "ConsentRecord",
    namespaced,
    doc = "A ConsentRecord is one user's consent to have their calendar followed. It is append-only: what was granted never changes, and a withdrawal is set once.",
    status = "ConsentRecordStatus",
    derive = "PartialEq",
    shortname = "consent",
    category = "roomkeeper",
    annotation("helm.sh/resource-policy", "keep"),
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"),
    selectable = ".spec.user.id",
    printcolumn(name = "Scope", type_ = "string", json_path = ".spec.scope.name"),
    printcolumn(name = "Granted", type_ = "date", json_path = ".spec.granted.at"),
    printcolumn(name = "Notice", type_ = "string", json_path = ".spec.granted.noticeVersion"),
    printcolumn(name = "Withdrawn", type_ = "date", json_path = ".spec.withdrawn.at"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "User", type_ = "string", json_path = ".spec.user.principalName", priority = "1"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.withdrawn.reason", priority = "1")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.scope == oldSelf.scope && self.user == oldSelf.user && self.granted == oldSelf.granted")
        .message("a ConsentRecord is append-only: scope, user and granted never change; a new consent is a new record")
)]
#[x_kube(
    validation = Rule::new("!has(oldSelf.withdrawn) || (has(self.withdrawn) && self.withdrawn == oldSelf.withdrawn)")
        .message("withdrawn is set once and never changed or removed; to consent again the user ticks the box again, which makes a new record")
)]
pub struct ConsentRecordSpec {
    /// The AccessScope for which the consent holds. A scope made again under the same name has another uid and revives nothing.
    pub scope: ConsentScope,
    /// The user who consented.
    pub user: ConsentUser,
    /// What was granted.
    pub granted: Granted,
    /// Absent while the consent stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<Withdrawn>,
}

/// Those of one user's consents to one scope that stand. A withdrawal ends what was granted before it as well: who consented to
/// several notices has several records, and withdrawing the last one must not leave an older one in force. `of` tells when one
/// was granted and whether it was withdrawn.
pub fn standing<T>(all: &[T], of: impl Fn(&T) -> (Timestamp, bool)) -> impl Iterator<Item = &T> {
    let ended = all.iter().map(&of).filter_map(|(at, withdrawn)| withdrawn.then_some(at)).max();
    all.iter().filter(move |one| {
        let (at, withdrawn) = of(one);
        !withdrawn && ended.is_none_or(|ended| at >= ended)
    })
}

/// The AccessScope for which a consent holds.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConsentScope {
    /// Name of the AccessScope.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rule::object_name("scope.name"))]
    pub name: String,
    /// `metadata.uid` of the AccessScope.
    #[schemars(length(max = 36))]
    #[x_kube(validation = rule::guid("scope.uid"))]
    pub uid: String,
    /// Tenant of the AccessScope.
    #[schemars(length(max = 36))]
    #[x_kube(validation = rule::guid("scope.tenantId"))]
    pub tenant_id: String,
    /// App registration of the AccessScope.
    #[schemars(length(max = 36))]
    #[x_kube(validation = rule::guid("scope.clientId"))]
    pub client_id: String,
}

/// The user who consented.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConsentUser {
    /// Object id of the user.
    #[schemars(length(max = 36))]
    #[x_kube(validation = rule::guid("user.id"))]
    pub id: String,
    /// User principal name at the time of the consent.
    #[schemars(length(min = 1, max = 320))]
    pub principal_name: String,
}

/// What was granted.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Granted {
    /// When, by the clock of the consent endpoint. The evidence is `metadata.creationTimestamp` and the audit.
    pub at: Time,
    /// How.
    pub method: ConsentMethod,
    /// Version of the notice that the user was shown.
    #[schemars(length(min = 1, max = 64))]
    pub notice_version: String,
    /// Version of the add-in that showed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub add_in_version: Option<String>,
}

/// How a consent was given.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsentMethod {
    /// The user ticked the box in the Outlook add-in.
    AddIn,
}

/// How a consent ended.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Withdrawn {
    /// When, as the writer claims.
    pub at: Time,
    /// User name, at the API server, of whoever withdrew it.
    #[schemars(length(min = 1, max = 320))]
    pub by: String,
    /// Why: a ticket number or a few words, without personal data.
    #[schemars(length(min = 1, max = 256))]
    pub reason: String,
}

/// What the operator did about the consent.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct ConsentRecordStatus {
    /// The CalendarSubscription that follows from this consent. Set once: deleting that one does not bring it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub subscription: Option<String>,
    /// When the operator entered the withdrawal in the audit, whoever made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawal_audited_at: Option<Time>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_withdrawal_ends_what_was_granted_before_it() {
        for (records, stands) in [
            (&[][..], &[][..]),
            (&[(1, false)], &[0]),
            (&[(1, true)], &[]),
            (&[(1, false), (2, false)], &[0, 1]),
            (&[(1, false), (2, true)], &[]),
            (&[(2, true), (1, false)], &[]),
            (&[(1, true), (2, false)], &[1]),
            (&[(1, false), (2, true), (3, false)], &[2]),
            // Withdrawn and granted again within one second.
            (&[(1, true), (1, false)], &[1]),
        ] {
            let of = |record: &(i64, bool)| (Timestamp::from_second(record.0).unwrap(), record.1);
            let expected: Vec<_> = stands.iter().map(|&at: &usize| &records[at]).collect();
            assert_eq!(standing(records, of).collect::<Vec<_>>(), expected, "{records:?}");
        }
    }
}
