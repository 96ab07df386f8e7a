//! What the worker reports on a CalendarSubscription: `status.delivery`, and nothing else of it.
//!
//! Server-side apply replaces what this manager owned before, so the whole of `delivery` is sent; the resourceVersion
//! that it was computed from guards against two reports at a time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use roomkeeper_crds::{
    CalendarSubscription, CalendarSubscriptionStatus,
    annotation::MANAGER_WORKER,
    calendar_subscription::{Delivery, DeliveryState, LifecycleEvent, LifecycleNotice, ResyncClaim},
};
use serde_json::json;
use tokio::time::timeout;

use super::{
    records::{failure, shown},
    subscriptions::ObjectName,
};
use crate::queue::{Failure, LifecycleEvents, LifecycleItem};

/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Tries against other writers of the same object.
const TRIES: u32 = 5;

/// How old `lastReceivedAt` may be while notifications arrive.
const HEARD_WITHIN: SignedDuration = SignedDuration::from_hours(6);

/// What an update did.
#[derive(Debug)]
pub(super) enum Update {
    /// The object says it now, or said it already.
    Done(Box<CalendarSubscription>),
    /// What the object says forbids it.
    Refused(Box<CalendarSubscription>),
    /// The object is gone, or another one has its name.
    Gone,
}

/// Whether notifications arrive and that is to be told: on a change, otherwise at most every 6 hours.
pub(super) fn is_news(delivery: Option<&Delivery>, received_at: Timestamp) -> bool {
    let told = delivery.filter(|delivery| delivery.state == Some(DeliveryState::Receiving));
    let last = told.and_then(|delivery| delivery.last_received_at.as_ref());
    last.is_none_or(|last| received_at.duration_since(last.0) > HEARD_WITHIN)
}

/// Reports of delivery.
#[derive(Clone)]
pub struct DeliveryReports {
    client: Client,
}

impl DeliveryReports {
    /// Reports through this client.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Notifications arrive: says so, if [`is_news`].
    pub(super) async fn receiving(
        &self,
        subscription: &CalendarSubscription,
        received_at: Timestamp,
    ) -> Result<(), Failure> {
        let receiving = |_: &CalendarSubscriptionStatus, delivery: Delivery| {
            if !is_news(Some(&delivery), received_at) {
                return Some(delivery);
            }
            let last_received_at = Some(Time(whole_second(received_at)));
            Some(Delivery { state: Some(DeliveryState::Receiving), last_received_at, ..delivery })
        };
        self.update(subscription.clone(), receiving).await.map(drop)
    }

    /// Claims the open resync request of a CalendarSubscription until `until`.
    pub(super) async fn claim(
        &self,
        name: &ObjectName,
        uid: &str,
        claim: &ResyncClaim,
        free: impl Fn(&CalendarSubscriptionStatus) -> bool,
    ) -> Result<Update, Failure> {
        let Some(subscription) = self.of(name, uid).await? else { return Ok(Update::Gone) };
        let change = |status: &CalendarSubscriptionStatus, delivery: Delivery| {
            free(status).then(|| Delivery { resync_claim: Some(claim.clone()), ..delivery })
        };
        self.update(subscription, change).await
    }

    /// Changes `delivery` as the holder of its claim: refused when it is another's.
    pub(super) async fn as_holder(
        &self,
        name: &ObjectName,
        uid: &str,
        holder: &str,
        change: impl Fn(Delivery) -> Delivery,
    ) -> Result<Update, Failure> {
        let Some(subscription) = self.of(name, uid).await? else { return Ok(Update::Gone) };
        let change = |_: &CalendarSubscriptionStatus, delivery: Delivery| {
            let mine = delivery.resync_claim.as_ref().is_some_and(|claim| claim.holder == holder);
            mine.then(|| change(delivery))
        };
        self.update(subscription, change).await
    }

