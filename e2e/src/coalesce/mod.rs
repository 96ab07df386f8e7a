//! Notifications that repeat what was read already, and how many of them cost no read: two pods with a queue each, and each
//! change told of four times over half a minute, to either pod by chance.
//!
//! Half of the people book spaces; the others' meetings are none of Roomkeeper's business, so that no record says which version was
//! read, and each pod knows only its own reads.

mod balancer;

use std::{collections::HashMap, net::TcpListener, time::Duration};

use jiff::{SignedDuration, Timestamp};
use kube::api::ListParams;
use least_data::canary;
use serde_json::Value;

use self::balancer::{Balancer, TIMES};
use crate::{
    outlook::{Meeting, Outlook},
    scene::{Scene, ample_quota},
    system::Daemon,
    wait, world,
};

/// Time between two changes.
const PACE: Duration = Duration::from_millis(250);
const WAIT: Duration = Duration::from_mins(2);

/// Minimal reads of each event, by the URL without its query.
type Reads = HashMap<String, usize>;

/// How much there is to do.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// People; every other one books.
    pub people: usize,
    /// Meetings of each.
    pub meetings: usize,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Changes of meetings that book.
    pub booked: Tally,
    /// Changes of other meetings.
    pub unbooked: Tally,
    /// Changes of meetings that book and that no record shows.
    pub missed: usize,
    /// Notifications that the pods took.
    pub told: usize,
}

/// What the reads come to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Changes made.
    pub changes: usize,
    /// Minimal reads.
    pub reads: usize,
    /// The most that one change cost.
    pub most: usize,
}

impl Tally {
    /// Of the notifications that repeat one, how many cost no read.
    pub fn dropped_share(&self) -> f64 {
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

/// Plays it; `say` is told how it goes.
///
/// # Errors
/// When something does not start, or does not come to rest.
pub async fn play(settings: Settings, say: fn(&str)) -> anyhow::Result<Figures> {
    let Settings { people, meetings: each } = settings;
    say("starting");
    let scene = Scene::start(&world::contoso(people)).await?;
    let (mut pods, mut urls) = (Vec::new(), Vec::new());
    for name in ["webhook-0", "webhook-1"] {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        pods.push(scene.system.webhook_at(name, port, &["--replicas", "2"]).await?);
        urls.push(format!("https://127.0.0.1:{port}"));
    }
    let balancer = Balancer::start(&scene.system, urls).await?;
    let _operator = scene.system.operator("operator", &[]).await?;
    for pod in &pods {
        pod.ready().await?;
    }
    scene.subscribe(people, ample_quota).await?;
    at_rest(&pods, &balancer, 0).await?;

    let outlook = scene.system.outlook().await?;
    let mut meetings = Vec::new();
    let mut figures = Figures::default();
    let mut before = Reads::new();
    for round in ["made", "renamed"] {
        say(&format!("{} meetings are {round}", people * each));
        if meetings.is_empty() {
            meetings = make(&outlook, settings).await?;
        } else {
            for (person, event, subject) in &mut meetings {
                *subject = format!("{subject}, renamed");
                outlook.rename(&world::user_id(*person), event, subject).await?;
                tokio::time::sleep(PACE).await;
            }
        }
        let changed = meetings.len() * if before.is_empty() { 1 } else { 2 };
        wait::until("every change to be told of", WAIT, async || {
            Ok((balancer.changes() >= changed).then_some(()))
        })
        .await?;
        at_rest(&pods, &balancer, TIMES * balancer.changes()).await?;
        let all = reads(&scene).await?;
        for (url, reads) in &all {
            let reads = reads - before.get(url).copied().unwrap_or_default();
            let person = (1..=people).find(|person| url.contains(&world::user_id(*person)));
            let is_booked = person.is_some_and(books);
            let tally = if is_booked { &mut figures.booked } else { &mut figures.unbooked };
            tally.reads += reads;
            tally.most = tally.most.max(reads);
        }
        before = all;
        for (person, ..) in &meetings {
            let tally = if books(*person) { &mut figures.booked } else { &mut figures.unbooked };
            tally.changes += 1;
        }
        figures.missed += not_recorded(&scene, &meetings).await?;
    }
    figures.told = balancer.told();
    scene.end().await?;
    Ok(figures)
}

/// Puts everybody's meetings into the calendars: person, event and subject.
async fn make(outlook: &Outlook, settings: Settings) -> anyhow::Result<Vec<(usize, String, String)>> {
    let first = Timestamp::from_second(Timestamp::now().as_second())? + SignedDuration::from_hours(48);
    let mut meetings = Vec::new();
    for number in 0..settings.people * settings.meetings {
        let person = number % settings.people + 1;
        let from = first + SignedDuration::from_hours(i64::try_from(number)?);
        let meeting = Meeting {
            subject: format!("{} {number}", canary::SUBJECT),
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
            if pod.queue_depth().await? > 0 {
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
