//! BookingRecords against the booking simulator.

use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};
use least_data::canary;
use roomkeeper_crds::{
    BookingRecord,
    condition::{self, Type},
};
use serde_json::json;

use crate::{
    product::Product,
    site::{Operator, Site, until},
    world::{PRINCIPAL, subscription},
};

/// Tomorrow's meeting, as RFC 3339.
pub fn tomorrow() -> (String, String) {
    let from = Timestamp::from_second(Timestamp::now().as_second() + 24 * 3600).unwrap();
    (from.to_string(), (from + 1.hour()).to_string())
}

/// A BookingRecord, without a scope unless one is applied.
pub fn record(name: &str, from: &str, to: &str, room: &str) -> String {
    let subject = canary::SUBJECT;
    format!(
        "apiVersion: roomkeeper.dev/v1alpha1
kind: BookingRecord
metadata: {{name: {name}, namespace: NAMESPACE, labels: {{roomkeeper.dev/scope: contoso}}}}
spec:
  attendees: [user2@contoso.example]
  iCalUId: uid-{name}
  changeKey: ck1
  dateTimeFrom: \"{from}\"
  dateTimeTo: \"{to}\"
  eventId: {name}
  lastModifiedDateTime: \"2026-11-23T09:40:00Z\"
  organizer: user1@contoso.example
  sensitivity: normal
  subject: {subject}
  state: Booked
  subscriptionRef: {{name: user-one}}
  singleValueExtendedProperties:
    resources:
    - {{resourceId: {room}, propertyId: p, manifestId: 3f0c2c1e-8d0a-4b59-9a55-2f4b7c0d6e21}}
"
    )
}