    async fn of(&self, name: &ObjectName, uid: &str) -> Result<Option<CalendarSubscription>, Failure> {
        let found = self.get(name).await?;
        Ok(found.filter(|subscription| subscription.metadata.uid.as_deref() == Some(uid)))
    }

    /// Passes a lifecycle notification on; false when the CalendarSubscription is gone.
    pub(super) async fn lifecycle(&self, name: &ObjectName, item: &LifecycleItem) -> Result<bool, Failure> {
        let Some(subscription) = self.of(name, &item.subscription_uid).await? else { return Ok(false) };
        let done = self.update(subscription, |_, delivery| Some(told(delivery, item))).await?;
        Ok(!matches!(done, Update::Gone))
    }

    fn api(&self, namespace: &str) -> Api<CalendarSubscription> {
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn get(&self, name: &ObjectName) -> Result<Option<CalendarSubscription>, Failure> {
        match timeout(TIMEOUT, self.api(&name.namespace).get_opt(&name.name)).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_elapsed) => Err(Failure::KubernetesUnavailable),
        }
    }

    async fn update(
        &self,
        mut subscription: CalendarSubscription,
        change: impl Fn(&CalendarSubscriptionStatus, Delivery) -> Option<Delivery>,
    ) -> Result<Update, Failure> {
        let (Some(namespace), Some(name)) = (&subscription.metadata.namespace, &subscription.metadata.name)
        else {
            return Err(Failure::Internal);
        };
        let at = ObjectName { namespace: namespace.clone(), name: name.clone() };
        let uid = subscription.metadata.uid.clone();
        for _ in 0..TRIES {
            let status = subscription.status.clone().unwrap_or_default();
            let before = status.delivery.clone().unwrap_or_default();
            let Some(after) = change(&status, before.clone()) else {
                return Ok(Update::Refused(Box::new(subscription)));
            };
            if after == before {
                return Ok(Update::Done(Box::new(subscription)));
            }
            let patch = json!({
                "apiVersion": "roomkeeper.dev/v1alpha1",
                "kind": "CalendarSubscription",
                "metadata": {"name": at.name, "resourceVersion": subscription.metadata.resource_version},
                "status": {"delivery": after},
            });
            let params = PatchParams::apply(MANAGER_WORKER).force();
            let api = self.api(&at.namespace);
            match timeout(TIMEOUT, api.patch_status(&at.name, &params, &Patch::Apply(&patch))).await {
                Ok(Ok(written)) => return Ok(Update::Done(Box::new(written))),
                Ok(Err(kube::Error::Api(status))) if status.code == 409 => match self.get(&at).await? {
                    Some(fresh) if fresh.metadata.uid == uid => subscription = fresh,
                    _ => return Ok(Update::Gone),
                },
                // Deleted meanwhile: nobody is left to report to.
                Ok(Err(kube::Error::Api(status))) if status.code == 404 => return Ok(Update::Gone),
                Ok(Err(error)) => {
                    tracing::warn!(error = %shown(&error), "status.delivery could not be written");
                    return Err(failure(&error));
                }
                Err(_elapsed) => return Err(Failure::KubernetesUnavailable),
            }
        }
        Err(Failure::Conflict)
    }
}

/// Times are kept in whole seconds.
pub(super) fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// `delivery` with all that the item stands for. What came from another pod, or with an earlier item, and is newer stays.
fn told(delivery: Delivery, item: &LifecycleItem) -> Delivery {
    let notice = LifecycleNotice {
        received_at: Time(whole_second(item.received_at)),
        subscription_id: item.subscription_id.clone(),
    };
    let mut lifecycle = delivery.lifecycle.clone();
    for event in events(item.events) {
        lifecycle.get_or_insert_default().note(event, &notice);
    }
    Delivery { lifecycle, ..delivery }
}

