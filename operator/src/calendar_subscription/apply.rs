//! Does at Graph what the plan says, and tells what came of it.

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt as _;
use roomkeeper_crds::{
    AccessScope, CalendarSubscription, ConsentRecord, annotation, calendar_subscription::LifecycleEvent,
    condition::Delivering,
};
use roomkeeper_graph::{
    Cause, Decision, GoneReason, GraphClient, GraphError, NewSubscription, Reason, Subscription,
    SubscriptionId, UserId, budget::Lane,
};
use roomkeeper_service::client_state::KeyRingError;

use super::{
    address::{Address, Addresses},
    dereference::is_about,
    plan::{Action, Finding, Grant},
    renewal,
    sightings::Sighting,
    status::{How, Outcome},
    validate::Validated,
};
use crate::{
    api::{self, ApiError},
    context::Context,
    failpoint::{Place, around},
    key::Key,
};

/// Margin below the longest life that Graph takes, for the time that the request is on its way.
const MARGIN_MINUTES: u32 = 5;

/// Tries of one creation or renewal within a step: a first, one after a conflict was cleared away, one with a learnt life.
const TRIES: usize = 3;

/// Why the plan could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// At the API server.
    #[error("{0}")]
    Api(#[from] ApiError),
    /// The key that signs is missing from the ring.
    #[error("{0}")]
    Keys(#[from] KeyRingError),
    /// The public URL and the uid make no URL.
    #[error("no notification URL: {0}")]
    Url(#[from] url::ParseError),
}

/// Carries out an action.
///
/// # Errors
/// What goes wrong at the API server; what goes wrong at Graph is an outcome.
pub async fn apply(
    context: &Context,
    raw: &CalendarSubscription,
    object: &Validated,
    action: &Action,
) -> Result<Outcome, ApplyError> {
    match action {
        Action::None => return Ok(Outcome::Nothing),
        Action::AddFinalizer => {
            let finalizer = annotation::FINALIZER_GRAPH_SUBSCRIPTION;
            api::add_finalizer(&context.process, raw, finalizer).await?;
            return Ok(Outcome::FinalizerAdded);
        }
        Action::RequestResync(reason) => {
            tracing::info!(object = %object.key, ?reason, "the calendar is to be read again");
            return Ok(Outcome::ResyncDue(*reason));
        }
        Action::Tell(finding) => {
            tell(context, raw, object, *finding).await;
            return Ok(Outcome::Told(*finding));
        }
        Action::Withhold(message) => return Ok(Outcome::NoAccess(message.clone())),
        _ => {}
    }
    let Some(scope) = context.scopes.get(&object.scope) else { return Ok(Outcome::Changed) };
    let client = match context.client_for(&scope, matches!(action, Action::Remove(_))).await {
        Ok(client) => client,
        Err(error) => return Ok(Outcome::NoAccess(error.to_string())),
    };
    let step = Step { context, raw, object, scope: &scope, client, cause: cause(object) };
    let result = match action {
        Action::None
        | Action::AddFinalizer
        | Action::RequestResync(_)
        | Action::Tell(_)
        | Action::Withhold(_) => Ok(Outcome::Nothing),
        Action::ResolveUser => {
            let call = step.client.user(&step.cause, &object.user);
            let user = around(Place::ResolveUser, call).await;
            user.map(|user| Outcome::User(user.id)).map_err(StepError::Graph)
        }
        Action::Create { grant, replace } => step.create(grant, replace).await,
        Action::Adopt(id) => step.adopt(*id).await,
        Action::Verify(id) => step.verify(*id).await,
        Action::Renew(id) => step.renew(*id).await,
        Action::Reauthorize(id) => step.reauthorize(*id).await,
        Action::Remove(ids) => step.remove(ids).await,
    };
    match result {
        Ok(outcome) => {
            step.note_answered(action, &outcome);
            Ok(outcome)
        }
        Err(StepError::Graph(error)) => {
            tracing::info!(object = %object.key, %error, "a call to Graph failed");
            Ok(Outcome::Failed(error))
        }
        Err(StepError::Apply(error)) => Err(error),
    }
}

/// Says what must not pass unnoticed. The event of an end comes with the turn of `Ready`.
async fn tell(context: &Context, raw: &CalendarSubscription, object: &Validated, finding: Finding) {
    match finding {
        Finding::Expired => {
            context.process.metrics.life.expired.inc();
            tracing::warn!(object = %object.key, "a Graph subscription ran out before it could be renewed");
        }
        Finding::Gap => {
            let text = "changes were found that were never notified; the Graph subscription is made anew";
            tracing::warn!(object = %object.key, "{text}");
            context.process.events.warn(raw, Delivering::Gap.as_str(), text.to_owned()).await;
        }
    }
}

/// Who caused the calls, for the audit.
pub fn cause(object: &Validated) -> Cause {
    Cause::new(format!("CalendarSubscription/{}", object.key))
}

enum StepError {
    Graph(GraphError),
    Apply(ApplyError),
}

impl From<GraphError> for StepError {
    fn from(error: GraphError) -> Self {
        Self::Graph(error)
    }
}

impl<E: Into<ApplyError>> From<E> for StepError {
    fn from(error: E) -> Self {
        Self::Apply(error.into())
    }
}

/// What stands in the way of a new subscription.
enum Obstacle {
    /// It is ours and good.
    Adopt(Subscription),
    /// It was of no use to anybody and is deleted.
    Cleared,
    /// It belongs to another CalendarSubscription.
    Twin,
    /// It belongs to another installation.
    Foreign(SubscriptionId),
}

struct Step<'a> {
    context: &'a Context,
    /// The object as the reconciliation began with it.
    raw: &'a CalendarSubscription,
    object: &'a Validated,
    scope: &'a AccessScope,
    client: GraphClient,
    cause: Cause,
}

impl Step<'_> {
    async fn create(&self, grant: &Grant, replace: &[SubscriptionId]) -> Result<Outcome, StepError> {
        let Some(user) = self.object.user_id else { return Ok(Outcome::Changed) };
        for id in replace {
            delete(Place::DeleteReplaced, &self.client, &self.cause, id).await?;
        }
        let ended = self.object.remote.is_some_and(|remote| replace.contains(&remote.id));
        match self.make(grant, user).await {
            Err(StepError::Graph(error)) if ended => {
                tracing::info!(object = %self.object.key, %error, "no other subscription could be made yet");
                Ok(Outcome::Unmade(error))
            }
            result => result,
        }
    }

    async fn make(&self, grant: &Grant, user: UserId) -> Result<Outcome, StepError> {
        let mut last = None;
        for _ in 0..TRIES {
            // It may take its time: what allows the call is looked at after it.
            let place = self.client.place_for_create(Lane::New).await?;
            let new = self.new_subscription(user)?;
            if !self.may_read(grant, &user).await? {
                return Ok(Outcome::Changed);
            }
            let call = self.client.create_subscription(&self.cause, &new, place);
            let error = match around(Place::Create, call).await {
                Ok(subscription) => return Ok(Outcome::Lives(subscription, How::Created)),
                Err(error) => error,
            };
            match error.decision() {
                Decision::Conflict { existing } => match self.obstacle(existing, &new).await? {
                    Some(Obstacle::Adopt(subscription)) => {
                        return Ok(Outcome::Lives(subscription, How::Adopted));
                    }
                    Some(Obstacle::Twin) => return Ok(Outcome::Twin),
                    Some(Obstacle::Foreign(id)) => return Ok(Outcome::Foreign(id)),
                    Some(Obstacle::Cleared) | None => {}
                },
                Decision::UserMustAct(Reason::ExpiryTooLong { max_minutes }) => self.learn(max_minutes),
                Decision::Gone(GoneReason::MailboxUnavailable) => {
                    // The same answer comes for a user without a mailbox and for one that is gone.
                    let lookup = self.client.user(&self.cause, user.as_str());
                    around(Place::ResolveUserWithoutMailbox, lookup).await?;
                    return Err(error.into());
                }
                _ => return Err(error.into()),
            }
            last = Some(error);
        }
        last.map_or(Ok(Outcome::Changed), |error| Err(error.into()))
    }

    fn new_subscription(&self, user: UserId) -> Result<NewSubscription, StepError> {
        let ring = self.context.ring();
        let address = Address { key_id: ring.current_id().to_owned(), uid: self.object.uid.clone() };
        let addresses = self.addresses();
        Ok(NewSubscription {
            user,
            notification_url: addresses.notifications(&address)?,
            lifecycle_notification_url: addresses.lifecycle(&address)?,
            client_state: ring.sign(&self.object.uid, &self.scope.spec.tenant_id)?,
            expiration: self.expiration(),
        })
    }

    /// Asks the API server, past every cache, whether consent and object still stand as the plan took them.
    async fn may_read(&self, grant: &Grant, user: &UserId) -> Result<bool, StepError> {
        let kube = &self.context.process.kube;
        let consent_key = Key::new(&self.object.key.namespace, &grant.consent);
        let (object, consent) = tokio::join!(
            api::live::<CalendarSubscription>(kube, &self.object.key),
            api::live::<ConsentRecord>(kube, &consent_key),
        );
        let (Some(object), Some(consent)) = (object?, consent?) else { return Ok(false) };
        Ok(object.uid().is_some_and(|uid| uid == self.object.uid)
            && object.metadata.deletion_timestamp.is_none()
            && !object.spec.suspend
            // A status that the cache has not seen yet may tell of a subscription already made.
            && remote_id(&object) == remote_id(self.raw)
            && consent.spec.withdrawn.is_none()
            && is_about(&consent, self.scope, user))
    }

    async fn obstacle(
        &self,
        existing: Option<SubscriptionId>,
        new: &NewSubscription,
    ) -> Result<Option<Obstacle>, StepError> {
        let found = if let Some(id) = existing {
            match self.get(Place::ReadConflicting, &id).await {
                Ok(found) => Some(found),
                Err(error) if is_gone(&error) => None,
                Err(error) => return Err(error.into()),
            }
        } else {
            // Graph did not name it: it is the one on the same path.
            let path = new.resource();
            let all = list(Place::List, &self.client, &self.cause).await?;
            all.into_iter().find(|one| one.resource.trim_start_matches('/').eq_ignore_ascii_case(&path))
        };
        let Some(found) = found else { return Ok(None) };
        let Some(address) = self.identify(&found) else { return Ok(Some(Obstacle::Foreign(found.id))) };
        if address.uid == self.object.uid && self.is_current(&address) {
            return Ok(Some(Obstacle::Adopt(found)));
        }
        let twins = match &address.uid {
            own if *own == self.object.uid => Vec::new(),
            other => self.context.subscriptions.under(&super::uid_term(other)),
        };
        if !twins.is_empty() {
            // What becomes of it is for the reconciler of that object to decide, which may not know of it.
            let seen = Sighting { id: found.id, current: self.is_current(&address) };
            self.context.sightings.put(&address.uid, vec![seen]);
            self.context.subscriptions.trigger_all(twins);
            return Ok(Some(Obstacle::Twin));
        }
        delete(Place::DeleteConflicting, &self.client, &self.cause, &found.id).await?;
        Ok(Some(Obstacle::Cleared))
    }

    async fn adopt(&self, id: SubscriptionId) -> Result<Outcome, StepError> {
        match self.get(Place::ReadSighted, &id).await {
            Ok(found)
                if self
                    .identify(&found)
                    .is_some_and(|address| address.uid == self.object.uid && self.is_current(&address)) =>
            {
                Ok(Outcome::Lives(found, How::Adopted))
            }
            Ok(_) => Ok(Outcome::Removed(Vec::new())),
            Err(error) if is_gone(&error) => Ok(Outcome::Removed(Vec::new())),
            Err(error) => Err(error.into()),
        }
    }

    async fn verify(&self, id: SubscriptionId) -> Result<Outcome, StepError> {
        match self.get(Place::Verify, &id).await {
            Ok(found) => {
                // The URLs of a subscription cannot all be patched: one with another URL or key is made anew.
                let current = self.identify(&found).is_some_and(|address| self.is_current(&address));
                if !current {
                    self.context.sightings.put(&self.object.uid, vec![Sighting { id, current }]);
                }
                Ok(Outcome::Lives(found, How::Verified))
            }
            Err(error) if is_gone(&error) => Ok(Outcome::Vanished),
            Err(error) => Err(error.into()),
        }
    }

    async fn renew(&self, id: SubscriptionId) -> Result<Outcome, StepError> {
        let mut tries = 1..TRIES;
        let (asked, renewed) = loop {
            let asked = self.expiration();
            match self.patch(&id, asked).await {
                Ok(renewed) => break (asked, renewed),
                Err(error) if is_gone(&error) => return Ok(Outcome::Vanished),
                Err(error) => match error.decision() {
                    Decision::UserMustAct(Reason::ExpiryTooLong { max_minutes })
                        if tries.next().is_some() =>
                    {
                        self.learn(max_minutes);
                    }
                    _ => return Err(error.into()),
                },
            }
        };
        if let Some(known) = self.object.remote
            && renewal::is_futile(known.expires_at, renewed.expiration, asked)
        {
            let now = self.context.process.clock.now();
            tracing::warn!(object = %self.object.key, expires_at = %renewed.expiration, "Graph did not extend the subscription");
            if renewal::is_near_end(renewed.expiration, now) {
                // Asking again would not help in time: it is made anew.
                let uid = &self.object.uid;
                self.context.sightings.put(uid, vec![Sighting { id, current: false }]);
                self.context.watched.give_turn(&self.object.key);
            }
        }
        Ok(Outcome::Lives(renewed, How::Renewed))
    }

    async fn reauthorize(&self, id: SubscriptionId) -> Result<Outcome, StepError> {
        let call = self.client.reauthorize_subscription(&self.cause, &id);
        match around(Place::Reauthorize, call).await {
            Ok(()) => Ok(Outcome::Reauthorized),
            Err(error) if is_gone(&error) => Ok(Outcome::Vanished),
            Err(error) => {
                tracing::info!(object = %self.object.key, %error, "the subscription could not be authorised again");
                Ok(Outcome::NotReauthorized(error))
            }
        }
    }

    async fn remove(&self, ids: &[SubscriptionId]) -> Result<Outcome, StepError> {
        let all_go = self.object.remote.is_none_or(|remote| ids.contains(&remote.id));
        if !all_go {
            // Which one is to stay is known from a cache, which must not lag behind here.
            let live =
                api::live::<CalendarSubscription>(&self.context.process.kube, &self.object.key).await?;
            if live.as_ref().and_then(remote_id) != remote_id(self.raw) {
                return Ok(Outcome::Changed);
            }
        }
        for id in ids {
            delete(Place::DeleteDenied, &self.client, &self.cause, id).await?;
        }
        Ok(Outcome::Removed(ids.to_vec()))
    }

    async fn get(&self, place: Place, id: &SubscriptionId) -> Result<Subscription, GraphError> {
        let call = self.client.get_subscription(&self.cause, id);
        around(place, call).await
    }

    async fn patch(&self, id: &SubscriptionId, until: Timestamp) -> Result<Subscription, GraphError> {
        let call = self.client.renew_subscription(&self.cause, id, until);
        around(Place::Renew, call).await
    }

    /// A lifecycle notification and a sighting are answered once, by the action that they led to.
    fn note_answered(&self, action: &Action, outcome: &Outcome) {
        let uid = &self.object.uid;
        if matches!(outcome, Outcome::Lives(_, How::Created | How::Renewed) | Outcome::Reauthorized) {
            self.context.watched.authorized(&self.object.key, self.context.process.clock.now());
        }
        let event = match action {
            Action::Verify(_) => Some(LifecycleEvent::SubscriptionRemoved),
            Action::Renew(_) => Some(LifecycleEvent::ReauthorizationRequired),
            Action::Reauthorize(_) if *outcome == Outcome::Reauthorized => {
                Some(LifecycleEvent::ReauthorizationRequired)
            }
            _ => None,
        };
        let lifecycle = self.object.status.delivery.as_ref().and_then(|delivery| delivery.lifecycle.as_ref());
        if let (Some(event), Some(lifecycle)) = (event, lifecycle)
            && let Some(notice) = lifecycle.of(event)
        {
            self.context.watched.answer_lifecycle(uid, event, notice.received_at.0);
        }
        match action {
            Action::ResolveUser | Action::Renew(_) | Action::Reauthorize(_) => {}
            Action::Remove(ids) => self.context.sightings.ended(uid, ids),
            // Verifying may have found that it must be made anew.
            Action::Verify(_) => {
                if !self.context.sightings.get(uid).is_some_and(|seen| seen.iter().any(|one| !one.current)) {
                    self.context.sightings.forget(uid);
                }
            }
            _ => self.context.sightings.forget(uid),
        }
    }

    fn learn(&self, max_minutes: u32) {
        tracing::info!(scope = %self.object.scope, max_minutes, "Graph takes a shorter life for subscriptions");
        let uid = self.scope.uid().unwrap_or_default();
        self.context.memory.learn_max_minutes(&uid, max_minutes);
    }

    fn expiration(&self) -> Timestamp {
        let wanted = self.context.process.settings.life_minutes;
        let most = self
            .scope
            .uid()
            .and_then(|uid| self.context.memory.max_minutes(&uid))
            .map_or(wanted, |most| most.saturating_sub(MARGIN_MINUTES).max(1));
        let now = self.context.process.clock.now();
        now.checked_add(Duration::from_mins(u64::from(wanted.min(most)))).unwrap_or(now)
    }

    fn addresses(&self) -> Addresses<'_> {
        Addresses { prefix: &self.context.process.settings.public_url }
    }

    fn identify(&self, found: &Subscription) -> Option<Address> {
        self.addresses().identify(found.notification_url.as_deref()?)
    }

    fn is_current(&self, address: &Address) -> bool {
        address.key_id == self.context.ring().current_id()
    }
}

