//! A consent is withdrawn while thousands of notifications of that calendar wait in two webhook pods, one of which is cut off from
//! the API server by dropped packets: what goes on after the API server's 200, by the simulator's log.

use std::{net::TcpListener, time::Duration};

use anyhow::{Context as _, ensure};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use least_data::canary;
use roomkeeper_crds::ConsentRecord;
use serde_json::{Value, json};

use crate::{
    outlook::Meeting,
    scene::{NAMESPACE, Scene, ample_quota},
    system::Daemon,
    wait, world,
};

/// Notifications in one request to a pod, as many as Graph sends.
const BATCH: usize = 20;
/// A calendar call takes this long, so that there is still a backlog when it matters.
const LATENCY: Duration = Duration::from_millis(200);
const WAIT: Duration = Duration::from_mins(5);
/// Reads after which both pods are at it.
const SEEN: usize = 50;
/// For so long the log is looked at after everything has ended.
const AFTER: Duration = Duration::from_secs(30);

/// How much there is.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Notifications that wait in each pod.
    pub backlog: usize,
    /// BookingRecords of the calendar.
    pub records: usize,
}

/// Seconds after the withdrawal was answered. Nothing after it is 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// The last read of the mailbox arrived at Graph.
    pub last_read: f64,
    /// Reads that arrived after the answer.
    pub reads_after: usize,
    /// The subscription's DELETE arrived at Graph.
    pub remote_delete: f64,
    /// No record was left.
    pub records_gone: f64,
    /// Notifications that still waited in the pods when it was withdrawn.
    pub waiting: usize,
    /// Reads of the mailbox before, by both pods.
    pub reads_before: usize,
}

/// Plays it; `say` is told how it goes.
///
/// # Errors
/// When something does not start, or does not come to its end.
pub async fn play(settings: Settings, say: fn(&str)) -> anyhow::Result<Figures> {
    say("starting");
    let scene = Scene::start(&world::contoso(1)).await?;
    let port = |url: &str| url.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    let public = port(&scene.system.public_url()).context("the public URL has no port")?;
    let other = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let flags = ["--replicas", "2", "--debounce", "0s"];
    let sound = scene.system.webhook_at("webhook-0", public, &flags).await?;
    let (cut_off, way) = scene.system.webhook_beside("webhook-1", other, &flags).await?;
    let _operator = scene.system.operator("operator", &[]).await?;
    sound.ready().await?;
    cut_off.ready().await?;
    scene.subscribe(1, ample_quota).await?;

    say(&format!("{} records", settings.records));
    let user = world::user_id(1);
    book(&scene, &user, settings.records).await?;
    let all = async || Ok((scene.record_count().await? >= settings.records).then_some(()));
    wait::until("the records", WAIT, all).await?;

    say(&format!("{} notifications wait in each of two pods", settings.backlog));
    let latency = json!({"latencyMs": LATENCY.as_millis()});
    scene.system.graph.post("/_sim/faults", &latency).await?;
    let known = subscription_of(&scene, &user).await?;
    for (number, port) in [public, other].into_iter().enumerate() {
        fill(&scene, &known, &user, port, number, settings.backlog).await?;
    }
    let busy = async || Ok((reads(&scene, &user).await?.len() >= SEEN).then_some(()));
    wait::until("the pods to be at it", WAIT, busy).await?;

    way.cut();
    let waiting = sound.queue_depth().await? + cut_off.queue_depth().await?;
    let reads_before = reads(&scene, &user).await?.len();
    let withdrawn = withdraw(&scene, &user).await?;
    say("withdrawn");
    let none_left = async || {
        let left = scene.record_count().await?;
        ensure!(left == 0, "{left} records");
        Ok(Some(Timestamp::now()))
    };
    let records_gone = wait::until("the records to be gone", WAIT, none_left).await?;
    let ended = async || Ok(deletes(&scene, &known).await?.first().copied());
    let deleted = wait::until("the DELETE at Graph", WAIT, ended).await?;
    // What the pods would still do, they would do now: one has the answers that it needs, the other has none.
    tokio::time::sleep(AFTER).await;
    let reads = reads(&scene, &user).await?;
    let reads_after: Vec<_> = reads.iter().filter(|time| **time > withdrawn).collect();
    let after = |time: Timestamp| time.duration_since(withdrawn).as_secs_f64().max(0.0);
    let figures = Figures {
        last_read: reads_after.last().map_or(0.0, |time| after(**time)),
        reads_after: reads_after.len(),
        remote_delete: after(deleted),
        records_gone: after(records_gone),
        waiting,
        reads_before,
    };
    ensure!(still_runs(&cut_off).await, "the pod that is cut off has ended");
    scene.end().await?;
    Ok(figures)
}

