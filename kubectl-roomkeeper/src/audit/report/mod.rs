//! `audit report`: every access to one person's calendar that exported logs tell of.

mod access;
mod person;

use std::fmt;

use anyhow::Context as _;
use jiff::{Span, Timestamp, civil::Date, tz::TimeZone};
use roomkeeper_crds::{CalendarSubscription, ConsentRecord};
use serde::Serialize;

use self::{access::Access, person::Person};
use super::files;
use crate::{
    args::{AuditReport, Connection},
    exit::Failure,
    output,
    table::Table,
    user::{User, places},
};

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    /// Object ids of the person.
    user_ids: Vec<String>,
    /// Nothing before this time is told.
    since: Option<Timestamp>,
    accesses: Vec<Access>,
    /// Files and lines that could not be read; whatever they tell is not in the report.
    not_read: Vec<String>,
}

/// Reads, prints, and fails where something could not be read.
pub(super) async fn run(
    connection: &Connection,
    request: &AuditReport,
    now: Timestamp,
) -> anyhow::Result<()> {
    let since = request.since.as_deref().map(|text| begin(text, now)).transpose()?;
    let person = person(connection, &request.user).await?;
    let read = files::read(&request.files)?;
    let mut answer = access::find(&read.files, &person, since);
    answer.not_read.extend(read.unreadable);
    output::print(request.output.map(Into::into), &answer, &[], &answer)?;
    if answer.not_read.is_empty() {
        return Ok(());
    }
    Err(Failure::Damaged("the report is not whole: check the files with `audit verify`".to_owned()).into())
}

/// A time, a day (UTC), or how long ago.
fn begin(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let wrong = || {
        Failure::Usage(format!(
            "--since {text}: write a time such as 2026-11-01T00:00:00Z, a day such as 2026-11-01, or how long ago, such as 30d or 12h"
        ))
    };
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let zoned = match (text.parse::<Date>(), text.parse::<Span>()) {
        (Ok(day), _) => day.to_zoned(TimeZone::UTC),
        (_, Ok(span)) if span.is_positive() => now.to_zoned(TimeZone::UTC).checked_sub(span),
        _ => return Err(wrong()),
    };
    zoned.map(|zoned| zoned.timestamp()).map_err(|_| wrong())
}

/// Who is meant. Logs know people by their ids: a name is looked up where the cluster knows it.
async fn person(connection: &Connection, user: &User) -> anyhow::Result<Person> {
    if let User::Id(id) = user {
        return Ok(Person::new([id.clone()], []));
    }
    let cluster = connection
        .cluster()
        .await
        .context("a user principal name is looked up in the cluster: give the object id to need none")?;
    let (consents, subscriptions): (Vec<ConsentRecord>, Vec<CalendarSubscription>) =
        (cluster.list().await?, cluster.list().await?);
    let places = places(user, &consents, &subscriptions, None);
    let ids: std::collections::BTreeSet<String> =
        places.iter().flat_map(|place| place.ids.iter().cloned()).collect();
    match ids.len() {
        0 => Err(Failure::NotFound(format!(
            "USER {}: no ConsentRecord and no resolved CalendarSubscription of that user {}: give the object id, or check the spelling and -n NAMESPACE (or -A)",
            user.as_str(),
            cluster.place
        ))
        .into()),
        1 => Ok(Person::new(ids, [user.as_str().to_owned()])),
        several => Err(Failure::Ambiguous(format!(
            "USER {}: the name belongs to {several} people: give the object id, one of {}",
            user.as_str(),
            ids.into_iter().collect::<Vec<_>>().join(", ")
        ))
        .into()),
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&["TIME", "WRITER", "LINE", "WHAT FOR", "FIELDS", "CAUSED BY", "ANSWER"]);
        for one in &self.accesses {
            table.row(vec![
                one.time.to_string(),
                one.writer.clone(),
                one.line.to_string(),
                one.what.clone(),
                one.fields.join(","),
                one.caused_by.clone(),
                one.status.map(|status| status.to_string()).unwrap_or_default(),
            ]);
        }
        write!(f, "{table}")?;
        for place in &self.not_read {
            writeln!(f, "\nnot read: {place}")?;
        }
        let ids = self.user_ids.join(", ");
        let since = self.since.map(|since| format!(" since {since}")).unwrap_or_default();
        writeln!(
            f,
            "\n{} entries about {ids}{since}. Lines are taken as they stand: `audit verify` proves them.",
            self.accesses.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_time_a_day_or_how_long_ago() {
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-11-01T12:00:00+02:00", "2026-11-01T10:00:00Z"),
            ("2026-11-01", "2026-11-01T00:00:00Z"),
            ("30d", "2026-10-24T10:00:00Z"),
            ("1h30m", "2026-11-23T08:30:00Z"),
            ("1mo", "2026-10-23T10:00:00Z"),
        ] {
            assert_eq!(begin(text, now).unwrap().to_string(), expected, "{text}");
        }
        for wrong in ["", "yesterday", "30", "-30d", "99999y"] {
            let error = begin(wrong, now).unwrap_err().to_string();
            assert!(error.contains("--since") && error.contains("30d"), "{error}");
        }
    }
}
