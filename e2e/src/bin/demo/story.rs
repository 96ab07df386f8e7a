//! The story, step by step. Each step waits for what it tells.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail, ensure};
use jiff::{Span, Timestamp};
use kube::ResourceExt as _;
use least_data::canary;
use roomkeeper_crds::{BookingRecord, booking_record::BookingState};
use roomkeeper_e2e::{condition, outlook::Meeting, wait, world};
use serde_json::Value;

use crate::{
    audit,
    narrator::Narrator,
    scene::{NAMESPACE, STEP, Scene},
};

/// The properties that a record of a single meeting holds: the list of the design, and nothing else.
const RECORD_FIELDS: [&str; 14] = [
    "attendees",
    "changeKey",
    "dateTimeFrom",
    "dateTimeTo",
    "eventId",
    "iCalUId",
    "lastModifiedDateTime",
    "location",
    "organizer",
    "sensitivity",
    "singleValueExtendedProperties",
    "state",
    "subject",
    "subscriptionRef",
];

pub(crate) async fn tell(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    scope_is_ready(scene).await?;
    a_first_user_ticks_the_box(scene).await?;
    an_unbooked_meeting_is_only_logged(scene).await?;
    let event = a_booked_meeting_is_booked(scene).await?;
    the_meeting_moves(scene, &event).await?;
    the_space_is_removed(scene, &event).await?;
    a_meeting_ends(scene).await?;
    nothing_is_lost_when_the_worker_is_killed(scene).await?;
    the_user_leaves_the_group(scene).await?;
    support_unsubscribes_a_second_user(scene).await?;
    nothing_else_was_asked_for(scene).await?;
    audit::is_exported_verified_and_read(scene).await
}

async fn scope_is_ready(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    let members = wait::until("the AccessScope to be Ready", STEP, || async {
        let status = scene.scope().await?.status.unwrap_or_default();
        match condition::among(&status.conditions, "Ready").as_deref() {
            Some("True/Succeeded") => Ok(status.members.map(|members| members.count)),
            seen => bail!("Ready is {seen:?}"),
        }
    })
    .await?;
    ensure!(members == 2, "the scope counts {members} members, not 2");
    scene.narrator.seen("AccessScope contoso is Ready: token acquired, 2 members resolved");
    scene.show(&["get", "accessscopes"])?;
    let waiting =
        [("Ready", "True"), ("Allowed", "False/AwaitingConsent"), ("Subscribed", "False/NotAllowed")];
    scene.until_subscription(world::USER_2, &waiting).await?;
    scene
        .narrator
        .seen("user2's CalendarSubscription, written in YAML, awaits the consent and turns nothing red");
    Ok(())
}

async fn a_first_user_ticks_the_box(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    let status = scene.system.tick_the_box(NAMESPACE, "contoso", world::USER_1).await?;
    ensure!(status == 201, "the consent endpoint answered {status}");
    scene.narrator.seen("user1 ticks the box: the consent endpoint answers 201");
    subscribed(scene, world::USER_1).await?;
    scene.narrator.seen(
        "a CalendarSubscription follows from the consent; Graph holds exactly one subscription for user1",
    );
    scene.show(&["get", "consentrecords,calendarsubscriptions"])
}

/// Waits until the user is subscribed and Graph agrees.
async fn subscribed(scene: &Scene<'_>, user_id: &str) -> anyhow::Result<String> {
    let name = scene
        .until_subscription(
            user_id,
            &[("Allowed", "True/ConsentGranted"), ("Subscribed", "True/Created"), ("Ready", "True")],
        )
        .await?;
    let live = scene.system.graph.subscriptions_of(user_id).await?;
    ensure!(live == 1, "Graph holds {live} subscriptions for the user, not 1");
    Ok(name)
}

async fn unsubscribed(scene: &Scene<'_>, user_id: &str) -> anyhow::Result<()> {
    wait::until("Graph to hold no subscription for the user", STEP, || async {
        Ok((scene.system.graph.subscriptions_of(user_id).await? == 0).then_some(()))
    })
    .await
}

