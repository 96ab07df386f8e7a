//! Which events differ from what is recorded: pure.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use jiff::Timestamp;
use roomkeeper_crds::{BookingRecordSpec, booking_record::BookingState, name::booking_record};
use roomkeeper_graph::{BookedEvent, ManifestId};

use crate::worker::{
    decide::{self, Verdict},
    ending,
    series::Horizon,
    spec,
};

/// Kind of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Booked, and no record.
    New,
    /// The record tells another version.
    Changed,
    /// Recorded as booked, and not in the list.
    Missing,
    /// A series whose occurrences are to be listed further: nothing happened to it.
    Horizon,
}

impl Kind {
    /// Every kind, for metrics that start at zero.
    pub(super) const ALL: [Self; 4] = [Self::New, Self::Changed, Self::Missing, Self::Horizon];

    /// As in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Missing => "missing",
            Self::Horizon => "horizon",
        }
    }
}

/// An event to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) kind: Kind,
    pub(super) event_id: String,
    /// Name of its record.
    pub(super) record: String,
    /// Version in the list.
    pub(super) change_key: Option<String>,
    /// Last change of the event that is known of.
    pub(super) last_modified: Timestamp,
}

/// Whose calendar is compared, and by which rules.
#[derive(Clone, Debug)]
pub(super) struct Calendar {
    pub(super) tenant_id: String,
    pub(super) user_id: String,
    pub(super) manifest: ManifestId,
    /// How long a record is kept after its end.
    pub(super) retention: Duration,
    /// How far ahead occurrences are listed.
    pub(super) horizon: Horizon,
}

#[derive(Debug)]
struct Known {
    event_id: String,
    change_key: String,
    last_modified: Timestamp,
    booked: bool,
    over: bool,
    /// Where the list of its occurrences ends.
    listed_until: Option<Timestamp>,
}

/// The records of one calendar, and what was listed so far.
#[derive(Debug)]
pub(super) struct Ledger {
    calendar: Calendar,
    known: HashMap<String, Known>,
    listed: HashSet<String>,
}

impl Ledger {
    pub(super) fn new(calendar: Calendar) -> Self {
        Self { calendar, known: HashMap::new(), listed: HashSet::new() }
    }

    /// Takes a record in, unless it is of another calendar that was followed under the same name.
    pub(super) fn record(&mut self, name: &str, spec: BookingRecordSpec, now: Timestamp) {
        if self.name_of(&spec.event_id) != name {
            return;
        }
        let known = Known {
            over: decide::is_over(&spec, self.calendar.retention, now),
            booked: spec.state == BookingState::Booked,
            listed_until: spec
                .recurrence_pattern
                .as_ref()
                .and_then(|recurrence| recurrence.listed_until.as_ref())
                .map(|until| until.0),
            last_modified: spec.last_modified_date_time.0,
            event_id: spec.event_id,
            change_key: spec.change_key,
        };
        self.known.insert(name.to_owned(), known);
    }

    /// Compares a page of the list. A page may come again.
    pub(super) fn page(&mut self, events: &[BookedEvent], now: Timestamp) -> Vec<Difference> {
        let mut differences = Vec::new();
        for event in events {
            let record = self.name_of(event.head.id.as_str());
            if let Some(kind) = self.kind(event, self.known.get(&record), now) {
                differences.push(Difference {
                    kind,
                    event_id: event.head.id.as_str().to_owned(),
                    record: record.clone(),
                    change_key: Some(event.head.change_key.clone()),
                    last_modified: event.head.last_modified,
                });
            }
            self.listed.insert(record);
        }
        differences
    }

    /// After the last page: bookings still to come that no page held. That proves nothing yet; reading them does.
    pub(super) fn missing(&self) -> Vec<Difference> {
        let gone = |(name, known): &(&String, &Known)| {
            known.booked && !known.over && !self.listed.contains(name.as_str())
        };
        let difference = |(name, known): (&String, &Known)| Difference {
            kind: Kind::Missing,
            event_id: known.event_id.clone(),
            record: name.clone(),
            change_key: None,
            last_modified: known.last_modified,
        };
        self.known.iter().filter(gone).map(difference).collect()
    }

