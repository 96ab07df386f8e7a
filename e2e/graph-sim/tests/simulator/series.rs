//! Series: their occurrences, and what becomes of single ones.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    notifications::{kinds, subscribe, until_received},
    receiver::Receiver,
    support::{Answer, App, EXPAND, PROPERTY, Sim, USER, USER_2, world},
};

const IMMUTABLE: (&str, &str) = ("Prefer", r#"IdType="ImmutableId""#);
const DECEMBER: &str = "startDateTime=2026-12-01T00:00:00Z&endDateTime=2027-01-01T00:00:00Z";

pub(crate) fn event(id: &str) -> String {
    format!("/v1.0/users/{USER}/events/{id}")
}

/// Every monday in December 2026 at 9 in Berlin, with a value of the add-in: 7, 14, 21 and 28.
pub(crate) fn mondays() -> Value {
    json!({
        "subject": "Weekly",
        "start": {"dateTime": "2026-12-07T09:00:00", "timeZone": "Europe/Berlin"},
        "end": {"dateTime": "2026-12-07T10:00:00", "timeZone": "Europe/Berlin"},
        "recurrence": {
            "pattern": {"type": "weekly", "interval": 1, "daysOfWeek": ["monday"]},
            "range": {"type": "numbered", "startDate": "2026-12-07", "numberOfOccurrences": 4},
        },
        "singleValueExtendedProperties": [{"id": PROPERTY, "value": "series"}],
    })
}

/// Everything on all pages of a list.
async fn all(app: &App<'_>, path: &str) -> Vec<Value> {
    let (mut url, mut entries) = (path.to_owned(), Vec::new());
    loop {
        let page = app.get(&url).await.expect(200);
        entries.extend(page.body["value"].as_array().unwrap().clone());
        match page.body["@odata.nextLink"].as_str() {
            Some(next) => next.clone_into(&mut url),
            None => return entries,
        }
    }
}

pub(crate) async fn instances(app: &App<'_>, id: &str) -> Vec<Value> {
    all(app, &format!("{}/instances?{DECEMBER}&$select=id,subject,start,end,type,seriesMasterId,originalStart,iCalUId&{EXPAND}", event(id))).await
}

pub(crate) fn texts(entries: &[Value], pointer: &str) -> Vec<String> {
    entries.iter().map(|one| one.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned()).collect()
}

fn days(entries: &[Value]) -> Vec<String> {
    texts(entries, "/start/dateTime").iter().map(|time| time.get(8..16).unwrap().to_owned()).collect()
}

pub(crate) fn at(day: &str, hour: u8) -> Value {
    json!({
        "start": {"dateTime": format!("2026-12-{day}T{hour:02}:00:00"), "timeZone": "Europe/Berlin"},
        "end": {"dateTime": format!("2026-12-{day}T{:02}:00:00", hour + 1), "timeZone": "Europe/Berlin"},
    })
}

pub(crate) fn id(entry: &Value) -> &str {
    entry["id"].as_str().unwrap()
}

/// A value that an event shows of the add-in.
fn property(entry: &Value) -> &Value {
    &entry["singleValueExtendedProperties"][0]["value"]
}

#[tokio::test]
async fn instances_are_events_with_ids_of_their_own() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let master = app.create_event(&mondays()).await;
    let found = instances(&app, &master.text("id")).await;
    assert_eq!(days(&found), ["07T08:00", "14T08:00", "21T08:00", "28T08:00"]);
    assert_eq!(texts(&found, "/type"), ["occurrence"; 4]);
    assert_eq!(texts(&found, "/seriesMasterId"), [master.text("id").as_str(); 4]);
    assert_eq!(found[1]["originalStart"], "2026-12-14T08:00:00Z");
    assert_eq!(property(&found[3]), "series", "what is not its own is the series'");
    for member in ["/id", "/iCalUId"] {
        let mut own = texts(&found, member);
        own.push(master.text(member.trim_start_matches('/')));
        own.sort();
        own.dedup();
        assert_eq!(own.len(), 5, "{member}");
    }
    // Both forms of an id lead to the same occurrence, again and again.
    let path = format!("{}?$select=id,start", event(id(&found[2])));
    let read = app
        .call(
            Method::GET,
            &path,
            &[IMMUTABLE, ("Prefer", r#"outlook.timezone="W. Europe Standard Time""#)],
            None,
        )
        .await;
    let read = read.expect(200);
    assert_eq!(
        read.body["start"],
        json!({"dateTime": "2026-12-21T09:00:00.0000000", "timeZone": "W. Europe Standard Time"})
    );
    assert_ne!(read.text("id"), id(&found[2]));
    let again = app.get(&event(&read.text("id"))).await.expect(200);
    assert_eq!((again.text("id").as_str(), &again.body["recurrence"]), (id(&found[2]), &Value::Null));
    assert_eq!(again.body.get("originalStart"), None, "by name only");
    // Lists of events hold the series, not its occurrences.
    let list = all(&app, &format!("/v1.0/users/{USER}/events?$select=type")).await;
    assert_eq!(texts(&list, "/type"), ["seriesMaster"]);
}

#[tokio::test]
async fn instances_come_in_pages_and_are_counted() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let master = app.create_event(&mondays()).await.text("id");
    let list =
        format!("/v1.0/users/{USER}/calendar/events/{master}/instances?{DECEMBER}&$select=start&$top=3");
    let first = app.get(&list).await.expect(200);
    assert!(first.text("@odata.context").contains("/instances(start)"), "{:?}", first.body);
    assert_eq!(days(first.body["value"].as_array().unwrap()).len(), 3);
    let gap = app.get(&first.text("@odata.nextLink")).await.expect(200);
    assert_eq!(gap.body["value"], json!([]), "the second page is empty");
    let rest = app.get(&gap.text("@odata.nextLink")).await.expect(200);
    assert_eq!(
        (days(rest.body["value"].as_array().unwrap()), rest.body.get("@odata.nextLink")),
        (vec!["28T08:00".to_owned()], None)
    );
    app.get(&format!("{}/instances?{DECEMBER}", event(&master))).await.expect(200);
    let counters = sim.control("/_sim/counters").await;
    let requests = &counters["requests"];
    assert_eq!(requests["GET /users/{id}/calendar/events/{id}/instances"], 3);
    assert_eq!(counters["withoutSelectByTemplate"], json!({"/users/{id}/events/{id}/instances": 1}));
    assert_eq!(counters["forbiddenFieldsByName"], json!({"body": 1}));
}

#[tokio::test]
async fn what_instances_refuse() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let master = app.create_event(&mondays()).await.text("id");
    let single = app.create_event(&at("07", 12)).await.text("id");
    let occurrence = id(&instances(&app, &master).await[0]).to_owned();
    let gone = app.create_event(&mondays()).await.text("id");
    app.delete(&event(&gone)).await.expect(204);
    let window = format!("?{DECEMBER}&$select=id");
    for (id, query, status, code) in [
        (&master, "", 400, "ErrorInvalidRequest"),
        (&master, "?startDateTime=2026-12-01T00:00:00Z", 400, "ErrorInvalidRequest"),
        (&master, "?startDateTime=2026-12-02&endDateTime=2026-12-01", 400, "ErrorInvalidParameter"),
        (&master, "?startDateTime=2026-12-01&endDateTime=2032-12-01", 400, "ErrorInvalidRequest"),
        (&master, &format!("{window}&colour=red"), 400, "BadRequest"),
        (&master, &format!("{window}&$filter=subject%20eq%20'x'"), 501, "NotImplemented"),
        (&single, &window, 400, "ErrorInvalidRequest"),
        (&occurrence, &window, 400, "ErrorInvalidRequest"),
        (&gone, &window, 404, "ErrorItemNotFound"),
        (&"nonsense".to_owned(), &window, 400, "ErrorInvalidIdMalformed"),
    ] {
        app.get(&format!("{}/instances{query}", event(id))).await.refused(status, code);
    }
    app.post(&format!("{}/instances{window}", event(&master)), &json!({})).await.expect(405);
}

