//! What Graph sends unasked reaches neither the record nor the booking product: a daemon strips it, counts it and enters it in its audit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use least_data::canary;
use roomkeeper_crds::condition::{self, Type};
use roomkeeper_e2e::{outlook::Meeting, scene::Scene, wait, world};
use serde_json::json;

const WAIT: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_were_not_asked_for_end_in_the_daemon() {
    let scene = Scene::start(&world::contoso(1)).await.unwrap();
    let operator = scene.system.operator("operator-0", &[]).await.unwrap();
    let webhook = scene.system.webhook("webhook-0", &["--debounce", "0s"]).await.unwrap();
    operator.ready().await.unwrap();
    webhook.ready().await.unwrap();
    scene.subscribe(1, str::to_owned).await.unwrap();
    let leak = json!({
        "body": {"contentType": "text", "content": canary::BODY},
        "attachments": [{"name": canary::BODY}],
        "unheardOf": canary::BODY,
    });
    scene.system.graph.post("/_sim/faults", &json!({"leakMembers": leak})).await.unwrap();
    let from = Timestamp::from_second(Timestamp::now().as_second() + 100_000).unwrap();
    let meeting = Meeting {
        subject: "Planning".to_owned(),
        from,
        to: from + SignedDuration::from_hours(1),
        rooms: vec!["room-1".to_owned()],
    };
    let outlook = scene.system.outlook().await.unwrap();
    let event = outlook.create(world::USER_1, &meeting).await.unwrap();
    wait::until("the booking", WAIT, async || {
        let record = scene.record_of(world::USER_1, &event).await?;
        let status = record.and_then(|record| record.status).unwrap_or_default();
        Ok(condition::is_true(&status.conditions, Type::Delivered).then_some(()))
    })
    .await
    .unwrap();
    // One minimal and one full read, at least: each had one member of each of these classes.
    let metrics = webhook.metrics().await.unwrap();
    for class in ["body", "attachments", "other"] {
        let counted = format!("roomkeeper_graph_unrequested_members_total{{class=\"{class}\"}} ");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&counted)).unwrap();
        assert!(count.parse::<f64>().unwrap() >= 2.0, "{counted}{count}");
    }
    let sent = scene.system.booking.requests().await.unwrap();
    let record = scene.record_of(world::USER_1, &event).await.unwrap().unwrap();
    let shown = format!("{sent:?} {}", serde_json::to_string(&record).unwrap());
    assert!(!shown.contains(canary::BODY), "{shown}");
    let audit = webhook.audit.clone();
    drop((operator, webhook));
    let entries = format!("{:?}", roomkeeper_graph::audit::chain::read_all(&audit).unwrap());
    assert!(
        entries.contains("unrequestedMembers"),
        "no entry of the {} lines",
        entries.matches("number").count()
    );
    // Logs, metrics, events, queue and audit are searched for what was planted.
    scene.end().await.unwrap();
}