    fn kind(&self, event: &BookedEvent, known: Option<&Known>, now: Timestamp) -> Option<Kind> {
        let stands = known.is_some_and(|known| known.booked && !known.over);
        let books = match decide::verdict(&event.head, &self.calendar.manifest) {
            // What is malformed has a record that says so.
            Verdict::Books(_) | Verdict::Malformed(_) => !self.is_over(event, now),
            Verdict::NoBooking => false,
            // The series' own entry tells of its occurrences.
            Verdict::OfSeries => return None,
        };
        match known {
            None => books.then_some(Kind::New),
            Some(known) if books => {
                if !known.booked || known.change_key != event.head.change_key {
                    return Some(Kind::Changed);
                }
                let passed = known.listed_until.is_some_and(|at| self.calendar.horizon.is_passed(at, now));
                passed.then_some(Kind::Horizon)
            }
            Some(_) => stands.then_some(Kind::Changed),
        }
    }

    fn is_over(&self, event: &BookedEvent, now: Timestamp) -> bool {
        let recurrence = event.recurrence.as_ref().map(spec::recurrence).transpose();
        // A series of a form that is not understood may have an occurrence to come.
        let Ok(recurrence) = recurrence else { return false };
        ending::latest_end(event.start, event.end, event.is_all_day, recurrence.as_ref())
            .and_then(|end| end.checked_add(self.calendar.retention).ok())
            .is_some_and(|end| end < now)
    }