#[tokio::test]
async fn an_occurrence_becomes_an_exception() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let master = app.create_event(&mondays()).await;
    let path = event(&master.text("id"));
    let found = instances(&app, &master.text("id")).await;
    let mut edit = at("16", 14);
    edit["subject"] = "Moved".into();
    edit["location"] = json!({"displayName": "Room 2"});
    edit["singleValueExtendedProperties"] = json!([{"id": PROPERTY, "value": "own"}]);
    let moved = app.patch(&event(id(&found[1])), &edit).await.expect(200);
    assert_eq!((moved.text("type").as_str(), moved.text("id").as_str()), ("exception", id(&found[1])));
    let now = instances(&app, &master.text("id")).await;
    assert_eq!(days(&now), ["07T08:00", "16T13:00", "21T08:00", "28T08:00"]);
    assert_eq!(texts(&now, "/type"), ["occurrence", "exception", "occurrence", "occurrence"]);
    assert_eq!(texts(&now, "/subject"), ["Weekly", "Moved", "Weekly", "Weekly"]);
    assert_eq!((property(&now[1]), property(&now[2])), (&json!("own"), &json!("series")));
    assert_eq!(now[1]["originalStart"], "2026-12-14T08:00:00Z");
    assert_ne!(app.get(&path).await.text("changeKey"), master.text("changeKey"));
    // Other changes of the series leave it as it is, and what it does not have of its own follows.
    app.patch(&path, &json!({"subject": "Every week", "showAs": "free"})).await.expect(200);
    let exception = app.get(&event(id(&found[1]))).await.expect(200);
    assert_eq!(
        (exception.text("subject"), exception.text("showAs")),
        ("Moved".to_owned(), "free".to_owned())
    );
    app.patch(
        &event(id(&found[1])),
        &json!({"singleValueExtendedProperties": [{"id": PROPERTY, "value": null}]}),
    )
    .await
    .expect(200);
    let bare = app.get(&format!("{}?$select=id&{EXPAND}", event(id(&found[1])))).await.expect(200);
    assert_eq!(bare.body.get("singleValueExtendedProperties"), None);
    // Expanded along with its series.
    let whole = sim.control("/_sim/counters").await["forbiddenFields"].clone();
    let expand = "$expand=exceptionOccurrences($select=id,subject,originalStart)";
    let along = app.get(&format!("{path}?$select=subject&{expand}")).await.expect(200);
    let exceptions = along.body["exceptionOccurrences"].as_array().unwrap();
    assert_eq!(
        (exceptions.len(), &exceptions[0]["subject"], exceptions[0].get("body")),
        (1, &json!("Moved"), None)
    );
    assert!(along.text("@odata.context").contains("exceptionOccurrences(id,subject,originalStart)"));
    assert_eq!(sim.control("/_sim/counters").await["forbiddenFields"], whole);
    app.get(&format!("{path}?$select=subject&$expand=exceptionOccurrences")).await.expect(200);
    assert_eq!(sim.control("/_sim/counters").await["forbiddenFields"], json!(whole.as_u64().unwrap() + 1));
    app.get(&format!("/v1.0/users/{USER}/events?$select=id&{expand}")).await.refused(501, "NotImplemented");
    // The series at other times has none of its old exceptions.
    app.patch(&path, &at("07", 11)).await.expect(200);
    let now = instances(&app, &master.text("id")).await;
    assert_eq!(days(&now), ["07T10:00", "14T10:00", "21T10:00", "28T10:00"]);
    assert_eq!(texts(&now, "/type"), ["occurrence"; 4]);
}

