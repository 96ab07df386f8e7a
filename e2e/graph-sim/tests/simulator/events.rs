use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, EXPAND, PROPERTY, Sim, USER, USER_2, meeting, until};

const IMMUTABLE: (&str, &str) = ("Prefer", "IdType=\"ImmutableId\"");

fn booked() -> Value {
    let mut body = meeting();
    body["singleValueExtendedProperties"] = json!([{"id": PROPERTY, "value": "{\"version\":1}"}]);
    body
}

#[tokio::test]
async fn an_event_has_two_ids_and_one_identity() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let events = format!("/v1.0/users/{USER}/events");
    let created = app.call(Method::POST, &events, &[IMMUTABLE], Some(&meeting())).await.expect(201);
    let immutable = created.text("id");
    let read = app.get(&format!("{events}/{immutable}?$select=iCalUId")).await.expect(200);
    let default = read.text("id");
    assert_ne!(default, immutable, "without the header the default id is told");
    assert_eq!(read.text("iCalUId"), created.text("iCalUId"));
    let path = format!("/v1.0/users/user1@contoso.example/calendar/events/{default}?$select=id");
    let again = app.call(Method::GET, &path, &[IMMUTABLE], None).await.expect(200);
    assert_eq!(again.text("id"), immutable);
}

#[tokio::test]
async fn the_default_id_changes_when_exchange_moves_the_event() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let events = format!("/v1.0/users/{USER}/events");
    let created = app.create_event(&meeting()).await;
    let (before, i_cal_u_id) = (created.text("id"), created.text("iCalUId"));
    let read = async |id: &str| {
        let path = format!("{events}/{id}?$select=iCalUId");
        app.call(Method::GET, &path, &[IMMUTABLE], None).await
    };
    let immutable = read(&before).await.expect(200).text("id");
    let moved =
        sim.command("/_sim/events/move", &json!({"userId": USER, "eventId": before})).await.expect(200);
    read(&before).await.refused(404, "ErrorItemNotFound");
    let after = moved.text("id");
    assert_ne!(after, before);
    assert_eq!(moved.text("immutableId"), immutable);
    for id in [&after, &immutable] {
        let again = read(id).await.expect(200);
        assert_eq!((again.text("id"), again.text("iCalUId")), (immutable.clone(), i_cal_u_id.clone()));
    }
    let listed = app.get(&format!("{events}?$select=id")).await.expect(200).body;
    assert_eq!(listed["value"][0]["id"], json!(after));
    app.delete(&format!("{events}/{after}")).await.expect(204);
    for (body, status) in [
        (json!({"userId": USER, "eventId": after}), 404),
        (json!({"userId": USER_2, "eventId": after}), 404),
        (json!({"userId": USER}), 400),
    ] {
        sim.command("/_sim/events/move", &body).await.expect(status);
    }
}

#[tokio::test]
async fn an_event_may_not_be_found_right_after_a_change() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    sim.command("/_sim/faults", &json!({"notFoundAfterChangeMs": 60_000})).await.expect(200);
    let path = format!("/v1.0/users/{USER}/events/{}", app.create_event(&meeting()).await.text("id"));
    let read = async || app.get(&format!("{path}?$select=id")).await;
    read().await.refused(404, "ErrorItemNotFound");
    sim.advance(61).await;
    read().await.expect(200);
    app.patch(&path, &json!({"subject": "x"})).await.expect(200);
    read().await.refused(404, "ErrorItemNotFound");
    sim.command("/_sim/faults", &json!({"notFoundAfterChangeMs": 0})).await.expect(200);
    read().await.expect(200);
    sim.command("/_sim/faults", &json!({"notFoundAfterChangeMs": 600_001})).await.expect(400);
}