async fn an_unbooked_meeting_is_only_logged(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    let event = scene.outlook.create(world::USER_1, &meeting("Dentist", &[], 1)?).await?;
    let logged = wait::until("the audit to name the unbooked event", STEP, || async {
        Ok(scene.webhook.audit_entries()?.into_iter().find(|entry| {
            text(entry, "type") == Some("notification")
                && text(entry, "eventId") == Some(&event)
                && text(entry, "iCalUId").is_some()
        }))
    })
    .await?;
    ensure!(logged.get("subject").is_none(), "the audit holds a subject");
    let reads = reads_of(scene, &event).await?;
    ensure!(
        !reads.is_empty() && reads.iter().all(|url| !url.contains("subject")),
        "more than the minimal read: {reads:?}"
    );
    ensure!(scene.records().await?.is_empty(), "an unbooked meeting has a BookingRecord");
    scene.narrator.seen("an unbooked meeting: EventID and iCalUId are in the audit, only the minimal read was made, no record");
    Ok(())
}

/// Every read of that event that the Graph simulator received by Roomkeeper's app.
async fn reads_of(scene: &Scene<'_>, event: &str) -> anyhow::Result<Vec<String>> {
    let requests = scene.system.graph.requests().await?;
    Ok(requests
        .iter()
        .filter(|request| text(request, "method") == Some("GET"))
        .filter_map(|request| text(request, "url").or_else(|| text(request, "path")))
        .filter(|url| url.contains(event) || url.contains(&event.replace('=', "%3D")))
        .map(str::to_owned)
        .collect())
}

async fn a_booked_meeting_is_booked(scene: &mut Scene<'_>) -> anyhow::Result<String> {
    let event = scene.outlook.create(world::USER_1, &meeting("Planning", &["room-101"], 2)?).await?;
    let record = delivered(scene, &event, "True/Accepted").await?;
    let fields: BTreeSet<String> = match serde_json::to_value(&record.spec)? {
        Value::Object(fields) => fields.keys().cloned().collect(),
        other => bail!("the spec is no object: {other}"),
    };
    let wanted: BTreeSet<String> = RECORD_FIELDS.iter().map(|field| (*field).to_owned()).collect();
    ensure!(fields == wanted, "the record holds {fields:?}, not {wanted:?}");
    let bookings = bookings(scene).await?;
    ensure!(bookings.len() == 1, "the product holds {} bookings, not 1", bookings.len());
    scene.narrator.seen(
        "a booked meeting: one BookingRecord with exactly the listed fields, one booking at the product",
    );
    scene.show(&["get", "bookingrecords"])?;
    Ok(event)
}

async fn the_meeting_moves(scene: &mut Scene<'_>, event: &str) -> anyhow::Result<()> {
    let moved = meeting("", &[], 5)?;
    scene.outlook.reschedule(world::USER_1, event, moved.from, moved.to).await?;
    let wanted = moved.from.to_string();
    wait::until("the booking to move", STEP, || async {
        let bookings = bookings(scene).await?;
        Ok((bookings.len() == 1 && bookings.iter().all(|one| starts_at(one) == Some(moved.from)))
            .then_some(()))
    })
    .await?;
    let record = scene.record_of(event).await?.context("the record is gone")?;
    ensure!(
        record.spec.date_time_from.0 == moved.from,
        "the record still says {}",
        record.spec.date_time_from.0
    );
    scene.narrator.seen(&format!("the meeting moves to {wanted}: record and booking move with it"));
    Ok(())
}

async fn the_space_is_removed(scene: &mut Scene<'_>, event: &str) -> anyhow::Result<()> {
    scene.outlook.set_rooms(world::USER_1, event, &[]).await?;
    let record = delivered(scene, event, "True/Cancelled").await?;
    ensure!(record.spec.state == BookingState::Cancelled, "the record is not Cancelled");
    ensure!(bookings(scene).await?.is_empty(), "the product still holds the booking");
    scene.narrator.seen("the space is removed from the meeting: the booking is cancelled");
    Ok(())
}

