//! Series whose dates were worked out by hand, with a calendar and the zones' rules, not with this program.
//!
//! Clocks in 2026: Berlin skips 02:00 to 03:00 on 29 March and has it twice on 25 October; New York skips it on 8 March and
//! has 01:00 to 02:00 twice on 1 November; Sydney has 02:00 to 03:00 twice on 5 April and skips it on 4 October; Lord Howe has
//! 01:30 to 02:00 twice on 5 April and skips 02:00 to 02:30 on 4 October; Auckland falls back on 5 April.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{cancel, within};
use crate::events::{
    content::{Event, Person},
    window::Window,
    write,
};

/// Name; pattern; range; zone of the event (and `>` the series' own); times (dates: whole days); window; expected starts, or
/// starts and ends, in UTC.
type Case = [&'static str; 7];

const WEEKDAYS: &str = "monday,tuesday,wednesday,thursday,friday";

#[rustfmt::skip]
const CASES: &[Case] = &[
    // Days.
    ["every day", "daily 1", "noEnd", "UTC", "2026-03-02T09:00 2026-03-02T10:00", "2026-03-04 2026-03-07", "2026-03-04T09:00Z/2026-03-04T10:00Z 2026-03-05T09:00Z/2026-03-05T10:00Z 2026-03-06T09:00Z/2026-03-06T10:00Z"],
    ["every third day to a date between", "daily 3", "until 2026-03-12", "UTC", "2026-03-02T09:00 2026-03-02T10:00", "2026-03-01 2026-04-01", "2026-03-02T09:00Z 2026-03-05T09:00Z 2026-03-08T09:00Z 2026-03-11T09:00Z"],
    ["the last date counts", "daily 1", "until 2026-03-04", "UTC", "2026-03-02T09:00 2026-03-02T10:00", "2026-03-01 2026-04-01", "2026-03-02T09:00Z 2026-03-03T09:00Z 2026-03-04T09:00Z"],
    ["the last date is the zone's", "daily 1", "until 2026-01-06", "Europe/Berlin", "2026-01-05T00:30 2026-01-05T01:00", "2026-01-01 2026-02-01", "2026-01-04T23:30Z 2026-01-05T23:30Z"],
    ["four times", "daily 2", "count 4", "UTC", "2026-03-02T09:00 2026-03-02T10:00", "2026-03-01 2026-04-01", "2026-03-02T09:00Z 2026-03-04T09:00Z 2026-03-06T09:00Z 2026-03-08T09:00Z"],
    ["counted from the start of the series", "daily 1", "count 5", "UTC", "2026-03-02T09:00 2026-03-02T10:00", "2026-03-05 2026-04-01", "2026-03-05T09:00Z 2026-03-06T09:00Z"],
    ["a cancelled one counts", "daily 1", "count 4 except 2026-03-03", "UTC", "2026-03-02T09:00 2026-03-02T10:00", "2026-03-01 2026-04-01", "2026-03-02T09:00Z 2026-03-04T09:00Z 2026-03-05T09:00Z"],
    ["a hundred years on", "daily 7", "noEnd", "UTC", "2026-01-01T10:00 2026-01-01T11:00", "2126-01-01 2126-01-15", "2126-01-03T10:00Z 2126-01-10T10:00Z"],
    // Windows.
    ["both edges are half-open", "daily 1", "noEnd", "UTC", "2026-03-02T09:00 2026-03-02T10:00", "2026-03-03T10:00:00Z 2026-03-05T09:00:00Z", "2026-03-04T09:00Z"],
    ["a minute of each edge", "daily 1", "noEnd", "UTC", "2026-03-02T09:00 2026-03-02T10:00", "2026-03-03T09:59:00Z 2026-03-04T09:01:00Z", "2026-03-03T09:00Z 2026-03-04T09:00Z"],
    ["before the series", "daily 1", "noEnd", "UTC", "2026-03-02T00:00 2026-03-02T10:00", "2026-02-01 2026-03-02", ""],
    ["after the series", "daily 1", "count 3", "UTC", "2026-03-02T09:00 2026-03-02T10:00", "2026-03-05 2026-06-01", ""],
    ["no length at all", "daily 1", "count 2", "UTC", "2026-03-02T09:00 2026-03-02T09:00", "2026-03-02T09:00:00Z 2026-03-03T09:00:00Z", "2026-03-02T09:00Z/2026-03-02T09:00Z"],
    ["from before midnight", "daily 1", "noEnd", "Europe/Berlin", "2026-01-05T22:00 2026-01-06T02:00", "2026-01-06 2026-01-06T12:00:00Z", "2026-01-05T21:00Z/2026-01-06T01:00Z"],
    ["over the end of the year", "daily 1", "count 3", "Europe/Berlin", "2026-12-30T23:30 2026-12-31T00:30", "2026-12-01 2027-02-01", "2026-12-30T22:30Z/2026-12-30T23:30Z 2026-12-31T22:30Z/2026-12-31T23:30Z 2027-01-01T22:30Z/2027-01-01T23:30Z"],
    ["ten days long, seen on its last", "absoluteMonthly 1 day=1", "noEnd", "UTC", "2026-01-01T00:00 2026-01-11T00:00", "2026-03-10T23:00:00Z 2026-03-20", "2026-03-01T00:00Z/2026-03-11T00:00Z"],
    // Clocks that change.
    ["a time that Berlin skips", "daily 1", "count 3", "Europe/Berlin", "2026-03-28T02:30 2026-03-28T03:30", "2026-03-01 2026-05-01", "2026-03-28T01:30Z/2026-03-28T02:30Z 2026-03-29T01:30Z/2026-03-29T02:30Z 2026-03-30T00:30Z/2026-03-30T01:30Z"],
    ["a time that Berlin has twice", "daily 1", "count 3", "Europe/Berlin", "2026-10-24T02:30 2026-10-24T03:30", "2026-10-01 2026-12-01", "2026-10-24T00:30Z/2026-10-24T01:30Z 2026-10-25T00:30Z/2026-10-25T02:30Z 2026-10-26T01:30Z/2026-10-26T02:30Z"],
    ["the wall clock stays", "weekly 1 monday", "count 2", "W. Europe Standard Time", "2026-03-23T09:00 2026-03-23T10:00", "2026-03-01 2026-05-01", "2026-03-23T08:00Z 2026-03-30T07:00Z"],
    ["a night that is an hour short", "daily 1", "count 2", "Europe/Berlin", "2026-03-27T23:00 2026-03-28T05:00", "2026-03-01 2026-05-01", "2026-03-27T22:00Z/2026-03-28T04:00Z 2026-03-28T22:00Z/2026-03-29T03:00Z"],
    ["a time that New York skips", "daily 1", "count 3", "Eastern Standard Time", "2026-03-07T02:15 2026-03-07T02:45", "2026-03-01 2026-04-01", "2026-03-07T07:15Z/2026-03-07T07:45Z 2026-03-08T07:15Z/2026-03-08T07:45Z 2026-03-09T06:15Z/2026-03-09T06:45Z"],
    ["a time that New York has twice", "daily 1", "count 3", "America/New_York", "2026-10-31T01:30 2026-10-31T02:30", "2026-10-01 2026-12-01", "2026-10-31T05:30Z/2026-10-31T06:30Z 2026-11-01T05:30Z/2026-11-01T07:30Z 2026-11-02T06:30Z/2026-11-02T07:30Z"],
    ["a time that Sydney has twice", "daily 1", "count 3", "AUS Eastern Standard Time", "2026-04-04T02:30 2026-04-04T03:30", "2026-04-01 2026-05-01", "2026-04-03T15:30Z/2026-04-03T16:30Z 2026-04-04T15:30Z/2026-04-04T17:30Z 2026-04-05T16:30Z/2026-04-05T17:30Z"],
    ["a time that Sydney skips", "daily 1", "count 3", "Australia/Sydney", "2026-10-03T02:30 2026-10-03T03:00", "2026-10-01 2026-11-01", "2026-10-02T16:30Z/2026-10-02T17:00Z 2026-10-03T16:30Z/2026-10-03T17:00Z 2026-10-04T15:30Z/2026-10-04T16:00Z"],
    ["half an hour that Lord Howe skips", "daily 1", "count 3", "Lord Howe Standard Time", "2026-10-03T02:15 2026-10-03T02:45", "2026-10-01 2026-11-01", "2026-10-02T15:45Z/2026-10-02T16:15Z 2026-10-03T15:45Z/2026-10-03T16:15Z 2026-10-04T15:15Z/2026-10-04T15:45Z"],
    ["half an hour that Lord Howe has twice", "daily 1", "count 3", "Australia/Lord_Howe", "2026-04-04T01:45 2026-04-04T02:15", "2026-04-01 2026-05-01", "2026-04-03T14:45Z/2026-04-03T15:15Z 2026-04-04T14:45Z/2026-04-04T15:45Z 2026-04-05T15:15Z/2026-04-05T15:45Z"],
    ["Auckland's autumn", "weekly 1 monday", "count 2", "New Zealand Standard Time", "2026-03-30T09:00 2026-03-30T10:00", "2026-03-01 2026-05-01", "2026-03-29T20:00Z 2026-04-05T21:00Z"],
    ["half an hour beside New York", "daily 1", "count 2", "America/St_Johns", "2026-03-07T12:00 2026-03-07T13:00", "2026-03-01 2026-04-01", "2026-03-07T15:30Z 2026-03-08T14:30Z"],
    ["India", "weekly 1 wednesday", "count 2", "India Standard Time", "2026-07-01T09:00 2026-07-01T10:00", "2026-06-01 2026-08-01", "2026-07-01T03:30Z 2026-07-08T03:30Z"],
    ["India on the day before in UTC", "weekly 1 monday", "count 2", "Asia/Kolkata", "2026-07-06T02:00 2026-07-06T03:00", "2026-06-01 2026-08-01", "2026-07-05T20:30Z 2026-07-12T20:30Z"],
    ["a quarter of an hour", "daily 1", "count 2", "Asia/Kathmandu", "2026-07-01T06:00 2026-07-01T07:00", "2026-06-01 2026-08-01", "2026-07-01T00:15Z 2026-07-02T00:15Z"],
    ["written in UTC, repeated in Berlin", "weekly 1 monday", "count 2", "UTC>Europe/Berlin", "2026-03-23T08:00 2026-03-23T09:00", "2026-03-01 2026-05-01", "2026-03-23T08:00Z/2026-03-23T09:00Z 2026-03-30T07:00Z/2026-03-30T08:00Z"],
    ["on the next day in the series' zone", "weekly 1 tuesday", "count 2 from 2026-03-03", "UTC>Asia/Tokyo", "2026-03-02T23:00 2026-03-03T00:00", "2026-03-01 2026-05-01", "2026-03-02T23:00Z 2026-03-09T23:00Z"],
    ["whole days in spring", "daily 1", "count 3", "Europe/Berlin", "2026-03-28 2026-03-29", "2026-03-01 2026-05-01", "2026-03-27T23:00Z/2026-03-28T23:00Z 2026-03-28T23:00Z/2026-03-29T22:00Z 2026-03-29T22:00Z/2026-03-30T22:00Z"],
    ["whole weekends in autumn", "weekly 1 saturday", "count 2", "Eastern Standard Time", "2026-10-31 2026-11-02", "2026-10-01 2026-12-01", "2026-10-31T04:00Z/2026-11-02T05:00Z 2026-11-07T05:00Z/2026-11-09T05:00Z"],
    // Weeks.
    ["three days a week", "weekly 1 friday,monday,wednesday", "until 2026-03-09", "UTC", "2026-03-02T09:00 2026-03-02T10:00", "2026-03-01 2026-04-01", "2026-03-02T09:00Z 2026-03-04T09:00Z 2026-03-06T09:00Z 2026-03-09T09:00Z"],
    ["every second week from monday on", "weekly 2 tuesday,sunday first=monday", "count 4", "UTC", "2026-03-03T08:00 2026-03-03T09:00", "2026-03-01 2026-05-01", "2026-03-03T08:00Z 2026-03-08T08:00Z 2026-03-17T08:00Z 2026-03-22T08:00Z"],
    ["every second week from sunday on", "weekly 2 tuesday,sunday first=sunday", "count 4", "UTC", "2026-03-03T08:00 2026-03-03T09:00", "2026-03-01 2026-05-01", "2026-03-03T08:00Z 2026-03-15T08:00Z 2026-03-17T08:00Z 2026-03-29T08:00Z"],
    ["every third week, months later", "weekly 3 wednesday", "noEnd", "UTC", "2026-01-07T10:00 2026-01-07T11:00", "2026-06-01 2026-07-15", "2026-06-03T10:00Z 2026-06-24T10:00Z"],
    ["begins with the first day of its pattern", "weekly 1 friday", "count 2", "UTC", "2026-03-03T09:00 2026-03-03T10:00", "2026-03-01 2026-05-01", "2026-03-06T09:00Z 2026-03-13T09:00Z"],
    // Months by date.
    ["day 31", "absoluteMonthly 1 day=31", "count 5", "UTC", "2026-01-31T10:00 2026-01-31T11:00", "2026-01-01 2026-12-01", "2026-01-31T10:00Z 2026-02-28T10:00Z 2026-03-31T10:00Z 2026-04-30T10:00Z 2026-05-31T10:00Z"],
    ["day 30", "absoluteMonthly 1 day=30", "count 3", "UTC", "2026-01-30T10:00 2026-01-30T11:00", "2026-01-01 2026-12-01", "2026-01-30T10:00Z 2026-02-28T10:00Z 2026-03-30T10:00Z"],
    ["day 29 of a leap year", "absoluteMonthly 1 day=29", "count 3", "UTC", "2028-01-29T10:00 2028-01-29T11:00", "2028-01-01 2028-12-01", "2028-01-29T10:00Z 2028-02-29T10:00Z 2028-03-29T10:00Z"],
    ["day 29 of a common year", "absoluteMonthly 1 day=29", "count 3", "UTC", "2027-01-29T10:00 2027-01-29T11:00", "2027-01-01 2027-12-01", "2027-01-29T10:00Z 2027-02-28T10:00Z 2027-03-29T10:00Z"],
    ["every fifth month", "absoluteMonthly 5 day=15", "count 3", "UTC", "2026-09-15T10:00 2026-09-15T11:00", "2026-01-01 2028-01-01", "2026-09-15T10:00Z 2027-02-15T10:00Z 2027-07-15T10:00Z"],
    ["on the very day that the clock changes", "absoluteMonthly 1 day=25", "until 2026-11-25", "Europe/Berlin", "2026-09-25T08:00 2026-09-25T09:00", "2026-09-01 2027-01-01", "2026-09-25T06:00Z 2026-10-25T07:00Z 2026-11-25T07:00Z"],
    ["a year of months, at its end", "absoluteMonthly 1 day=1", "count 12", "UTC", "2026-01-01T10:00 2026-01-01T11:00", "2026-11-01 2027-06-01", "2026-11-01T10:00Z 2026-12-01T10:00Z"],
    ["begins after this month's day", "absoluteMonthly 1 day=10", "count 2", "UTC", "2026-03-15T10:00 2026-03-15T11:00", "2026-01-01 2026-12-01", "2026-04-10T10:00Z 2026-05-10T10:00Z"],
    ["every second month from that of its start", "absoluteMonthly 2 day=15", "count 2", "UTC", "2026-01-31T10:00 2026-01-31T11:00", "2026-01-01 2026-12-01", "2026-03-15T10:00Z 2026-05-15T10:00Z"],
    // Months by weekday.
    ["first monday", "relativeMonthly 1 monday index=first", "noEnd", "UTC", "2026-03-02T09:00 2026-03-02T10:00", "2026-04-01 2026-06-30", "2026-04-06T09:00Z 2026-05-04T09:00Z 2026-06-01T09:00Z"],
    ["second tuesday", "relativeMonthly 1 tuesday index=second", "count 3", "UTC", "2026-03-10T09:00 2026-03-10T10:00", "2026-03-01 2026-12-01", "2026-03-10T09:00Z 2026-04-14T09:00Z 2026-05-12T09:00Z"],
    ["third friday of every second month", "relativeMonthly 2 friday index=third", "count 3", "UTC", "2026-01-16T09:00 2026-01-16T10:00", "2026-01-01 2026-12-01", "2026-01-16T09:00Z 2026-03-20T09:00Z 2026-05-15T09:00Z"],
    ["fourth thursday", "relativeMonthly 1 thursday index=fourth", "until 2027-01-28", "America/New_York", "2026-11-26T09:00 2026-11-26T10:00", "2026-11-01 2027-06-01", "2026-11-26T14:00Z 2026-12-24T14:00Z 2027-01-28T14:00Z"],
    ["last friday", "relativeMonthly 1 friday index=last", "count 4", "UTC", "2026-01-30T09:00 2026-01-30T10:00", "2026-01-01 2026-12-01", "2026-01-30T09:00Z 2026-02-27T09:00Z 2026-03-27T09:00Z 2026-04-24T09:00Z"],
    ["last working day", "relativeMonthly 1 WEEKDAYS index=last", "count 5", "UTC", "2026-01-30T09:00 2026-01-30T10:00", "2026-01-01 2026-12-01", "2026-01-30T09:00Z 2026-02-27T09:00Z 2026-03-31T09:00Z 2026-04-30T09:00Z 2026-05-29T09:00Z"],
    ["first working day", "relativeMonthly 1 WEEKDAYS index=first", "count 5", "UTC", "2026-01-01T09:00 2026-01-01T10:00", "2026-01-01 2026-12-01", "2026-01-01T09:00Z 2026-02-02T09:00Z 2026-03-02T09:00Z 2026-04-01T09:00Z 2026-05-01T09:00Z"],
    ["second day of a weekend", "relativeMonthly 1 saturday,sunday index=second", "count 4", "UTC", "2026-01-04T09:00 2026-01-04T10:00", "2026-01-01 2026-12-01", "2026-01-04T09:00Z 2026-02-07T09:00Z 2026-03-07T09:00Z 2026-04-05T09:00Z"],
    // Years.
    ["29 February", "absoluteYearly 1 month=2 day=29", "count 5", "UTC", "2028-02-29T12:00 2028-02-29T13:00", "2028-01-01 2033-01-01", "2028-02-29T12:00Z 2029-02-28T12:00Z 2030-02-28T12:00Z 2031-02-28T12:00Z 2032-02-29T12:00Z"],
    ["every second new year's eve", "absoluteYearly 2 month=12 day=31", "noEnd", "Europe/Berlin", "2026-12-31T23:00 2027-01-01T01:00", "2027-01-01 2029-06-01", "2028-12-31T22:00Z/2029-01-01T00:00Z"],
    ["a day before the third", "absoluteYearly 1 month=7 day=4", "until 2028-07-03", "America/New_York", "2026-07-04T10:00 2026-07-04T11:00", "2026-01-01 2030-01-01", "2026-07-04T14:00Z 2027-07-04T14:00Z"],
    ["fourth thursday of November", "relativeYearly 1 thursday index=fourth month=11", "noEnd", "Eastern Standard Time", "2026-11-26T12:00 2026-11-26T13:00", "2026-01-01 2029-01-01", "2026-11-26T17:00Z 2027-11-25T17:00Z 2028-11-23T17:00Z"],
    ["skipped by the clock every year", "relativeYearly 1 sunday index=last month=3", "count 3", "Europe/Berlin", "2026-03-29T02:30 2026-03-29T04:00", "2026-01-01 2029-01-01", "2026-03-29T01:30Z/2026-03-29T03:00Z 2027-03-28T01:30Z/2027-03-28T03:00Z 2028-03-26T01:30Z/2028-03-26T03:00Z"],
    ["every second labor day", "relativeYearly 2 monday index=first month=9", "count 2", "UTC", "2026-09-07T09:00 2026-09-07T10:00", "2026-01-01 2030-01-01", "2026-09-07T09:00Z 2028-09-04T09:00Z"],
    ["last working day of June, to a date", "relativeYearly 1 WEEKDAYS index=last month=6", "until 2028-06-30", "UTC", "2026-06-30T09:00 2026-06-30T10:00", "2026-01-01 2030-01-01", "2026-06-30T09:00Z 2027-06-30T09:00Z 2028-06-30T09:00Z"],
];

fn pattern(text: &str) -> Value {
    let mut pattern = json!({});
    for (place, word) in text.split(' ').enumerate() {
        match (place, word.split_once('=')) {
            (0, _) => pattern["type"] = word.into(),
            (1, _) => pattern["interval"] = word.parse::<i32>().unwrap().into(),
            (_, Some(("first", day))) => pattern["firstDayOfWeek"] = day.into(),
            (_, Some(("day", day))) => pattern["dayOfMonth"] = day.parse::<i32>().unwrap().into(),
            (_, Some(("month", month))) => pattern["month"] = month.parse::<i32>().unwrap().into(),
            (_, Some((name, value))) => pattern[name] = value.into(),
            (_, None) => {
                let days: Vec<&str> = if word == "WEEKDAYS" { WEEKDAYS } else { word }.split(',').collect();
                pattern["daysOfWeek"] = json!(days);
            }
        }
    }
    pattern
}

/// The event, with what was cancelled of it.
fn series([_, repeats, range, zones, times, ..]: &Case) -> Event {
    let (zone, of_series) = zones.split_once('>').unwrap_or((zones, zones));
    let (start, end) = times.split_once(' ').unwrap();
    let all_day = !start.contains('T');
    let time = |text: &str| {
        let time = if all_day { format!("{text}T00:00") } else { text.to_owned() };
        json!({"dateTime": time, "timeZone": zone})
    };
    let mut shown = json!({"type": "noEnd", "startDate": start.get(..10), "recurrenceTimeZone": of_series});
    let mut cancelled: Option<Date> = None;
    let words: Vec<&str> = range.split(' ').collect();
    for pair in words.windows(2) {
        match *pair {
            ["until", date] => (shown["type"], shown["endDate"]) = ("endDate".into(), date.into()),
            ["count", count] => {
                let count: i32 = count.parse().unwrap();
                (shown["type"], shown["numberOfOccurrences"]) = ("numbered".into(), count.into());
            }
            ["from", date] => shown["startDate"] = date.into(),
            ["except", date] => cancelled = Some(date.parse().unwrap()),
            _ => {}
        }
    }
    let body = json!({
        "start": time(start), "end": time(end), "isAllDay": all_day,
        "recurrence": {"pattern": pattern(repeats), "range": shown},
    });
    let (shared, private) = write::create(&body).unwrap();
    let organizer = Person { name: String::new(), address: String::new() };
    let mut event = Event::new(Timestamp::UNIX_EPOCH, Uuid::nil(), organizer, shared, private);
    if let Some(date) = cancelled {
        cancel(&mut event, date);
    }
    event
}

fn instant(text: &str) -> Timestamp {
    match text.parse::<Date>() {
        Ok(date) if !text.contains('T') => date.to_zoned(TimeZone::UTC).unwrap().timestamp(),
        _ => text.parse().unwrap(),
    }
}

#[test]
fn series_fall_on_the_dates_that_were_worked_out_by_hand() {
    assert!(CASES.len() >= 40);
    for case in CASES {
        let [name, .., window, expected] = case;
        let (start, end) = window.split_once(' ').unwrap();
        let found = within(&series(case), Window { start: instant(start), end: instant(end) });
        let expected: Vec<&str> = expected.split(' ').filter(|one| !one.is_empty()).collect();
        assert_eq!(found.len(), expected.len(), "{name}: {found:?}");
        for (slot, one) in found.iter().zip(expected) {
            let (start, end) = one.split_once('/').map_or((one, None), |(start, end)| (start, Some(end)));
            assert_eq!(slot.start, instant(start), "{name}: start of {one}");
            assert_eq!(slot.original, slot.start, "{name}");
            if let Some(end) = end {
                assert_eq!(slot.end, instant(end), "{name}: end of {one}");
            }
        }
    }
}

#[test]
fn every_date_is_found_alone_too() {
    for case in CASES {
        let event = series(case);
        let all = Window { start: instant("2026-01-01"), end: instant("2033-01-01") };
        for slot in within(&event, all).into_iter().take(60) {
            assert_eq!(super::on(&event, slot.date), Some(slot), "{}", case[0]);
            let alone =
                within(&event, Window { start: slot.start, end: slot.start + jiff::Span::new().seconds(1) });
            assert!(alone.contains(&slot), "{}: {slot:?}", case[0]);
        }
    }
}
