//! Series and time, over the whole system: what the product has is what the calendar shows, occurrence by occurrence.
//!
//! Each case has a space of its own. Dates are within the horizon whenever the test runs; where the time of a clock change matters,
//! the expected times are worked out from the rule of the zone, not from the simulator.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{collections::BTreeSet, time::Duration};

use jiff::{
    Timestamp, ToSpan as _,
    civil::{Date, Weekday, date},
    tz::TimeZone,
};
use roomkeeper_controlplane::{ControlPlane, StartOptions, process::scratch_dir};
use roomkeeper_e2e::{
    agreement::{self, Taken},
    outlook::{Outlook, add_in_property},
    scene::{NAMESPACE, install_scope},
    system::System,
    wait, world,
};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_mins(2);

fn booked(room: &str, start: &str, end: &str, zone: &str) -> Value {
    json!({
        "subject": room,
        "start": {"dateTime": start, "timeZone": zone},
        "end": {"dateTime": end, "timeZone": zone},
        "singleValueExtendedProperties": [add_in_property(&[room.to_owned()])],
    })
}

fn series(
    room: &str,
    day: Date,
    (from, to): (&str, &str),
    zone: &str,
    pattern: &Value,
    range: &Value,
) -> Value {
    let mut event = booked(room, &format!("{day}T{from}"), &format!("{day}T{to}"), zone);
    let mut range = range.clone();
    range["startDate"] = day.to_string().into();
    event["recurrence"] = json!({"pattern": pattern, "range": range});
    event
}

/// The last Sunday of a month.
fn last_sunday(year: i16, month: i8) -> Date {
    let last = date(year, month, 1).last_of_month();
    if last.weekday() == Weekday::Sunday { last } else { last.nth_weekday(-1, Weekday::Sunday).unwrap() }
}

/// The next day of a clock change in that month of central Europe that is at least four days ahead.
fn next_change(today: Date, month: i8) -> Date {
    let this = last_sunday(today.year(), month);
    if this > today.checked_add(4.days()).unwrap() { this } else { last_sunday(today.year() + 1, month) }
}

struct Scene {
    system: System,
    outlook: Outlook,
    window: (Timestamp, Timestamp),
    user: String,
    today: Date,
    /// Three days ahead, when most cases begin.
    soon: Date,
}

impl Scene {
    /// A day after the one that most cases begin on.
    fn day(&self, number: i64) -> Date {
        self.soon.checked_add(number.days()).unwrap()
    }

    /// Starts of what both say of a space.
    async fn starts(&self, room: &str) -> Vec<String> {
        self.agreed(room).await.into_iter().map(|(from, _)| from).collect()
    }

    /// Waits until calendars and product agree, and returns what both say of a space.
    async fn agreed(&self, room: &str) -> Vec<(String, String)> {
        let users = [self.user.clone()];
        let all: BTreeSet<Taken> = wait::until(room, WAIT, async || {
            let calendars = agreement::in_calendars(&self.outlook, &users, self.window).await?;
            let product = agreement::at_product(&self.system.booking, self.window).await?;
            agreement::compare(&calendars, &product)?;
            Ok(Some(product))
        })
        .await
        .unwrap();
        let of_room = all.into_iter().filter(|taken| taken.room == room);
        of_room.map(|taken| (taken.from.to_string(), taken.to.to_string())).collect()
    }

    async fn occurrence(&self, series: &str, number: usize) -> String {
        let all = self.outlook.occurrences(&self.user, series, self.window.0, self.window.1).await.unwrap();
        all[number]["id"].as_str().unwrap().to_owned()
    }

    async fn make(&self, event: &Value) -> String {
        self.outlook.create_event(&self.user, event).await.unwrap()
    }
}

async fn start(control_plane: &ControlPlane, folder: &std::path::Path) -> Scene {
    let system = System::start(control_plane, folder, &world::contoso(1)).await.unwrap();
    let client = control_plane.admin_client().await.unwrap();
    install_scope(&system, &client, str::to_owned).await.unwrap();
    let outlook = system.outlook().await.unwrap();
    let now = Timestamp::now();
    // As far as occurrences are listed at least: the clock changes once more within it, whenever that is.
    let next = now.to_zoned(TimeZone::UTC).date().first_of_month().checked_add(1.month()).unwrap();
    let horizon = next.checked_add(365.days()).unwrap();
    let end = TimeZone::UTC.to_timestamp(horizon.at(0, 0, 0, 0)).unwrap();
    let today = now.to_zoned(TimeZone::UTC).date();
    let soon = today.checked_add(3.days()).unwrap();
    let window = (now, end);
    Scene { system, outlook, window, user: world::user_id(1), today, soon }
}

fn at(day: Date, time: &str) -> String {
    format!("{day}T{time}")
}

fn weekday(day: Date) -> String {
    format!("{:?}", day.weekday()).to_lowercase()
}

fn daily() -> Value {
    json!({"type": "daily", "interval": 1})
}

fn numbered(count: u32) -> Value {
    json!({"type": "numbered", "numberOfOccurrences": count})
}