    fn name_of(&self, event_id: &str) -> String {
        booking_record(&self.calendar.tenant_id, &self.calendar.user_id, event_id)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use roomkeeper_graph::{EventHead, EventId, EventType};
    use serde_json::json;

    use super::*;
    use crate::worker::fixture;

    const TENANT: &str = "7f1d0cb7-93b9-405a-8dad-c21703b7af18";
    const USER: &str = "2189c720-90d5-44ff-818b-fe585706ee90";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn now() -> Timestamp {
        at("2026-11-23T12:00:00Z")
    }

    fn ledger(retention: u64) -> Ledger {
        Ledger::new(Calendar {
            tenant_id: TENANT.to_owned(),
            user_id: USER.to_owned(),
            manifest: ManifestId::parse("3f0c2c1e-8d0a-4b59-9a55-2f4b7c0d6e21").unwrap(),
            retention: Duration::from_secs(retention),
            horizon: Horizon::of_days(365),
        })
    }

    fn event(id: &str, version: &str) -> BookedEvent {
        BookedEvent {
            head: EventHead {
                id: EventId::parse(id).unwrap(),
                i_cal_u_id: "u".to_owned(),
                change_key: version.to_owned(),
                last_modified: at("2026-11-20T08:00:00Z"),
                is_organizer: true,
                event_type: EventType::SingleInstance,
                is_cancelled: false,
                add_in_value: Some(json!({"version": 1, "resources": [{"id": "room-101"}]}).to_string()),
            },
            start: at("2026-11-24T09:00:00Z"),
            end: at("2026-11-24T10:00:00Z"),
            is_all_day: false,
            recurrence: None,
        }
    }

    fn past(event: BookedEvent) -> BookedEvent {
        BookedEvent { start: at("2026-11-23T09:00:00Z"), end: at("2026-11-23T10:00:00Z"), ..event }
    }

    fn spec(id: &str, version: &str, state: BookingState, end: &str) -> BookingRecordSpec {
        BookingRecordSpec {
            change_key: version.to_owned(),
            event_id: id.to_owned(),
            last_modified_date_time: Time(at("2026-11-19T08:00:00Z")),
            state,
            ..fixture::spec("2026-11-20T09:00:00Z", end)
        }
    }

    const AHEAD: &str = "2026-11-24T10:00:00Z";
    const OVER: &str = "2026-11-20T10:00:00Z";

    /// The differences between one event and one record, either of which may be absent.
    fn between(event: Option<BookedEvent>, record: Option<BookingRecordSpec>) -> Vec<Kind> {
        let mut ledger = ledger(0);
        if let Some(spec) = record {
            let name = booking_record(TENANT, USER, &spec.event_id);
            ledger.record(&name, spec, now());
        }
        let listed = ledger.page(&event.into_iter().collect::<Vec<_>>(), now());
        listed.into_iter().chain(ledger.missing()).map(|difference| difference.kind).collect()
    }

    #[test]
    fn what_is_read_again_and_what_is_not() {
        use BookingState::{Booked, Cancelled};
        let record = |version, state, end| Some(spec("AAMk=", version, state, end));
        let booked = || event("AAMk=", "2");
        let change = |change: fn(&mut BookedEvent)| {
            let mut event = booked();
            change(&mut event);
            Some(event)
        };
        let unbooked =
            || change(|event| event.head.add_in_value = Some(r#"{"version":1,"resources":[]}"#.into()));
        let malformed = || change(|event| event.head.add_in_value = Some(r#"{"version":2}"#.into()));
        let copy = || change(|event| event.head.is_organizer = false);
        for (case, event, record, expected) in [
            ("nothing", None, None, None),
            ("new", Some(booked()), None, Some(Kind::New)),
            ("same", Some(booked()), record("2", Booked, AHEAD), None),
            ("changed", Some(booked()), record("1", Booked, AHEAD), Some(Kind::Changed)),
            ("booked again", Some(booked()), record("2", Cancelled, AHEAD), Some(Kind::Changed)),
            ("missing", None, record("1", Booked, AHEAD), Some(Kind::Missing)),
            ("missing and cancelled", None, record("1", Cancelled, AHEAD), None),
            ("missing and over", None, record("1", Booked, OVER), None),
            ("over and never recorded", Some(past(booked())), None, None),
            ("over in both", Some(past(booked())), record("1", Booked, OVER), None),
            ("moved into the past", Some(past(booked())), record("1", Booked, AHEAD), Some(Kind::Changed)),
            ("no space any more", unbooked(), record("1", Booked, AHEAD), Some(Kind::Changed)),
            ("no space and known so", unbooked(), record("1", Cancelled, AHEAD), None),
            ("never a space", unbooked(), None, None),
            ("malformed", malformed(), None, Some(Kind::New)),
            ("malformed and recorded", malformed(), record("1", Booked, AHEAD), Some(Kind::Changed)),
            ("malformed and known so", malformed(), record("2", Booked, AHEAD), None),
            ("an attendee's copy", copy(), None, None),
        ] {
            assert_eq!(between(event, record), expected.into_iter().collect::<Vec<_>>(), "{case}");
        }
    }

    #[test]
    fn a_series_is_over_with_its_last_day_and_retention_counts() {
        let series = |end_date: &str| {
            let recurrence = json!({
                "pattern": {"type": "weekly", "interval": 1, "month": 0, "dayOfMonth": 0, "daysOfWeek": ["monday"],
                            "firstDayOfWeek": "sunday", "index": null},
                "range": {"type": "endDate", "startDate": "2026-01-05", "endDate": end_date,
                          "recurrenceTimeZone": "UTC", "numberOfOccurrences": 0},
            });
            let mut event = BookedEvent { recurrence: Some(recurrence), ..past(event("AAMk=", "1")) };
            event.head.event_type = EventType::SeriesMaster;
            event
        };
        assert_eq!(between(Some(series("2026-12-31")), None), [Kind::New]);
        assert_eq!(between(Some(series("2026-11-01")), None), []);
        let odd = BookedEvent { recurrence: Some(json!({})), ..series("2026-11-01") };
        assert_eq!(between(Some(odd), None), [Kind::New], "it may have an occurrence to come");
        let mut kept = ledger(7_199);
        assert_eq!(kept.page(&[past(event("AAMk=", "1"))], now()).len(), 0, "ended two hours ago");
        let mut longer = ledger(7_200);
        assert_eq!(longer.page(&[past(event("AAMk=", "1"))], now()).len(), 1);
    }

    #[test]
    fn a_series_is_read_again_when_its_list_of_occurrences_has_become_too_short() {
        let series = |until: &str| {
            let mut record = spec("AAMk=", "2", BookingState::Booked, AHEAD);
            let recurrence = json!({
                "pattern": {"type": "daily", "interval": 1},
                "range": {"type": "noEnd", "startDate": "2026-01-05"},
                "listedUntil": until,
            });
            record.recurrence_pattern = Some(serde_json::from_value(recurrence).unwrap());
            between(Some(event("AAMk=", "2")), Some(record))
        };
        assert_eq!(series("2027-11-23T12:00:00Z"), []);
        assert_eq!(series("2027-11-23T11:59:59Z"), [Kind::Horizon]);
    }

    #[test]
    fn a_record_of_another_calendar_is_left_alone() {
        let mut ledger = ledger(0);
        let other = booking_record(TENANT, "11111111-90d5-44ff-818b-fe585706ee90", "AAMk=");
        ledger.record(&other, spec("AAMk=", "1", BookingState::Booked, AHEAD), now());
        assert_eq!(ledger.missing(), []);
    }

    #[test]
    fn a_page_that_comes_again_tells_the_same() {
        let mut ledger = ledger(0);
        let page = [event("AAMk=", "2"), event("AAMl=", "2")];
        let first = ledger.page(&page, now());
        assert_eq!(first.len(), 2);
        assert_eq!(ledger.page(&page, now()), first);
        assert_eq!(ledger.missing(), []);
    }
}
