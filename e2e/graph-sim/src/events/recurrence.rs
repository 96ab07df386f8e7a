//! `patternedRecurrence`: checked for its shape, and shown with every member (graph-facts §6.1).

use http::StatusCode;
use jiff::civil::Date;
use serde_json::{Value, json};

use super::zone::Zone;
use crate::{
    errors::GraphError,
    odata::{self, Given, Members},
};

const DAYS: &[&str] = &["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

fn invalid(why: &str) -> GraphError {
    GraphError::new(
        StatusCode::BAD_REQUEST,
        "ErrorPropertyValidationFailure",
        format!("At least one property failed validation. recurrence: {why}"),
    )
}

/// The recurrence as it is shown. `zone` is that of the event's start.
pub(super) fn read(value: &Value, zone: &Zone) -> Result<Value, GraphError> {
    let mut members = Members::new(value, "recurrence", "patternedRecurrence")?;
    let (Given::Value(pattern_value), Given::Value(range_value)) =
        (members.take("pattern"), members.take("range"))
    else {
        return Err(invalid("pattern and range are both needed."));
    };
    members.end()?;
    Ok(json!({"pattern": pattern(pattern_value)?, "range": range(range_value, zone)?}))
}

fn pattern(value: &Value) -> Result<Value, GraphError> {
    let mut members = Members::new(value, "pattern", "recurrencePattern")?;
    let kinds = ["daily", "weekly", "absoluteMonthly", "relativeMonthly", "absoluteYearly", "relativeYearly"];
    let kind = members.choice("type", &kinds)?.ok_or_else(|| invalid("the pattern's type is missing."))?;
    let interval = members.int("interval")?.unwrap_or(0);
    let month = members.int("month")?.unwrap_or(0);
    let day_of_month = members.int("dayOfMonth")?.unwrap_or(0);
    let first_day = members.choice("firstDayOfWeek", DAYS)?.unwrap_or("sunday");
    let index = members.choice("index", &["first", "second", "third", "fourth", "last"])?.unwrap_or("first");
    let mut days = Vec::new();
    for day in members.list("daysOfWeek")?.value().into_iter().flatten() {
        let day = DAYS.iter().find(|known| day.as_str() == Some(**known));
        days.push(*day.ok_or_else(|| GraphError::wrong_type("daysOfWeek", "microsoft.graph.dayOfWeek"))?);
    }
    members.end()?;
    if !(1..=999).contains(&interval) {
        return Err(invalid("interval must be from 1 to 999."));
    }
    let needs_days = matches!(kind, "weekly" | "relativeMonthly" | "relativeYearly");
    if needs_days && days.is_empty() {
        return Err(invalid("daysOfWeek is needed for this type."));
    }
    let needs_date = matches!(kind, "absoluteMonthly" | "absoluteYearly");
    if needs_date && !(1..=31).contains(&day_of_month) {
        return Err(invalid("dayOfMonth must be from 1 to 31 for this type."));
    }
    if kind.ends_with("Yearly") && !(1..=12).contains(&month) {
        return Err(invalid("month must be from 1 to 12 for this type."));
    }
    Ok(json!({
        "type": kind,
        "interval": interval,
        "month": month,
        "dayOfMonth": day_of_month,
        "daysOfWeek": days,
        "firstDayOfWeek": first_day,
        "index": index,
    }))
}

fn range(value: &Value, zone: &Zone) -> Result<Value, GraphError> {
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
    if let Some(name) = named {
        Zone::named(name).ok_or_else(|| Zone::unsupported(name))?;
    }
    match kind {
        "endDate" if end.is_none_or(|end| end < start) => {
            return Err(invalid("endDate is missing or before startDate."));
        }
        "numbered" if !(1..=999).contains(&count) => {
            return Err(invalid("numberOfOccurrences must be from 1 to 999."));
        }
        _ => {}
    }
    let end =
        end.filter(|_| kind == "endDate").map_or_else(|| "0001-01-01".to_owned(), |end| end.to_string());
    Ok(json!({
        "type": kind,
        "startDate": start.to_string(),
        "endDate": end,
        "recurrenceTimeZone": named.unwrap_or_else(|| zone.name()),
        "numberOfOccurrences": if kind == "numbered" { count } else { 0 },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_checked_and_completed() {
        let read = |pattern: Value, range: Value| {
            super::read(&json!({"pattern": pattern, "range": range}), &Zone::utc())
        };
        let range = json!({"type": "noEnd", "startDate": "2026-11-23"});
        let weekly = json!({"type": "weekly", "interval": 1, "daysOfWeek": ["monday"]});
        let shown = read(weekly.clone(), range.clone()).unwrap();
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