fn events(events: LifecycleEvents) -> impl Iterator<Item = LifecycleEvent> {
    LifecycleEvent::ALL.into_iter().filter(move |event| match event {
        LifecycleEvent::Missed => events.missed,
        LifecycleEvent::SubscriptionRemoved => events.subscription_removed,
        LifecycleEvent::ReauthorizationRequired => events.reauthorization_required,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MISSED: LifecycleEvents =
        LifecycleEvents { missed: true, subscription_removed: false, reauthorization_required: false };
    const REAUTHORIZE: LifecycleEvents =
        LifecycleEvents { missed: false, subscription_removed: false, reauthorization_required: true };

    fn item(events: LifecycleEvents, at: &str) -> LifecycleItem {
        LifecycleItem {
            tenant_id: "t".to_owned(),
            subscription_uid: "u".to_owned(),
            subscription_id: "s".to_owned(),
            events,
            received_at: at.parse().unwrap(),
        }
    }

    fn at(delivery: &Delivery, event: LifecycleEvent) -> Option<String> {
        let notice = delivery.lifecycle.as_ref()?.of(event)?;
        Some(notice.received_at.0.to_string())
    }

    #[test]
    fn none_of_several_hides_another() {
        let all = LifecycleEvents { subscription_removed: true, reauthorization_required: true, ..MISSED };
        let first = told(Delivery::default(), &item(all, "2026-11-23T10:00:00.75Z"));
        for event in LifecycleEvent::ALL {
            assert_eq!(at(&first, event).as_deref(), Some("2026-11-23T10:00:00Z"), "{event:?}");
        }
        let second = told(first, &item(REAUTHORIZE, "2026-11-23T11:00:00Z"));
        assert_eq!(at(&second, LifecycleEvent::Missed).as_deref(), Some("2026-11-23T10:00:00Z"));
        assert_eq!(at(&second, LifecycleEvent::SubscriptionRemoved).as_deref(), Some("2026-11-23T10:00:00Z"));
        assert_eq!(
            at(&second, LifecycleEvent::ReauthorizationRequired).as_deref(),
            Some("2026-11-23T11:00:00Z")
        );
    }

    #[test]
    fn what_another_pod_kept_back_is_told_behind_something_newer() {
        let newer = told(Delivery::default(), &item(REAUTHORIZE, "2026-11-23T11:00:00Z"));
        let both = told(newer, &item(MISSED, "2026-11-23T10:00:00Z"));
        assert_eq!(at(&both, LifecycleEvent::Missed).as_deref(), Some("2026-11-23T10:00:00Z"));
        assert_eq!(
            at(&both, LifecycleEvent::ReauthorizationRequired).as_deref(),
            Some("2026-11-23T11:00:00Z")
        );
    }

    #[test]
    fn hearing_is_told_at_first_and_then_every_six_hours() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert!(is_news(None, at("2026-11-23T10:00:00Z")));
        let silent = Delivery { state: Some(DeliveryState::NoTrafficYet), ..Delivery::default() };
        assert!(is_news(Some(&silent), at("2026-11-23T10:00:00Z")));
        let told = Delivery {
            state: Some(DeliveryState::Receiving),
            last_received_at: Some(Time(at("2026-11-23T10:00:00Z"))),
            ..Delivery::default()
        };
        assert!(!is_news(Some(&told), at("2026-11-23T16:00:00Z")));
        assert!(is_news(Some(&told), at("2026-11-23T16:00:01Z")));
    }

    #[test]
    fn a_replay_or_an_older_one_of_its_kind_changes_nothing() {
        let state = Some(DeliveryState::Receiving);
        let missed = item(MISSED, "2026-11-23T10:00:00.75Z");
        let first = told(Delivery { state, ..Delivery::default() }, &missed);
        assert_eq!(first.state, state);
        assert_eq!(told(first.clone(), &missed), first);
        assert_eq!(told(first.clone(), &item(MISSED, "2026-11-23T09:00:00Z")), first);
        let later = told(first, &item(MISSED, "2026-11-23T10:00:01Z"));
        assert_eq!(at(&later, LifecycleEvent::Missed).as_deref(), Some("2026-11-23T10:00:01Z"));
    }
}
