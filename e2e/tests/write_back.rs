//! What became of a booking is written onto its event; the notification of that write causes no booking call and no further write.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};
use least_data::canary;
use roomkeeper_controlplane::{ControlPlane, StartOptions, process::scratch_dir};
use roomkeeper_e2e::{
    agreement,
    outlook::{Meeting, Outlook},
    scene::{NAMESPACE, ample_quota, install_scope},
    system::System,
    wait, world,
};
use serde_json::Value;

const WAIT: Duration = Duration::from_mins(4);
const CHANGES: usize = 1_000;
const SPACES: usize = 10;

/// Calls that change something: PUTs and DELETEs at the product, PATCHes of events by Roomkeeper.
async fn calls(system: &System) -> anyhow::Result<(usize, usize)> {
    let product = system.booking.requests().await?;
    let booked = product.iter().filter(|one| one["method"] == "PUT" || one["method"] == "DELETE").count();
    let graph = system.graph.requests().await?;
    let written = graph.iter().filter(|one| one["method"] == "PATCH" && one["status"] == 204).count();
    Ok((booked, written))
}

/// Our property on an event.
async fn note(outlook: &Outlook, user: &str, event: &str) -> anyhow::Result<Option<Value>> {
    let id = format!("String {{00020329-0000-0000-C000-000000000046}} Name roomkeeper-{}", world::MANIFEST);
    let value = outlook.property(user, event, &id).await?;
    Ok(value.map(|text| serde_json::from_str(&text)).transpose()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_changes_cause_bounded_calls_and_never_a_loop() {
    roomkeeper_service::tls::install_provider();
    let control_plane = ControlPlane::start(StartOptions::default()).await.unwrap();
    let folder = scratch_dir("write-back").unwrap();
    let system = System::start(&control_plane, folder.path(), &world::contoso(1)).await.unwrap();
    let client = control_plane.admin_client().await.unwrap();
    let operator = system.operator("operator", &[]).await.unwrap();
    let webhook = system.webhook("webhook", &["--debounce", "200ms"]).await.unwrap();
    let edit = |example: &str| {
        let wanted = "    writeBack: Property\n    privateSubject: Mask\n";
        ample_quota(example).replace("    privateSubject: Mask\n", wanted)
    };
    install_scope(&system, &client, edit).await.unwrap();
    webhook.ready().await.unwrap();
    let user = world::user_id(1);
    let ticked = async || Ok((system.tick_the_box(NAMESPACE, "contoso", &user).await? == 201).then_some(()));
    wait::until("the consent", WAIT, ticked).await.unwrap();
    let subscribed = async || Ok((system.graph.subscriptions_of(&user).await? == 1).then_some(()));
    wait::until("the subscription", WAIT, subscribed).await.unwrap();

    let outlook = system.outlook().await.unwrap();
    // Whole seconds, as the API server keeps them.
    let from = Timestamp::from_second(Timestamp::now().as_second()).unwrap() + 48.hours();
    let mut meetings = Vec::new();
    for number in 0..SPACES {
        let meeting = Meeting {
            subject: canary::SUBJECT.to_owned(),
            from,
            to: from + 1.hour(),
            rooms: vec![format!("room-{number}")],
        };
        meetings.push(outlook.create(&user, &meeting).await.unwrap());
    }
    let noted = async || {
        for (meeting, number) in meetings.iter().zip(0..) {
            let note = note(&outlook, &user, meeting).await?;
            let room = note.as_ref().and_then(|note| note.pointer("/bookings/0/resourceId")?.as_str());
            anyhow::ensure!(room == Some(&format!("room-{number}")), "{meeting}: {note:?}");
        }
        Ok(Some(()))
    };
    wait::until("a note on every event", WAIT, noted).await.unwrap();
    let note = note(&outlook, &user, &meetings[0]).await.unwrap().unwrap();
    assert_eq!(note["bookings"][0]["state"], "Accepted", "{note}");
    assert!(note["bookings"][0]["bookingId"].is_string(), "{note}");
    let (_, first) = calls(&system).await.unwrap();
    assert_eq!(first, SPACES, "one write for each event");

    for change in 0..CHANGES {
        let meeting = &meetings[change % SPACES];
        if change % 3 == 0 {
            let shift = i64::try_from(change).unwrap().minutes();
            outlook.reschedule(&user, meeting, from + shift, from + shift + 1.hour()).await.unwrap();
        } else {
            outlook.rename(&user, meeting, &format!("Version {change}")).await.unwrap();
        }
    }
    let users = [user.clone()];
    let window = (Timestamp::now(), from + (24 * 30).hours());
    let agreed = async || {
        let calendars = agreement::in_calendars(&outlook, &users, window).await?;
        let product = agreement::at_product(&system.booking, window).await?;
        agreement::compare(&calendars, &product)?;
        Ok(Some(()))
    };
    wait::until("calendars and product to agree", WAIT, agreed).await.unwrap();
    let idle = async || Ok((webhook.queue_depth().await? == 0).then_some(()));
    wait::until("the queue to be empty", WAIT, idle).await.unwrap();
    let (booked, written) = calls(&system).await.unwrap();
    assert!(booked <= CHANGES + SPACES, "{booked} booking calls for {CHANGES} changes");
    assert_eq!(written, SPACES, "nothing that the note tells has changed");

    // Another space, another note; and its echo changes nothing.
    outlook.set_rooms(&user, &meetings[0], &["another".to_owned()]).await.unwrap();
    let another = async || Ok((calls(&system).await?.1 == SPACES + 1).then_some(()));
    wait::until("another note", WAIT, another).await.unwrap();
    wait::until("the queue to be empty", WAIT, idle).await.unwrap();
    let (after, written) = calls(&system).await.unwrap();
    assert_eq!((after - booked, written), (2, SPACES + 1), "one space cancelled, one booked, one note");
    assert!(
        operator
            .metrics()
            .await
            .unwrap()
            .contains("roomkeeper_booking_write_backs_total{outcome=\"failed\"} 0")
    );
    system.stop();
    control_plane.stop().await.unwrap();
}