async fn still_runs(pod: &Daemon) -> bool {
    pod.metrics().await.is_ok()
}

async fn book(scene: &Scene, user: &str, count: usize) -> anyhow::Result<()> {
    let outlook = scene.system.outlook().await?;
    let first = Timestamp::from_second(Timestamp::now().as_second())? + SignedDuration::from_hours(48);
    for number in 0..count {
        let from = first + SignedDuration::from_hours(i64::try_from(number)?);
        let meeting = Meeting {
            subject: format!("{} {number}", canary::SUBJECT),
            from,
            to: from + SignedDuration::from_mins(30),
            rooms: vec![format!("room-{number}")],
        };
        outlook.create(user, &meeting).await?;
    }
    Ok(())
}

/// The subscription at Graph for that user's calendar.
async fn subscription_of(scene: &Scene, user: &str) -> anyhow::Result<Value> {
    let all = scene.system.graph.subscriptions().await?;
    all.into_iter().find(|one| one.to_string().contains(user)).context("no subscription of the user")
}

/// Sends notifications to one pod, as Graph sends them, each of another event.
async fn fill(
    scene: &Scene,
    known: &Value,
    user: &str,
    port: u16,
    pod: usize,
    count: usize,
) -> anyhow::Result<()> {
    let text =
        |member: &str| known.get(member).and_then(Value::as_str).with_context(|| format!("no {member}"));
    let path = text("notificationUrl")?.splitn(4, '/').nth(3).context("the notificationUrl has no path")?;
    let url = format!("https://127.0.0.1:{port}/{path}");
    let http = scene.system.webhook_client()?;
    let numbers: Vec<usize> = (0..count).collect();
    for batch in numbers.chunks(BATCH) {
        let items = batch
            .iter()
            .map(|number| {
                let event = format!("AAkALgAA{pod:04}{number:056}");
                Ok(json!({
                    "subscriptionId": text("id")?,
                    "subscriptionExpirationDateTime": text("expirationDateTime")?,
                    "clientState": text("clientState")?,
                    "changeType": "updated",
                    "resource": format!("Users/{user}/Events/{event}"),
                    "resourceData": {
                        "@odata.type": "#Microsoft.Graph.Event",
                        "@odata.id": format!("Users/{user}/Events/{event}"),
                        "@odata.etag": format!("W/\"{number}\""),
                        "id": event,
                    },
                    "tenantId": world::TENANT,
                }))
            })
            .collect::<anyhow::Result<Vec<Value>>>()?;
        let answer = http.post(&url).json(&json!({"value": items})).send().await?;
        ensure!(answer.status() == 202, "the pod answered {}", answer.status());
    }
    Ok(())
}

/// Withdraws the user's consent; returns when the API server had answered.
async fn withdraw(scene: &Scene, user: &str) -> anyhow::Result<Timestamp> {
    let consents: Api<ConsentRecord> = Api::namespaced(scene.client.clone(), NAMESPACE);
    let all = consents.list(&ListParams::default()).await?.items;
    let record = all.iter().find(|record| record.spec.user.id == user).context("no consent")?;
    let now = Timestamp::from_second(Timestamp::now().as_second())?;
    let body = json!({"spec": {"withdrawn": {"at": now.to_string(), "by": "support", "reason": "T-123"}}});
    consents.patch(&record.name_any(), &PatchParams::default(), &Patch::Merge(&body)).await?;
    Ok(Timestamp::now())
}

/// When Roomkeeper's calls with this method arrived whose path contains `part`.
async fn calls(scene: &Scene, method: &str, part: &str) -> anyhow::Result<Vec<Timestamp>> {
    let mut times = Vec::new();
    for request in scene.system.graph.requests().await? {
        let text = |member| request.get(member).and_then(Value::as_str).unwrap_or_default();
        if text("clientId") == world::CLIENT && text("method") == method && text("path").contains(part) {
            times.push(text("time").parse()?);
        }
    }
    times.sort_unstable();
    Ok(times)
}

async fn reads(scene: &Scene, user: &str) -> anyhow::Result<Vec<Timestamp>> {
    calls(scene, "GET", &format!("/users/{user}/calendar")).await
}

async fn deletes(scene: &Scene, known: &Value) -> anyhow::Result<Vec<Timestamp>> {
    let id = known.get("id").and_then(Value::as_str).context("no id")?;
    calls(scene, "DELETE", &format!("/subscriptions/{id}")).await
}