async fn a_meeting_ends(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    let from = Timestamp::from_second(Timestamp::now().as_second())?;
    let to = from.checked_add(Span::new().seconds(12))?;
    let meeting =
        Meeting { subject: canary::SUBJECT.to_owned(), from, to, rooms: vec!["room-102".to_owned()] };
    let event = scene.outlook.create(world::USER_1, &meeting).await?;
    delivered(scene, &event, "True/Accepted").await?;
    wait::until("the record of the ended meeting to go", STEP, || async {
        Ok(scene.record_of(&event).await?.is_none().then_some(()))
    })
    .await?;
    let now = Timestamp::now();
    ensure!(now >= to, "the record went {} before the meeting's end", to.duration_since(now));
    scene.narrator.seen(&format!(
        "a meeting ends: its record is gone {:.1} s later",
        now.duration_since(to).as_secs_f64()
    ));
    Ok(())
}

async fn nothing_is_lost_when_the_worker_is_killed(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    // Slow calendar reads hold the worker between taking the notification and writing the record.
    scene.system.graph.post("/_sim/faults", &serde_json::json!({"latencyMs": 3000})).await?;
    let before = accepted_notifications(scene).await?;
    let event = scene.outlook.create(world::USER_1, &meeting("Review", &["room-103"], 8)?).await?;
    wait::until("Graph to get its 202", STEP, || async {
        Ok((accepted_notifications(scene).await? > before).then_some(()))
    })
    .await?;
    scene.kill_webhook()?;
    ensure!(
        scene.record_of(&event).await?.is_none(),
        "the record was written before the kill: nothing was shown"
    );
    scene
        .narrator
        .seen("a notification got its 202; the webhook server is killed (SIGKILL) before it wrote anything");
    scene.system.graph.post("/_sim/faults", &serde_json::json!({"latencyMs": 0})).await?;
    scene.restart_webhook().await?;
    delivered(scene, &event, "True/Accepted").await?;
    scene.narrator.seen(
        "started again, it finds the notification in its queue: the meeting is booked, nothing is lost",
    );
    Ok(())
}

/// Deliveries that were answered 202 by the webhook server.
async fn accepted_notifications(scene: &Scene<'_>) -> anyhow::Result<f64> {
    let metrics = scene.webhook.metrics().await?;
    Ok(metrics
        .lines()
        .filter(|line| line.starts_with("roomkeeper_webhook_requests_total") && line.contains("code=\"202\""))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum())
}

async fn the_user_leaves_the_group(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    scene.outlook.leave_group(world::USER_1).await?;
    scene.request_reconcile("accessscope/contoso")?;
    scene
        .until_subscription(
            world::USER_1,
            &[("Allowed", "False/OutOfScope"), ("Subscribed", "False/NotAllowed"), ("Ready", "True")],
        )
        .await?;
    unsubscribed(scene, world::USER_1).await?;
    scene.narrator.seen("user1 leaves the group: unsubscribed, Graph holds no subscription for user1");
    Ok(())
}

