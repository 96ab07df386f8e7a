//! What the calendars say, and what the product has: the two that have to agree in the end.

use std::collections::BTreeSet;

use anyhow::Context as _;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::Value;

use crate::{outlook::Outlook, simulator::Simulator};

/// A space that is taken from one time to another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taken {
    /// Id of the space.
    pub room: String,
    /// Start.
    pub from: Timestamp,
    /// End.
    pub to: Timestamp,
}

/// What the calendars of these users say between two times, occurrence by occurrence, as Outlook shows them.
///
/// # Errors
/// When Graph refuses, or its answer is not understood.
pub async fn in_calendars(
    outlook: &Outlook,
    users: &[String],
    (from, to): (Timestamp, Timestamp),
) -> anyhow::Result<BTreeSet<Taken>> {
    let mut all = BTreeSet::new();
    for user in users {
        for event in outlook.view(user, from, to).await? {
            let flag = |name: &str| event.get(name).and_then(Value::as_bool).unwrap_or_default();
            if !flag("isOrganizer") || flag("isCancelled") {
                continue;
            }
            let (start, end) = (utc(&event, "/start/dateTime")?, utc(&event, "/end/dateTime")?);
            for room in rooms(&event)? {
                all.insert(Taken { room, from: start, to: end });
            }
        }
    }
    Ok(all)
}

/// What the product has between two times, occurrence by occurrence.
///
/// # Errors
/// When the simulator does not answer, or not as its contract says.
pub async fn at_product(
    booking: &Simulator,
    (from, to): (Timestamp, Timestamp),
) -> anyhow::Result<BTreeSet<Taken>> {
    let request = booking.http.get(format!("{}/bookings", booking.origin));
    let answer = request.header("x-api-key", "demo-booking-key").send().await?.error_for_status()?;
    let list: Value = answer.json().await?;
    let mut all = BTreeSet::new();
    for booking in list.get("value").and_then(Value::as_array).context("GET /bookings holds no value")? {
        let room = booking.get("resourceId").and_then(Value::as_str).context("no resourceId")?;
        let occurrences = booking.pointer("/recurrence/occurrences").and_then(Value::as_array);
        for one in occurrences.map_or_else(|| vec![booking], |all| all.iter().collect()) {
            let time = |name: &str| -> anyhow::Result<Timestamp> {
                Ok(one.get(name).and_then(Value::as_str).context("no time")?.parse()?)
            };
            let taken = Taken { room: room.to_owned(), from: time("start")?, to: time("end")? };
            if taken.to > from && taken.from < to {
                all.insert(taken);
            }
        }
    }
    Ok(all)
}

/// Whether the two agree; if not, an error that tells the first differences.
///
/// # Errors
/// When they differ.
pub fn compare(calendars: &BTreeSet<Taken>, product: &BTreeSet<Taken>) -> anyhow::Result<()> {
    let missing: Vec<_> = calendars.difference(product).take(3).collect();
    let left: Vec<_> = product.difference(calendars).take(3).collect();
    anyhow::ensure!(
        missing.is_empty() && left.is_empty(),
        "{} in the calendars, {} at the product; not booked: {missing:?}; booked and not there: {left:?}",
        calendars.len(),
        product.len()
    );
    Ok(())
}

fn utc(event: &Value, pointer: &str) -> anyhow::Result<Timestamp> {
    let text = event.pointer(pointer).and_then(Value::as_str).context("no time")?;
    Ok(TimeZone::UTC.to_timestamp(text.parse::<DateTime>()?)?)
}

/// The spaces that the add-in's property names.
fn rooms(event: &Value) -> anyhow::Result<Vec<String>> {
    let Some(value) = event.pointer("/singleValueExtendedProperties/0/value").and_then(Value::as_str) else {
        return Ok(Vec::new());
    };
    let value: Value = serde_json::from_str(value)?;
    let resources = value.get("resources").and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(resources.iter().filter_map(|one| one.get("id")?.as_str().map(str::to_owned)).collect())
}
