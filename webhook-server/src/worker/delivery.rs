//! What the worker reports on a CalendarSubscription: `status.delivery`, and nothing else of it.
//!
//! Server-side apply replaces what this manager owned before, so the whole of `delivery` is sent; the resourceVersion
//! that it was computed from guards against two reports at a time.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use roomkeeper_crds::{
    CalendarSubscription,
    annotation::MANAGER_WORKER,
    calendar_subscription::{Delivery, DeliveryState, Lifecycle, LifecycleEvent},
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

    /// Notifications arrive: says so once.
    pub(super) async fn receiving(&self, subscription: &CalendarSubscription) -> Result<(), Failure> {
        let receiving = |delivery: Delivery| Delivery { state: Some(DeliveryState::Receiving), ..delivery };
        self.update(subscription.clone(), receiving).await
    }

    /// Passes a lifecycle notification on; false when the CalendarSubscription is gone.
    pub(super) async fn lifecycle(&self, name: &ObjectName, item: &LifecycleItem) -> Result<bool, Failure> {
        let Some(event) = most_severe(item.events) else { return Ok(false) };
        let Some(subscription) = self.get(name).await? else { return Ok(false) };
        if subscription.metadata.uid.as_deref() != Some(item.subscription_uid.as_str()) {
            return Ok(false);
        }
        let reported = Lifecycle {
            event,
            received_at: Time(item.received_at),
            subscription_id: item.subscription_id.clone(),
        };
        self.update(subscription, |delivery| merged(delivery, &reported)).await?;
        Ok(true)
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
        change: impl Fn(Delivery) -> Delivery,
    ) -> Result<(), Failure> {
        let (Some(namespace), Some(name)) = (&subscription.metadata.namespace, &subscription.metadata.name)
        else {
            return Err(Failure::Internal);
        };
        let at = ObjectName { namespace: namespace.clone(), name: name.clone() };
        let uid = subscription.metadata.uid.clone();
        for _ in 0..TRIES {
            let before =
                subscription.status.as_ref().and_then(|status| status.delivery.clone()).unwrap_or_default();
            let after = change(before.clone());
            if after == before {
                return Ok(());
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
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(kube::Error::Api(status))) if status.code == 409 => match self.get(&at).await? {
                    Some(fresh) if fresh.metadata.uid == uid => subscription = fresh,
                    _ => return Ok(()),
                },
                // Deleted meanwhile: nobody is left to report to.
                Ok(Err(kube::Error::Api(status))) if status.code == 404 => return Ok(()),
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

/// One of several that arrived together; what the operator does about it covers the lesser ones.
fn most_severe(events: LifecycleEvents) -> Option<LifecycleEvent> {
    if events.subscription_removed {
        Some(LifecycleEvent::SubscriptionRemoved)
    } else if events.missed {
        Some(LifecycleEvent::Missed)
    } else if events.reauthorization_required {
        Some(LifecycleEvent::ReauthorizationRequired)
    } else {
        None
    }
}

/// A repeated delivery of what is reported already, or an older one, changes nothing.
fn merged(delivery: Delivery, reported: &Lifecycle) -> Delivery {
    let cut = Time(
        jiff::Timestamp::from_second(reported.received_at.0.as_second()).unwrap_or(reported.received_at.0),
    );
    let newer = delivery.lifecycle.as_ref().is_none_or(|known| {
        known.received_at < cut
            || (known.received_at == cut
                && (known.event != reported.event || known.subscription_id != reported.subscription_id))
    });
    if newer {
        Delivery { lifecycle: Some(Lifecycle { received_at: cut, ..reported.clone() }), ..delivery }
    } else {
        delivery
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifecycle(event: LifecycleEvent, at: &str) -> Lifecycle {
        Lifecycle { event, received_at: Time(at.parse().unwrap()), subscription_id: "s".to_owned() }
    }

    #[test]
    fn the_most_severe_of_several_is_reported() {
        let all =
            LifecycleEvents { missed: true, subscription_removed: true, reauthorization_required: true };
        assert_eq!(most_severe(all), Some(LifecycleEvent::SubscriptionRemoved));
        let two = LifecycleEvents { subscription_removed: false, ..all };
        assert_eq!(most_severe(two), Some(LifecycleEvent::Missed));
        let one = LifecycleEvents { missed: false, ..two };
        assert_eq!(most_severe(one), Some(LifecycleEvent::ReauthorizationRequired));
        assert_eq!(most_severe(LifecycleEvents::default()), None);
    }

    #[test]
    fn a_replay_or_an_older_one_changes_nothing() {
        let state = Some(DeliveryState::Receiving);
        let missed = lifecycle(LifecycleEvent::Missed, "2026-11-23T10:00:00.75Z");
        let first = merged(Delivery { state, ..Delivery::default() }, &missed);
        assert_eq!(first.state, state);
        assert_eq!(first.lifecycle, Some(lifecycle(LifecycleEvent::Missed, "2026-11-23T10:00:00Z")));
        assert_eq!(merged(first.clone(), &missed), first);
        let older = lifecycle(LifecycleEvent::SubscriptionRemoved, "2026-11-23T09:00:00Z");
        assert_eq!(merged(first.clone(), &older), first);
        let newer = lifecycle(LifecycleEvent::ReauthorizationRequired, "2026-11-23T11:00:00Z");
        assert_eq!(merged(first, &newer).lifecycle, Some(newer));
    }
}