#[tokio::test]
async fn changes_change_the_version_and_nothing_else() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let created = app.create_event(&meeting()).await;
    let path = format!("/v1.0/users/{USER}/events/{}", created.text("id"));
    let changed = app.patch(&path, &json!({"subject": "Moved"})).await.expect(200);
    assert_ne!(changed.text("changeKey"), created.text("changeKey"));
    assert_eq!(changed.text("iCalUId"), created.text("iCalUId"));
    assert_eq!(changed.text("@odata.etag"), format!("W/\"{}\"", changed.text("changeKey")));
    assert_eq!(changed.body["start"], created.body["start"]);
    assert_eq!(changed.text("subject"), "Moved");
    let etag = changed.text("@odata.etag");
    let matched = [("If-Match", etag.as_str())];
    app.call(Method::PATCH, &path, &matched, Some(&json!({"subject": "Again"}))).await.expect(200);
    app.call(Method::DELETE, &path, &matched, None).await.refused(412, "ErrorIrresolvableConflict");
    app.delete(&path).await.expect(204);
    let gone = app.get(&format!("{path}?$select=id")).await.refused(404, "ErrorItemNotFound");
    assert_eq!(gone.message(), "The specified object was not found in the store.");
    app.delete(&path).await.refused(404, "ErrorItemNotFound");
}

#[tokio::test]
async fn select_narrows_and_expand_adds_the_property_where_it_is() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let (with, without) = (app.create_event(&booked()).await, app.create_event(&meeting()).await);
    let path = |id: &str, query: &str| format!("/v1.0/users/{USER}/calendar/events/{id}?{query}");
    let read =
        app.get(&path(&with.text("id"), &format!("$select=id,subject&{EXPAND}"))).await.expect(200).body;
    let mut names: Vec<&String> = read.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["@odata.context", "@odata.etag", "id", "singleValueExtendedProperties", "subject"]);
    let property = &read["singleValueExtendedProperties"][0];
    assert_eq!(property["value"], "{\"version\":1}");
    assert_eq!(property["id"], PROPERTY.replace("C000", "c000"), "Exchange writes the set in lower case");
    let read = app.get(&path(&without.text("id"), &format!("$select=id&{EXPAND}"))).await.expect(200).body;
    assert_eq!(read.get("singleValueExtendedProperties"), None);
    assert_eq!(with.body.get("singleValueExtendedProperties"), None, "not shown unless expanded");
    // Null takes it away.
    let gone = json!({"singleValueExtendedProperties": [{"id": PROPERTY, "value": null}]});
    app.patch(&format!("/v1.0/users/{USER}/events/{}", with.text("id")), &gone).await.expect(200);
    let read = app.get(&path(&with.text("id"), &format!("$select=id&{EXPAND}"))).await.expect(200).body;
    assert_eq!(read.get("singleValueExtendedProperties"), None);
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    for number in 0..12 {
        let mut body = if number % 2 == 0 { booked() } else { meeting() };
        body["subject"] = format!("Meeting {number}").into();
        app.create_event(&body).await;
    }
    let events = format!("/v1.0/users/{USER}/events");
    let mut next = Some(format!("{events}?$select=subject"));
    let mut pages = Vec::new();
    while let Some(path) = next {
        let page = app.get(&path).await.expect(200).body;
        next = page.get("@odata.nextLink").map(|link| link.as_str().unwrap().to_owned());
        pages.push(page["value"].as_array().unwrap().len());
    }
    assert_eq!(pages, [10, 0, 2], "ten a page unless asked otherwise, and the second one is empty");
    let page = app.get(&format!("{events}?$select=id&$top=4")).await.expect(200).text("@odata.nextLink");
    assert!(page.contains("$skip=4&"), "{page}");
    app.get(&page.replace("$skip=4", "$skip=5")).await.refused(400, "BadRequest");
    let skipped = app.get(&format!("{events}?$select=id&$skip=11")).await.expect(200).body;
    assert_eq!((skipped["value"].as_array().unwrap().len(), skipped.get("@odata.nextLink")), (1, None));
    let property = "String%20%7B00020329-0000-0000-c000-000000000046%7D%20Name%20cecp-0c64d6b6-cc36-4b6a-8f9c-0e3a4b6c2d1f";
    let any = |test: &str| {
        format!("$filter=singleValueExtendedProperties/Any(ep:%20ep/id%20eq%20'{property}'%20and%20{test})")
    };
    let count = async |query: String| {
        let page = app.get(&format!("{events}?$select=id&$count=true&$top=1&{query}")).await.expect(200).body;
        assert!(page["value"].as_array().unwrap().len() <= 1);
        page["@odata.count"].as_u64().unwrap()
    };
    assert_eq!(count(any("ep/value%20ne%20null")).await, 6);
    assert_eq!(count(any("ep/value%20eq%20'%7B%22VERSION%22:1%7D'")).await, 6);
    assert_eq!(count(any("contains(ep/value,'nothing')")).await, 0);
    assert_eq!(count("$filter=lastModifiedDateTime%20ge%202020-01-01T00:00:00Z".to_owned()).await, 12);
    assert_eq!(count("$filter=lastModifiedDateTime%20ge%202090-01-01T00:00:00Z".to_owned()).await, 0);
    let sized = [("Prefer", "odata.maxpagesize=3, IdType=\"ImmutableId\"")];
    let page = app.call(Method::GET, &format!("{events}?$select=id"), &sized, None).await.expect(200);
    assert_eq!(page.body["value"].as_array().unwrap().len(), 3);
    assert_eq!(page.header("preference-applied"), "odata.maxpagesize=3");
}