#[tokio::test]
async fn an_occurrence_keeps_its_place_among_the_others() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let master = app.create_event(&mondays()).await.text("id");
    let found = instances(&app, &master).await;
    let second = event(id(&found[1]));
    for (day, hour) in [("07", 20), ("06", 9), ("21", 6), ("22", 9)] {
        app.patch(&second, &at(day, hour)).await.refused(400, "ErrorOccurrenceCrossingBoundary");
    }
    let mut long = at("20", 9);
    long["end"]["dateTime"] = "2026-12-21T09:30:00".into();
    app.patch(&second, &long).await.refused(400, "ErrorOccurrenceTimeSpanTooBig");
    app.patch(&second, &at("20", 9)).await.expect(200);
    // The next one's neighbour is where it was moved to, and one that is gone is no neighbour.
    app.patch(&event(id(&found[2])), &at("20", 12)).await.refused(400, "ErrorOccurrenceCrossingBoundary");
    app.delete(&second).await.expect(204);
    app.patch(&event(id(&found[2])), &at("08", 12)).await.expect(200);
    for (body, status) in [
        (json!({"recurrence": mondays()["recurrence"]}), 400),
        (json!({"seriesMasterId": "x"}), 400),
        (json!({"attendees": [{"emailAddress": {"address": "a@b.example"}}]}), 501),
        (json!({"recurrence": null, "attendees": [], "subject": "fine"}), 200),
    ] {
        app.patch(&event(id(&found[3])), &body).await.expect(status);
    }
}