fn utc(day: Date, time: &str) -> String {
    format!("{day}T{time}Z")
}

/// Every pattern and range type, and a single event.
async fn every_pattern_and_range(scene: &Scene) {
    scene.make(&booked("single", &at(scene.soon, "09:00:00"), &at(scene.soon, "10:00:00"), "UTC")).await;
    let index =
        ["first", "second", "third", "fourth", "last"][usize::try_from((scene.soon.day() - 1) / 7).unwrap()];
    let until = scene.soon.checked_add(20.days()).unwrap();
    let mut count = 0;
    for pattern in [
        json!({"type": "daily", "interval": 2}),
        json!({"type": "weekly", "interval": 2, "daysOfWeek": [weekday(scene.soon)], "firstDayOfWeek": "monday"}),
        json!({"type": "absoluteMonthly", "interval": 1, "dayOfMonth": scene.soon.day()}),
        json!({"type": "relativeMonthly", "interval": 1, "daysOfWeek": [weekday(scene.soon)], "index": index}),
        json!({"type": "absoluteYearly", "interval": 1, "dayOfMonth": scene.soon.day(), "month": scene.soon.month()}),
        json!({"type": "relativeYearly", "interval": 1, "daysOfWeek": [weekday(scene.soon)], "index": index, "month": scene.soon.month()}),
    ] {
        for range in
            [numbered(3), json!({"type": "endDate", "endDate": until.to_string()}), json!({"type": "noEnd"})]
        {
            count += 1;
            let (room, hours) = (format!("pattern-{count}"), ("09:00:00", "10:00:00"));
            scene.make(&series(&room, scene.soon, hours, "W. Europe Standard Time", &pattern, &range)).await;
        }
    }
    let three_days = scene.agreed("pattern-1").await;
    assert_eq!(three_days.len(), 3, "{three_days:?}");
    assert_eq!(scene.agreed("single").await, [(utc(scene.soon, "09:00:00"), utc(scene.soon, "10:00:00"))]);
}

/// A moved, a cancelled and a re-roomed occurrence.
async fn edited_occurrences(scene: &Scene) {
    let edited = scene
        .make(&series("edited", scene.soon, ("09:00:00", "10:00:00"), "UTC", &daily(), &numbered(5)))
        .await;
    let moved = json!({
        "start": {"dateTime": format!("{}T15:00:00", scene.day(1)), "timeZone": "UTC"},
        "end": {"dateTime": format!("{}T16:30:00", scene.day(1)), "timeZone": "UTC"},
    });
    scene.outlook.change(&scene.user, &scene.occurrence(&edited, 1).await, &moved).await.unwrap();
    scene.outlook.delete(&scene.user, &scene.occurrence(&edited, 2).await).await.unwrap();
    // The deleted one is gone from the list: the third is the next day's.
    let elsewhere = json!({"singleValueExtendedProperties": [add_in_property(&["elsewhere".to_owned()])]});
    scene.outlook.change(&scene.user, &scene.occurrence(&edited, 2).await, &elsewhere).await.unwrap();
    assert_eq!(
        scene.agreed("edited").await,
        [
            (utc(scene.day(0), "09:00:00"), utc(scene.day(0), "10:00:00")),
            (utc(scene.day(1), "15:00:00"), utc(scene.day(1), "16:30:00")),
            (utc(scene.day(4), "09:00:00"), utc(scene.day(4), "10:00:00")),
        ]
    );
    assert_eq!(
        scene.agreed("elsewhere").await,
        [(utc(scene.day(3), "09:00:00"), utc(scene.day(3), "10:00:00"))]
    );
}

/// One series ends earlier, and another goes on from there.
async fn a_series_cut_in_two(scene: &Scene) {
    let cut =
        scene.make(&series("cut", scene.soon, ("11:00:00", "12:00:00"), "UTC", &daily(), &numbered(4))).await;
    let first = json!({"recurrence": {"pattern": daily(), "range": {"type": "endDate", "startDate": scene.soon.to_string(), "endDate": scene.day(1).to_string()}}});
    scene.outlook.change(&scene.user, &cut, &first).await.unwrap();
    scene.make(&series("cut", scene.day(2), ("13:00:00", "14:00:00"), "UTC", &daily(), &numbered(2))).await;
    let hours = scene.starts("cut").await;
    assert_eq!(
        hours,
        [
            utc(scene.day(0), "11:00:00"),
            utc(scene.day(1), "11:00:00"),
            utc(scene.day(2), "13:00:00"),
            utc(scene.day(3), "13:00:00")
        ]
    );
}

