//! Series: one booking that holds its occurrences, all or none.

use booking_sim::Options;
use serde_json::{Value, json};

use crate::sim::{Sim, booking};

/// A weekly series at these days of January 2099, from ten to eleven.
fn series(resource: &str, days: &[u8]) -> Value {
    let mut body = booking(resource, 10, 11);
    let occurrences: Vec<Value> = days.iter().map(|day| occurrence(*day, 10, 11)).collect();
    body["recurrence"] = json!({
        "pattern": {"type": "weekly", "interval": 1, "month": 0, "dayOfMonth": 0, "daysOfWeek": ["tuesday"],
            "firstDayOfWeek": "sunday", "index": "first"},
        "range": {"type": "noEnd", "startDate": "2026-11-24", "endDate": "0001-01-01", "recurrenceTimeZone": "UTC",
            "numberOfOccurrences": 0},
        "until": "2099-02-01T00:00:00Z",
        "occurrences": occurrences,
    });
    body
}

fn occurrence(day: u8, from: u8, to: u8) -> Value {
    json!({"start": format!("2099-01-{day:02}T{from:02}:00:00Z"), "end": format!("2099-01-{day:02}T{to:02}:00:00Z")})
}

fn single(resource: &str, day: u8, from: u8, to: u8) -> Value {
    let mut body = booking(resource, 10, 11);
    let at = occurrence(day, from, to);
    (body["start"], body["end"]) = (at["start"].clone(), at["end"].clone());
    body
}

