//! The quota for calls to the product, judged by a product that counts.

use std::time::Duration;

use jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use roomkeeper_crds::{
    AccessScope, BookingRecord,
    condition::{Type, get},
};
use serde_json::json;

use crate::{
    bookings::{operator, record, replica, scope, tomorrow},
    product::Product,
    site::{Site, until, within},
};

/// How each record's `Delivered` reads.
async fn delivered(site: &Site) -> Vec<String> {
    let records = site.api::<BookingRecord>().list(&ListParams::default()).await.unwrap();
    let told = |record: BookingRecord| {
        let conditions = record.status.map(|status| status.conditions).unwrap_or_default();
        get(&conditions, Type::Delivered).map(|one| format!("{}: {}", one.reason, one.message))
    };
    records.items.into_iter().map(|record| told(record).unwrap_or_default()).collect()
}

#[tokio::test]
async fn a_minutes_calls_are_never_exceeded_over_a_change_of_the_leader() {
    const RECORDS: usize = 26;
    let site = Site::new().await;
    let product = Product::limited(&site, Some(20)).await;
    let first = operator(&site, &product).await;
    let quota = ", quota: {perMinute: 20, perWeek: 1000}}";
    site.apply(
        &scope(&product.origin).replace("secretName: booking}", &format!("secretName: booking{quota}")),
    )
    .await;
    let (from, to) = tomorrow();
    for number in 0..RECORDS {
        site.apply(&record(&format!("r{number}"), &from, &to, &format!("room-{number}"))).await;
    }
    // The product's own log: a look at the bookings would be a call that counts.
    until("most of what a minute allows", async || match product.writes().await {
        12.. => Ok(()),
        few => Err(few.to_string()),
    })
    .await;
    first.process.kill().unwrap();
    let second = replica(&site, &product, "b").await;
    until("a record that waits", async || {
        let all = delivered(&site).await;
        let waits = |one: &String| one.starts_with("QuotaExhausted") && one.contains("sent at 20");
        if all.iter().any(waits) { Ok(()) } else { Err(format!("{all:?}")) }
    })
    .await;
    within(Duration::from_mins(5), "all bookings", async || {
        let all = delivered(&site).await;
        let left: Vec<_> = all.iter().filter(|one| !one.starts_with("Accepted")).collect();
        if left.is_empty() && all.len() == RECORDS { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    let requests = product.requests().await;
    let refused: Vec<_> = requests.iter().filter(|one| one["status"] == 429).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let mut times: Vec<Timestamp> = requests
        .iter()
        .filter(|one| one["method"] == "PUT")
        .map(|one| one["time"].as_str().unwrap().parse().unwrap())
        .collect();
    times.sort_unstable();
    for (earlier, later) in times.iter().zip(times.iter().skip(20)) {
        assert!(later.duration_since(*earlier).unsigned_abs() >= Duration::from_mins(1), "{times:?}");
    }
    let (_, metrics) = second.get("/metrics").await.unwrap();
    assert!(metrics.contains("roomkeeper_booking_quota_remaining{window=\"week\"}"), "{metrics}");
    assert!(metrics.contains("roomkeeper_booking_calls_put_off_total{window=\"minute\"}"), "{metrics}");
}

#[tokio::test]
async fn a_week_that_is_used_up_is_told_by_record_and_scope_until_more_is_allowed() {
    let site = Site::new().await;
    let product = Product::start(&site).await;
    let _operator = operator(&site, &product).await;
    let limited = |week: u32| {
        let quota = format!("secretName: booking, quota: {{perMinute: 3, perWeek: {week}}}}}");
        scope(&product.origin).replace("secretName: booking}", &quota)
    };
    site.apply(&limited(3)).await;
    site.condition::<AccessScope>("contoso", Type::BookingQuotaAvailable, "True/Available").await;
    let (from, to) = tomorrow();
    for number in 0..3 {
        site.apply(&record(&format!("r{number}"), &from, &to, &format!("room-{number}"))).await;
        site.condition::<BookingRecord>(&format!("r{number}"), Type::Delivered, "True/Accepted").await;
    }
    let scope =
        site.condition::<AccessScope>("contoso", Type::BookingQuotaAvailable, "False/WeekExhausted").await;
    let status = scope.status.unwrap();
    let until_then = status.booking_quota.unwrap().exhausted_until.unwrap().0;
    let days = until_then.duration_since(Timestamp::now()).as_hours() / 24;
    assert!((6..=7).contains(&days), "{until_then}");
    let told = &get(&status.conditions, Type::BookingQuotaAvailable).unwrap().message;
    assert!(told.contains(&until_then.to_string()), "{told}");

    // It is not sent, and not even a change of the scope's other parts lets it be.
    site.apply(&record("late", &from, &to, "room-9")).await;
    let late = site.condition::<BookingRecord>("late", Type::Delivered, "False/QuotaExhausted").await;
    assert!(get(&late.status.unwrap().conditions, Type::Reconciling).is_some());
    assert_eq!(product.writes().await, 3);

    let more = json!({"spec": {"booking": {"quota": {"perWeek": 1000}}}});
    let api = site.api::<AccessScope>();
    api.patch("contoso", &PatchParams::default(), &Patch::Merge(&more)).await.unwrap();
    within(Duration::from_mins(2), "the booking, within the minute's quota", async || {
        let all = delivered(&site).await;
        if all.iter().all(|one| one.starts_with("Accepted")) { Ok(()) } else { Err(format!("{all:?}")) }
    })
    .await;
    site.condition::<AccessScope>("contoso", Type::BookingQuotaAvailable, "True/Available").await;
}