async fn support_unsubscribes_a_second_user(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    let status = scene.system.tick_the_box(NAMESPACE, "contoso", world::USER_2).await?;
    ensure!(status == 201, "the consent endpoint answered {status}");
    let name = subscribed(scene, world::USER_2).await?;
    ensure!(name == "user2", "the consent made {name} beside the one that was written in YAML");
    scene
        .narrator
        .seen("user2 ticks the box: the CalendarSubscription from YAML is subscribed, no second one is made");
    let user = world::principal_name(2);
    let arguments = ["roomkeeper", "unsubscribe", &user, "--reason", "T-123"];
    let said = scene.kubectl_as_support(&arguments)?;
    Narrator::command(&format!("kubectl {} -n {NAMESPACE}", arguments.join(" ")), &said);
    let withdrawn =
        [("Allowed", "False/ConsentWithdrawn"), ("Subscribed", "False/NotAllowed"), ("Ready", "True")];
    scene.until_subscription(world::USER_2, &withdrawn).await?;
    unsubscribed(scene, world::USER_2).await?;
    scene
        .narrator
        .seen("support unsubscribes user2 with kubectl: consent withdrawn, Graph subscription gone");
    scene.apply("04-calendar-subscription.yaml")?;
    let asked = scene.request_reconcile("calendarsubscription/user2")?;
    wait::until("the operator to answer the request", STEP, || async {
        let answered =
            scene.subscription_of(world::USER_2).await?.and_then(|one| one.status?.last_handled_reconcile_at);
        Ok((answered.as_ref() == Some(&asked)).then_some(()))
    })
    .await?;
    scene.until_subscription(world::USER_2, &withdrawn).await?;
    ensure!(
        scene.system.graph.subscriptions_of(world::USER_2).await? == 0,
        "re-applying the YAML subscribed user2 again"
    );
    scene.narrator.seen("the YAML is applied again: user2 stays unsubscribed");
    scene.show(&["get", "calendarsubscriptions,consentrecords"])
}

async fn nothing_else_was_asked_for(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    let counters = scene.system.graph.get("/_sim/counters").await?;
    let forbidden = counters.get("forbiddenFields").context("no forbiddenFields among the counters")?;
    let count = match forbidden {
        Value::Number(number) => number.as_u64().unwrap_or(u64::MAX),
        Value::Object(by_name) => by_name.values().filter_map(Value::as_u64).sum(),
        other => bail!("forbiddenFields is {other}"),
    };
    ensure!(count == 0, "body or attachments were asked for {count} times: {forbidden}");
    let calls: usize = scene.system.graph.requests().await?.len();
    scene
        .narrator
        .seen(&format!("counters: of {calls} requests to Graph, body or attachments were asked for 0 times"));
    Ok(())
}

/// Waits until the event's record has that `Delivered` condition.
async fn delivered(scene: &Scene<'_>, event: &str, wanted: &str) -> anyhow::Result<BookingRecord> {
    wait::until(&format!("a BookingRecord with Delivered={wanted}"), STEP, || async {
        let Some(record) = scene.record_of(event).await? else { return Ok(None) };
        let status = record.status.clone().unwrap_or_default();
        match condition::among(&status.conditions, "Delivered") {
            Some(seen) if seen == wanted => Ok(Some(record)),
            seen => bail!("{} has Delivered={seen:?}", record.name_any()),
        }
    })
    .await
}

async fn bookings(scene: &Scene<'_>) -> anyhow::Result<Vec<Value>> {
    let all = scene
        .system
        .booking
        .http
        .get(format!("{}/bookings", scene.system.booking.origin))
        .header("X-Api-Key", "demo-booking-key")
        .send()
        .await?
        .error_for_status()?
        .json::<Value>()
        .await?;
    let all = all.get("value").and_then(Value::as_array).context("GET /bookings holds no value")?;
    Ok(all.iter().filter(|one| text(one, "state") != Some("Cancelled")).cloned().collect())
}

fn starts_at(booking: &Value) -> Option<Timestamp> {
    text(booking, "start")?.parse().ok()
}

fn text<'a>(value: &'a Value, member: &str) -> Option<&'a str> {
    value.get(member).and_then(Value::as_str)
}

/// A meeting of one hour, that many hours from now, on the full second as Outlook has it.
fn meeting(subject: &str, rooms: &[&str], hours: i64) -> anyhow::Result<Meeting> {
    let from = Timestamp::from_second(Timestamp::now().as_second())?.checked_add(Span::new().hours(hours))?;
    let to = from.checked_add(Span::new().hours(1))?;
    Ok(Meeting {
        subject: format!("{subject}: {}", canary::SUBJECT),
        from,
        to,
        rooms: rooms.iter().map(|room| (*room).to_owned()).collect(),
    })
}
