//! Calendar views, and what changed in them.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App, EXPAND, SECOND_CLIENT, Sim, USER, USER_2};

const WINDOW: &str = "startDateTime=2026-12-01T00:00:00Z&endDateTime=2026-12-03T00:00:00Z";

fn view() -> String {
    format!("/v1.0/users/{USER}/calendarView")
}

fn meeting(subject: &str, day: u8, hour: u8) -> Value {
    let time = |hour: u8| json!({"dateTime": format!("2026-12-{day:02}T{hour:02}:00:00"), "timeZone": "UTC"});
    json!({"subject": subject, "start": time(hour), "end": time(hour + 1)})
}

fn subjects(page: &Answer) -> Vec<String> {
    let all = page.body["value"].as_array().unwrap();
    all.iter().map(|one| one["subject"].as_str().unwrap_or("(removed)").to_owned()).collect()
}

/// A round to its end: the entries of all pages, and the delta link.
pub(crate) async fn round(app: &App<'_>, url: &str, prefer: &str) -> (Vec<Value>, String, usize) {
    let (mut url, mut entries, mut pages) = (url.to_owned(), Vec::new(), 0);
    loop {
        let page = app.call(Method::GET, &url, &[("Prefer", prefer)], None).await.expect(200);
        assert!(page.header("preference-applied").starts_with("odata.track-changes"));
        pages += 1;
        entries.extend(page.body["value"].as_array().unwrap().clone());
        if let Some(delta) = page.body["@odata.deltaLink"].as_str() {
            assert_eq!(page.body.get("@odata.nextLink"), None);
            return (entries, delta.to_owned(), pages);
        }
        url = page.text("@odata.nextLink");
        assert!(url.contains("$skiptoken="), "{url}");
    }
}

/// What a round says of what is gone, as Microsoft's example shows it.
pub(crate) fn removed(id: &str) -> Value {
    json!({"@odata.type": "#microsoft.graph.event", "@removed": {"reason": "deleted"}, "id": id})
}

fn delta() -> String {
    format!("{}/delta?{WINDOW}", view())
}

#[tokio::test]
async fn a_view_holds_what_lies_in_its_window_by_its_start() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    for (subject, day, hour) in [("later", 2, 22), ("first", 1, 0), ("after", 3, 0), ("middle", 1, 12)] {
        app.create_event(&meeting(subject, day, hour)).await;
    }
    let mut over = meeting("over midnight", 1, 0);
    over["start"]["dateTime"] = "2026-11-30T23:00:00".into();
    app.create_event(&over).await;
    let mut before = meeting("before", 1, 0);
    (before["start"]["dateTime"], before["end"]["dateTime"]) =
        ("2026-11-30T23:00:00".into(), "2026-12-01T00:00:00".into());
    app.create_event(&before).await;
    let all = app.get(&format!("{}?{WINDOW}&$select=subject&{EXPAND}", view())).await.expect(200);
    assert_eq!(subjects(&all), ["over midnight", "first", "middle", "later"]);
    assert_eq!(all.body["value"][0].get("body"), None);
    assert!(all.text("@odata.context").contains("/calendarView(subject,singleValueExtendedProperties())"));
    let paged =
        format!("/v1.0/users/{USER}/calendar/calendarView?{WINDOW}&$select=subject&$top=3&$count=true");
    let page = app.get(&paged).await.expect(200);
    assert_eq!((page.body["value"].as_array().unwrap().len(), &page.body["@odata.count"]), (3, &json!(4)));
    let gap = app.get(&page.text("@odata.nextLink")).await.expect(200);
    assert_eq!(subjects(&gap), [""; 0], "the second page is empty and has more to follow");
    let rest = app.get(&gap.text("@odata.nextLink")).await.expect(200);
    assert_eq!((subjects(&rest), rest.body.get("@odata.nextLink")), (vec!["later".to_owned()], None));
    let counters = sim.control("/_sim/counters").await;
    assert_eq!((&counters["withoutSelect"], &counters["forbiddenFields"]), (&json!(0), &json!(0)));
    app.get(&format!("{}?{WINDOW}", view())).await.expect(200);
    let counters = sim.control("/_sim/counters").await;
    assert_eq!(counters["withoutSelectByTemplate"], json!({"/users/{id}/calendarView": 1}));
    assert_eq!(counters["forbiddenFieldsByName"], json!({"body": 1}));
}

