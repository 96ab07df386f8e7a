//! The end of records: their calendar may not be read any more, or they are over.

use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};
use k8s_openapi::api::events::v1::Event;
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use roomkeeper_crds::{
    AccessScope, BookingRecord, CalendarSubscription, ConsentRecord, condition::Type, name,
};
use serde_json::json;

use crate::{
    bookings::{operator, record, scope as unconnected, tomorrow},
    graph::Connected,
    product::Product,
    site::{Operator, Site, until, within},
    subscriptions::merge,
    world::{USER, consent, scope, user},
};

/// Longest time from the withdrawal to the end of the records.
const GONE: Duration = Duration::from_mins(2);

struct Stage {
    connected: Connected,
    product: Product,
    operator: Operator,
    subscriptions: Vec<String>,
}

/// Two users who are subscribed, each with a record that is booked.
async fn stage(retention: &str) -> Stage {
    let connected = Connected::new(2).await;
    let product = Product::start(&connected.site).await;
    let mut flags = connected.flags();
    let host = product.origin.strip_prefix("https://").unwrap();
    flags.extend(["--allowed-host", host, "--booking-ca", product.ca.to_str().unwrap()].map(str::to_owned));
    let operator = connected.site.operator("a", &flags).await;
    let booking = format!(
        "  booking: {{url: \"{}\", secretName: booking}}\n  retention: {retention}\n---\napiVersion: v1\nkind: Secret\n\
         metadata: {{name: booking, namespace: NAMESPACE}}\nstringData: {{X-Api-Key: demo-booking-key}}\n",
        product.origin
    );
    connected.site.apply(&(scope("contoso", &connected.graph.origin) + &booking)).await;
    let ready = connected.site.condition::<AccessScope>("contoso", Type::Ready, "True/Succeeded").await;
    let uid = ready.uid().unwrap();
    let (from, to) = tomorrow();
    let mut subscriptions = Vec::new();
    for number in [1, 2] {
        connected.site.apply(&consent(&format!("consent-{number}"), &uid, number)).await;
        let subscription = name::calendar_subscription(&uid, &user(number));
        connected.site.condition::<CalendarSubscription>(&subscription, Type::Ready, "True/Succeeded").await;
        let text = record(&format!("r{number}"), &from, &to, &format!("room-{number}"));
        connected.site.apply(&text.replace("user-one", &subscription)).await;
        connected
            .site
            .condition::<BookingRecord>(&format!("r{number}"), Type::Delivered, "True/Accepted")
            .await;
        subscriptions.push(subscription);
    }
    Stage { connected, product, operator, subscriptions }
}

impl Stage {
    async fn withdraw(&self) {
        let withdrawn = json!({"spec": {"withdrawn": {"at": "2026-11-23T12:00:00Z", "by": "support", "reason": "ticket 1"}}});
        merge::<ConsentRecord>(&self.connected, "consent-1", withdrawn).await;
    }

    async fn gone(&self, name: &str) {
        gone(&self.connected.site, name).await;
    }

    async fn stays(&self, name: &str) {
        assert!(self.connected.site.api::<BookingRecord>().get_opt(name).await.unwrap().is_some());
    }
}

async fn gone(site: &Site, name: &str) {
    let api = site.api::<BookingRecord>();
    within(GONE, &format!("{name} is gone"), async || match api.get_opt(name).await.unwrap() {
        None => Ok(()),
        Some(record) => Err(format!("{:?}", record.status)),
    })
    .await;
}

#[tokio::test]
async fn a_withdrawal_takes_the_records_with_it_and_leaves_the_bookings() {
    let stage = stage("{}").await;
    stage.withdraw().await;
    stage.gone("r1").await;
    stage.stays("r2").await;
    assert_eq!(stage.product.bookings().await.len(), 2);
    stage.operator.metric("roomkeeper_records_purged_total 1").await;
    let api = stage.connected.site.api::<Event>();
    until("the event", async || {
        let events = api.list(&ListParams::default()).await.unwrap().items;
        let purged = events.iter().find(|event| event.reason.as_deref() == Some("RecordsPurged"));
        let purged = purged.ok_or_else(|| format!("{} events", events.len()))?;
        let about = purged.regarding.as_ref().and_then(|about| about.name.clone());
        assert_eq!(about.as_ref(), Some(&stage.subscriptions[0]));
        Ok(())
    })
    .await;
    let audit = stage.operator.audit_text();
    assert!(audit.contains("BookingRecords of the calendar are deleted"), "{audit}");
}

#[tokio::test]
async fn bookings_are_cancelled_first_where_the_scope_wants_it() {
    let stage = stage("{purgedBookings: Cancel}").await;
    stage.withdraw().await;
    stage.gone("r1").await;
    let left = stage.product.bookings().await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["resourceId"], "room-2");
}

