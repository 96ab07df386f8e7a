//! The dates that a pattern falls on: a pure calculation on the calendar, without times and zones.

use jiff::{
    Span,
    civil::{Date, Weekday},
};
use serde_json::{Value, json};

/// Names of days, `sunday` first, with what they are.
pub(in crate::events) const DAYS: [(&str, Weekday); 7] = [
    ("sunday", Weekday::Sunday),
    ("monday", Weekday::Monday),
    ("tuesday", Weekday::Tuesday),
    ("wednesday", Weekday::Wednesday),
    ("thursday", Weekday::Thursday),
    ("friday", Weekday::Friday),
    ("saturday", Weekday::Saturday),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::events) enum Kind {
    Daily,
    Weekly,
    AbsoluteMonthly,
    RelativeMonthly,
    AbsoluteYearly,
    RelativeYearly,
}

/// How a series repeats. Members that its kind does not use are kept, since they are shown.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::events) struct Pattern {
    pub(in crate::events) kind: Kind,
    /// The kind's name at Graph.
    pub(in crate::events) type_name: &'static str,
    pub(in crate::events) interval: i32,
    pub(in crate::events) month: i32,
    pub(in crate::events) day_of_month: i32,
    pub(in crate::events) days: Vec<Weekday>,
    pub(in crate::events) first_day: Weekday,
    /// 1 to 4, and 5 for the last.
    pub(in crate::events) index: usize,
    pub(in crate::events) index_name: &'static str,
}

impl Pattern {
    /// All dates from `start` on, in their order, without those of the periods before the period number `from`.
    ///
    /// The first period is the one that `start` is in, be it a day, a week, a month or a year.
    pub(super) fn dates(&self, start: Date, from: i64) -> impl Iterator<Item = Date> + '_ {
        (from.max(0)..)
            .map_while(move |number| self.period(start, number))
            .flatten()
            .filter(move |date| *date >= start)
    }

    /// The number of the period that a date is in: all dates of earlier periods are earlier.
    pub(super) fn period_of(&self, start: Date, date: Date) -> i64 {
        let months = |date: Date| i64::from(date.year()) * 12 + i64::from(date.month());
        let distance = match self.kind {
            Kind::Daily => days_between(start, date),
            Kind::Weekly => days_between(self.week_of(start), date).div_euclid(7),
            Kind::AbsoluteMonthly | Kind::RelativeMonthly => months(date) - months(start),
            Kind::AbsoluteYearly | Kind::RelativeYearly => i64::from(date.year()) - i64::from(start.year()),
        };
        distance.div_euclid(i64::from(self.interval.max(1))).max(0)
    }

    /// The dates of a period; `None` beyond the last year of the calendar.
    fn period(&self, start: Date, number: i64) -> Option<Vec<Date>> {
        let distance = number.checked_mul(i64::from(self.interval.max(1)))?;
        match self.kind {
            Kind::Daily => Some(vec![add_days(start, distance)?]),
            Kind::Weekly => {
                let week = add_days(self.week_of(start), distance.checked_mul(7)?)?;
                let mut offsets: Vec<i8> = self.days.iter().map(|day| day.since(self.first_day)).collect();
                offsets.sort_unstable();
                offsets.dedup();
                offsets.into_iter().map(|offset| add_days(week, offset.into())).collect()
            }
            Kind::AbsoluteMonthly | Kind::RelativeMonthly => {
                let month = i64::from(start.year()) * 12 + i64::from(start.month()) - 1;
                let month = month.checked_add(distance)?;
                Some(vec![self.in_month(month.div_euclid(12), month.rem_euclid(12) + 1)?])
            }
            Kind::AbsoluteYearly | Kind::RelativeYearly => {
                let year = i64::from(start.year()).checked_add(distance)?;
                Some(vec![self.in_month(year, self.month.into())?])
            }
        }
    }

    /// The first day of a date's week.
    fn week_of(&self, date: Date) -> Date {
        add_days(date, -i64::from(date.weekday().since(self.first_day))).unwrap_or(date)
    }

    /// The one date in a month.
    fn in_month(&self, year: i64, month: i64) -> Option<Date> {
        let first = Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, 1).ok()?;
        if matches!(self.kind, Kind::AbsoluteMonthly | Kind::AbsoluteYearly) {
            // A month without that day has its last day instead, as in Outlook.
            let day = self.day_of_month.min(first.days_in_month().into());
            return Date::new(first.year(), first.month(), i8::try_from(day).ok()?).ok();
        }
        let mut matching = first
            .series(Span::new().days(1))
            .take_while(|date| date.month() == first.month())
            .filter(|date| self.days.contains(&date.weekday()));
        // The index counts all the days that are allowed: the second of monday and friday may be either.
        if self.index == 5 { matching.last() } else { matching.nth(self.index.checked_sub(1)?) }
    }

    pub(super) fn show(&self) -> Value {
        let name = |day: Weekday| DAYS.iter().find(|(_, other)| *other == day).map_or("", |(name, _)| *name);
        json!({
            "type": self.type_name,
            "interval": self.interval,
            "month": self.month,
            "dayOfMonth": self.day_of_month,
            "daysOfWeek": self.days.iter().map(|day| name(*day)).collect::<Vec<_>>(),
            "firstDayOfWeek": name(self.first_day),
            "index": self.index_name,
        })
    }
}

fn days_between(from: Date, to: Date) -> i64 {
    i64::from((to - from).get_days())
}

fn add_days(date: Date, days: i64) -> Option<Date> {
    date.checked_add(Span::new().try_days(days).ok()?).ok()
}
