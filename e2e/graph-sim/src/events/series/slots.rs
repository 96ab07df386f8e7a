//! When occurrences take place: dates become instants in the series' own zone.

use jiff::{
    SignedDuration, Span, Timestamp,
    civil::{Date, DateTime},
};

use super::rule::Rule;
use crate::events::{
    content::{Event, Shared},
    window::Window,
    zone::{Moment, Zone},
};

/// Days that a date may be off by: zones reach from 12 hours behind UTC to 14 hours ahead.
const ZONES: i64 = 2;

/// One occurrence: its date in the series, and when it takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::events) struct Slot {
    pub(in crate::events) date: Date,
    /// When it began before anybody moved it.
    pub(in crate::events) original: Timestamp,
    pub(in crate::events) start: Timestamp,
    pub(in crate::events) end: Timestamp,
}

/// The time of day of a series, and how long its occurrences are by the clock on the wall.
pub(super) struct Timetable<'a> {
    pub(super) rule: &'a Rule,
    zone: &'a Zone,
    start: DateTime,
    pub(super) length: SignedDuration,
    is_all_day: bool,
}

impl<'a> Timetable<'a> {
    /// `None` for what is no series.
    pub(super) fn of(shared: &'a Shared) -> Option<Self> {
        let rule = shared.recurrence.as_ref()?;
        // A whole day is from midnight to midnight in its own zone, whatever zone the dates count in.
        let zone = if shared.is_all_day { &shared.start.zone } else { &rule.zone };
        let local = |moment: &Moment| {
            if moment.zone == *zone { moment.local } else { zone.local(moment.instant()) }
        };
        let start = local(&shared.start);
        let length = local(&shared.end).duration_since(start);
        Some(Self { rule, zone, start, length, is_all_day: shared.is_all_day })
    }

    /// The date that the event itself is on.
    pub(super) fn date(&self) -> Date {
        self.start.date()
    }

    pub(super) fn date_of(&self, time: Timestamp) -> Date {
        self.zone.local(time).date()
    }

    fn local_start(&self, date: Date) -> DateTime {
        date.to_datetime(self.start.time())
    }

    /// Where a clock skips that time, it is later by as much as is skipped, and as long as ever; where it comes twice, it is
    /// the first.
    fn slot(&self, date: Date) -> Slot {
        let start = self.zone.instant(self.local_start(date));
        // A start that was skipped has moved; a whole day ends at its midnight even so.
        let begun = if self.is_all_day { self.local_start(date) } else { self.zone.local(start) };
        Slot { date, original: start, start, end: self.zone.instant(begun.saturating_add(self.length)) }
    }

    /// Start and end of an occurrence, in the zones that the event was written in.
    pub(super) fn moments(&self, date: Date, shared: &Shared) -> (Moment, Moment) {
        let midnight = self.local_start(date);
        let slot = self.slot(date);
        let moment = |like: &Moment, of_day: DateTime, time: Timestamp| {
            // Whole days keep their midnight even where there is none.
            let local = if self.is_all_day { of_day } else { like.zone.local(time) };
            Moment { local, zone: like.zone.clone() }
        };
        let end = midnight.saturating_add(self.length);
        (moment(&shared.start, midnight, slot.start), moment(&shared.end, end, slot.end))
    }

    /// What of the pattern lies in a window, at least in part, in the order of time.
    fn in_window(&self, window: Window) -> impl Iterator<Item = Slot> + '_ {
        let days = self.length.as_hours() / 24 + 1 + ZONES;
        let from =
            Span::new().try_days(days).ok().map(|days| self.date_of(window.start).saturating_sub(days));
        self.rule
            .dates_from(from.unwrap_or(Date::MIN))
            .map(|date| self.slot(date))
            .take_while(move |slot| slot.start < window.end)
            .filter(move |slot| window.holds(slot.start, slot.end))
    }

    /// The occurrences of the pattern before and after a date, as they lie without being moved.
    pub(super) fn around(&self, date: Date, exists: impl Fn(Date) -> bool) -> (Option<Slot>, Option<Slot>) {
        let mut before = None;
        for other in self.rule.dates_from(self.rule.start).filter(|other| exists(*other)) {
            if other > date {
                return (before, Some(self.slot(other)));
            }
            if other < date {
                before = Some(self.slot(other));
            }
        }
        (before, None)
    }
}

/// Where an occurrence lies that may have been moved.
pub(super) fn moved(shared: &Shared, slot: Slot) -> Slot {
    let times = shared.changes.exceptions.get(&slot.date).and_then(|exception| exception.times.as_ref());
    match times {
        Some((start, end)) => Slot { start: start.instant(), end: end.instant(), ..slot },
        None => slot,
    }
}

/// The occurrence of a date, if there is one.
pub(in crate::events) fn on(master: &Event, date: Date) -> Option<Slot> {
    let shared = &master.shared;
    let timetable = Timetable::of(shared)?;
    if shared.changes.cancelled.contains(&date) || !timetable.rule.falls_on(date) {
        return None;
    }
    Some(moved(shared, timetable.slot(date)))
}

/// The occurrences that lie in a window, at least in part.
pub(in crate::events) fn within(master: &Event, window: Window) -> Vec<Slot> {
    let shared = &master.shared;
    let Some(timetable) = Timetable::of(shared) else { return Vec::new() };
    let changes = &shared.changes;
    let is_moved = |date: &Date| changes.exceptions.get(date).is_some_and(|one| one.times.is_some());
    let in_place = timetable
        .in_window(window)
        .filter(|slot| !changes.cancelled.contains(&slot.date) && !is_moved(&slot.date));
    let elsewhere = changes
        .exceptions
        .keys()
        .filter(|date| is_moved(date))
        .map(|date| moved(shared, timetable.slot(*date)))
        .filter(|slot| window.holds(slot.start, slot.end));
    let mut all: Vec<Slot> = in_place.chain(elsewhere).collect();
    all.sort_by_key(|slot| slot.start);
    all
}
