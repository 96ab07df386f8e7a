//! May this calendar be read, now? Decided on live answers of the API server, never on a cache: a watch whose connection
//! is dead shows it only after minutes, and a withdrawn consent has to end reading within seconds.

use std::time::Duration;

use async_trait::async_trait;
use kube::{Api, Client, Resource as _};
use roomkeeper_crds::{AccessScope, CalendarSubscription, ConsentRecord};
use tokio::time::{Instant, timeout};

use super::{permit::Permit, subscriptions::ObjectName};
use crate::queue::{EventItem, Failure};

/// Longest wait for the API server's answers; without them nothing is read.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What the API server's answers mean.
#[derive(Debug)]
pub enum Answer {
    /// It may be read until the permit ends.
    Allowed(Box<Permit>),
    /// It may not be read.
    Denied(Denial),
    /// The operator has not set the subscription up yet.
    Unsettled,
    /// The tenant does not let the app in any more, says the operator: nothing is sent until it does again.
    Locked,
}

/// Why a calendar may not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The CalendarSubscription is gone, being deleted, or another one of the same name.
    SubscriptionGone,
    /// The CalendarSubscription is suspended.
    SubscriptionSuspended,
    /// The operator says `Allowed=False`.
    NotAllowed,
    /// The consent does not exist.
    ConsentGone,
    /// The consent was withdrawn.
    ConsentWithdrawn,
    /// The consent was given by another user, or for another scope, tenant or app.
    ConsentForeign,
    /// The consent was given to an older notice, and the scope requires the current one.
    NoticeOutdated,
    /// The AccessScope is gone, being deleted, or of another tenant.
    ScopeGone,
    /// The AccessScope is suspended.
    ScopeSuspended,
    /// The notification speaks of another user than the CalendarSubscription.
    WrongUser,
}

/// The question, so that a test can hold the answer.
#[async_trait]
pub trait Permissions: Send + Sync + 'static {
    /// Asks for the notification `item` of the CalendarSubscription `name`.
    ///
    /// # Errors
    /// The API server did not answer in time: nothing may be read.
    async fn ask(&self, name: &ObjectName, item: &EventItem) -> Result<Answer, Failure>;
}

/// Asks the API server.
pub struct LivePermissions {
    client: Client,
}

impl LivePermissions {
    /// Asks through this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    async fn answer(
        &self,
        name: &ObjectName,
        item: &EventItem,
        asked: Instant,
    ) -> Result<Answer, kube::Error> {
        let subscriptions: Api<CalendarSubscription> = Api::namespaced(self.client.clone(), &name.namespace);
        let subscription = subscriptions.get_opt(&name.name).await?;
        let references = match first_look(subscription.as_ref(), item) {
            Ok(references) => references,
            Err(answer) => return Ok(answer),
        };
        let consents: Api<ConsentRecord> = Api::namespaced(self.client.clone(), &name.namespace);
        let scopes: Api<AccessScope> = Api::namespaced(self.client.clone(), &name.namespace);
        let (consent, scope) = tokio::try_join!(
            consents.get_opt(&references.consent),
            scopes.get_opt(&references.subscription.spec.scope_ref.name),
        )?;
        Ok(second_look(&references, consent.as_ref(), scope, item, asked))
    }
}

#[async_trait]
impl Permissions for LivePermissions {
    async fn ask(&self, name: &ObjectName, item: &EventItem) -> Result<Answer, Failure> {
        let asked = Instant::now();
        match timeout(TIMEOUT, self.answer(name, item, asked)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                tracing::warn!(error = %super::records::shown(&error), "whether a calendar may be read could not be asked");
                Err(super::records::failure(&error))
            }
            Err(_elapsed) => {
                tracing::warn!("the API server did not say in time whether a calendar may be read");
                Err(Failure::KubernetesUnavailable)
            }
        }
    }
}

struct References<'a> {
    subscription: &'a CalendarSubscription,
    consent: String,
    user_id: String,
}

/// What the CalendarSubscription alone says.
fn first_look<'a>(
    subscription: Option<&'a CalendarSubscription>,
    item: &EventItem,
) -> Result<References<'a>, Answer> {
    let denied = |denial| Err(Answer::Denied(denial));
    let Some(subscription) = subscription else { return denied(Denial::SubscriptionGone) };
    let meta = &subscription.metadata;
    if meta.uid.as_deref() != Some(item.subscription_uid.as_str()) || meta.deletion_timestamp.is_some() {
        return denied(Denial::SubscriptionGone);
    }
    if subscription.spec.suspend {
        return denied(Denial::SubscriptionSuspended);
    }
    let status = subscription.status.as_ref();
    let refused = |status: &roomkeeper_crds::CalendarSubscriptionStatus| {
        status.conditions.iter().any(|one| one.type_ == "Allowed" && one.status == "False")
    };
    if status.is_some_and(refused) {
        return denied(Denial::NotAllowed);
    }
    let set_up = status.and_then(|status| status.user_id.as_ref().zip(status.consent.as_ref()));
    let Some((user_id, consent)) = set_up else { return Err(Answer::Unsettled) };
    if !user_id.eq_ignore_ascii_case(&item.user_id) {
        return denied(Denial::WrongUser);
    }
    Ok(References { subscription, consent: consent.name.clone(), user_id: user_id.clone() })
}

/// What consent and scope say.
fn second_look(
    references: &References<'_>,
    consent: Option<&ConsentRecord>,
    scope: Option<AccessScope>,
    item: &EventItem,
    asked: Instant,
) -> Answer {
    let denial = |denial| Answer::Denied(denial);
    let Some(scope) = scope else { return denial(Denial::ScopeGone) };
    let foreign_tenant = !scope.spec.tenant_id.eq_ignore_ascii_case(&item.tenant_id);
    if scope.meta().deletion_timestamp.is_some() || foreign_tenant {
        return denial(Denial::ScopeGone);
    }
    if scope.spec.suspend {
        return denial(Denial::ScopeSuspended);
    }
    let Some(consent) = consent else { return denial(Denial::ConsentGone) };
    if consent.spec.withdrawn.is_some() || consent.meta().deletion_timestamp.is_some() {
        return denial(Denial::ConsentWithdrawn);
    }
    let given = &consent.spec.scope;
    let same = scope.meta().uid.as_deref() == Some(given.uid.as_str())
        && given.tenant_id.eq_ignore_ascii_case(&scope.spec.tenant_id)
        && given.client_id.eq_ignore_ascii_case(&scope.spec.client_id)
        && consent.spec.user.id.eq_ignore_ascii_case(&references.user_id);
    if !same {
        return denial(Denial::ConsentForeign);
    }
    if scope.spec.consent.require_current_notice
        && consent.spec.granted.notice_version != scope.spec.consent.notice_version
    {
        return denial(Denial::NoticeOutdated);
    }
    // A token given before may still be good, which is no reason to use it.
    let status = scope.status.as_ref();
    if status.is_some_and(|one| one.credential_refused().or(one.permission_refused()).is_some()) {
        return Answer::Locked;
    }
    Answer::Allowed(Box::new(Permit::new(references.subscription.clone(), scope, asked)))
}

#[cfg(test)]
mod tests;
