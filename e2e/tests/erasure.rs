//! What expiry erases: after compaction an ended booking's record can be read no more, at no version, and neither queue nor audit hold
//! what it held. A watch that begins in the past is told from the API server's memory, which compaction does not empty.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{fs, path::Path, time::Duration};

use futures::{StreamExt as _, pin_mut};
use jiff::{Timestamp, ToSpan as _};
use kube::{
    Api,
    api::{ListParams, VersionMatch, WatchParams},
    core::WatchEvent,
};
use least_data::canary;
use roomkeeper_controlplane::{ControlPlane, StartOptions, process::scratch_dir};
use roomkeeper_crds::BookingRecord;
use roomkeeper_e2e::{
    outlook::Meeting,
    scene::{self, NAMESPACE},
    system::System,
    wait, world,
};

const WAIT: Duration = Duration::from_mins(3);
/// The API server compacts what is older than one such interval when the next one has passed; 5 minutes by default.
const COMPACTION: &str = "--etcd-compaction-interval=5s";

/// What a list at exactly that version says: the objects as text, or nothing where that version is gone.
async fn at(records: &Api<BookingRecord>, version: &str) -> anyhow::Result<Option<String>> {
    let exactly = ListParams::default().at(version).matching(VersionMatch::Exact);
    match records.list(&exactly).await {
        Ok(list) => Ok(Some(serde_json::to_string(&list.items)?)),
        Err(kube::Error::Api(status)) if status.code == 410 => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether a watch that begins at that version tells of the record; one that is refused as too old does not.
async fn replayed(records: &Api<BookingRecord>, version: &str) -> anyhow::Result<bool> {
    let events = records.watch(&WatchParams::default().timeout(2), version).await;
    let events = match events {
        Ok(events) => events,
        Err(kube::Error::Api(status)) if status.code == 410 => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    pin_mut!(events);
    while let Some(event) = events.next().await {
        match event? {
            WatchEvent::Added(one) | WatchEvent::Modified(one) | WatchEvent::Deleted(one)
                if serde_json::to_string(&one)?.contains(canary::SUBJECT) =>
            {
                return Ok(true);
            }
            WatchEvent::Error(status) if status.code == 410 => return Ok(false),
            _ => {}
        }
    }
    Ok(false)
}

/// Whether a file below the folder holds the text.
fn holds(folder: &Path, text: &str) -> bool {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            return holds(&path, text);
        }
        let bytes = fs::read(path).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_booking_leaves_nothing_that_can_be_read() {
    roomkeeper_service::tls::install_provider();
    let options = StartOptions { api_server_flags: vec![COMPACTION.to_owned()], ..StartOptions::default() };
    let mut control_plane = ControlPlane::start(options).await.unwrap();
    let folder = scratch_dir("roomkeeper-erasure").unwrap();
    let system = System::start(&control_plane, folder.path(), &world::contoso(1)).await.unwrap();
    let client = control_plane.admin_client().await.unwrap();
    let operator = system.operator("operator", &[]).await.unwrap();
    let webhook = system.webhook("webhook", &["--debounce", "200ms"]).await.unwrap();
    scene::install_scope(&system, &client, str::to_owned).await.unwrap();
    let user = world::user_id(1);
    let ticked = async || {
        let status = system.tick_the_box(NAMESPACE, "contoso", &user).await?;
        Ok((status == 201).then_some(()))
    };
    wait::until("the consent", WAIT, ticked).await.unwrap();
    let subscribed = async || Ok((system.graph.subscriptions_of(&user).await? == 1).then_some(()));
    wait::until("the subscription", WAIT, subscribed).await.unwrap();

    let records: Api<BookingRecord> = Api::namespaced(client.clone(), NAMESPACE);
    let subscribed_at =
        records.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();

    // It is under way, and ends while the test waits.
    let from = Timestamp::from_second(Timestamp::now().as_second()).unwrap() - 1.hour();
    let meeting = Meeting {
        subject: canary::SUBJECT.to_owned(),
        from,
        to: from + 1.hour() + 20.seconds(),
        rooms: vec!["room-101".to_owned()],
    };
    let event = system.outlook().await.unwrap().create(&user, &meeting).await.unwrap();
    let version = wait::until("the record", WAIT, async || {
        let list = records.list(&ListParams::default()).await?;
        Ok(list
            .items
            .iter()
            .any(|one| one.spec.event_id == event)
            .then_some(list.metadata.resource_version)
            .flatten())
    })
    .await
    .unwrap();
    let before = at(&records, &version).await.unwrap().expect("that version is not gone yet");
    assert!(before.contains(canary::SUBJECT) && before.contains(canary::ATTENDEE), "{before}");
    // The probe finds what is there.
    assert!(replayed(&records, &subscribed_at).await.unwrap(), "a watch from before tells of it");

    let gone = async || Ok(records.list(&ListParams::default()).await?.items.is_empty().then_some(()));
    wait::until("the record to be gone", WAIT, gone).await.unwrap();
    let compacted = async || Ok(at(&records, &version).await?.is_none().then_some(()));
    wait::until("the version before to be gone", WAIT, compacted).await.unwrap();
    assert_eq!(
        records.get_opt(&roomkeeper_crds::name::booking_record(world::TENANT, &user, &event)).await.unwrap(),
        None
    );

    drop((operator, webhook));
    if control_plane.restart_api_server(WAIT).await.unwrap() {
        let forgotten = async || Ok((!replayed(&records, &version).await?).then_some(()));
        wait::until("the watch to tell nothing of it", WAIT, forgotten).await.unwrap();
        let compacted = async || Ok(at(&records, &version).await?.is_none().then_some(()));
        wait::until("the version before to be gone still", WAIT, compacted).await.unwrap();
    }
    for (folder, ids) in [("queue-webhook", false), ("audit-webhook", true), ("audit-operator", true)] {
        let path = system.folder().join(folder);
        for text in [canary::SUBJECT, canary::ATTENDEE, "room-101"] {
            assert!(!holds(&path, text), "{folder} holds {text}");
        }
        // The probe finds what is there.
        assert!(!ids || holds(&path, &user), "{folder} tells whose calendar was read");
    }
    system.stop();
    drop(client);
    drop(system);
    control_plane.stop().await.unwrap();
}