#[tokio::test]
async fn a_cancelled_occurrence_is_told_by_the_series() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let master = app.create_event(&mondays()).await;
    let path = event(&master.text("id"));
    let found = instances(&app, &master.text("id")).await;
    let stale = [("If-Match", "W/\"old\"")];
    app.call(Method::DELETE, &event(id(&found[2])), &stale, None)
        .await
        .refused(412, "ErrorIrresolvableConflict");
    app.delete(&event(id(&found[2]))).await.expect(204);
    for answer in [
        app.get(&event(id(&found[2]))).await,
        app.delete(&event(id(&found[2]))).await,
        app.patch(&event(id(&found[2])), &json!({})).await,
    ] {
        answer.refused(404, "ErrorItemNotFound");
    }
    assert_eq!(
        days(&instances(&app, &master.text("id")).await),
        ["07T08:00", "14T08:00", "28T08:00"],
        "it counts"
    );
    let read = app.get(&format!("{path}?$select=cancelledOccurrences")).await.expect(200);
    assert_eq!(read.body["cancelledOccurrences"], json!([format!("OID.{}.2026-12-21", master.text("id"))]));
    let whole = app.get(&path).await.expect(200);
    assert_eq!(whole.body.get("cancelledOccurrences"), None, "by name only");
    assert_ne!(whole.text("changeKey"), master.text("changeKey"));
    // A series cut in two.
    let mut recurrence = whole.body["recurrence"].clone();
    recurrence["range"] = json!({"type": "endDate", "startDate": "2026-12-07", "endDate": "2026-12-14", "recurrenceTimeZone": "Europe/Berlin"});
    app.patch(&path, &json!({"recurrence": recurrence})).await.expect(200);
    let mut rest = mondays();
    (rest["start"], rest["end"]) = (at("21", 15)["start"].clone(), at("21", 15)["end"].clone());
    rest["recurrence"]["range"] = json!({"type": "noEnd", "startDate": "2026-12-21"});
    let second = app.create_event(&rest).await.text("id");
    let view =
        all(&app, &format!("/v1.0/users/{USER}/calendarView?{DECEMBER}&$select=start,type,seriesMasterId"))
            .await;
    assert_eq!(days(&view), ["07T08:00", "14T08:00", "21T14:00", "28T14:00"]);
    app.delete(&path).await.expect(204);
    app.get(&event(id(&found[0]))).await.refused(404, "ErrorItemNotFound");
    let view =
        all(&app, &format!("/v1.0/users/{USER}/calendarView?{DECEMBER}&$select=start,seriesMasterId")).await;
    assert_eq!(texts(&view, "/seriesMasterId"), [second.as_str(); 2]);
}

