//! A grant: afterwards a ConsentRecord to exactly that notice stands.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, ResourceExt as _, api::PostParams};
use roomkeeper_crds::{
    AccessScope, ConsentRecord, ConsentRecordSpec,
    annotation::{LABEL_SCOPE, LABEL_USER_ID, MANAGER_CONSENT},
    consent_record::{ConsentMethod, ConsentScope, ConsentUser, Granted},
    name,
};
use roomkeeper_graph::audit::AuditEntry;
use tokio::time::timeout;

use super::{
    register::{Register, RegisterError, Standing, TIMEOUT, TRIES, settled},
    state::all_standing,
    token::User,
};

/// Longest value of a label.
const LABEL_LIMIT: usize = 63;

/// What the user agreed to.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) user: User,
    pub(super) notice_version: String,
    pub(super) add_in_version: Option<String>,
}

impl Register {
    /// Makes the consent stand. Whoever does the same at the same time gets the same record. A consent to another notice stays
    /// as it is: it was given.
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
            let to_it = |record: &&ConsentRecord| record.spec.granted.notice_version == grant.notice_version;
            if let Some(standing) = all_standing(&records).find(to_it) {
                return Ok(stands(standing, false));
            }
            let record = new_record(scope, &uid, grant, &records, now);
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
}

fn new_record(
    scope: &AccessScope,
    uid: &str,
    grant: &Grant,
    earlier: &[ConsentRecord],
    now: Timestamp,
) -> ConsentRecord {
    let user_id = grant.user.id.as_str();
    let scope_name = scope.name_any();
    // Which one is the latest decides what stands, whatever the clocks of two pods say.
    let at = earlier.iter().map(|record| record.spec.granted.at.0).fold(now, Timestamp::max);
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
            at: Time(at),
            method: ConsentMethod::AddIn,
            notice_version: grant.notice_version.clone(),
            add_in_version: grant.add_in_version.clone(),
        },
        withdrawn: None,
    };
    let mut record = ConsentRecord::new(&free_name(uid, user_id, earlier), spec);
    let mut labels = BTreeMap::from([(LABEL_USER_ID.to_owned(), user_id.to_owned())]);
    if scope_name.len() <= LABEL_LIMIT {
        labels.insert(LABEL_SCOPE.to_owned(), scope_name);
    }
    record.metadata.labels = Some(labels);
    record
}

/// The name that follows from the records there are: the same for all who see the same ones. Where some were deleted, theirs are
/// taken up again before that of one which is still there.
fn free_name(uid: &str, user_id: &str, earlier: &[ConsentRecord]) -> String {
    let taken = |name: &String| earlier.iter().any(|record| record.name_any() == *name);
    let names = (earlier.len()..).map(|number| name::consent_record(uid, user_id, number));
    let mut free = names.skip_while(taken);
    free.next().unwrap_or_default()
}

fn stands(record: &ConsentRecord, created: bool) -> Standing {
    Standing { name: record.name_any(), granted_at: record.spec.granted.at.0, created }
}
