//! Notifications that repeat what was read already, and how many of them cost no read: two pods with a queue each, and each
//! change told of four times over half a minute, to either pod by chance.
//!
//! Half of the people book spaces; the others' meetings are none of Roomkeeper's business, so that no record says which version was
//! read, and each pod knows only its own reads.

mod balancer;

use std::{collections::HashMap, net::TcpListener, time::Duration};

use jiff::{SignedDuration, Timestamp};
use kube::api::ListParams;
use roomkeeper_e2e::{
    outlook::{Meeting, Outlook},
    system::Daemon,
    wait, world,
};
use serde_json::Value;

use self::balancer::{Balancer, SPREAD, TIMES};
use crate::{
    report::Report,
    scene::{Scene, ample_quota},
};

const PEOPLE: usize = 8;
/// Meetings of each.
const MEETINGS: usize = 25;
/// Time between two changes.
const PACE: Duration = Duration::from_millis(250);
const WAIT: Duration = Duration::from_mins(2);

/// Minimal reads of each event, by the URL without its query.
type Reads = HashMap<String, usize>;

/// What the reads of one round come to.
#[derive(Default)]
struct Tally {
    changes: usize,
    reads: usize,
    most: usize,
}

impl Tally {
    fn dropped_share(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "some thousands")]
        let (changes, reads) = (self.changes as f64, self.reads as f64);
        #[allow(clippy::cast_precision_loss, reason = "four")]
        let repeats = changes * (TIMES - 1) as f64;
        1.0 - (reads - changes) / repeats
    }
}

fn books(person: usize) -> bool {
    person % 2 == 1
}

pub(crate) async fn run() -> anyhow::Result<Report> {
    eprintln!("coalesce: starting");
    let scene = Scene::start(PEOPLE).await?;
    let (mut pods, mut urls) = (Vec::new(), Vec::new());
    for name in ["webhook-0", "webhook-1"] {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        pods.push(scene.system.webhook_at(name, port, &["--replicas", "2"]).await?);
        urls.push(format!("https://127.0.0.1:{port}"));
    }
    let balancer = Balancer::start(&scene.system, urls).await?;
    let _operator = scene.system.operator("operator", &[]).await?;
    wait::until("the webhook servers", WAIT, async || {
        let mut ready = true;
        for pod in &pods {
            ready &= pod.is_ready().await;
        }
        Ok(ready.then_some(()))
    })
    .await?;
    scene.subscribe(ample_quota).await?;
    at_rest(&pods, &balancer, 0).await?;

    let outlook = scene.system.outlook().await?;
    let mut meetings = Vec::new();
    let (mut booked, mut unbooked, mut missed) = (Tally::default(), Tally::default(), 0);
    let mut before = Reads::new();
    for round in ["made", "renamed"] {
        eprintln!("coalesce: {} meetings are {round}", PEOPLE * MEETINGS);
        if meetings.is_empty() {
            meetings = make(&outlook).await?;
        } else {
            for (person, event, subject) in &mut meetings {
                *subject = format!("{subject}, renamed");
                outlook.rename(&world::user_id(*person), event, subject).await?;
                tokio::time::sleep(PACE).await;
            }
        }
        tokio::time::sleep(SPREAD).await;
        at_rest(&pods, &balancer, TIMES * balancer.changes()).await?;
        let all = reads(&scene).await?;
        for (url, reads) in &all {
            let reads = reads - before.get(url).copied().unwrap_or_default();
            let person = (1..=PEOPLE).find(|person| url.contains(&world::user_id(*person)));
            let tally = if person.is_some_and(books) { &mut booked } else { &mut unbooked };
            tally.reads += reads;
            tally.most = tally.most.max(reads);
        }
        before = all;
        for tally in [&mut booked, &mut unbooked] {
            tally.changes += PEOPLE * MEETINGS / 2;
        }
        missed += not_recorded(&scene, &meetings).await?;
    }
    let told = balancer.told();
    scene.end().await?;

    let mut report = Report::default();
    #[allow(clippy::cast_precision_loss, reason = "some thousands")]
    let mut put = |key, count: usize| report.put(key, count as f64);
    put("changes", booked.changes + unbooked.changes);
    put("notifications", told);
    put("missed", missed);
    put("reads", booked.reads);
    put("reads_per_change_max", booked.most);
    put("reads_without_booking", unbooked.reads);
    put("reads_per_change_max_without_booking", unbooked.most);
    report.put("dropped_share", booked.dropped_share());
    report.put("dropped_share_without_booking", unbooked.dropped_share());
    Ok(report)
}

/// Puts everybody's meetings into the calendars: person, event and subject.
async fn make(outlook: &Outlook) -> anyhow::Result<Vec<(usize, String, String)>> {
    let first = Timestamp::from_second(Timestamp::now().as_second())? + SignedDuration::from_hours(48);
    let mut meetings = Vec::new();
    for number in 0..PEOPLE * MEETINGS {
        let person = number % PEOPLE + 1;
        let from = first + SignedDuration::from_hours(i64::try_from(number)?);
        let meeting = Meeting {
            subject: format!("Meeting {number}"),
            from,
            to: from + SignedDuration::from_mins(30),
            rooms: if books(person) { vec![format!("room-{number}")] } else { Vec::new() },
        };
        let event = outlook.create(&world::user_id(person), &meeting).await?;
        meetings.push((person, event, meeting.subject));
        tokio::time::sleep(PACE).await;
    }
    Ok(meetings)
}

/// Waits until so many notifications are with the pods and nothing of them is left to do.
async fn at_rest(pods: &[Daemon], balancer: &Balancer, told: usize) -> anyhow::Result<()> {
    wait::until("the pods to be at rest", WAIT, async || {
        for pod in pods {
            let metrics = pod.metrics().await?;
            if !metrics.lines().any(|line| line == "roomkeeper_queue_depth 0") {
                return Ok(None);
            }
        }
        Ok((balancer.told() >= told).then_some(()))
    })
    .await
}

/// The minimal reads that Roomkeeper has sent.
async fn reads(scene: &Scene) -> anyhow::Result<Reads> {
    let mut reads = Reads::new();
    for request in scene.system.graph.requests().await? {
        let text = |member| request.get(member).and_then(Value::as_str).unwrap_or_default();
        let is_ours = text("clientId") == world::CLIENT && text("method") == "GET";
        let Some((url, query)) = text("path").split_once('?').filter(|_| is_ours) else { continue };
        if url.contains("/calendar/events/") && query.contains("changeKey") && !query.contains("subject") {
            *reads.entry(url.to_owned()).or_default() += 1;
        }
    }
    Ok(reads)
}

/// How many booked meetings have no record that shows them as they are.
async fn not_recorded(scene: &Scene, meetings: &[(usize, String, String)]) -> anyhow::Result<usize> {
    let records = scene.records.list(&ListParams::default()).await?.items;
    let shown: HashMap<_, _> = records
        .iter()
        .map(|record| (record.spec.event_id.as_str(), record.spec.subject.as_deref()))
        .collect();
    let booked = meetings.iter().filter(|(person, ..)| books(*person));
    let missed = booked.filter(|(_, event, subject)| shown.get(event.as_str()) != Some(&Some(subject)));
    Ok(missed.count())
}
