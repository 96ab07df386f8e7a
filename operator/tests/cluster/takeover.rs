//! A leader that dies, stands still or is cut off in the middle of its work.

use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use roomkeeper_controlplane::{Way, process::Signal};
use roomkeeper_crds::{
    CalendarSubscription,
    condition::{self, Type},
    name,
};
use serde_json::{Value, json};

use crate::{
    graph::Connected,
    site::{Operator, until},
    world::{self, consent, user},
};

const USERS: usize = 4;
const LEASE: Duration = Duration::from_secs(5);
const MARGIN: Duration = Duration::from_secs(5);

/// Starts a second replica beside the first, which leads. Returns it, and the uid of the scope.
async fn standby_beside(connected: &Connected, first: &Operator) -> (Operator, String) {
    first.metric("roomkeeper_leader 1").await;
    let scope_uid = connected.scope().await;
    let second = connected.operator("second").await;
    until("the standby is ready", async || match second.get("/readyz").await? {
        (200, _) => Ok(()),
        (_, text) => Err(text),
    })
    .await;
    (second, scope_uid)
}

/// All users consent.
async fn consents(connected: &Connected, scope_uid: &str) {
    for number in 1..=USERS {
        connected.site.apply(&consent(&format!("consent-{number}"), scope_uid, number)).await;
    }
}

/// The same, and the first is given all users to subscribe while Graph's answers take that long.
async fn second_beside(connected: &Connected, first: &Operator, latency_ms: u64) -> (Operator, String) {
    let (second, scope_uid) = standby_beside(connected, first).await;
    connected.graph.faults(&json!({"subscriptionPostLatencyMs": latency_ms})).await;
    consents(connected, &scope_uid).await;
    (second, scope_uid)
}

/// Requests that the dead leader had sent still arrive; at the end each mailbox has one living subscription all the same.
#[tokio::test]
async fn a_leader_killed_while_it_subscribes_leaves_one_subscription_per_mailbox() {
    let connected = Connected::new(USERS).await;
    let first = connected.operator("first").await;
    let (second, scope_uid) = second_beside(&connected, &first, 3_000).await;
    // Graph has made a subscription, and its answer is still on the way to the leader.
    until("a subscription that nobody knows of", async || {
        let mut living = 0;
        for number in 1..=USERS {
            living += connected.graph.subscriptions_of(&user(number)).await.len();
        }
        if living > 0 { Ok(()) } else { Err("none".to_owned()) }
    })
    .await;
    first.process.kill().unwrap();
    let killed = Instant::now();
    second.metric("roomkeeper_leader 1").await;
    let took = killed.elapsed();
    assert!(took <= LEASE + MARGIN, "{took:?}");
    connected.graph.faults(&json!({"subscriptionPostLatencyMs": 0})).await;
    let mut adopted = 0;
    for number in 1..=USERS {
        let name = name::calendar_subscription(&scope_uid, &user(number));
        let object =
            connected.site.condition::<CalendarSubscription>(&name, Type::Ready, "True/Succeeded").await;
        let living = connected.living(&user(number), 1).await;
        let status = object.status.unwrap();
        let known = status.subscription.unwrap();
        assert_eq!(
            living[0]["id"].as_str(),
            Some(known.id.as_str()),
            "the one that lives is the one that is known"
        );
        let subscribed = condition::get(&status.conditions, Type::Subscribed).unwrap();
        adopted += usize::from(subscribed.reason == "Adopted");
    }
    assert!(adopted > 0, "what the dead leader had made was taken over");
}

/// Client-request-ids of all calls that this replica ever announced in its audit.
fn announced(operator: &Operator) -> HashSet<String> {
    let text = operator.audit_text();
    let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    entries.filter_map(|entry| find(&entry, "clientRequestId")).collect()
}

/// What reached Graph so far, by client-request-id.
async fn arrived(connected: &Connected) -> HashMap<String, Value> {
    let requests = connected.graph.requests("", "").await;
    requests.into_iter().filter_map(|one| Some((find(&one, "clientRequestId")?, one))).collect()
}

/// A leader of the past: what had reached Graph before it came back, and whoever leads now.
struct Past<'a> {
    connected: &'a Connected,
    first: &'a Operator,
    before: HashMap<String, Value>,
}

impl<'a> Past<'a> {
    /// Looked at while `first` is away. What it had sent by then has long arrived: Graph notes a request when it comes in,
    /// however long the answer takes, and takes no longer for that than a lease takes to run out.
    async fn of(connected: &'a Connected, first: &'a Operator) -> Self {
        let before = arrived(connected).await;
        let own = announced(first);
        assert!(before.keys().any(|id| own.contains(id)), "the first one had sent something");
        Self { connected, first, before }
    }

