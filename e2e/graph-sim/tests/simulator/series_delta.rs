//! Series in `calendarView/delta`.

use serde_json::{Value, json};

use crate::{
    calendar_view::{removed, round},
    series::{at, event, id, instances, mondays, texts},
    support::{App, Sim, USER},
};

/// It holds the occurrences of the 7th, the 14th and the 21st.
fn delta() -> String {
    format!(
        "/v1.0/users/{USER}/calendarView/delta?startDateTime=2026-12-07T00:00:00Z&endDateTime=2026-12-22T00:00:00Z"
    )
}

/// Entries and the link of the next round.
async fn told(app: &App<'_>, url: &str) -> (Vec<Value>, String) {
    let (entries, link, _) = round(app, url, "odata.maxpagesize=50").await;
    (entries, link)
}

/// The four ids of the occurrences, and the series' own.
async fn series(app: &App<'_>) -> (Vec<String>, String) {
    let master = app.create_event(&mondays()).await.text("id");
    let found = instances(app, &master).await;
    (texts(&found, "/id"), master)
}

fn single() -> Value {
    let mut single = at("08", 12);
    single["subject"] = "Single".into();
    single
}

fn members(entry: &Value) -> Vec<&str> {
    entry.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_series_comes_with_all_that_lies_in_the_window() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    app.create_event(&single()).await;
    let (occurrences, master) = series(&app).await;
    app.create_event(&single()).await;
    let (entries, _, pages) = round(&app, &delta(), "odata.maxpagesize=2").await;
    let types =
        ["singleInstance", "seriesMaster", "occurrence", "occurrence", "occurrence", "singleInstance"];
    assert_eq!(texts(&entries, "/type"), types);
    assert_eq!(pages, 3, "an empty one, the first two events with the whole series, and the last");
    assert_eq!(texts(&entries, "/@odata.type"), ["#microsoft.graph.event"; 6]);
    assert_eq!(texts(&entries, "/subject"), ["Single", "Weekly", "-", "-", "-", "Single"]);
    // Its times are those of its first occurrence.
    assert_eq!(
        (id(&entries[1]), &entries[1]["start"]["dateTime"]),
        (master.as_str(), &json!("2026-12-07T08:00:00.0000000"))
    );
    assert!(entries[1]["recurrence"].is_object() && entries[1]["body"].is_object());
    for (entry, own) in entries[2..5].iter().zip(&occurrences) {
        let mut found = members(entry);
        found.sort_unstable();
        assert_eq!(found, ["@odata.etag", "@odata.type", "end", "id", "seriesMasterId", "start", "type"]);
        assert_eq!((id(entry), entry["seriesMasterId"].as_str()), (own.as_str(), Some(master.as_str())));
    }
    assert_eq!(entries[4]["end"], json!({"dateTime": "2026-12-21T09:00:00.0000000", "timeZone": "UTC"}));
    // Ids and times in the form asked for.
    let prefer = r#"IdType="ImmutableId", outlook.timezone="W. Europe Standard Time""#;
    let (immutable, _, _) = round(&app, &delta(), prefer).await;
    assert_eq!(immutable[2]["seriesMasterId"], immutable[1]["id"]);
    assert_ne!(immutable[1]["id"], entries[1]["id"]);
    assert_eq!(
        immutable[2]["start"],
        json!({"dateTime": "2026-12-07T09:00:00.0000000", "timeZone": "W. Europe Standard Time"})
    );
    assert_eq!(app.get(&event(id(&immutable[3]))).await.expect(200).text("id"), occurrences[1]);
}

#[tokio::test]
async fn what_becomes_of_occurrences_is_told_with_their_series() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let (occurrences, master) = series(&app).await;
    app.create_event(&single()).await;
    let (_, link) = told(&app, &delta()).await;
    let mut edit = at("16", 14);
    edit["subject"] = "Moved".into();
    app.patch(&event(&occurrences[1]), &edit).await.expect(200);
    let (entries, link) = told(&app, &link).await;
    assert_eq!(texts(&entries, "/type"), ["seriesMaster", "occurrence", "exception", "occurrence"]);
    assert_eq!(texts(&entries, "/subject"), ["Weekly", "-", "Moved", "-"]);
    assert_eq!((id(&entries[2]), &entries[2]["seriesMasterId"]), (occurrences[1].as_str(), &json!(master)));
    assert!(entries[2]["body"].is_object(), "an exception comes whole");
    // Nothing tells which one was deleted: it is missing.
    app.delete(&event(&occurrences[2])).await.expect(204);
    let (entries, link) = told(&app, &link).await;
    assert_eq!(texts(&entries, "/id"), [&master, &occurrences[0], &occurrences[1]].map(String::as_str));
    // An exception that leaves the window is an event outside that was updated.
    app.patch(&event(&occurrences[1]), &at("23", 14)).await.expect(200);
    let (entries, next) = told(&app, &link).await;
    assert_eq!(texts(&entries, "/type"), ["seriesMaster", "occurrence", "-"]);
    assert_eq!(entries[2], removed(&occurrences[1]));
    let (again, _) = told(&app, &link).await;
    assert_eq!(again, entries);
    let (fresh, _) = told(&app, &delta()).await;
    assert_eq!(
        texts(&fresh, "/type"),
        ["seriesMaster", "occurrence", "singleInstance"],
        "a first round removes nothing"
    );
    assert_eq!(told(&app, &next).await.0, Vec::<Value>::new());
}

#[tokio::test]
async fn a_series_that_is_gone_is_told_once() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let (_, deleted) = series(&app).await;
    let (_, moved) = series(&app).await;
    let (entries, link) = told(&app, &delta()).await;
    assert_eq!(entries.len(), 8);
    app.delete(&event(&deleted)).await.expect(204);
    let mut later = at("23", 9);
    later["recurrence"] = json!({
        "pattern": {"type": "weekly", "interval": 1, "daysOfWeek": ["wednesday"]},
        "range": {"type": "numbered", "startDate": "2026-12-23", "numberOfOccurrences": 2},
    });
    app.patch(&event(&moved), &later).await.expect(200);
    let (entries, link) = told(&app, &link).await;
    assert_eq!(entries, [removed(&deleted), removed(&moved)]);
    // Back again, and what was never in the window.
    app.patch(&event(&moved), &mondays_from_the_14th()).await.expect(200);
    let outside = app.create_event(&later).await.text("id");
    let (entries, _) = told(&app, &link).await;
    assert_eq!(texts(&entries, "/type"), ["seriesMaster", "occurrence", "occurrence", "-"]);
    assert_eq!(entries[3], removed(&outside));
}

fn mondays_from_the_14th() -> Value {
    let mut body = at("14", 9);
    body["recurrence"] = json!({
        "pattern": {"type": "weekly", "interval": 1, "daysOfWeek": ["monday"]},
        "range": {"type": "noEnd", "startDate": "2026-12-14"},
    });
    body
}
