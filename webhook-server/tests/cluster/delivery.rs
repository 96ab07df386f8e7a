//! What the worker reports on a CalendarSubscription.

use std::sync::Arc;

use roomkeeper_crds::calendar_subscription::{DeliveryState, LifecycleEvent};
use roomkeeper_webhook_server::queue::LifecycleEvents;

use super::{
    calendar::{Calendar, Reads, event},
    worker::{Running, lifecycle, said},
    world::World,
};

#[tokio::test]
async fn traffic_is_reported_once_and_lifecycle_events_as_they_come() {
    let world = World::new("delivery").await;
    let calendar = Arc::new(Calendar::default());
    calendar.put(event(1));
    let worker = Running::start(&world, Reads::of(&calendar)).await;
    let get = async || world.subscriptions().get("user1").await.unwrap();

    worker.work(world.item()).await;
    let first = get().await;
    assert_eq!(said(&first), (Some(DeliveryState::Receiving), vec![]));
    calendar.put(event(2));
    worker.work(world.item()).await;
    assert_eq!(
        get().await.metadata.resource_version,
        first.metadata.resource_version,
        "not per notification"
    );

    let missed = LifecycleEvents { missed: true, ..LifecycleEvents::default() };
    worker.work(lifecycle(&world, missed)).await;
    let second = get().await;
    assert_eq!(said(&second), (Some(DeliveryState::Receiving), vec![LifecycleEvent::Missed]));
    let status = second.status.unwrap();
    assert!(status.user_id.is_some() && status.consent.is_some(), "the operator's part is untouched");
    assert_eq!(worker.done("lifecycle"), 1);

    let authorize = LifecycleEvents { reauthorization_required: true, ..LifecycleEvents::default() };
    worker.work(lifecycle(&world, authorize)).await;
    let both = vec![LifecycleEvent::Missed, LifecycleEvent::ReauthorizationRequired];
    assert_eq!(said(&get().await).1, both, "a later one hides none");
}

#[tokio::test]
async fn a_notification_of_an_unknown_subscription_is_dropped_in_the_end() {
    let world = World::new("unknown").await;
    let reads = Reads::of(&Arc::new(Calendar::default()));
    let worker = Running::start(&world, Arc::clone(&reads) as _).await;
    let mut gone = World::new("unknown").await;
    gone.subscription.metadata.uid = Some(uuid::Uuid::new_v4().to_string());
    worker.work(gone.item()).await;
    worker.work(lifecycle(&gone, LifecycleEvents { missed: true, ..LifecycleEvents::default() })).await;
    assert_eq!(worker.done("unknown_subscription"), 2);
    assert!(worker.again("unsettled") > 0);
    assert!(reads.log().is_empty());
}
