//! The register at the API server, always read live.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::future::try_join_all;
use jiff::Timestamp;
use kube::{Api, Client, ResourceExt as _, api::ListParams};
use roomkeeper_crds::{AccessScope, CalendarSubscription, ConsentRecord};
use roomkeeper_graph::audit::AuditSink;
use tokio::{
    sync::OnceCell,
    time::{error::Elapsed, timeout},
};

use super::{state, token::User};

/// Longest wait for one answer of the API server; a person is waiting.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// Records of one user that are looked at, over all scopes of a namespace.
const MAX_RECORDS: u32 = 1_000;

/// CalendarSubscriptions under one name of a user that are looked at.
const MAX_SUBSCRIPTIONS: u32 = 100;

/// Tries against another grant or a withdrawal at the same time.
pub(super) const TRIES: u32 = 4;

/// Scopes and consents at the API server.
pub(super) struct Register {
    pub(super) client: Client,
    pub(super) audit: Arc<dyn AuditSink>,
    /// Name of this process at the API server.
    pub(super) user_name: OnceCell<String>,
}

/// The standing consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) name: String,
    pub(super) granted_at: Timestamp,
    /// False where it stood already.
    pub(super) created: bool,
}

/// All that is about one user in one scope.
pub(super) struct Seen {
    pub(super) records: Vec<ConsentRecord>,
    pub(super) subscription: Option<CalendarSubscription>,
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
    #[error("the audit does not take the entry: {0}")]
    Audit(#[from] roomkeeper_graph::audit::AuditError),
    #[error("the register of this user changes too fast or is too long")]
    Unsettled,
    #[error("the AccessScope has no uid")]
    Incomplete,
    #[error("the API server does not tell this server's own user name")]
    Nameless,
}

impl Register {
    pub(super) fn new(client: Client, audit: Arc<dyn AuditSink>) -> Self {
        Self { client, audit, user_name: OnceCell::new() }
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

    /// How it stands for the user.
    pub(super) async fn look(
        &self,
        namespace: &str,
        scope: &AccessScope,
        user: &User,
    ) -> Result<Seen, RegisterError> {
        let uid = scope.uid().ok_or(RegisterError::Incomplete)?;
        let api: Api<ConsentRecord> = Api::namespaced(self.client.clone(), namespace);
        let records = self.records(&api, &uid, user.id.as_str()).await?;
        // Without a consent nothing follows, whatever else is there.
        let subscription = if state::all_standing(&records).next().is_none() {
            None
        } else {
            self.subscription(namespace, &scope.name_any(), names(user, &records)).await?
        };
        Ok(Seen { records, subscription })
    }

    /// The CalendarSubscription that serves the user: the oldest of the scope under any of the user's names.
    async fn subscription(
        &self,
        namespace: &str,
        scope: &str,
        names: BTreeSet<String>,
    ) -> Result<Option<CalendarSubscription>, RegisterError> {
        let api: Api<CalendarSubscription> = Api::namespaced(self.client.clone(), namespace);
        let lists = names.iter().map(|name| {
            let selector = format!("spec.user={}", selector_value(name));
            let params = ListParams::default().fields(&selector).limit(MAX_SUBSCRIPTIONS);
            let api = api.clone();
            async move { settled(timeout(TIMEOUT, api.list(&params)).await) }
        });
        let found = try_join_all(lists).await?.into_iter().flat_map(|list| list.items);
        let serves = |subscription: &CalendarSubscription| {
            subscription.spec.scope_ref.name == scope && subscription.metadata.deletion_timestamp.is_none()
        };
        Ok(found.filter(serves).min_by_key(|one| (one.creation_timestamp().map(|time| time.0), one.uid())))
    }

    /// All records of the user in this scope. Selected by the field, which nobody can change, and not by the label.
    pub(super) async fn records(
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

/// What a CalendarSubscription can call the user: the id, the name of now, and the one at the last consent.
fn names(user: &User, records: &[ConsentRecord]) -> BTreeSet<String> {
    let last = records.iter().max_by_key(|record| record.spec.granted.at.0);
    let last = last.map(|record| record.spec.user.principal_name.to_lowercase());
    [Some(user.id.as_str().to_owned()), user.principal_name.clone(), last].into_iter().flatten().collect()
}

/// Escaped as field selectors want it.
fn selector_value(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\\' | ',' | '=') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// The API server's own words can quote a spec, and with it people: only its codes are kept.
pub(super) fn settled<T>(answer: Result<Result<T, kube::Error>, Elapsed>) -> Result<T, RegisterError> {
    match answer {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(kube::Error::Api(status))) => {
            Err(RegisterError::Refused { code: status.code, reason: status.reason.clone() })
        }
        Ok(Err(_)) => Err(RegisterError::Unreachable),
        Err(_elapsed) => Err(RegisterError::Timeout),
    }
}