#[tokio::test]
async fn rounds_tell_what_changed() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let mut ids = Vec::new();
    for number in 1..=5 {
        ids.push(app.create_event(&meeting(&format!("m{number}"), 1, number)).await.text("id"));
    }
    app.create_event(&meeting("outside", 9, 1)).await;
    let start = app.get(&delta()).await.expect(200);
    assert_eq!(subjects(&start), [""; 0], "the first page is empty and has more to follow");
    let (entries, link, pages) = round(&app, &delta(), "odata.maxpagesize=2").await;
    let named: Vec<&Value> = entries.iter().map(|one| &one["subject"]).collect();
    assert_eq!((json!(named), pages), (json!(["m1", "m2", "m3", "m4", "m5"]), 4));
    assert!(link.contains("$deltatoken=") && entries[0]["body"].is_object(), "events come whole: {link}");
    // Nothing happened.
    let (entries, link, _) = round(&app, &link, "odata.maxpagesize=2").await;
    assert_eq!(entries, Vec::<Value>::new());
    let at = |id: &str| format!("/v1.0/users/{USER}/events/{id}");
    app.patch(&at(&ids[0]), &json!({"subject": "edited"})).await.expect(200);
    app.delete(&at(&ids[1])).await.expect(204);
    let moved = meeting("", 20, 1);
    app.patch(&at(&ids[2]), &json!({"start": moved["start"], "end": moved["end"]})).await.expect(200);
    let outside = app.create_event(&meeting("new outside", 9, 1)).await.text("id");
    let new = app.create_event(&meeting("new", 2, 1)).await.text("id");
    app.patch(&at(&ids[0]), &json!({"subject": "edited again"})).await.expect(200);
    let (entries, next, pages) = round(&app, &link, "odata.maxpagesize=2").await;
    let removed = |id: &String| removed(id);
    let seen: Vec<(&Value, &Value)> = entries.iter().map(|one| (&one["id"], &one["subject"])).collect();
    // An event that changed twice comes twice, as it is now.
    assert_eq!((seen[0], seen[5], pages), ((&json!(ids[0]), &json!("edited again")), seen[0], 3));
    assert_eq!(entries[1..4], [removed(&ids[1]), removed(&ids[2]), removed(&outside)]);
    assert_eq!(seen[4], (&json!(new), &json!("new")));
    assert_eq!(round(&app, &next, "odata.maxpagesize=50").await.0, Vec::<Value>::new());
    // The same link again tells the same again, also with immutable ids.
    let (again, _, _) = round(&app, &link, r#"IdType="ImmutableId", odata.maxpagesize=1"#).await;
    assert_eq!(again.len(), 6);
    assert_ne!(again[1]["id"], entries[1]["id"]);
    let counters = sim.control("/_sim/counters").await;
    assert_eq!(counters["withoutSelect"], 0, "delta has no $select");
    let read = counters["requests"]["GET /users/{id}/calendarView/delta"].as_u64().unwrap();
    assert_eq!(counters["forbiddenFieldsByName"], json!({"body": read}), "whole events were read");
}

#[tokio::test]
async fn a_move_within_the_mailbox_ends_the_default_id() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let before = app.create_event(&meeting("m", 1, 1)).await.text("id");
    let link = round(&app, &delta(), "odata.maxpagesize=5").await.1;
    let moved =
        sim.command("/_sim/events/move", &json!({"userId": USER, "eventId": before})).await.expect(200);
    let (entries, _, _) = round(&app, &link, "odata.maxpagesize=5").await;
    let removed = removed(&before);
    assert_eq!((&entries[0], &entries[1]["id"], entries.len()), (&removed, &json!(moved.text("id")), 2));
    // Under its immutable id nothing has happened but a change.
    let (entries, _, _) = round(&app, &link, r#"IdType="ImmutableId", odata.maxpagesize=5"#).await;
    let ids: Vec<&Value> =
        entries.iter().filter(|one| one.get("@removed").is_none()).map(|one| &one["id"]).collect();
    assert_eq!((ids[0], ids.len()), (&json!(moved.text("immutableId")), entries.len()));
}

#[tokio::test]
async fn a_change_during_a_first_round_is_in_the_next() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let id = app.create_event(&meeting("early", 1, 1)).await.text("id");
    let begun = app.get(&delta()).await.expect(200).text("@odata.nextLink");
    app.patch(&format!("/v1.0/users/{USER}/events/{id}"), &json!({"subject": "late"})).await.expect(200);
    let (entries, link, _) = round(&app, &begun, "odata.maxpagesize=5").await;
    assert_eq!(entries[0]["subject"], "late");
    let (entries, _, _) = round(&app, &link, "odata.maxpagesize=5").await;
    assert_eq!(entries[0]["id"], id, "and once more");
}