#[tokio::test]
async fn times_come_in_the_zone_asked_for() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let mut body = meeting();
    body["start"] = json!({"dateTime": "2026-07-01T10:00:00", "timeZone": "W. Europe Standard Time"});
    body["end"] = json!({"dateTime": "2026-07-01T11:00:00", "timeZone": "W. Europe Standard Time"});
    let id = app.create_event(&body).await.text("id");
    let path = format!("/v1.0/users/{USER}/events/{id}?$select=start,originalStartTimeZone");
    let utc = app.get(&path).await.expect(200);
    assert_eq!(utc.body["start"], json!({"dateTime": "2026-07-01T08:00:00.0000000", "timeZone": "UTC"}));
    assert_eq!(utc.text("originalStartTimeZone"), "W. Europe Standard Time");
    let prefer = [("Prefer", "outlook.timezone=\"Pacific Standard Time\", IdType=\"ImmutableId\"")];
    let pacific = app.call(Method::GET, &path, &prefer, None).await.expect(200);
    assert_eq!(
        pacific.body["start"],
        json!({"dateTime": "2026-07-01T01:00:00.0000000", "timeZone": "Pacific Standard Time"})
    );
    assert_eq!(pacific.header("preference-applied"), "outlook.timezone=\"Pacific Standard Time\"");
    // A whole day is the same day everywhere.
    let day = json!({
        "isAllDay": true,
        "start": {"dateTime": "2026-07-01T00:00:00", "timeZone": "Asia/Tokyo"},
        "end": {"dateTime": "2026-07-02T00:00:00", "timeZone": "Asia/Tokyo"},
    });
    let id = app.create_event(&day).await.text("id");
    let read = app.get(&format!("/v1.0/users/{USER}/events/{id}?$select=start")).await.expect(200);
    assert_eq!(read.body["start"], json!({"dateTime": "2026-07-01T00:00:00.0000000", "timeZone": "UTC"}));
}

