//! The key of clientState is rotated while people change their meetings: no change is lost.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::{Timestamp, ToSpan as _};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, PostParams},
};
use least_data::canary;
use roomkeeper_controlplane::{ControlPlane, StartOptions, process::scratch_dir};
use roomkeeper_crds::{AccessScope, BookingRecord, name};
use roomkeeper_e2e::{
    install,
    outlook::{Meeting, Outlook},
    scene::{NAMESPACE, install_scope},
    system::{Daemon, System},
    wait, world,
};
use roomkeeper_service::client_state::{KeyRing, SECRET_NAME};

const PEOPLE: usize = 6;
const WAIT: Duration = Duration::from_mins(2);

async fn metric(daemon: &Daemon, line: &str) {
    let found = async || Ok(daemon.metrics().await?.lines().any(|one| one == line).then_some(()));
    wait::until(line, WAIT, found).await.unwrap();
}

fn holders(key: &str, count: usize) -> String {
    format!("roomkeeper_client_state_key_holders{{key=\"{key}\"}} {count}")
}

/// Renames one meeting again and again until it is told to stop; returns its id and last subject.
async fn keep_busy(outlook: Outlook, user: String, stop: Arc<AtomicBool>) -> (String, String) {
    let from = Timestamp::now() + 24.hours();
    let meeting = Meeting {
        subject: canary::SUBJECT.to_owned(),
        from,
        to: from + 1.hour(),
        rooms: vec!["room-101".to_owned()],
    };
    let id = outlook.create(&user, &meeting).await.unwrap();
    let mut version = 0;
    while !stop.load(Ordering::SeqCst) {
        version += 1;
        outlook.rename(&user, &id, &format!("{} {version}", canary::SUBJECT)).await.unwrap();
        // The pace of a busy assistant, not a wait for anything.
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert!(version > 4, "there was a load");
    (id, format!("{} {version}", canary::SUBJECT))
}

async fn recorded(client: &Client, meetings: &[(String, String)]) {
    let records: Api<BookingRecord> = Api::namespaced(client.clone(), NAMESPACE);
    wait::until("the last version of every meeting", WAIT, async || {
        let records = records.list(&ListParams::default()).await?.items;
        let told = |(id, subject): &&(String, String)| {
            records.iter().any(|one| one.spec.event_id == *id && one.spec.subject.as_ref() == Some(subject))
        };
        let missing = meetings.iter().filter(|one| !told(one)).count();
        if missing == 0 { Ok(Some(())) } else { anyhow::bail!("{missing} of {} are missing", meetings.len()) }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_rotated_under_load_and_no_change_is_lost() {
    roomkeeper_service::tls::install_provider();
    let control_plane = ControlPlane::start(StartOptions::default()).await.unwrap();
    let folder = scratch_dir("rotation").unwrap();
    let system = System::start(&control_plane, folder.path(), &world::contoso(PEOPLE)).await.unwrap();
    let client = control_plane.admin_client().await.unwrap();
    let operator = system.operator("operator", &[]).await.unwrap();
    let webhook = system.webhook("webhook", &[]).await.unwrap();
    install_scope(&system, &client, str::to_owned).await.unwrap();
    webhook.ready().await.unwrap();
    for number in 1..=PEOPLE {
        let user = world::user_id(number);
        let ticked =
            async || Ok((system.tick_the_box(NAMESPACE, "contoso", &user).await? == 201).then_some(()));
        wait::until("the consent", WAIT, ticked).await.unwrap();
    }
    metric(&operator, &holders("current", PEOPLE)).await;

    let stop = Arc::new(AtomicBool::new(false));
    let outlook = system.outlook().await.unwrap();
    let busy: Vec<_> = (1..=PEOPLE)
        .map(|number| tokio::spawn(keep_busy(outlook.clone(), world::user_id(number), Arc::clone(&stop))))
        .collect();
    let records: Api<BookingRecord> = Api::namespaced(client.clone(), NAMESPACE);
    let first =
        async || Ok((records.list(&ListParams::default()).await?.items.len() == PEOPLE).then_some(()));
    wait::until("a record of every meeting", WAIT, first).await.unwrap();

    // A second key beside the first, named as current.
    let secrets: Api<Secret> = Api::namespaced(client.clone(), install::NAMESPACE);
    let mut secret = secrets.get(SECRET_NAME).await.unwrap();
    let old = KeyRing::from_secret(&secret).unwrap().current_id().to_owned();
    secret.data.as_mut().unwrap().extend(KeyRing::generate().unwrap());
    let new = KeyRing::from_secret(&secret).unwrap().current_id().to_owned();
    assert_ne!(old, new);
    secrets.replace(SECRET_NAME, &PostParams::default(), &secret).await.unwrap();
    metric(&operator, &format!("roomkeeper_client_state_current_key{{key_id=\"{new}\"}} 1")).await;
    metric(&operator, &holders("other", 0)).await;
    metric(&operator, &holders("current", PEOPLE)).await;

    // The last holder is gone: the first key goes too.
    let mut secret = secrets.get(SECRET_NAME).await.unwrap();
    secret.data.as_mut().unwrap().remove(&format!("key.{old}")).unwrap();
    secrets.replace(SECRET_NAME, &PostParams::default(), &secret).await.unwrap();
    stop.store(true, Ordering::SeqCst);
    let mut meetings = Vec::new();
    for one in busy {
        meetings.push(one.await.unwrap());
    }
    recorded(&client, &meetings).await;

    let scopes: Api<AccessScope> = Api::namespaced(client.clone(), NAMESPACE);
    let scope_uid = scopes.get("contoso").await.unwrap().uid().unwrap();
    let subscriptions: Api<roomkeeper_crds::CalendarSubscription> =
        Api::namespaced(client.clone(), NAMESPACE);
    for number in 1..=PEOPLE {
        let name = name::calendar_subscription(&scope_uid, &world::user_id(number));
        let status = subscriptions.get(&name).await.unwrap().status.unwrap();
        assert_eq!(status.subscription.unwrap().key_id, Some(new.clone()));
    }
    system.stop();
    control_plane.stop().await.unwrap();
}