#[tokio::test]
async fn what_happens_to_an_occurrence_is_told_of_its_series() {
    let receiver = Receiver::start().await;
    let sim = Sim::trusting(&receiver.ca_pem).await;
    let app = sim.app().await;
    subscribe(&app, &receiver, USER, "/n", "created,updated,deleted").await;
    let master = app.create_event(&mondays()).await.text("id");
    let found = instances(&app, &master).await;
    app.patch(&event(id(&found[0])), &json!({"subject": "Other"})).await.expect(200);
    app.delete(&event(id(&found[1]))).await.expect(204);
    let told = until_received(&receiver, 6).await;
    assert_eq!(kinds(&told), ["created", "updated", "updated", "updated", "updated", "updated"]);
    assert_eq!(texts(&told, "/resourceData/id"), [master.as_str(); 6]);
}

#[tokio::test]
async fn views_mix_single_events_occurrences_and_exceptions() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let master = app.create_event(&mondays()).await.text("id");
    app.create_event(&at("14", 8)).await;
    let found = instances(&app, &master).await;
    app.patch(
        &event(id(&found[0])),
        &json!({"subject": "First", "singleValueExtendedProperties": [{"id": PROPERTY, "value": "own"}]}),
    )
    .await
    .expect(200);
    let view = format!("/v1.0/users/{USER}/calendarView?{DECEMBER}&$select=id,type,start,subject");
    let entries = all(&app, &format!("{view}&$top=2&{EXPAND}")).await;
    assert_eq!(
        texts(&entries, "/type"),
        ["exception", "singleInstance", "occurrence", "occurrence", "occurrence"]
    );
    assert_eq!(texts(&entries, "/id")[2], id(&found[1]));
    assert_eq!((property(&entries[0]), property(&entries[1])), (&json!("own"), &Value::Null));
    let own = format!(
        "{view}&$filter=singleValueExtendedProperties/Any(ep:%20ep/id%20eq%20'{}'%20and%20ep/value%20eq%20'own')",
        PROPERTY.replace(' ', "%20")
    );
    assert_eq!(texts(&all(&app, &own).await, "/subject"), ["First"]);
}

#[tokio::test]
async fn attendees_copies_follow_single_occurrences() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let mut body = mondays();
    body["attendees"] = json!([{"emailAddress": {"address": "user2@contoso.example"}}]);
    let master = app.create_event(&body).await.text("id");
    let found = instances(&app, &master).await;
    let view =
        format!("/v1.0/users/{USER_2}/calendarView?{DECEMBER}&$select=subject,start,iCalUId,type&{EXPAND}");
    let copies = all(&app, &view).await;
    assert_eq!(texts(&copies, "/iCalUId"), texts(&found, "/iCalUId"));
    assert_eq!(property(&copies[0]), &Value::Null);
    let mut edit = at("09", 9);
    edit["subject"] = "Moved".into();
    app.patch(&event(id(&found[0])), &edit).await.expect(200);
    app.patch(
        &event(id(&found[1])),
        &json!({"singleValueExtendedProperties": [{"id": PROPERTY, "value": "own"}]}),
    )
    .await
    .expect(200);
    app.delete(&event(id(&found[3]))).await.expect(204);
    let copies = all(&app, &view).await;
    assert_eq!(days(&copies), ["09T08:00", "14T08:00", "21T08:00"]);
    assert_eq!(
        texts(&copies, "/type"),
        ["exception", "occurrence", "occurrence"],
        "extended properties are the organiser's own"
    );
}