#[tokio::test]
async fn a_series_is_one_event() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let mut body = meeting();
    body["recurrence"] = json!({
        "pattern": {"type": "weekly", "interval": 2, "daysOfWeek": ["tuesday"]},
        "range": {"type": "numbered", "startDate": "2026-12-01", "numberOfOccurrences": 5},
    });
    let created = app.create_event(&body).await;
    assert_eq!(created.text("type"), "seriesMaster");
    assert_eq!(created.body["recurrence"]["range"]["recurrenceTimeZone"], "UTC");
    let path = format!("/v1.0/users/{USER}/events/{}", created.text("id"));
    let single = app.patch(&path, &json!({"recurrence": null})).await.expect(200);
    assert_eq!(single.text("type"), "singleInstance");
}

#[tokio::test]
async fn attendees_of_the_tenant_have_a_copy() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let mut body = booked();
    body["attendees"] = json!([
        {"emailAddress": {"address": "User2@contoso.example", "name": "Two"}, "type": "required"},
        {"emailAddress": {"address": "guest@fabrikam.example"}},
    ]);
    let created = app.create_event(&body).await;
    let organizers = format!("/v1.0/users/{USER}/events/{}", created.text("id"));
    let copies = async || {
        let path = format!(
            "/v1.0/users/{USER_2}/events?$select=subject,isOrganizer,iCalUId,isCancelled,organizer&{EXPAND}"
        );
        app.get(&path).await.expect(200).body["value"].as_array().unwrap().clone()
    };
    let copy = copies().await.remove(0);
    assert_eq!(copy["iCalUId"], created.body["iCalUId"]);
    assert_ne!(copy["id"], created.body["id"]);
    assert_eq!((&copy["isOrganizer"], &created.body["isOrganizer"]), (&json!(false), &json!(true)));
    assert_eq!(copy["organizer"]["emailAddress"]["address"], "user1@contoso.example");
    assert_eq!(copy.get("singleValueExtendedProperties"), None, "the property does not travel");
    app.patch(&organizers, &json!({"subject": "Moved"})).await.expect(200);
    let moved = copies().await.remove(0);
    assert_eq!((&moved["subject"], &moved["id"]), (&json!("Moved"), &copy["id"]));
    // What is private to the organiser's copy leaves the others alone.
    app.patch(&organizers, &json!({"categories": ["Red"]})).await.expect(200);
    assert_eq!(copies().await[0]["@odata.etag"], moved["@odata.etag"]);
    app.delete(&organizers).await.expect(204);
    let cancelled = copies().await.remove(0);
    assert_eq!((&cancelled["isCancelled"], &cancelled["subject"]), (&json!(true), &json!("Canceled: Moved")));
}

#[tokio::test]
async fn four_requests_at_a_time_for_one_mailbox() {
    let sim = Arc::new(Sim::start().await);
    let token = sim.token(crate::support::CLIENT).await;
    sim.command("/_sim/faults", &json!({"latencyMs": 3_000})).await.expect(200);
    let call = |user: &'static str| {
        let (sim, token) = (Arc::clone(&sim), token.clone());
        async move {
            let url = sim.url(&format!("/v1.0/users/{user}/events?$select=id"));
            Answer::read(sim.http.get(url).bearer_auth(token).send().await.unwrap()).await
        }
    };
    let calls: Vec<_> = (0..4).map(|_| tokio::spawn(call(USER))).collect();
    let under_way = async || {
        let requests = sim.control("/_sim/requests").await;
        let open =
            |one: &&Value| one["path"].as_str().unwrap().contains("/events") && one["status"].is_null();
        requests.as_array().unwrap().iter().filter(open).count()
    };
    until("four requests under way", async || (under_way().await == 4).then_some(())).await;
    let fifth = call(USER).await.refused(429, "ApplicationThrottled");
    assert_eq!(fifth.message(), "Application is over its MailboxConcurrency limit.");
    assert!(fifth.header("retry-after").parse::<u32>().unwrap() > 0);
    // Another mailbox is not concerned.
    call(USER_2).await.expect(200);
    for call in calls {
        call.await.unwrap().expect(200);
    }
    sim.command("/_sim/faults", &json!({"latencyMs": 0})).await.expect(200);
    call(USER).await.expect(200);
}