    /// Nothing of what it ever announced, before or after it came back, has reached Graph since.
    async fn sent_nothing_since(&self) {
        self.first.metric("roomkeeper_leader 0").await;
        self.first.process.still_running().unwrap();
        assert_eq!(self.connected.site.holder().await.unwrap(), "second");
        let own = announced(self.first);
        let now = arrived(self.connected).await;
        let sent: Vec<_> =
            now.iter().filter(|(id, _)| own.contains(*id) && !self.before.contains_key(*id)).collect();
        assert!(sent.is_empty(), "a leader of the past sent {sent:?}");
    }
}

fn find(entry: &Value, member: &str) -> Option<String> {
    entry.get(member)?.as_str().map(str::to_owned)
}

/// Has two replicas, the first of which is put out of action by `out` while it subscribes, and comes back by `back`.
async fn first_is_away(
    connected: &Connected,
    first: Operator,
    out: impl FnOnce(&Operator),
    back: impl FnOnce(&Operator),
) {
    let (second, scope_uid) = second_beside(connected, &first, 2_000).await;
    // All that left together has arrived: between leave to send and the first byte nobody but Graph could hold a request back.
    let before = Cell::new(0);
    until("subscriptions in the making, and none that has just left", async || {
        let posts = connected.graph.requests("POST", "/subscriptions").await.len();
        let last = before.replace(posts);
        if posts > 0 && posts == last { Ok(()) } else { Err(format!("{posts}, and {last} before")) }
    })
    .await;
    out(&first);
    let away = Instant::now();
    second.metric("roomkeeper_leader 1").await;
    let took = away.elapsed();
    println!("takeover after {took:?}");
    assert!(took <= LEASE + MARGIN, "{took:?}");
    let past = Past::of(connected, &first).await;
    back(&first);
    connected.graph.faults(&json!({"subscriptionPostLatencyMs": 0})).await;
    each_has_the_one_that_is_known(connected, &scope_uid).await;
    past.sent_nothing_since().await;
}

async fn each_has_the_one_that_is_known(connected: &Connected, scope_uid: &str) {
    for number in 1..=USERS {
        let name = name::calendar_subscription(scope_uid, &user(number));
        let object =
            connected.site.condition::<CalendarSubscription>(&name, Type::Ready, "True/Succeeded").await;
        let living = connected.living(&user(number), 1).await;
        let known = object.status.unwrap().subscription.unwrap();
        assert_eq!(
            living[0]["id"].as_str(),
            Some(known.id.as_str()),
            "the one that lives is the one that is known"
        );
    }
}

#[tokio::test]
async fn a_leader_that_was_stopped_sends_nothing_when_it_wakes_up() {
    let connected = Connected::new(USERS).await;
    let first = connected.operator("first").await;
    let signal = |signal: Signal| move |operator: &Operator| operator.process.signal(signal).unwrap();
    first_is_away(&connected, first, signal(Signal::SIGSTOP), signal(Signal::SIGCONT)).await;
}

#[tokio::test]
async fn a_leader_that_is_cut_off_from_the_api_server_sends_nothing_more() {
    let connected = Connected::new(USERS).await;
    let way = Way::beside(&connected.site.kubeconfig, "cut").await.unwrap();
    let program = connected.site.program("first", &connected.flags()).env("KUBECONFIG", &way.kubeconfig);
    let first = connected.site.start("first", program).await;
    first_is_away(&connected, first, |_| way.cut(), |_| way.mend()).await;
}

/// Its requests have passed every check and wait for their connections when it is stopped; when it wakes up, the connections
/// come about.
#[tokio::test]
async fn a_leader_that_was_stopped_while_it_connected_sends_nothing_when_it_wakes_up() {
    let (connected, way) = Connected::over_a_way(&world::tenant(USERS)).await;
    let first = connected.operator("first").await;
    let (second, scope_uid) = standby_beside(&connected, &first).await;
    way.hold_new_connections();
    consents(&connected, &scope_uid).await;
    until("a request that waits for its connection", async || {
        let arrived = arrived(&connected).await;
        let waiting = announced(&first).iter().filter(|id| !arrived.contains_key(*id)).count();
        let held = way.held();
        if waiting > 0 && held > 0 { Ok(()) } else { Err(format!("{waiting} requests, {held} connections")) }
    })
    .await;
    first.process.signal(Signal::SIGSTOP).unwrap();
    way.pass_new_connections();
    second.metric("roomkeeper_leader 1").await;
    let past = Past::of(&connected, &first).await;
    // Sooner than the limit on connecting, which counts while it is stopped.
    first.process.signal(Signal::SIGCONT).unwrap();
    way.release();
    each_has_the_one_that_is_known(&connected, &scope_uid).await;
    way.at_rest().await;
    past.sent_nothing_since().await;
}