#[tokio::test]
async fn tokens_are_reset_and_expire() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    app.create_event(&meeting("m", 1, 1)).await;
    let link = round(&app, &delta(), "odata.maxpagesize=5").await.1;
    sim.command("/_sim/delta", &json!({"expire": true})).await.expect(200);
    let answer = app.get(&link).await.refused(410, "syncStateNotFound");
    assert_eq!(answer.header("location"), "");
    let link = round(&app, &delta(), "odata.maxpagesize=5").await.1;
    sim.command("/_sim/delta", &json!({"reset": true})).await.expect(200);
    let answer = app.get(&link).await.refused(410, "resyncRequired");
    let location = answer.header("location").to_owned();
    assert!(location.ends_with("&$deltatoken="), "{location}");
    let (entries, link, _) = round(&app, &location, "odata.maxpagesize=5").await;
    assert_eq!(entries.len(), 1);
    app.get(&link).await.expect(200);
    for bad in
        [json!({}), json!({"reset": true, "expire": true}), json!({"reset": 1}), json!({"other": true})]
    {
        sim.command("/_sim/delta", &bad).await.expect(400);
    }
    app.get(&link).await.expect(200);
}

/// Microsoft's page on delta shows both spellings.
#[tokio::test]
async fn the_names_of_a_window_ignore_case() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let id = app.create_event(&meeting("m", 1, 1)).await.text("id");
    let lower = WINDOW.replace("startDateTime", "startdatetime").replace("endDateTime", "ENDDATETIME");
    let (entries, _, _) = round(&app, &format!("{}/delta?{lower}", view()), "odata.maxpagesize=5").await;
    assert_eq!(entries[0]["id"], id);
    let list = app.get(&format!("{}?{lower}&$select=subject", view())).await.expect(200);
    assert_eq!(subjects(&list), ["m"]);
    app.get(&format!("{}?{WINDOW}&{lower}", view())).await.refused(400, "BadRequest");
}

#[tokio::test]
async fn what_delta_refuses() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let link = round(&app, &delta(), "odata.maxpagesize=5").await.1;
    let bare = format!("{}/delta", view());
    let other = link.replace(USER, USER_2);
    for (url, code) in [
        (bare.clone(), "ErrorInvalidRequest"),
        (format!("{bare}?startDateTime=2026-12-01T00:00:00Z"), "ErrorInvalidRequest"),
        (format!("{bare}?startDateTime=2026-12-02&endDateTime=2026-12-01"), "ErrorInvalidParameter"),
        (format!("{}&$select=id", delta()), "ErrorInvalidUrlQuery"),
        (format!("{}&{EXPAND}", delta()), "ErrorInvalidUrlQuery"),
        (format!("{}&$filter=subject%20eq%20'x'", delta()), "ErrorInvalidUrlQuery"),
        (format!("{}&$orderby=start/dateTime", delta()), "ErrorInvalidUrlQuery"),
        (format!("{}&$search=x", delta()), "ErrorInvalidUrlQuery"),
        (format!("{}&$top=5", delta()), "ErrorInvalidUrlQuery"),
        (format!("{link}&$select=id"), "ErrorInvalidUrlQuery"),
        (format!("{}&unknown=1", delta()), "BadRequest"),
        (format!("{link}&{WINDOW}"), "BadRequest"),
        (format!("{link}x"), "ErrorInvalidUrlQuery"),
        (format!("{bare}?$deltatoken=abc"), "ErrorInvalidUrlQuery"),
        (format!("{bare}?$skiptoken="), "ErrorInvalidUrlQuery"),
        (other, "ErrorInvalidUrlQuery"),
        (view(), "ErrorInvalidRequest"),
    ] {
        let answer = app.get(&url).await;
        assert_eq!((answer.status, answer.code()), (400, code), "{url}: {:?}", answer.body);
    }
    sim.app_as(SECOND_CLIENT).await.get(&link).await.refused(400, "ErrorInvalidUrlQuery");
    app.post(&delta(), &json!({})).await.expect(405);
    app.get(&format!("{}/microsoft.graph.delta()?{WINDOW}", view())).await.expect(200);
}
