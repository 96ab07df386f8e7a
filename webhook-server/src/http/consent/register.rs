//! The register at the API server: one standing ConsentRecord per user and scope.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, PostParams},
};
use roomkeeper_crds::{
    AccessScope, ConsentRecord, ConsentRecordSpec,
    annotation::{LABEL_SCOPE, LABEL_USER_ID, MANAGER_CONSENT},
    consent_record::{ConsentMethod, ConsentScope, ConsentUser, Granted},
    name,
};
use roomkeeper_graph::audit::{AuditEntry, AuditSink};
use tokio::time::{error::Elapsed, timeout};

use super::token::User;

/// Longest wait for one answer of the API server; a person is waiting.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Records of one user that are looked at, over all scopes of a namespace.
const MAX_RECORDS: u32 = 1_000;

/// Longest value of a label.
const LABEL_LIMIT: usize = 63;

/// Tries against another grant or a withdrawal at the same time.
const TRIES: u32 = 4;

/// Scopes and consents at the API server.
pub(super) struct Register {
    client: Client,
    audit: Arc<dyn AuditSink>,
}

/// What the user agreed to.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) user: User,
    pub(super) notice_version: String,
    pub(super) add_in_version: Option<String>,
}

/// The standing consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) name: String,
    pub(super) granted_at: Timestamp,
    /// False where it stood already.
    pub(super) created: bool,
}

/// The register does not answer, or did not take the record. The page tries again.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegisterError {
    #[error("the API server did not answer in time")]
    Timeout,
    #[error("the API server refused: {code} {reason}")]
    Refused { code: u16, reason: String },
    #[error("the API server cannot be reached")]
    Unreachable,
    #[error("the audit does not take the grant: {0}")]
    Audit(#[from] roomkeeper_graph::audit::AuditError),
    #[error("the register of this user changes too fast or is too long")]
    Unsettled,
    #[error("the AccessScope has no uid")]
    Incomplete,
}

impl Register {
    pub(super) fn new(client: Client, audit: Arc<dyn AuditSink>) -> Self {
        Self { client, audit }
    }

    /// The scope as it stands now; one that is being deleted takes no consents.
    pub(super) async fn scope(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<AccessScope>, RegisterError> {
        let api: Api<AccessScope> = Api::namespaced(self.client.clone(), namespace);
        let scope = settled(timeout(TIMEOUT, api.get_opt(name)).await)?;
        Ok(scope.filter(|scope| scope.metadata.deletion_timestamp.is_none()))
    }

    /// Makes the consent stand. Whoever does the same at the same time gets the same record.
    pub(super) async fn grant(
        &self,
        namespace: &str,
        scope: &AccessScope,
        grant: &Grant,
        now: Timestamp,
    ) -> Result<Standing, RegisterError> {
        let uid = scope.uid().ok_or(RegisterError::Incomplete)?;
        let api: Api<ConsentRecord> = Api::namespaced(self.client.clone(), namespace);
        for _ in 0..TRIES {
            let records = self.records(&api, &uid, grant.user.id.as_str()).await?;
            if let Some(standing) = records.iter().find(|record| record.spec.withdrawn.is_none()) {
                return Ok(stands(standing, false));
            }
            let record = new_record(scope, &uid, grant, records.len(), now);
            self.audit
                .record(AuditEntry::ConsentGranted {
                    time: now,
                    scope: format!("{namespace}/{}", scope.name_any()),
                    tenant_id: scope.spec.tenant_id.clone(),
                    user_id: grant.user.id,
                    consent: record.name_any(),
                })
                .await?;
            let params =
                PostParams { field_manager: Some(MANAGER_CONSENT.to_owned()), ..PostParams::default() };
            match timeout(TIMEOUT, api.create(&params, &record)).await {
                // Another request was faster: look again, since it may even be withdrawn by now.
                Ok(Err(kube::Error::Api(status))) if status.code == 409 => {}
                other => return settled(other).map(|record| stands(&record, true)),
            }
        }
        Err(RegisterError::Unsettled)
    }

    /// All records of the user in this scope. Selected by the field, which nobody can change, and not by the label.
    async fn records(
        &self,
        api: &Api<ConsentRecord>,
        scope_uid: &str,
        user_id: &str,
    ) -> Result<Vec<ConsentRecord>, RegisterError> {
        let params = ListParams::default().fields(&format!("spec.user.id={user_id}")).limit(MAX_RECORDS);
        let list = settled(timeout(TIMEOUT, api.list(&params)).await)?;
        if list.metadata.continue_.is_some_and(|token| !token.is_empty()) {
            return Err(RegisterError::Unsettled);
        }
        let of_scope =
            |record: &ConsentRecord| record.spec.scope.uid == scope_uid && record.spec.user.id == user_id;
        Ok(list.items.into_iter().filter(of_scope).collect())
    }
}

fn new_record(
    scope: &AccessScope,
    uid: &str,
    grant: &Grant,
    withdrawn_before: usize,
    now: Timestamp,
) -> ConsentRecord {
    let user_id = grant.user.id.as_str();
    let scope_name = scope.name_any();
    let spec = ConsentRecordSpec {
        scope: ConsentScope {
            name: scope_name.clone(),
            uid: uid.to_owned(),
            tenant_id: scope.spec.tenant_id.clone(),
            client_id: scope.spec.client_id.clone(),
        },
        user: ConsentUser {
            id: user_id.to_owned(),
            principal_name: grant.user.principal_name.clone().unwrap_or_else(|| user_id.to_owned()),
        },
        granted: Granted {
            at: Time(now),
            method: ConsentMethod::AddIn,
            notice_version: grant.notice_version.clone(),
            add_in_version: grant.add_in_version.clone(),
        },
        withdrawn: None,
    };
    let mut record = ConsentRecord::new(&name::consent_record(uid, user_id, withdrawn_before), spec);
    let mut labels = std::collections::BTreeMap::from([(LABEL_USER_ID.to_owned(), user_id.to_owned())]);
    if scope_name.len() <= LABEL_LIMIT {
        labels.insert(LABEL_SCOPE.to_owned(), scope_name);
    }
    record.metadata.labels = Some(labels);
    record
}

fn stands(record: &ConsentRecord, created: bool) -> Standing {
    Standing { name: record.name_any(), granted_at: record.spec.granted.at.0, created }
}

/// The API server's own words can quote a spec, and with it people: only its codes are kept.
fn settled<T>(answer: Result<Result<T, kube::Error>, Elapsed>) -> Result<T, RegisterError> {
    match answer {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(kube::Error::Api(status))) => {
            Err(RegisterError::Refused { code: status.code, reason: status.reason.clone() })
        }
        Ok(Err(_)) => Err(RegisterError::Unreachable),
        Err(_elapsed) => Err(RegisterError::Timeout),
    }
}