async fn message(response: reqwest::Response) -> String {
    let body: Value = response.json().await.unwrap();
    body["error"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_series_holds_its_occurrences_and_nothing_else() {
    let sim = Sim::plain().await;
    let wanted = series("room", &[6, 13, 20]);
    let made = sim.put("s", "1", &wanted).await;
    assert_eq!(made.status(), 201);
    let made: Value = made.json().await.unwrap();
    assert_eq!(made["recurrence"], wanted["recurrence"], "as it was told");
    assert_eq!(
        sim.put("a", "2", &booking("room", 10, 11)).await.status(),
        201,
        "start and end are not booked"
    );
    assert_eq!(sim.put("b", "3", &single("room", 13, 11, 12)).await.status(), 201, "a neighbour");
    assert_eq!(sim.put("c", "4", &single("other", 13, 10, 11)).await.status(), 201, "another space");
    let refused = sim.put("d", "5", &single("room", 13, 10, 12)).await;
    assert_eq!(refused.status(), 409);
    // An occurrence that is not in the list any more is free, and the others stay.
    assert_eq!(sim.put("s", "6", &series("room", &[6, 20])).await.status(), 200);
    assert_eq!(sim.put("d", "7", &single("room", 13, 10, 11)).await.status(), 201);
    assert_eq!(sim.put("e", "8", &single("room", 20, 10, 11)).await.status(), 409);
    assert_eq!(sim.call(reqwest::Method::DELETE, "/bookings/s").send().await.unwrap().status(), 204);
    assert_eq!(sim.put("e", "8", &single("room", 20, 10, 11)).await.status(), 201);
}

#[tokio::test]
async fn one_taken_date_refuses_all_and_is_named() {
    let sim = Sim::plain().await;
    for (key, day) in [("a", 13), ("b", 20), ("c", 27), ("d", 28)] {
        assert_eq!(sim.put(key, key, &single("room", day, 10, 11)).await.status(), 201);
    }
    let one = sim.put("s", "1", &series("room", &[6, 13])).await;
    assert_eq!(one.status(), 409);
    assert_eq!(message(one).await, "room is taken at 2099-01-13T10:00:00Z");
    let many = sim.put("s", "2", &series("room", &[6, 13, 20, 27, 28])).await;
    let said = message(many).await;
    assert!(
        said.ends_with("2099-01-13T10:00:00Z, 2099-01-20T10:00:00Z, 2099-01-27T10:00:00Z and 1 more"),
        "{said}"
    );
    assert_eq!(sim.put("e", "3", &single("room", 6, 10, 11)).await.status(), 201, "nothing of it was booked");
    // What stood before a refused change stands after it.
    assert_eq!(sim.put("s", "4", &series("room", &[5])).await.status(), 201);
    assert_eq!(sim.put("s", "5", &series("room", &[4, 6])).await.status(), 409);
    assert_eq!(sim.put("f", "6", &single("room", 5, 10, 11)).await.status(), 409);
    assert_eq!(sim.put("f", "7", &single("room", 4, 10, 11)).await.status(), 201);
    // Of two series, too.
    assert_eq!(sim.put("t", "8", &series("room", &[1, 5])).await.status(), 409);
}

#[tokio::test]
async fn a_booking_becomes_a_series_and_one_again() {
    let sim = Sim::plain().await;
    assert_eq!(sim.put("s", "1", &single("room", 6, 10, 11)).await.status(), 201);
    assert_eq!(sim.put("s", "2", &series("room", &[6, 13])).await.status(), 200);
    assert_eq!(sim.put("s", "3", &single("room", 13, 10, 11)).await.status(), 200);
    assert_eq!(sim.put("a", "4", &single("room", 6, 10, 11)).await.status(), 201);
    assert_eq!(sim.read("/bookings/s").await.get("recurrence"), None, "what is absent is not kept");
}

/// An occurrence that is over may be there or missing: it takes no space from anybody.
#[tokio::test]
async fn what_is_over_changes_nothing() {
    let sim = Sim::plain().await;
    let past = json!({"start": "2020-01-07T10:00:00Z", "end": "2020-01-07T11:00:00Z"});
    let mut other = booking("room", 10, 11);
    (other["start"], other["end"]) = (past["start"].clone(), past["end"].clone());
    assert_eq!(sim.put("a", "1", &other).await.status(), 201);
    let mut wanted = series("room", &[6]);
    wanted["recurrence"]["occurrences"] = json!([past, occurrence(6, 10, 11)]);
    assert_eq!(sim.put("s", "2", &wanted).await.status(), 201);
    assert_eq!(sim.put("s", "3", &series("room", &[6])).await.status(), 200);
    wanted["recurrence"]["occurrences"] = json!([past]);
    assert_eq!(sim.put("s", "4", &wanted).await.status(), 200, "with nothing left to come");
    assert_eq!(sim.put("b", "5", &single("room", 6, 10, 11)).await.status(), 201);
}

#[tokio::test]
async fn occurrences_of_one_booking_are_not_in_their_own_way() {
    let sim = Sim::plain().await;
    let mut wanted = series("room", &[]);
    wanted["recurrence"]["occurrences"] =
        json!([occurrence(6, 10, 12), occurrence(6, 11, 13), occurrence(7, 10, 11)]);
    assert_eq!(sim.put("s", "1", &wanted).await.status(), 201);
    for (from, to, status) in [(9, 11, 409), (12, 14, 409), (13, 14, 201)] {
        assert_eq!(sim.put("a", &from.to_string(), &single("room", 6, from, to)).await.status(), status);
    }
    assert_eq!(sim.put("s", "2", &series("room", &[8])).await.status(), 200);
    assert_eq!(sim.put("b", "3", &single("room", 6, 9, 13)).await.status(), 201, "all of it is free again");
}

#[tokio::test]
async fn a_series_may_have_so_many_occurrences() {
    let sim = Sim::start(Options { max_occurrences: 3, ..Options::default() }).await;
    assert_eq!(sim.put("s", "1", &series("room", &[1, 2, 3])).await.status(), 201);
    let refused = sim.put("s", "2", &series("room", &[1, 2, 3, 4])).await;
    assert_eq!(refused.status(), 422);
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(refused["error"]["code"], "TooManyOccurrences");
    assert!(refused["error"]["message"].as_str().unwrap().contains("at most 3"), "{refused}");
}

/// The most that the contract allows, with every member at its longest, fits into a body.
#[tokio::test]
async fn a_thousand_occurrences_fit() {
    let sim = Sim::start(Options { max_occurrences: 1000, ..Options::default() }).await;
    let mut wanted = series("room", &[]);
    let occurrences = (0..1000).map(|number| {
        let at = |hours: i64| {
            jiff::Timestamp::from_second(4_070_908_800 + (number * 24 + hours) * 3600).unwrap().to_string()
        };
        json!({"start": at(10), "end": at(11), "originalStart": at(9)})
    });
    wanted["recurrence"]["occurrences"] = occurrences.collect();
    wanted["attendees"] = json!(vec!["a".repeat(200); 500]);
    assert_eq!(sim.put("s", "1", &wanted).await.status(), 201);
    let list = wanted["recurrence"]["occurrences"].as_array_mut().unwrap();
    list.push(json!({"start": "2199-01-01T00:00:00Z", "end": "2199-01-01T01:00:00Z"}));
    assert_eq!(sim.put("s", "2", &wanted).await.status(), 422);
    assert!(sim.contract.request_body(&wanted).is_err());
}

#[tokio::test]
async fn a_wrong_member_is_refused_by_where_it_is() {
    let sim = Sim::plain().await;
    let with = |pointer: &str, value: Value| {
        let mut body = series("room", &[6, 13]);
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match (body.pointer_mut(parent).unwrap(), name.parse::<usize>()) {
            (Value::Array(items), Ok(number)) => items[number] = value,
            (parent, _) => parent[name] = value,
        }
        body
    };
    let without = |parent: &str, name: &str| {
        let mut body = series("room", &[6]);
        body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
        body
    };
    let first = "/recurrence/occurrences/0";
    let mut unordered = series("room", &[13, 6]);
    let mut twice = series("room", &[6]);
    let occurrences = twice["recurrence"]["occurrences"].as_array_mut().unwrap();
    occurrences.push(occurrences[0].clone());
    // What is named, the body, and whether a schema can say it.
    let table = [
        ("recurrence must", with("/recurrence", Value::Null), true),
        ("recurrence.pattern", without("/recurrence", "pattern"), true),
        ("recurrence.range", without("/recurrence", "range"), true),
        ("recurrence.until", without("/recurrence", "until"), true),
        ("recurrence.occurrences", without("/recurrence", "occurrences"), true),
        ("recurrence.occurrences", series("room", &[]), true),
        ("of recurrence:", with("/recurrence/colour", json!(1)), true),
        ("recurrence.until", with("/recurrence/until", json!("tomorrow")), true),
        ("recurrence.occurrences[0]", with(first, json!(1)), true),
        ("recurrence.occurrences[0].start", without(first, "start"), true),
        ("recurrence.occurrences[0].end", without(first, "end"), true),
        (
            "recurrence.occurrences[0].originalStart",
            with(&format!("{first}/originalStart"), Value::Null),
            true,
        ),
        ("of recurrence.occurrences[0]:", with(&format!("{first}/subject"), json!("x")), true),
        (
            "recurrence.occurrences[0].end",
            with(&format!("{first}/end"), json!("2099-01-06T10:00:00Z")),
            false,
        ),
        ("recurrence.occurrences[1].start", unordered.take(), false),
        ("recurrence.occurrences[1].start", twice, false),
        ("recurrence.pattern.type", with("/recurrence/pattern/type", json!("")), true),
        ("recurrence.pattern.interval", without("/recurrence/pattern", "interval"), true),
        ("recurrence.pattern.interval", with("/recurrence/pattern/interval", json!(-1)), true),
        ("recurrence.pattern.month", with("/recurrence/pattern/month", json!(13)), true),
        ("recurrence.pattern.dayOfMonth", with("/recurrence/pattern/dayOfMonth", json!(32)), true),
        (
            "recurrence.pattern.daysOfWeek",
            with("/recurrence/pattern/daysOfWeek", json!(vec!["monday"; 8])),
            true,
        ),
        ("recurrence.pattern.index", with("/recurrence/pattern/index", json!(1)), true),
        ("of recurrence.pattern:", with("/recurrence/pattern/week", json!(1)), true),
        ("recurrence.range.startDate", without("/recurrence/range", "startDate"), true),
        ("recurrence.range.endDate", with("/recurrence/range/endDate", json!("2099-01-01T00:00")), true),
        (
            "recurrence.range.numberOfOccurrences",
            with("/recurrence/range/numberOfOccurrences", json!(0.5)),
            true,
        ),
        ("of recurrence.range:", with("/recurrence/range/zone", json!(1)), true),
    ];
    for (number, (named, body, by_schema)) in table.into_iter().enumerate() {
        let refused = sim.put("s", &number.to_string(), &body).await;
        assert_eq!(refused.status(), 422, "{named}: {body}");
        let said = message(refused).await;
        assert!(said.contains(named), "{named}: {said}");
        assert_eq!(sim.contract.request_body(&body).is_err(), by_schema, "{named}: {body}");
    }
    let raw = series("room", &[6]).to_string().replacen("\"interval\":1", "\"interval\":1,\"interval\":1", 1);
    let refused = sim.put_raw("s", raw).await;
    assert_eq!(refused.status(), 422);
    assert!(message(refused).await.contains("interval is there twice"));
}
