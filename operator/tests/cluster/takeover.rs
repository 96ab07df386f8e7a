//! A leader that dies in the middle of its work.

use std::time::{Duration, Instant};

use roomkeeper_crds::{
    CalendarSubscription,
    condition::{self, Type},
    name,
};
use serde_json::json;

use crate::{
    graph::Connected,
    site::until,
    world::{consent, user},
};

const USERS: usize = 4;
const LEASE: Duration = Duration::from_secs(5);
const MARGIN: Duration = Duration::from_secs(5);

/// Requests that the dead leader had sent still arrive; at the end each mailbox has one living subscription all the same.
#[tokio::test]
async fn a_leader_killed_while_it_subscribes_leaves_one_subscription_per_mailbox() {
    let connected = Connected::new(USERS).await;
    let first = connected.operator("first").await;
    first.metric("roomkeeper_leader 1").await;
    let scope_uid = connected.scope().await;
    let second = connected.operator("second").await;
    until("the standby is ready", async || match second.get("/readyz").await? {
        (200, _) => Ok(()),
        (_, text) => Err(text),
    })
    .await;
    connected.graph.faults(&json!({"subscriptionPostLatencyMs": 3_000})).await;
    for number in 1..=USERS {
        connected.site.apply(&consent(&format!("consent-{number}"), &scope_uid, number)).await;
    }
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
