//! A withdrawal by the user: afterwards no consent of theirs to the scope stands.

use jiff::Timestamp;
use k8s_openapi::{api::authentication::v1::SelfSubjectReview, apimachinery::pkg::apis::meta::v1::Time};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use roomkeeper_crds::{AccessScope, ConsentRecord, annotation::MANAGER_CONSENT, consent_record::Withdrawn};
use roomkeeper_graph::{UserId, audit::AuditEntry};
use serde_json::json;
use tokio::time::timeout;

use super::register::{Register, RegisterError, TIMEOUT, TRIES, settled};

/// `withdrawn.by` is whoever is known to the API server, and that is this server: that it was the user's will is said here.
const REASON: &str = "withdrawn by the user in the add-in";

impl Register {
    /// Withdraws every record of the user in this scope that is not withdrawn yet.
    pub(super) async fn withdraw(
        &self,
        namespace: &str,
        scope: &AccessScope,
        user: UserId,
        now: Timestamp,
    ) -> Result<(), RegisterError> {
        let uid = scope.uid().ok_or(RegisterError::Incomplete)?;
        let api: Api<ConsentRecord> = Api::namespaced(self.client.clone(), namespace);
        for _ in 0..TRIES {
            let mut records = self.records(&api, &uid, user.as_str()).await?;
            records.retain(|record| record.spec.withdrawn.is_none());
            // The latest ends the earlier ones, so that it counts even where something fails in between.
            records.sort_by_key(|record| std::cmp::Reverse(record.spec.granted.at.0));
            let mut settled = true;
            for record in &records {
                settled &= self.withdraw_one(&api, scope, namespace, record, user, now).await?;
            }
            if settled {
                return Ok(());
            }
        }
        Err(RegisterError::Unsettled)
    }

    /// `false`: somebody else wrote it meanwhile, or it is gone.
    async fn withdraw_one(
        &self,
        api: &Api<ConsentRecord>,
        scope: &AccessScope,
        namespace: &str,
        record: &ConsentRecord,
        user: UserId,
        now: Timestamp,
    ) -> Result<bool, RegisterError> {
        let by = self.user_name.get_or_try_init(|| self.own_user_name()).await?.clone();
        self.audit
            .record(AuditEntry::ConsentWithdrawn {
                time: now,
                scope: format!("{namespace}/{}", scope.name_any()),
                tenant_id: scope.spec.tenant_id.clone(),
                user_id: user,
                consent: record.name_any(),
            })
            .await?;
        let withdrawn = Withdrawn { at: Time(now), by, reason: REASON.to_owned() };
        let patch = Patch::Merge(json!({
            "metadata": {"uid": record.uid(), "resourceVersion": record.resource_version()},
            "spec": {"withdrawn": withdrawn},
        }));
        let params =
            PatchParams { field_manager: Some(MANAGER_CONSENT.to_owned()), ..PatchParams::default() };
        match timeout(TIMEOUT, api.patch(&record.name_any(), &params, &patch)).await {
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => Ok(false),
            other => settled(other).map(|record| {
                tracing::info!(consent = record.name_any(), "consent withdrawn by the user");
                true
            }),
        }
    }

    async fn own_user_name(&self) -> Result<String, RegisterError> {
        let api: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let (params, question) = (PostParams::default(), SelfSubjectReview::default());
        let review = settled(timeout(TIMEOUT, api.create(&params, &question)).await)?;
        let user = review.status.and_then(|status| status.user_info);
        user.and_then(|user| user.username).ok_or(RegisterError::Nameless)
    }
}