/// Whole days; midnight and the year's end.
async fn whole_days_and_nights(scene: &Scene) {
    let mut whole = booked("whole", &at(scene.soon, "00:00:00"), &at(scene.day(2), "00:00:00"), "UTC");
    whole["isAllDay"] = true.into();
    scene.make(&whole).await;
    assert_eq!(scene.agreed("whole").await, [(utc(scene.soon, "00:00:00"), utc(scene.day(2), "00:00:00"))]);
    let eve = date(scene.today.year(), 12, 31);
    let eve = if eve > scene.soon { eve } else { date(scene.today.year() + 1, 12, 31) };
    let night = eve.checked_sub(1.day()).unwrap();
    let over = scene
        .make(&booked(
            "night",
            &format!("{eve}T23:00:00"),
            &format!("{}T01:00:00", eve.tomorrow().unwrap()),
            "UTC",
        ))
        .await;
    let mut nights = series("nights", night, ("22:00:00", "23:00:00"), "UTC", &daily(), &numbered(3));
    nights["end"]["dateTime"] = format!("{eve}T02:00:00").into();
    scene.make(&nights).await;
    assert_eq!(scene.agreed("nights").await.len(), 3);
    assert_eq!(scene.agreed("night").await[0].1, utc(eve.tomorrow().unwrap(), "01:00:00"));
    scene.outlook.delete(&scene.user, &over).await.unwrap();
}

/// The clock goes forward and back, under a Windows and an IANA name.
async fn changes_of_the_clock(scene: &Scene) {
    let (spring, autumn) = (next_change(scene.today, 3), next_change(scene.today, 10));
    for (name, zone) in [("windows", "W. Europe Standard Time"), ("iana", "Europe/Berlin")] {
        for (change, season, before, after) in
            [(spring, "spring", "08:00:00", "07:00:00"), (autumn, "autumn", "07:00:00", "08:00:00")]
        {
            let (room, eve) = (format!("{name}-{season}"), change.yesterday().unwrap());
            let event = series(&room, eve, ("09:00:00", "10:00:00"), zone, &daily(), &numbered(3));
            scene.make(&event).await;
            let expected = [utc(eve, before), utc(change, after), utc(change.tomorrow().unwrap(), after)];
            assert_eq!(scene.starts(&room).await, expected, "{room}");
        }
    }
}

/// 02:30 does not exist on the day of the gap, and exists twice on that of the overlap.
async fn gap_and_overlap(scene: &Scene) {
    let (spring, autumn) = (next_change(scene.today, 3), next_change(scene.today, 10));
    let before = spring.yesterday().unwrap();
    scene
        .make(&series("gap", before, ("02:30:00", "03:30:00"), "Europe/Berlin", &daily(), &numbered(3)))
        .await;
    let gap = scene.agreed("gap").await;
    assert_eq!(gap[1].0, utc(spring, "01:30:00"), "half an hour after the gap");
    let before = autumn.yesterday().unwrap();
    scene
        .make(&series("overlap", before, ("02:30:00", "03:30:00"), "Europe/Berlin", &daily(), &numbered(3)))
        .await;
    let overlap = scene.agreed("overlap").await;
    assert_eq!(overlap[1].0, utc(autumn, "00:30:00"), "the first of the two");
}

/// A zone without a name: only Graph knows what it means.
async fn a_zone_without_a_name(scene: &Scene) {
    let event = series("unnamed", scene.soon, ("09:00:00", "10:00:00"), "UTC", &daily(), &numbered(3));
    let id = scene.make(&event).await;
    // Five and a half hours ahead of UTC, all the year.
    let zone = json!({"userId": scene.user, "eventId": id, "posix": "<+0530>-5:30"});
    scene.system.graph.post("/_sim/events/zone", &zone).await.unwrap();
    let expected = [0, 1, 2].map(|number| utc(scene.day(number), "03:30:00"));
    assert_eq!(scene.starts("unnamed").await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_product_has_is_what_the_calendar_shows() {
    roomkeeper_service::tls::install_provider();
    let control_plane = ControlPlane::start(StartOptions::default()).await.unwrap();
    let folder = scratch_dir("series").unwrap();
    let scene = start(&control_plane, folder.path()).await;
    let _operator = scene.system.operator("operator", &[]).await.unwrap();
    let webhook = scene.system.webhook("webhook", &["--debounce", "200ms"]).await.unwrap();
    webhook.ready().await.unwrap();
    let ticked = async || {
        Ok((scene.system.tick_the_box(NAMESPACE, "contoso", &scene.user).await? == 201).then_some(()))
    };
    wait::until("the consent", WAIT, ticked).await.unwrap();
    let subscribed =
        async || Ok((scene.system.graph.subscriptions_of(&scene.user).await? == 1).then_some(()));
    wait::until("the subscription", WAIT, subscribed).await.unwrap();

    every_pattern_and_range(&scene).await;
    edited_occurrences(&scene).await;
    a_series_cut_in_two(&scene).await;
    whole_days_and_nights(&scene).await;
    changes_of_the_clock(&scene).await;
    gap_and_overlap(&scene).await;
    a_zone_without_a_name(&scene).await;

    // No whole event was ever read, and no body.
    let counters = scene.system.graph.get("/_sim/counters").await.unwrap();
    let forbidden = counters["forbiddenFieldsByName"].clone();
    assert!(forbidden.as_object().is_none_or(serde_json::Map::is_empty), "{forbidden}");
    scene.system.stop();
    control_plane.stop().await.unwrap();
}
