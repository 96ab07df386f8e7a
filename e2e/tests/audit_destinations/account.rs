//! A service account of a real API server, the daemon that may ask for its tokens, and whoever proves them.

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::{Api, Client, api::PostParams};
use roomkeeper_controlplane::ControlPlane;
use roomkeeper_crds::audit_export::Destination;
use roomkeeper_e2e::install;
use roomkeeper_service::audit_export::{Access, DereferenceError, Target, dereference};
use serde_json::{Value, json};

/// Name of the account.
pub(crate) const ACCOUNT: &str = "contoso-audit";

/// The account with these annotations, and what lets both daemons ask for its tokens, as `docs/audit.md` has it.
pub(crate) fn yaml(namespace: &str, annotations: &Value) -> String {
    let metadata = json!({"name": ACCOUNT, "namespace": namespace, "annotations": annotations});
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata});
    format!(
        "{account}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: {ACCOUNT}, namespace: {namespace}}}
rules:
- {{apiGroups: [''], resources: [serviceaccounts], resourceNames: [{ACCOUNT}], verbs: [get]}}
- {{apiGroups: [''], resources: [serviceaccounts/token], resourceNames: [{ACCOUNT}], verbs: [create]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {ACCOUNT}, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {ACCOUNT}}}
subjects:
- {{kind: ServiceAccount, name: roomkeeper-operator, namespace: {system}}}
- {{kind: ServiceAccount, name: roomkeeper-webhook, namespace: {system}}}
",
        system = install::NAMESPACE
    )
}

/// A service account in a namespace of its own.
pub(crate) struct Account {
    namespace: String,
    daemon: Client,
    admin: Client,
}

impl Account {
    pub(crate) async fn new(annotations: &Value) -> anyhow::Result<Self> {
        let plane = ControlPlane::shared().await?;
        let namespace = plane.namespace("export").await?;
        plane.apply_yaml(&yaml(&namespace, annotations)).await?;
        let daemon = plane.client_for(install::OPERATOR, &install::SERVICE_ACCOUNT_GROUPS).await?;
        Ok(Self { namespace, daemon, admin: plane.admin_client().await? })
    }

    /// What an export of a scope in that namespace gets.
    pub(crate) async fn access(
        &self,
        destination: &Destination,
        target: &Target,
        tokens: &std::path::Path,
    ) -> Result<Access, DereferenceError> {
        dereference(&self.daemon, &self.namespace, destination, target, tokens).await
    }

    /// Whoever trusts the tokens of this account alone.
    pub(crate) fn prover(&self, audience: &'static str) -> Prover {
        Prover::new(self.admin.clone(), &self.namespace, audience)
    }
}

/// Proves tokens of one account as a cloud does that trusts the cluster's issuer.
pub(crate) struct Prover {
    reviews: Api<TokenReview>,
    user: String,
    audience: &'static str,
}

impl Prover {
    pub(crate) fn new(admin: Client, namespace: &str, audience: &'static str) -> Self {
        let user = format!("system:serviceaccount:{namespace}:{ACCOUNT}");
        Self { reviews: Api::all(admin), user, audience }
    }

    /// Whether the API server signed it, for that account, that audience, and this hour.
    pub(crate) async fn takes(&self, token: &str) -> anyhow::Result<bool> {
        let spec = TokenReviewSpec {
            token: Some(token.to_owned()),
            audiences: Some(vec![self.audience.to_owned()]),
        };
        let review = TokenReview { spec, ..TokenReview::default() };
        let status = self.reviews.create(&PostParams::default(), &review).await?.status.unwrap_or_default();
        let user = status.user.and_then(|user| user.username);
        let is_for_it = status.audiences.unwrap_or_default() == [self.audience];
        Ok(status.authenticated == Some(true) && is_for_it && user.as_ref() == Some(&self.user))
    }
}
