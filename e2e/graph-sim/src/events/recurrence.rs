//! `patternedRecurrence`, read and checked for its shape (graph-facts §6.1).

use http::StatusCode;
use jiff::civil::Date;
use serde_json::Value;

use super::{
    series::{DAYS, Ending, Kind, Pattern, Rule},
    zone::Zone,
};
use crate::{
    errors::GraphError,
    odata::{self, Given, Members},
};

const KINDS: [(&str, Kind); 6] = [
    ("daily", Kind::Daily),
    ("weekly", Kind::Weekly),
    ("absoluteMonthly", Kind::AbsoluteMonthly),
    ("relativeMonthly", Kind::RelativeMonthly),
    ("absoluteYearly", Kind::AbsoluteYearly),
    ("relativeYearly", Kind::RelativeYearly),
];
const INDEXES: [&str; 5] = ["first", "second", "third", "fourth", "last"];

fn invalid(why: &str) -> GraphError {
    GraphError::new(
        StatusCode::BAD_REQUEST,
        "ErrorPropertyValidationFailure",
        format!("At least one property failed validation. recurrence: {why}"),
    )
}

/// `zone` is that of the event's start.
pub(super) fn read(value: &Value, zone: &Zone) -> Result<Rule, GraphError> {
    let mut members = Members::new(value, "recurrence", "patternedRecurrence")?;
    let (Given::Value(pattern_value), Given::Value(range_value)) =
        (members.take("pattern"), members.take("range"))
    else {
        return Err(invalid("pattern and range are both needed."));
    };
    members.end()?;
    range(range_value, pattern(pattern_value)?, zone)
}

fn pattern(value: &Value) -> Result<Pattern, GraphError> {
    let mut members = Members::new(value, "pattern", "recurrencePattern")?;
    let type_name = members.choice("type", &KINDS.map(|(name, _)| name))?;
    let (type_name, kind) = type_name
        .and_then(|given| KINDS.into_iter().find(|(name, _)| *name == given))
        .ok_or_else(|| invalid("the pattern's type is missing."))?;
    let interval = members.int("interval")?.unwrap_or(0);
    let month = members.int("month")?.unwrap_or(0);
    let day_of_month = members.int("dayOfMonth")?.unwrap_or(0);
    let day = |name: &str| DAYS.into_iter().find(|(known, _)| *known == name).map(|(_, day)| day);
    let first_day = members.choice("firstDayOfWeek", &DAYS.map(|(name, _)| name))?.and_then(day);
    let index_name = members.choice("index", &INDEXES)?.unwrap_or("first");
    let mut days = Vec::new();
    for given in members.list("daysOfWeek")?.value().into_iter().flatten() {
        let day = given.as_str().and_then(day);
        days.push(day.ok_or_else(|| GraphError::wrong_type("daysOfWeek", "microsoft.graph.dayOfWeek"))?);
    }
    members.end()?;
    if !(1..=999).contains(&interval) {
        return Err(invalid("interval must be from 1 to 999."));
    }
    let needs_days = matches!(kind, Kind::Weekly | Kind::RelativeMonthly | Kind::RelativeYearly);
    if needs_days && days.is_empty() {
        return Err(invalid("daysOfWeek is needed for this type."));
    }
    let needs_date = matches!(kind, Kind::AbsoluteMonthly | Kind::AbsoluteYearly);
    if needs_date && !(1..=31).contains(&day_of_month) {
        return Err(invalid("dayOfMonth must be from 1 to 31 for this type."));
    }
    if matches!(kind, Kind::AbsoluteYearly | Kind::RelativeYearly) && !(1..=12).contains(&month) {
        return Err(invalid("month must be from 1 to 12 for this type."));
    }
    Ok(Pattern {
        kind,
        type_name,
        interval,
        month,
        day_of_month,
        days,
        first_day: first_day.unwrap_or(jiff::civil::Weekday::Sunday),
        index: INDEXES.iter().position(|name| *name == index_name).map_or(1, |place| place + 1),
        index_name,
    })
}

fn range(value: &Value, pattern: Pattern, zone: &Zone) -> Result<Rule, GraphError> {
    let mut members = Members::new(value, "range", "recurrenceRange")?;
    let kind = members
        .choice("type", &["endDate", "noEnd", "numbered"])?
        .ok_or_else(|| invalid("the range's type is missing."))?;
    let date = |text: Option<&str>| -> Result<Option<Date>, GraphError> {
        text.map(|text| odata::date(text).ok_or_else(|| GraphError::wrong_type("range", "Edm.Date")))
            .transpose()
    };
    let start = date(members.text("startDate")?.value())?.ok_or_else(|| invalid("startDate is missing."))?;
    let end = date(members.text("endDate")?.value())?;
    let count = members.int("numberOfOccurrences")?.unwrap_or(0);
    let named = members.text("recurrenceTimeZone")?.value().filter(|name| !name.is_empty());
    members.end()?;
    let zone = match named {
        Some(name) => Zone::named(name).ok_or_else(|| Zone::unsupported(name))?,
        None => zone.clone(),
    };
    let ending = match kind {
        "endDate" => end.filter(|end| *end >= start).map(Ending::On),
        "numbered" => {
            usize::try_from(count).ok().filter(|count| (1..=999).contains(count)).map(Ending::After)
        }
        _ => Some(Ending::Never),
    };
    let ending = ending.ok_or_else(|| {
        invalid(if kind == "endDate" {
            "endDate is missing or before startDate."
        } else {
            "numberOfOccurrences must be from 1 to 999."
        })
    })?;
    Ok(Rule { pattern, start, ending, zone })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shapes_are_checked_and_completed() {
        let read = |pattern: Value, range: Value| {
            super::read(&json!({"pattern": pattern, "range": range}), &Zone::utc())
        };
        let range = json!({"type": "noEnd", "startDate": "2026-11-23"});
        let weekly = json!({"type": "weekly", "interval": 1, "daysOfWeek": ["monday"]});
        let shown = read(weekly.clone(), range.clone()).unwrap().show();
        assert_eq!(shown["pattern"]["dayOfMonth"], 0);
        assert_eq!(shown["range"]["endDate"], "0001-01-01");
        assert_eq!(shown["range"]["recurrenceTimeZone"], "UTC");
        for bad in [
            json!({"type": "weekly", "interval": 1}),
            json!({"type": "daily"}),
            json!({"type": "daily", "interval": 0}),
            json!({"type": "hourly", "interval": 1}),
            json!({"type": "absoluteMonthly", "interval": 1}),
            json!({"type": "absoluteYearly", "interval": 1, "dayOfMonth": 3}),
            json!({"type": "relativeMonthly", "interval": 1, "daysOfWeek": ["someday"]}),
            json!({"type": "daily", "interval": 1, "other": 1}),
        ] {
            assert!(read(bad.clone(), range.clone()).is_err(), "{bad}");
        }
        for bad in [
            json!({"type": "noEnd"}),
            json!({"type": "endDate", "startDate": "2026-11-23"}),
            json!({"type": "endDate", "startDate": "2026-11-23", "endDate": "2026-11-22"}),
            json!({"type": "numbered", "startDate": "2026-11-23"}),
            json!({"type": "noEnd", "startDate": "2026-11-23", "recurrenceTimeZone": "Mars"}),
        ] {
            assert!(read(weekly.clone(), bad.clone()).is_err(), "{bad}");
        }
    }
}
