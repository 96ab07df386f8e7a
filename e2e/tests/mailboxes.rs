//! Mailboxes that are not as one would wish: one with very many booked events, one that keeps deleted events readable, one that
//! cannot be read for a while.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{Timestamp, ToSpan as _};
use least_data::canary;
use roomkeeper_crds::{
    BookingRecord,
    booking_record::{BookingState, ProductState},
};
use roomkeeper_e2e::{
    outlook::{Meeting, Outlook},
    scene::{Scene, ample_quota},
    wait, world,
};

const WAIT: Duration = Duration::from_mins(4);
const MANY: usize = 5_000;
/// Changes of another calendar while the large one is read.
const CHANGES: usize = 20;
/// The worker looks this long after a notification.
const DEBOUNCE: [&str; 2] = ["--debounce", "200ms"];

/// Whole seconds, as the API server keeps them.
fn tomorrow() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap() + 24.hours()
}

async fn book(outlook: &Outlook, user: &str, room: &str) -> anyhow::Result<String> {
    let from = tomorrow();
    let rooms = vec![room.to_owned()];
    outlook
        .create(user, &Meeting { subject: canary::SUBJECT.to_owned(), from, to: from + 1.hour(), rooms })
        .await
}

fn is_accepted(record: &BookingRecord) -> bool {
    let bookings = record.status.as_ref().map(|status| status.bookings.as_slice()).unwrap_or_default();
    !bookings.is_empty() && bookings.iter().all(|booking| booking.state == ProductState::Accepted)
}

/// Waits until the record of an event stands and the product has accepted it.
async fn accepted(scene: &Scene, user: &str, event: &str) {
    let look = async || Ok(scene.record_of(user, event).await?.filter(is_accepted).map(drop));
    wait::until("the booking", WAIT, look).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_calendar_with_thousands_of_bookings_holds_up_nobody_else() {
    let scene = Scene::start(&world::contoso(2)).await.unwrap();
    let outlook = scene.system.outlook().await.unwrap();
    let (large, other) = (&world::user_id(1), &world::user_id(2));
    stream::iter(0..MANY)
        .map(|number| {
            let outlook = &outlook;
            async move { book(outlook, large, &format!("room-{number}")).await }
        })
        .buffer_unordered(8)
        .try_for_each(async |_| Ok(()))
        .await
        .unwrap();

    let _operator = scene.system.operator("operator", &[]).await.unwrap();
    let _webhook = scene.system.webhook("webhook", &DEBOUNCE).await.unwrap();
    let scope = scene.install(ample_quota).await.unwrap();
    scene.consent(&scope, 2).await.unwrap();
    scene.subscribed(1).await.unwrap();
    scene.consent(&scope, 1).await.unwrap();
    // Graph's limit for one mailbox, and not our own pace, makes the rest take minutes.
    let begun = async || Ok((scene.record_count().await? >= MANY / 50).then_some(()));
    wait::until("the first records of the large calendar", WAIT, begun).await.unwrap();

    for number in 0..CHANGES {
        let event = book(&outlook, other, &format!("other-{number}")).await.unwrap();
        accepted(&scene, other, &event).await;
        let count = scene.record_count().await.unwrap();
        assert!(count < MANY, "change {number} waited until the large calendar had been read");
    }
    let count = scene.record_count().await.unwrap();
    let more = async || Ok((scene.record_count().await? > count).then_some(()));
    wait::until("further records of the large calendar", WAIT, more).await.unwrap();
    scene.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_event_that_stays_readable_is_cancelled_and_an_unreadable_mailbox_is_not() {
    let mut contoso = world::contoso(1);
    contoso["deletedStayReadable"] = true.into();
    let scene = Scene::start(&contoso).await.unwrap();
    let outlook = scene.system.outlook().await.unwrap();
    let user = &world::user_id(1);
    let _operator = scene.system.operator("operator", &[]).await.unwrap();
    let webhook = scene.system.webhook("webhook", &DEBOUNCE).await.unwrap();
    let scope = scene.install(ample_quota).await.unwrap();
    scene.consent(&scope, 1).await.unwrap();
    scene.subscribed(1).await.unwrap();
    let (deleted, kept) =
        (book(&outlook, user, "room-1").await.unwrap(), book(&outlook, user, "room-2").await.unwrap());
    accepted(&scene, user, &deleted).await;
    accepted(&scene, user, &kept).await;

    outlook.delete(user, &deleted).await.unwrap();
    let readable = outlook.property(user, &deleted, &world::add_in_property()).await.unwrap();
    assert!(readable.unwrap().contains("room-1"), "it lies in Deleted Items and can be read by its id");
    let cancelled = async || {
        let record = scene.record_of(user, &deleted).await?;
        let record = record.filter(|record| record.spec.state == BookingState::Cancelled);
        let bookings = record.and_then(|record| record.status).map(|status| status.bookings);
        Ok(bookings.filter(Vec::is_empty).map(drop))
    };
    wait::until("the booking to be cancelled", WAIT, cancelled).await.unwrap();

    // The mailbox goes between the notification and the read that it leads to.
    drop(webhook);
    outlook.rename(user, &kept, "Renamed").await.unwrap();
    let mailbox = |present: bool| serde_json::json!({"userId": user, "mailbox": present});
    scene.system.graph.post("/_sim/users", &mailbox(false)).await.unwrap();
    let before = scene.system.graph.requests().await.unwrap().len();
    let webhook = scene.system.webhook("webhook", &DEBOUNCE).await.unwrap();
    let refused = async || {
        let requests = scene.system.graph.requests().await?;
        let is_refused = |request: &&serde_json::Value| {
            request["status"] == 404
                && request["path"].as_str().is_some_and(|path| path.contains("/calendar/events/"))
        };
        // More looks than an event that is gone is given.
        Ok((requests[before..].iter().filter(is_refused).count() >= 6).then_some(()))
    };
    wait::until("reads that are refused", WAIT, refused).await.unwrap();
    let record = scene.record_of(user, &kept).await.unwrap().unwrap();
    assert_eq!(record.spec.state, BookingState::Booked, "nobody knows that it is gone");
    assert!(is_accepted(&record));

    scene.system.graph.post("/_sim/users", &mailbox(true)).await.unwrap();
    let renamed = async || {
        let record = scene.record_of(user, &kept).await?;
        Ok(record.filter(|record| record.spec.subject.as_deref() == Some("Renamed")).map(drop))
    };
    wait::until("the change to be read", WAIT, renamed).await.unwrap();
    drop(webhook);
    scene.end().await.unwrap();
}
