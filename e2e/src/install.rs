//! Installs what the chart holds into a cluster: CRDs and RBAC, rendered for one namespace.

use std::fs;

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, api::PostParams};
use roomkeeper_controlplane::apply;

use crate::programs;

/// Namespace of the installation.
pub const NAMESPACE: &str = "roomkeeper-system";
/// ServiceAccount of the operator, as a user name.
pub const OPERATOR: &str = "system:serviceaccount:roomkeeper-system:roomkeeper-operator";
/// ServiceAccount of the webhook server, as a user name.
pub const WEBHOOK: &str = "system:serviceaccount:roomkeeper-system:roomkeeper-webhook";
/// Groups that the API server gives a ServiceAccount of that namespace.
pub const SERVICE_ACCOUNT_GROUPS: [&str; 2] =
    ["system:serviceaccounts", "system:serviceaccounts:roomkeeper-system"];

/// Checkpoints and copies of the audit. The chart grants the former by the names of its pods; programs of a test have names of their own.
const AUDIT: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: audit-of-tests, namespace: roomkeeper-system}
rules:
- {apiGroups: [''], resources: [configmaps], verbs: [get, create, patch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: audit-of-tests, namespace: roomkeeper-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: audit-of-tests}
subjects:
- {kind: ServiceAccount, name: roomkeeper-operator, namespace: roomkeeper-system}
- {kind: ServiceAccount, name: roomkeeper-webhook, namespace: roomkeeper-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: audit-copies-of-tests}
rules:
- {apiGroups: [authentication.k8s.io], resources: [tokenreviews], verbs: [create]}
- {apiGroups: [authorization.k8s.io], resources: [subjectaccessreviews], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: audit-copies-of-tests}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: audit-copies-of-tests}
subjects:
- {kind: ServiceAccount, name: roomkeeper-operator, namespace: roomkeeper-system}
- {kind: ServiceAccount, name: roomkeeper-webhook, namespace: roomkeeper-system}
";

/// The one expression that the chart's templates use.
const NAMESPACE_EXPRESSION: &str = "{{ .Release.Namespace }}";

/// The chart's RBAC for the namespace of the installation.
///
/// # Errors
/// When a template cannot be read or uses another expression.
pub fn rbac() -> anyhow::Result<Vec<String>> {
    let templates = programs::repository().join("charts/roomkeeper/templates");
    let files = ["rbac-operator.yaml", "rbac-webhook.yaml"].into_iter();
    let mut texts: Vec<String> = files
        .map(|file| {
            let text = fs::read_to_string(templates.join(file)).with_context(|| format!("read {file}"))?;
            let text = text.replace(NAMESPACE_EXPRESSION, NAMESPACE);
            if text.contains("{{") {
                bail!("{file} uses an expression besides {NAMESPACE_EXPRESSION}");
            }
            Ok(text)
        })
        .collect::<anyhow::Result<_>>()?;
    texts.push(AUDIT.to_owned());
    Ok(texts)
}

/// Applies CRDs, namespace and RBAC.
///
/// # Errors
/// When the API server refuses something.
pub async fn apply(client: &Client) -> anyhow::Result<()> {
    apply::apply_crds(client, &programs::repository().join("crds/yaml")).await?;
    namespace(client, NAMESPACE).await?;
    for text in rbac()? {
        apply::apply_yaml(client, &text).await?;
    }
    Ok(())
}

/// Makes a namespace unless it is there.
///
/// # Errors
/// When the API server refuses it.
pub async fn namespace(client: &Client, name: &str) -> anyhow::Result<()> {
    let namespace = Namespace {
        metadata: kube::core::ObjectMeta { name: Some(name.to_owned()), ..kube::core::ObjectMeta::default() },
        ..Namespace::default()
    };
    match Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error).with_context(|| format!("create namespace {name}")),
    }
}