/// Ends a subscription; one that is gone already is as good.
///
/// # Errors
/// When Graph fails.
pub async fn delete(
    place: Place,
    client: &GraphClient,
    cause: &Cause,
    id: &SubscriptionId,
) -> Result<(), GraphError> {
    let lane = match place {
        // It waits for its turn like a renewal, and the one in its stead follows at once: meanwhile nothing is notified.
        Place::DeleteReplaced => Lane::Renewal,
        // Whoever waits for the new one waits for this.
        Place::DeleteConflicting => Lane::New,
        Place::DeleteSwept => Lane::Resync,
        _ => Lane::Delete,
    };
    let call = client.delete_subscription(cause, id, lane);
    around(place, call).await.map(drop)
}

/// Lists the subscriptions of the application in the tenant.
///
/// # Errors
/// When Graph fails.
pub async fn list(
    place: Place,
    client: &GraphClient,
    cause: &Cause,
) -> Result<Vec<Subscription>, GraphError> {
    around(place, client.list_subscriptions(cause)).await
}

/// The subscription that an object's status tells of.
fn remote_id(object: &CalendarSubscription) -> Option<&str> {
    Some(object.status.as_ref()?.subscription.as_ref()?.id.as_str())
}

fn is_gone(error: &GraphError) -> bool {
    error.decision() == Decision::Gone(GoneReason::SubscriptionNotFound)
}