#[tokio::test]
async fn who_leaves_the_scope_and_who_is_deleted_lose_their_records_and_who_is_suspended_does_not() {
    let stage = stage("{}").await;
    let suspended = json!({"spec": {"suspend": true}});
    merge::<CalendarSubscription>(&stage.connected, &stage.subscriptions[1], suspended).await;
    stage
        .connected
        .site
        .condition::<CalendarSubscription>(&stage.subscriptions[1], Type::Allowed, "False/Suspended")
        .await;
    stage.connected.graph.leave_group(USER).await;
    let ask = json!({"metadata": {"annotations": {"roomkeeper.dev/reconcile-requested-at": "1"}}});
    merge::<AccessScope>(&stage.connected, "contoso", ask).await;
    stage.gone("r1").await;
    stage.stays("r2").await;
    let api = stage.connected.site.api::<CalendarSubscription>();
    api.delete(&stage.subscriptions[1], &DeleteParams::default()).await.unwrap();
    stage.gone("r2").await;
}

#[tokio::test]
async fn records_that_are_kept_until_their_end_stay() {
    let stage = stage("{onUnsubscribe: KeepUntilEnd}").await;
    stage.withdraw().await;
    let name = &stage.subscriptions[0];
    let site = &stage.connected.site;
    site.condition::<CalendarSubscription>(name, Type::Ready, "True/ConsentWithdrawn").await;
    let api = site.api::<CalendarSubscription>();
    api.delete(&stage.subscriptions[1], &DeleteParams::default()).await.unwrap();
    until("the CalendarSubscription is gone", async || {
        match api.get_opt(&stage.subscriptions[1]).await.unwrap() {
            None => Ok(()),
            Some(object) => Err(format!("{object:?}")),
        }
    })
    .await;
    // The records have been looked at since, and are changed as before.
    let (from, to) = tomorrow();
    let later = (to.parse::<Timestamp>().unwrap() + 1.hour()).to_string();
    for (number, subscription) in stage.subscriptions.iter().enumerate() {
        let text = record(&format!("r{}", number + 1), &from, &later, &format!("room-{}", number + 1));
        site.apply(&text.replace("user-one", subscription)).await;
    }
    until("both bookings are moved", async || {
        let bookings = stage.product.bookings().await;
        let moved = bookings.iter().filter(|one| {
            one["end"].as_str().and_then(|end| end.parse::<Timestamp>().ok()) == later.parse().ok()
        });
        if moved.count() == 2 { Ok(()) } else { Err(format!("{bookings:?}")) }
    })
    .await;
    stage.stays("r1").await;
    stage.stays("r2").await;
}

#[tokio::test]
async fn a_record_whose_meeting_was_moved_is_not_deleted_at_its_old_time() {
    let site = Site::new().await;
    let product = Product::start(&site).await;
    let operator = operator(&site, &product).await;
    site.apply(&unconnected(&product.origin)).await;
    let end = Timestamp::from_second(Timestamp::now().as_second() + 6).unwrap().to_string();
    let begin = "2026-01-01T09:00:00Z";
    for (name, room) in [("moved", "room-1"), ("over", "room-2")] {
        site.apply(&record(name, begin, &end, room)).await;
        site.condition::<BookingRecord>(name, Type::Delivered, "True/Accepted").await;
    }
    let (from, to) = tomorrow();
    site.apply(&record("moved", &from, &to, "room-1")).await;
    gone(&site, "over").await;
    let moved = site.api::<BookingRecord>().get("moved").await.unwrap();
    assert_eq!(moved.spec.date_time_to.0.to_string(), to);
    operator.metric("roomkeeper_bookingrecords_expired_total 1").await;
    operator.metric("roomkeeper_record_expiry_lag_seconds_count 1").await;
}

#[tokio::test]
async fn a_room_that_is_freed_goes_at_once_to_whoever_was_refused_it() {
    let site = Site::new().await;
    let product = Product::start(&site).await;
    let _operator = operator(&site, &product).await;
    site.apply(&unconnected(&product.origin)).await;
    let (from, to) = tomorrow();
    let later = (to.parse::<Timestamp>().unwrap() + 1.hour()).to_string();
    site.apply(&record("one", &from, &to, "room-1")).await;
    site.condition::<BookingRecord>("one", Type::Delivered, "True/Accepted").await;
    site.apply(&record("two", &from, &to, "room-1")).await;
    site.condition::<BookingRecord>("two", Type::Delivered, "False/Rejected").await;
    let booked = async |name: &str| {
        // Well below the time after which a conflict is tried again by itself.
        within(Duration::from_secs(20), name, async || {
            let record = site.api::<BookingRecord>().get(name).await.unwrap();
            let conditions = record.status.map(|status| status.conditions).unwrap_or_default();
            let delivered = roomkeeper_crds::condition::get(&conditions, Type::Delivered).cloned();
            match delivered {
                Some(delivered) if delivered.reason == "Accepted" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    };
    site.apply(&record("one", &to, &later, "room-1")).await;
    booked("two").await;
    site.apply(&record("three", &from, &to, "room-1")).await;
    site.condition::<BookingRecord>("three", Type::Delivered, "False/Rejected").await;
    site.apply(&record("two", &from, &to, "room-1").replace("state: Booked", "state: Cancelled")).await;
    booked("three").await;
}