/// An AccessScope whose booking product is that one, and the CalendarSubscription that the records are of.
pub fn scope(url: &str) -> String {
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: booking, namespace: NAMESPACE}}
stringData: {{X-Api-Key: demo-booking-key}}
---
apiVersion: roomkeeper.dev/v1alpha1
kind: AccessScope
metadata: {{name: contoso, namespace: NAMESPACE}}
spec:
  tenantId: 7f1d0cb7-93b9-405a-8dad-c21703b7af18
  clientId: 9b0fbe07-0f3e-4f0f-8d6c-1c9f6f6c0a11
  credentials: {{clientSecret: {{secretName: graph}}}}
  policies: [{{mode: RestrictAccess, groupId: 5d6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a10}}]
  addIn: {{manifestId: 3f0c2c1e-8d0a-4b59-9a55-2f4b7c0d6e21, audience: addin}}
  consent: {{noticeVersion: \"2026-01\"}}
  booking: {{url: \"{url}\", secretName: booking}}
---
{}",
        subscription("user-one", PRINCIPAL)
    )
}

pub async fn operator(site: &Site, product: &Product) -> Operator {
    replica(site, product, "a").await
}

pub async fn replica(site: &Site, product: &Product, identity: &str) -> Operator {
    let host = product.origin.strip_prefix("https://").unwrap();
    let ca = product.ca.to_str().unwrap();
    let flags = ["--public-url", "https://rooms.example", "--allowed-host", host, "--booking-ca", ca];
    site.operator(identity, &flags.map(str::to_owned)).await
}

#[tokio::test]
async fn a_booking_is_made_moved_and_cancelled_and_a_quiet_record_stays_quiet() {
    let site = Site::new().await;
    let product = Product::start(&site).await;
    let operator = operator(&site, &product).await;
    site.apply(&scope(&product.origin)).await;
    let (from, to) = tomorrow();
    site.apply(&record("one", &from, &to, "room-1")).await;
    let made = site.condition::<BookingRecord>("one", Type::Delivered, "True/Accepted").await;
    let bookings = product.bookings().await;
    assert_eq!(bookings.len(), 1);
    assert_eq!(bookings[0]["subject"], canary::SUBJECT);
    assert_eq!(
        made.status.as_ref().unwrap().bookings[0].booking_id.as_deref(),
        bookings[0]["bookingId"].as_str()
    );
    assert_eq!(made.status.as_ref().unwrap().expires_at.as_ref().unwrap().0.to_string(), to);

    // A run that finds nothing to do writes nothing but its own answer.
    let writes = product.writes().await;
    let ask = json!({"metadata": {"annotations": {"roomkeeper.dev/reconcile-requested-at": "1"}}});
    let api = site.api::<BookingRecord>();
    api.patch("one", &kube::api::PatchParams::default(), &kube::api::Patch::Merge(&ask)).await.unwrap();
    let asked = until("the answer", async || {
        let record = api.get("one").await.unwrap();
        let handled = record.status.as_ref().and_then(|status| status.last_handled_reconcile_at.clone());
        if handled.as_deref() == Some("1") { Ok(record) } else { Err(format!("{handled:?}")) }
    })
    .await;
    assert_eq!(product.writes().await, writes);

    // A changed change key is another version of the same booking.
    site.apply(&record("one", &from, &to, "room-1").replace("changeKey: ck1", "changeKey: ck2")).await;
    until("the generation is observed", async || {
        let record = api.get("one").await.unwrap();
        let observed = record.status.as_ref().and_then(|status| status.observed_generation);
        if observed > asked.status.as_ref().unwrap().observed_generation {
            Ok(())
        } else {
            Err(format!("{observed:?}"))
        }
    })
    .await;
    assert_eq!(product.writes().await, writes);

    // Moved, and moved back to where it was before: a repeated content is no repeated call.
    let later = (to.parse::<Timestamp>().unwrap() + 1.hour()).to_string();
    for end in [&later, &to] {
        site.apply(&record("one", &from, end, "room-1")).await;
        until("the moved booking", async || {
            let bookings = product.bookings().await;
            if bookings.len() == 1
                && bookings[0]["end"].as_str().and_then(|end| end.parse::<Timestamp>().ok())
                    == end.parse().ok()
            {
                Ok(())
            } else {
                Err(format!("{bookings:?}"))
            }
        })
        .await;
    }

    site.apply(&record("one", &from, &to, "room-1").replace("state: Booked", "state: Cancelled")).await;
    let cancelled = site.condition::<BookingRecord>("one", Type::Delivered, "True/Cancelled").await;
    assert!(product.bookings().await.is_empty());
    assert!(cancelled.status.unwrap().bookings.is_empty());

    let log = operator.process.log_tail(10_000);
    assert!(!log.contains("demo-booking-key") && !log.contains("user1@contoso.example"), "{log}");
}

#[tokio::test]
async fn a_taken_room_is_refused_with_the_products_reason_until_another_is_asked_for() {
    let site = Site::new().await;
    let product = Product::start(&site).await;
    let _operator = operator(&site, &product).await;
    site.apply(&scope(&product.origin)).await;
    let (from, to) = tomorrow();
    site.apply(&record("one", &from, &to, "room-1")).await;
    site.condition::<BookingRecord>("one", Type::Delivered, "True/Accepted").await;
    site.apply(&record("two", &from, &to, "room-1")).await;
    let refused = site.condition::<BookingRecord>("two", Type::Delivered, "False/Rejected").await;
    let conditions = &refused.status.as_ref().unwrap().conditions;
    assert!(condition::get(conditions, Type::Stalled).unwrap().message.contains("Overlap"), "{conditions:?}");
    // Its own status write brings it back, and it is left alone.
    let writes = product.writes().await;
    site.apply(&record("two", &from, &to, "room-2")).await;
    site.condition::<BookingRecord>("two", Type::Delivered, "True/Accepted").await;
    assert_eq!(product.writes().await, writes + 2, "one cancellation and one booking");
}

#[tokio::test]
async fn a_product_that_fails_is_tried_again_and_its_wish_to_wait_is_obeyed() {
    let site = Site::new().await;
    let product = Product::start(&site).await;
    let _operator = operator(&site, &product).await;
    let fault = json!({"status": 503, "count": 1, "retryAfterSeconds": 3});
    let answer =
        product.http.post(format!("{}/_sim/faults", product.origin)).json(&fault).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
    site.apply(&scope(&product.origin)).await;
    let (from, to) = tomorrow();
    site.apply(&record("one", &from, &to, "room-1")).await;
    site.condition::<BookingRecord>("one", Type::Delivered, "False/BackendUnavailable").await;
    site.condition::<BookingRecord>("one", Type::Delivered, "True/Accepted").await;
    let list = product.requests().await;
    let times: Vec<Timestamp> = list
        .iter()
        .filter(|one| one["method"] == "PUT")
        .map(|one| one["time"].as_str().unwrap().parse().unwrap())
        .collect();
    assert_eq!(times.len(), 2, "{list:?}");
    assert!(times[1].duration_since(times[0]).unsigned_abs() >= Duration::from_secs(3), "{times:?}");
}

#[tokio::test]
async fn a_record_goes_when_its_booking_is_over() {
    let site = Site::new().await;
    let product = Product::start(&site).await;
    let operator = operator(&site, &product).await;
    site.apply(&scope(&product.origin)).await;
    let end = Timestamp::from_second(Timestamp::now().as_second() + 4).unwrap();
    site.apply(&record("one", "2026-01-01T09:00:00Z", &end.to_string(), "room-1")).await;
    site.condition::<BookingRecord>("one", Type::Delivered, "True/Accepted").await;
    let api = site.api::<BookingRecord>();
    until("the record is gone", async || match api.get_opt("one").await.unwrap() {
        None => Ok(()),
        Some(record) => Err(format!("{:?}", record.status)),
    })
    .await;
    assert!(Timestamp::now() >= end);
    operator.metric("roomkeeper_bookingrecords_expired_total 1").await;
    assert_eq!(product.bookings().await.len(), 1, "forgetting a record cancels nothing");
}

#[tokio::test]
async fn a_host_that_is_not_on_the_list_is_never_called() {
    let site = Site::new().await;
    let product = Product::start(&site).await;
    let _operator = site.operator("a", &["--public-url", "https://rooms.example"].map(str::to_owned)).await;
    site.apply(&scope(&product.origin)).await;
    let (from, to) = tomorrow();
    site.apply(&record("one", &from, &to, "room-1")).await;
    let record = site.condition::<BookingRecord>("one", Type::Delivered, "False/BackendUnavailable").await;
    let conditions = &record.status.as_ref().unwrap().conditions;
    let message = &condition::get(conditions, Type::Stalled).unwrap().message;
    assert!(message.contains("spec.booking.url") && message.contains("--allowed-host"), "{message}");
    assert_eq!(product.writes().await, 0);
}

#[tokio::test]
async fn a_series_is_one_booking_for_each_space_and_is_refused_as_a_whole() {
    let site = Site::new().await;
    let product = Product::start(&site).await;
    let _operator = operator(&site, &product).await;
    site.apply(&scope(&product.origin)).await;
    let (from, to) = tomorrow();
    let day = |text: &str, days: i64| (text.parse::<Timestamp>().unwrap() + (24 * days).hours()).to_string();
    let exception = format!(
        "{{originalStart: \"{}\", dateTimeFrom: \"{}\", dateTimeTo: \"{}\", singleValueExtendedProperties: {{resources: \
         [{{resourceId: room-2, propertyId: p, manifestId: 3f0c2c1e-8d0a-4b59-9a55-2f4b7c0d6e21}}]}}}}",
        day(&from, 2),
        day(&from, 2),
        day(&to, 2)
    );
    let series = |name: &str, days: &[i64], exceptions: &str| {
        let occurrences: Vec<String> =
            days.iter().map(|number| format!("\"{}\"", day(&from, *number))).collect();
        let recurrence = format!(
            "  recurrencePattern:\n    pattern: {{type: daily, interval: 1}}\n    range: {{type: endDate, startDate: \"2026-11-24\", \
             endDate: \"2027-11-24\"}}\n    occurrences: [{}]\n    exceptions: [{exceptions}]\n",
            occurrences.join(", ")
        );
        record(name, &from, &to, "room-1") + &recurrence
    };
    site.apply(&series("series", &[0, 1, 3], &exception)).await;
    let made = site.condition::<BookingRecord>("series", Type::Delivered, "True/Accepted").await;
    assert_eq!(made.status.unwrap().expires_at.unwrap().0.to_string(), day(&to, 3));
    let bookings = product.bookings().await;
    let occurrences = |room: &str| {
        let booking = bookings.iter().find(|one| one["resourceId"] == room).unwrap();
        booking["recurrence"]["occurrences"].as_array().unwrap().len()
    };
    assert_eq!((bookings.len(), occurrences("room-1"), occurrences("room-2")), (2, 3, 1));

    // Of another series one occurrence meets one of this, and it is booked once that is taken out.
    site.apply(&series("second", &[3, 4], "")).await;
    site.condition::<BookingRecord>("second", Type::Delivered, "False/Rejected").await;
    site.apply(&series("series", &[0, 1], "")).await;
    site.condition::<BookingRecord>("second", Type::Delivered, "True/Accepted").await;
    let bookings = product.bookings().await;
    assert_eq!(bookings.len(), 2, "the space of the exception is free: {bookings:?}");
}