#[tokio::test]
async fn series_are_checked_when_they_are_written() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let events = format!("/v1.0/users/{USER}/events");
    let but = |pointer: &str, value: Value| {
        let mut body = mondays();
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    for (body, code) in [
        (but("/recurrence/range/startDate", json!("2026-12-14")), "ErrorPropertyValidationFailure"),
        (but("/end/dateTime", json!("2026-12-14T09:30:00")), "ErrorOccurrenceTimeSpanTooBig"),
        (but("/recurrence/range/numberOfOccurrences", json!(1_000)), "ErrorPropertyValidationFailure"),
        (but("/recurrence/pattern/interval", json!(1_000)), "ErrorPropertyValidationFailure"),
    ] {
        app.post(&events, &body).await.refused(400, code);
    }
    let mut none = but("/recurrence/pattern/daysOfWeek", json!(["sunday"]));
    none["recurrence"]["range"] =
        json!({"type": "endDate", "startDate": "2026-12-07", "endDate": "2026-12-12"});
    app.post(&events, &none).await.refused(400, "ErrorRecurrenceHasNoOccurrence");
    let moved = app.create_event(&but("/recurrence/pattern/daysOfWeek", json!(["wednesday"]))).await;
    assert_eq!(
        moved.body["start"]["dateTime"], "2026-12-09T08:00:00.0000000",
        "it starts with its first occurrence"
    );
    assert_eq!(moved.body["recurrence"]["range"]["startDate"], "2026-12-09");
    let later = app.patch(&event(&moved.text("id")), &at("16", 9)).await.expect(200);
    assert_eq!(later.body["recurrence"]["range"]["startDate"], "2026-12-16");
}

#[tokio::test]
async fn zones_without_a_name() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let master = app.create_event(&mondays()).await.text("id");
    let zone = async |id: &str, posix: &str| -> Answer {
        sim.command("/_sim/events/zone", &json!({"userId": USER, "eventId": id, "posix": posix})).await
    };
    // From 20 December on an hour ahead.
    zone(&master, "XST-3XDT,M12.3.0,M1.3.0").await.expect(200);
    assert_eq!(days(&instances(&app, &master).await), ["07T06:00", "14T06:00", "21T05:00", "28T05:00"]);
    let read = app.get(&event(&master)).await.expect(200);
    assert_eq!(read.text("originalStartTimeZone"), "tzone://Microsoft/Custom");
    assert_eq!(read.body["recurrence"]["range"]["recurrenceTimeZone"], "tzone://Microsoft/Custom");
    app.post(&format!("/v1.0/users/{USER}/events"), &json!({"start": {"dateTime": "2026-12-07T09:00:00", "timeZone": "tzone://Microsoft/Custom"}, "end": {"dateTime": "2026-12-07T09:00:00", "timeZone": "UTC"}})).await.refused(400, "TimeZoneNotSupportedException");
    zone(&master, "Mars").await.expect(400);
    zone("AAMk", "<+03>-3").await.expect(404);
}

#[tokio::test]
async fn deleted_events_can_stay_readable() {
    for stays in [true, false] {
        let mut world = world();
        world["deletedStayReadable"] = stays.into();
        let sim = Sim::with(&world, None).await;
        let app = sim.app().await;
        let created = app.create_event(&mondays()).await.text("id");
        let read = app.call(Method::GET, &event(&created), &[IMMUTABLE], None).await.text("id");
        let occurrence = id(&instances(&app, &created).await[0]).to_owned();
        app.delete(&event(&created)).await.expect(204);
        let status = if stays { 200 } else { 404 };
        let left = app.get(&format!("{}?$select=id,subject", event(&read))).await.expect(status);
        for gone in [event(&created), event(&occurrence), event(&read).replace("/events", "/calendar/events")]
        {
            app.get(&format!("{gone}?$select=id")).await.refused(404, "ErrorItemNotFound");
        }
        assert_eq!(all(&app, &format!("/v1.0/users/{USER}/events?$select=id")).await.len(), 0);
        app.get(&format!("{}/instances?{DECEMBER}&$select=id", event(&read))).await.expect(404);
        if stays {
            assert_ne!(left.text("id"), created, "it moved to another folder");
            app.patch(&event(&read), &json!({"subject": "x"})).await.expect(501);
            app.patch(&event(&read).replace("/events", "/calendar/events"), &json!({})).await.expect(404);
        }
    }
}
