//! A recurrence: a pattern, from a date on, to its end.

use jiff::civil::Date;
use serde_json::{Value, json};

use super::pattern::Pattern;
use crate::events::zone::Zone;

/// How far a series goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::events) enum Ending {
    Never,
    /// The last date that may be one, itself included.
    On(Date),
    /// So many occurrences, those included that were cancelled later.
    After(usize),
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::events) struct Rule {
    pub(in crate::events) pattern: Pattern,
    pub(in crate::events) start: Date,
    pub(in crate::events) ending: Ending,
    /// The zone that the dates count in.
    pub(in crate::events) zone: Zone,
}

impl Rule {
    /// The dates from `from` on, in their order.
    pub(super) fn dates_from(&self, from: Date) -> impl Iterator<Item = Date> + '_ {
        // Occurrences are counted from the first one, wherever one looks.
        let (period, most) = match self.ending {
            Ending::After(count) => (0, count),
            Ending::Never | Ending::On(_) => (self.pattern.period_of(self.start, from), usize::MAX),
        };
        let last = match self.ending {
            Ending::On(last) => last,
            Ending::Never | Ending::After(_) => Date::MAX,
        };
        self.pattern
            .dates(self.start, period)
            .take(most)
            .take_while(move |date| *date <= last)
            .skip_while(move |date| *date < from)
    }

    pub(super) fn falls_on(&self, date: Date) -> bool {
        self.dates_from(date).next() == Some(date)
    }

    /// As Graph shows it, with every member (graph-facts §6.1).
    pub(in crate::events) fn show(&self) -> Value {
        let (kind, end, count) = match self.ending {
            Ending::Never => ("noEnd", "0001-01-01".to_owned(), 0),
            Ending::On(end) => ("endDate", end.to_string(), 0),
            Ending::After(count) => ("numbered", "0001-01-01".to_owned(), count),
        };
        json!({
            "pattern": self.pattern.show(),
            "range": {
                "type": kind,
                "startDate": self.start.to_string(),
                "endDate": end,
                "recurrenceTimeZone": self.zone.name(),
                "numberOfOccurrences": count,
            },
        })
    }
}
